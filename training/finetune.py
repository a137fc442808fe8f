"""`finetune`: a trained encoder learns on from a few labels, beside what they are worth without.

Beside it stand, with the same labels: linear probes on the encoder as it was, frozen, and the same
network trained from random weights in the same number of steps.
"""

import argparse
import copy
import sys
from pathlib import Path
from typing import Any

import torch

from models.card import Card
from models.checkpoint import Checkpoint, load_checkpoint
from models.classifier import ClassifiedSummary
from models.encoders import Encoder, build_encoder
from models.inference import prepare
from training.config import ConfigError, TrainConfig, make_config, read_config
from training.datasets import DEFAULT_ROOT, NAMED_SETS
from training.devices import DEVICES, choose_device
from training.display import Display
from training.evaluation.features import REPRESENTATIONS, LabelledFeatures, encode_all
from training.evaluation.probes import probe_accuracy, settings_for
from training.images import Progress
from training.keys import ENCODER_KEYS, encoder_keys
from training.labelled import fit_labels, require_used, with_epochs
from training.runs import lock_run, open_run
from training.supervised import (
    FAULTS,
    ImagesForLabels,
    add_label_arguments,
    load_for_labels,
    stopped,
    tested,
    write_outcome,
)

SCRATCH_FOLDER = "from-scratch"  # the state of the same network from random weights
# What a few labels want that many images without labels do not; any of it can be given.
DEFAULTS: dict[str, Any] = {"views": "flip_crop", "batch_size": 64, "betas": (0.9, 0.999)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `finetune`."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="where to start from")
    parser.add_argument(
        "--data",
        required=True,
        help=f"a folder with a sub-folder a class, or {', '.join(NAMED_SETS)}",
    )
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    add_label_arguments(parser)
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where named sets lie")
    parser.add_argument("--download", action="store_true", help="fetch a named set if missing")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--name", help="the checkpoint's name (default: the name of --out)")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings: epochs=50")


def run(args: argparse.Namespace) -> int:
    """0 when finished or stopped by a signal with its state saved, 2 where it cannot go on."""
    try:
        return finetune(args)
    except FAULTS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def finetune(args: argparse.Namespace) -> int:
    """Learn on from the checkpoint, learn from nothing, probe it frozen; then write it all."""
    start = load_checkpoint(args.checkpoint)
    config = finetune_config(start.card, args.settings)
    device = choose_device(args.device)
    preprocessing = start.card.preprocessing
    with Display() as progress:
        images = load_for_labels(args, preprocessing, config.seed, progress)
    config = with_epochs(config, len(images.rows))
    task = {"task": "finetune", "checkpoint": start.card.identity}
    open_run(args.out, config, images.data.model_dump() | task)
    with lock_run(args.out):
        print(f"Fine-tuning {start.card.name} by {images.described}.", flush=True)
        labelled = images.with_labels(device)
        torch.manual_seed(config.seed)
        network = ClassifiedSummary(copy.deepcopy(start.encoder), images.classes)
        network.requires_grad_(True)
        outcome = fit_labels(config, network, *labelled, preprocessing, args.out)
        if not outcome.finished:
            return stopped(outcome)

        print("The same from random weights:", flush=True)
        torch.manual_seed(config.seed)
        blank = build_encoder(start.card.encoder.name, **start.card.encoder.arguments)
        scratch = ClassifiedSummary(blank, images.classes)
        folder = args.out / SCRATCH_FOLDER
        folder.mkdir(exist_ok=True)
        beside = fit_labels(config, scratch, *labelled, preprocessing, folder)
        if not beside.finished:
            return stopped(beside)

        accuracies = {"the same from random weights": tested(scratch, images, preprocessing)}
        with Display() as progress:
            accuracies |= probe_frozen(start.encoder, images, start, device, progress)
        found = tested(network, images, preprocessing)
        write_outcome(args, config, network, images, preprocessing, outcome, accuracies, found)
    return 0


def finetune_config(card: Card, words: list[str]) -> TrainConfig:
    """The settings given, over this command's defaults; the checkpoint decides on the network."""
    given = read_config(None, words)
    require_used(given)
    decided = {
        "encoder": card.encoder.name,
        "colour": card.preprocessing.colour,
        "resize": card.preprocessing.resize,
        **{key: card.encoder.arguments.get(key) for key in encoder_keys(card.encoder.name)},
    }
    for key in sorted(given.model_fields_set & {*decided, *ENCODER_KEYS}):
        raise ConfigError(f"{key} is decided by the checkpoint; leave it out")
    chosen = {key: getattr(given, key) for key in given.model_fields_set}
    return make_config(DEFAULTS | chosen | decided)


def probe_frozen(
    encoder: Encoder,
    images: ImagesForLabels,
    start: Checkpoint,
    device: torch.device,
    progress: Progress,
) -> dict[str, float]:
    """Linear probes on the encoder as it was, with the same labels and on the same test images."""
    frozen = prepare(encoder).to(device)
    pixels, labels = images.with_labels(device)
    features = {
        split: encode_all(
            frozen, each, start.card.preprocessing, device, progress, f"encoding ({split})"
        )
        for split, each in (("train", pixels), ("test", images.pair.test))
    }
    settings = settings_for(len(pixels))
    accuracies = {}
    for name in REPRESENTATIONS:
        data = LabelledFeatures(
            train=features["train"].pop(name),
            train_labels=labels,
            test=features["test"].pop(name),
            test_labels=images.pair.test_labels.to(device),
            classes=images.classes,
        )

        def tell(done: int, total: int, name: str = name) -> None:
            progress(f"linear probe on {name}, frozen", done, total)

        accuracy = probe_accuracy("linear", data.standardised(), settings, tell)
        accuracies[f"the encoder frozen, linear on {name}"] = accuracy
    return accuracies
