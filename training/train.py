"""`train`: images in, one checkpoint folder out; the same command again resumes."""

import argparse
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from models.card import (
    Card,
    DataCard,
    Preprocessing,
    VerdictCard,
)
from models.checkpoint import CheckpointError, save_checkpoint
from models.critics import Critic
from models.golden import draw_golden
from models.method import Method
from training.building import (
    build_model,
    build_preprocessing,
    objective_card,
)
from training.calibrate import Fitted, Role, fit_served
from training.choices import CHOICES_FILE, keep_choices, read_choices, unmeasured
from training.config import ConfigError, TrainConfig, read_config
from training.data import Split, load_images
from training.datasets import DEFAULT_ROOT, NAMED_SETS
from training.devices import DEVICES, choose_device
from training.diagnosis import FAILURES, Finding
from training.display import Display
from training.distributed import ALONE, Ranks, check_shares, joined
from training.draws import batch_size
from training.evaluation.imagenet import load_backbone
from training.files import Folder
from training.images import DataError, ImageSet
from training.launch import add_launch_arguments, device_name, launch, to_be_launched
from training.loop import Outcome, train
from training.plan import DATA_HELP, add_stream, open_data, plan_run
from training.planning import require_fit
from training.progress import duration
from training.run_card import describe_run
from training.runs import (
    CHECKPOINT_FOLDER,
    STREAM_FOLDER,
    NotFiniteError,
    RunError,
    lock_run,
    open_run,
)
from training.shards import Shards
from training.source import Resident, Streamed
from training.step import precision
from training.verdict import judge, store
from training.watch import Held, Watch

