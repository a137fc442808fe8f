"""`supervised`: the same network trained by labels alone, a baseline for DIM."""

import argparse
import json
import sys
from dataclasses import dataclass

import torch
from safetensors.torch import save

from models.atomic import write_file
from models.card import Component, DataCard, ObjectiveCard, Preprocessing
from models.checkpoint import CheckpointError, save_checkpoint
from models.classifier import ClassifiedSummary
from models.critics import Critic
from models.encoders import Encoder
from models.golden import draw_golden
from training import train
from training.building import build_config_encoder, build_preprocessing
from training.calibrate import fit_served
from training.config import ConfigError, TrainConfig, read_config
from training.data import load_images
from training.devices import choose_device
from training.display import Display
from training.evaluation.images import LabelledImages, pair
from training.images import DataError, ImageSet, Progress
from training.labelled import (
    Rows,
    accuracy,
    choose_labels,
    fit_labels,
    require_used,
    with_epochs,
)
from training.loop import Outcome
from training.progress import duration
from training.run_card import describe_run
from training.runs import CHECKPOINT_FOLDER, NotFiniteError, RunError, lock_run, open_run

ACCURACY_FILE = "accuracy.json"
CLASSIFIER_FILE = "classifier.safetensors"
FAULTS = (ConfigError, DataError, RunError, NotFiniteError, CheckpointError)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `supervised`: those of `train`, and how many labels."""
    train.add_arguments(parser)
    add_label_arguments(parser)


def add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """How many labels may be used; all of them where nothing is said."""
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--labels-per-class", type=_count, metavar="N", help="labels of each class")
    some.add_argument("--label-fraction", type=_share, metavar="F", help="this share of each class")


def run(args: argparse.Namespace) -> int:
    """0 when finished or stopped by a signal with its state saved, 2 where it cannot go on."""
    try:
        return supervised(args)
    except FAULTS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def supervised(args: argparse.Namespace) -> int:
    """Load, train by labels, test, fit the served critics, write the checkpoint."""
    config = read_config(args.recipe, args.settings)
    require_used(config)
    device = choose_device(args.device)
    preprocessing = build_preprocessing(config)
    with Display() as progress:
        images = load_for_labels(args, preprocessing, config.seed, progress)
    config = with_epochs(config, len(images.rows))
    open_run(args.out, config, images.data.model_dump() | {"task": "supervised"})
    with lock_run(args.out):
        torch.manual_seed(config.seed)
        network = ClassifiedSummary(build_config_encoder(config), images.classes)
        print(f"Training {config.encoder} by {images.described}.", flush=True)
        outcome = fit_labels(config, network, *images.with_labels(device), preprocessing, args.out)
        if not outcome.finished:
            return stopped(outcome)
        found = tested(network, images, preprocessing)
        write_outcome(args, config, network, images, preprocessing, outcome, {}, found)
    return 0


@dataclass(frozen=True)
class ImagesForLabels:
    """Both splits, and which rows of the training split may be learned from with their labels."""

    pair: LabelledImages
    rows: Rows
    data: DataCard

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.pair.class_names)

    @property
    def described(self) -> str:
        """In words: how many labels of what."""
        return (
            f"{len(self.rows):,} labels of {self.data.name} ({self.classes} classes,"
            f" {len(self.pair.train):,} training and {len(self.pair.test):,} test images)"
        )

    def with_labels(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels and labels to learn from, on the device."""
        pixels, labels = self.pair.train[self.rows], self.pair.train_labels[self.rows]
        return pixels.to(device), labels.to(device)


def load_for_labels(
    args: argparse.Namespace, preprocessing: Preprocessing, seed: int, progress: Progress
) -> ImagesForLabels:
    """Both splits of `--data`, and the labels asked for. DataError where there are no classes."""
    train_set, test_set = (
        load_images(
            args.data,
            preprocessing=preprocessing,
            root=args.root,
            split=split,
            download=args.download,
            labelled_only=True,
            progress=progress,
        )
        for split in ("train", "test")
    )
    both = pair(train_set, test_set)
    rows = choose_labels(both.train_labels, args.labels_per_class, args.label_fraction, seed)
    return ImagesForLabels(both, rows, data_card(train_set, len(rows)))


def data_card(images: ImageSet, labelled: int) -> DataCard:
    """The images learned from: those whose labels are used."""
    return DataCard(
        name=images.name,
        fingerprint=images.fingerprint,
        images=labelled,
        skipped=images.skipped,
    )


def stopped(outcome: Outcome) -> int:
    """Say that a signal ended the run, which is no failure."""
    print(f"Stopped after step {outcome.steps}; the same command goes on from there.")
    return 0


def tested(
    network: ClassifiedSummary, images: ImagesForLabels, preprocessing: Preprocessing
) -> float:
    """Accuracy on all test images."""
    return accuracy(network, images.pair.test, images.pair.test_labels, preprocessing)


def write_outcome(
    args: argparse.Namespace,
    config: TrainConfig,
    network: ClassifiedSummary,
    images: ImagesForLabels,
    preprocessing: Preprocessing,
    outcome: Outcome,
    beside: dict[str, float],
    found: float,
) -> None:
    """Write accuracy, classifier and checkpoint, and print the accuracies."""
    facts = {
        "test_accuracy": found,
        "test_images": len(images.pair.test),
        "labels": len(images.rows),
        "classes": images.classes,
        "beside": beside,
        "steps": outcome.steps,
        "seconds": round(outcome.seconds, 1),
        "protocol": (
            f"Top-1 of the classifier on all test images ({images.pair.test_origin}), in eval(),"
            f" after the last of {config.epochs} epochs on {len(images.rows):,} labels"
            f" ({images.pair.train_origin}); no test image chose anything."
        ),
    }
    write_file(args.out / ACCURACY_FILE, (json.dumps(facts, indent=2) + "\n").encode())
    weights = {
        name: tensor.detach().cpu() for name, tensor in network.classifier.state_dict().items()
    }
    names = {"class_names": json.dumps(images.pair.class_names)}
    write_file(args.out / CLASSIFIER_FILE, save(weights, names))

    device = next(network.parameters()).device
    pixels, test = images.pair.train.to(device), images.pair.test.to(device)
    which = f"held-out images ({images.pair.test_origin})"
    fitted = fit_served(config, network.encoder, pixels, test, which, preprocessing)
    card = describe_run(
        args, config, images.data, preprocessing, outcome, fitted, str(device)
    ).model_copy(
        update={
            "encoder": component(config, network.encoder),
            "objective": ObjectiveCard(
                name="cross_entropy", negatives="none", alpha=0.0, beta=0.0, gamma=0.0, prior=None
            ),
        }
    )
    critics: dict[str, Critic] = {role: each.critic.cpu() for role, each in fitted.items()}
    folder = args.out / CHECKPOINT_FOLDER
    save_checkpoint(folder, card, network.encoder.cpu(), critics, draw_golden(preprocessing))
    print(f"Trained in {duration(outcome.seconds)}. The checkpoint is {folder}.")
    for name, value in {"this run": found, **beside}.items():
        print(f"  {name:<40} {value:.1%} of {len(images.pair.test):,} test images")


def component(config: TrainConfig, encoder: Encoder) -> Component:
    """The encoder as it was built."""
    return Component(name=config.encoder, arguments=dict(encoder.arguments))


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError("must be above 0 and at most 1")
    return share
