"""`train`: images in, one checkpoint folder out; the same command again resumes."""

import argparse
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

from models.card import (
    Card,
    Component,
    CriticCard,
    DataCard,
    ObjectiveCard,
    Preprocessing,
    TrainingCard,
)
from models.checkpoint import CheckpointError, save_checkpoint
from models.critics import Critic
from models.encoders import Encoder
from models.golden import draw_golden
from models.inference import prepare
from models.method import Method
from training.building import (
    build_encoder_on_meta,
    build_model,
    build_preprocessing,
    served_critics,
)
from training.calibrate import Fitted, Role, calibration_of, fit_critics
from training.config import ConfigError, TrainConfig, read_config
from training.data import load_images
from training.datasets import DEFAULT_ROOT, NAMED_SETS
from training.devices import DEVICES, choose_device
from training.diagnosis import FAILURES
from training.display import Display
from training.images import DataError, ImageSet
from training.loop import Outcome, precision, train
from training.progress import NotFiniteError, duration
from training.runs import CHECKPOINT_FOLDER, RunError, lock_run, open_run
from training.verdict import Held, judge, store
from training.watch import Watch

FEWEST_IMAGES = 8
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `train`."""
    parser.add_argument("--data", required=True, help=f"a folder, or {', '.join(NAMED_SETS)}")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    parser.add_argument("--recipe", type=Path, help="a TOML file of settings (configs/)")
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where named sets lie")
    parser.add_argument("--download", action="store_true", help="fetch a named set if missing")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--name", help="the checkpoint's name (default: the name of --out)")
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help="settings over the recipe: epochs=30"
    )


def run(args: argparse.Namespace) -> int:
    """0 when finished or stopped by a signal with its state saved, 2 where it cannot go on."""
    try:
        return train_run(args)
    except (ConfigError, DataError, RunError, NotFiniteError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def train_run(args: argparse.Namespace) -> int:
    """Load, train, fit the served critics, write the checkpoint."""
    config = read_config(args.recipe, args.settings)
    device = choose_device(args.device)
    preprocessing = build_preprocessing(config)
    with Display() as progress:
        images = load_images(
            args.data,
            preprocessing=preprocessing,
            root=args.root,
            download=args.download,
            progress=progress,
        )
    require_enough(images)
    data = DataCard(
        name=images.name,
        fingerprint=images.fingerprint,
        images=len(images),
        skipped=images.skipped,
    )
    open_run(args.out, config, data.model_dump())
    with lock_run(args.out):
        torch.manual_seed(config.seed)
        model = build_model(config)
        print(describe(config, model, images, device), flush=True)
        images = replace(images, pixels=images.pixels.to(device))
        held = held_out_images(args, preprocessing, images)
        watch = Watch(args.out, config, model, held.pixels, preprocessing, held_out=held.held_out)
        outcome = train(
            config, model, images.pixels, preprocessing, args.out, device=device, watch=watch
        )
        if not outcome.finished:
            print(f"Stopped after step {outcome.steps}; the same command goes on from there.")
            return 0
        findings = watch.conclude(outcome.steps)
        frozen = prepare(model.encoder)
        fitted = fit_served(config, model.encoder, frozen, images, held, preprocessing)
        card = describe_run(args, config, data, preprocessing, outcome, fitted, str(device))
        verdict = judge(
            frozen, card.encoder, preprocessing, images.pixels, held, findings, device=device
        )
        store(args.out, verdict)
        card = card.model_copy(update={"verdict": verdict})
        critics: dict[str, Critic] = {role: each.critic.cpu() for role, each in fitted.items()}
        folder = args.out / CHECKPOINT_FOLDER
        save_checkpoint(folder, card, model.encoder.cpu(), critics, draw_golden(preprocessing))
    print(f"Trained in {duration(outcome.seconds)}. The checkpoint is {folder}.")
    print(verdict.sentence)
    for finding in findings:
        if finding.kind not in FAILURES:
            print(finding.sentence)
    where = f"--data {args.data}" + (f" --root {args.root}" if args.data in NAMED_SETS else "")
    if images.labels is not None:
        print(f"With labels:  python -m training evaluate --checkpoint {folder} {where}")
    print(f"In pictures:  python -m training report {args.out} {where}")
    print(f"Serve it:     python -m service serve --checkpoint {folder}")
    return 0


def fit_served(
    config: TrainConfig,
    encoder: Encoder,
    frozen: Encoder,
    images: ImageSet,
    held: Held,
    preprocessing: Preprocessing,
) -> dict[Role, Fitted]:
    """Fit the served critics on the frozen encoder; measure them on images they have not seen."""
    torch.manual_seed(config.seed)
    critics = served_critics(config, encoder)
    fit_critics(config, frozen, critics, images.pixels, preprocessing, print)
    fitted = {}
    for role, critic in critics.items():
        calibration = calibration_of(
            critic, frozen, held.pixels, preprocessing, held.which, config.seed
        )
        print(
            f"served {role} critic: calibration error {calibration.ece:.3f}, AUC"
            f" {calibration.auc:.4f} on {calibration.description}"
        )
        fitted[role] = Fitted(critic, calibration)
    return fitted


def held_out_images(
    args: argparse.Namespace, preprocessing: Preprocessing, images: ImageSet
) -> Held:
    """Images for watching the run, judging it and measuring its critics."""
    try:
        test = load_images(
            args.data,
            preprocessing=preprocessing,
            root=args.root,
            split="test",
            tell=lambda sentence: None,  # noqa: ARG005 - its files were named before training
        )
    except DataError:
        test = None  # too few images for a split of their own
    if test is None or len(test) < 2:
        return Held(images.pixels, "the training images, for want of held-out ones", False)
    pixels = test.pixels.to(images.pixels.device)
    return Held(pixels, f"held-out images ({test.origin})", True)


def describe_run(
    args: argparse.Namespace,
    config: TrainConfig,
    data: DataCard,
    preprocessing: Preprocessing,
    outcome: Outcome,
    fitted: dict[Role, Fitted],
    device: str,
) -> Card:
    """The card of the finished run; save_checkpoint adds the hashes."""
    batch_size = min(config.batch_size, data.images)
    encoder = build_encoder_on_meta(config)
    return Card(
        schema_version=1,
        name=args.name or args.out.resolve().name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        encoder=Component(name=config.encoder, arguments=dict(encoder.arguments)),
        critics={
            role: CriticCard(
                name=getattr(config, f"served_{role}_critic"),
                arguments=each.critic.arguments,
                calibration=each.calibration,
            )
            for role, each in fitted.items()
        },
        preprocessing=preprocessing,
        objective=ObjectiveCard(
            name=config.objective,
            negatives=config.negatives,
            alpha=config.alpha,
            beta=config.beta,
            gamma=config.gamma,
            prior=config.prior if config.gamma else None,
        ),
        data=data,
        training=TrainingCard(
            steps=outcome.steps,
            images_seen=outcome.steps * batch_size,
            epochs=outcome.steps * batch_size / data.images,
            seconds=round(outcome.seconds, 1),
            device=device,
            precision=precision(config, torch.device(device)),
            versions={name: metadata.version(name) for name in PACKAGES},
            git_commit=git_commit(),
            seed=config.seed,
            recipe=config.model_dump(mode="json"),
        ),
        evaluation=None,
        weights_dtype=config.weights_dtype,
        files={},
    )


def describe(config: TrainConfig, model: Method, images: ImageSet, device: torch.device) -> str:
    """What is about to happen, before the first step."""
    million = sum(p.numel() for p in model.encoder.parameters()) / 1e6
    steps = config.epochs * (len(images) // min(config.batch_size, len(images)))
    skipped = f", {images.skipped} skipped" if images.skipped else ""
    return (
        f"Training {config.encoder} ({million:.2f} M parameters) on {len(images):,} images of"
        f" {images.name} ({images.origin}{skipped}), objective {config.objective},"
        f" {config.epochs} epochs = {steps:,} steps, {precision(config, device)} on {device}."
    )


def require_enough(images: ImageSet) -> None:
    """Raise DataError for so few images that they cannot be told apart from each other."""
    if len(images) < FEWEST_IMAGES:
        raise DataError(
            f"{images.name} has {len(images)} usable images to train with; at least"
            f" {FEWEST_IMAGES} are needed, and some hundreds to learn anything"
        )


def git_commit() -> str | None:
    """The commit of the code that trains, where it runs from a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git the user has
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