FEWEST_IMAGES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `train`."""
    parser.add_argument("--data", required=True, help=DATA_HELP)
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    parser.add_argument("--recipe", type=Path, help="a TOML file of settings (configs/)")
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where named sets lie")
    parser.add_argument("--download", action="store_true", help="fetch a named set if missing")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    add_launch_arguments(parser)
    add_stream(parser)
    parser.add_argument(
        "--imagenet",
        type=Path,
        metavar="FILE",
        help="weights of a torchvision ResNet, to compare with in the verdict; never downloaded",
    )
    parser.add_argument("--name", help="the checkpoint's name (default: the name of --out)")
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help="settings over the recipe: epochs=30"
    )


def run(args: argparse.Namespace) -> int:
    """0 when finished or stopped by a signal with its state saved, 2 where it cannot go on."""
    try:
        if to_be_launched(args):
            return launch(args, read_config(args.recipe, args.settings))
        with joined(choose_device(device_name(args))) as (ranks, device):
            return train_run(args, ranks, device)
    except (ConfigError, DataError, RunError, NotFiniteError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def train_run(args: argparse.Namespace, ranks: Ranks, device: torch.device) -> int:
    """Plan, load, train, fit the served critics, write the checkpoint; one rank of many writes."""
    config = read_config(args.recipe, args.settings)
    preprocessing = build_preprocessing(config)
    rival = load_backbone(args.imagenet) if args.imagenet else None
    torch.manual_seed(config.seed)
    model = build_model(config)
    load = Loader(args, preprocessing, open_data(args.data), ranks)
    with ranks.copy_of(args.out / CHOICES_FILE) as file:
        choices = read_choices(file.parent)
    images = None if load.files else load("train", stream=False)  # a named set is quickly there
    known = unmeasured(config) if choices else None
    plan = plan_run(args, config, model, load.files, device, known, ranks)
    if images is None:
        require_fit(plan)
        images = load("train", stream=plan.streamed)
    require_enough(images)
    check_shares(batch_size(config, len(images)), ranks.world)
    ranks.require_same("images", images.fingerprint)
    data = DataCard(
        name=images.name,
        fingerprint=images.fingerprint,
        images=len(images),
        skipped=images.skipped,
    )
    if ranks.writes:
        open_run(args.out, config, data.model_dump())
    with lock_run(args.out) if ranks.writes else nullcontext():
        choices = choices or keep_choices(args.out, config, plan.measured, len(images), ranks)
        if device.type == "cpu":
            torch.set_num_threads(choices.threads)
        ranks.tell(describe(config, model, images, device, choices.total_steps))
        if not images.streamed:
            images = replace(images, pixels=images.pixels.to(device))
        held = held_out(replace(load, ranks=ALONE), images) if ranks.writes else None
        watch = Watch(args.out, config, model, held, preprocessing) if held else None
        outcome = train(
            config,
            model,
            Streamed(images.pixels, device) if images.streamed else Resident(images.pixels),
            preprocessing,
            args.out,
            device=device,
            choices=choices,
            ranks=ranks,
            watch=watch,
        )
        if not outcome.finished:
            ranks.tell(f"Stopped after step {outcome.steps}; the same command goes on from there.")
        if not outcome.finished or held is None or watch is None:
            return 0
        findings = watch.conclude(outcome.steps)
        fitted = fit_served(
            config, model.encoder, images.pixels, held.pixels, held.which, preprocessing
        )
        card = describe_run(args, config, data, preprocessing, outcome, fitted, str(device), ranks)
        verdict = judge(model.encoder, card, images.pixels, held, findings, rival)
        save_trained(args.out, card, verdict, model, fitted)
    for sentence in closing_words(args, images, outcome, verdict, findings):
        print(sentence)
    return 0


def save_trained(
    out: Path, card: Card, verdict: VerdictCard, model: Method, fitted: dict[Role, Fitted]
) -> None:
    """Write the checkpoint with its verdict, and the verdict beside it."""
    store(out, verdict)
    card = card.model_copy(update={"verdict": verdict})
    critics: dict[str, Critic] = {role: each.critic.cpu() for role, each in fitted.items()}
    golden = draw_golden(card.preprocessing)
    save_checkpoint(out / CHECKPOINT_FOLDER, card, model.encoder.cpu(), critics, golden)


def closing_words(
    args: argparse.Namespace,
    images: ImageSet,
    outcome: Outcome,
    verdict: VerdictCard,
    findings: list[Finding],
) -> list[str]:
    """What was made, whether it is any good, and what to do with it."""
    folder = args.out / CHECKPOINT_FOLDER
    where = f"--data {args.data}" + (f" --root {args.root}" if args.data in NAMED_SETS else "")
    evaluate = f"With labels:  python -m training evaluate --checkpoint {folder} {where}"
    return [
        f"Trained in {duration(outcome.seconds)}. The checkpoint is {folder}.",
        verdict.sentence,
        *(finding.sentence for finding in findings if finding.kind not in FAILURES),
        *([evaluate] if images.labels is not None else []),
        f"In pictures:  python -m training report {args.out} {where}",
        f"Serve it:     python -m service serve --checkpoint {folder}",
    ]


def held_out(load: "Loader", images: ImageSet) -> Held:
    """Images for watching the run, judging it and measuring its critics."""
    pixels, which = held_out_images(
        lambda: load("test", stream=images.streamed, quiet=True),  # its files were named before
        images,
    )
    return Held(pixels, which, held_out=pixels is not images.pixels)


def held_out_images(
    load_test: Callable[[], ImageSet], images: ImageSet
) -> tuple[torch.Tensor, str]:
    """Pixels that are not trained on, and in words which they are."""
    try:
        test = load_test()
    except DataError:
        test = None  # too few images for a split of their own
    if test is None or len(test) < 2:
        return images.pixels, "the training images, for want of held-out ones"
    return test.pixels.to(images.pixels.device), f"held-out images ({test.origin})"


@dataclass(frozen=True)
class Loader:
    """Loads the splits of one set, listed once."""

    args: argparse.Namespace
    preprocessing: Preprocessing
    files: Folder | Shards | None
    ranks: Ranks = ALONE

    def __call__(self, split: Split, *, stream: bool, quiet: bool = False) -> ImageSet:
        """One split; streamed ones are decoded into the run's folder, once a machine."""
        quiet = quiet or not self.ranks.writes
        with self.ranks.one_first(), Display() as progress:
            return load_images(
                self.args.data,
                preprocessing=self.preprocessing,
                root=self.args.root,
                split=split,
                download=self.args.download,
                files=self.files,
                store=self.args.out / STREAM_FOLDER,
                stream=stream,
                progress=progress if self.ranks.writes else None,
                tell=(lambda sentence: None) if quiet else print,  # noqa: ARG005
            )


def describe(
    config: TrainConfig, model: Method, images: ImageSet, device: torch.device, steps: int
) -> str:
    """What is about to happen, before the first step."""
    million = sum(p.numel() for p in model.encoder.parameters()) / 1e6
    length = f"{config.epochs} epochs = {steps:,} steps"
    if config.budget_minutes:
        length = f"{duration(60 * config.budget_minutes)} = {steps:,} steps"
    skipped = f", {images.skipped} skipped" if images.skipped else ""
    return (
        f"Training {config.encoder} ({million:.2f} M parameters) on {len(images):,} images of"
        f" {images.name} ({images.origin}{skipped}), {config.method} with"
        f" {objective_card(config).name}, {length}, {precision(config, device)} on {device}."
    )


def require_enough(images: ImageSet) -> None:
    """Raise DataError for so few images that they cannot be told apart from each other."""
    if len(images) < FEWEST_IMAGES:
        raise DataError(
            f"{images.name} has {len(images)} usable images to train with; at least"
            f" {FEWEST_IMAGES} are needed, and some hundreds to learn anything"
        )
