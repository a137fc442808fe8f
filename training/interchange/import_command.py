"""`import`: another project's checkpoint becomes ours, with its critics where they can serve."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from pydantic import JsonValue

from models.card import Card, Component, CriticCard, DataCard, TrainingCard
from models.checkpoint import CheckpointError, save_checkpoint
from models.critics import Critic
from models.golden import draw_golden
from models.objectives import OBJECTIVES
from training.calibrate import fit_served
from training.config import TrainConfig, parse_value
from training.data import load_images
from training.datasets import DEFAULT_ROOT, NAMED_SETS
from training.devices import DEVICES, choose_device
from training.display import Display
from training.images import DataError
from training.interchange import amdim, dim, duanenielsen
from training.interchange.errors import BadArguments, InterchangeError
from training.interchange.imported import Imported, Role
from training.run_card import PACKAGES, git_commit
from training.train import held_out_images, require_enough

Served = tuple[CriticCard, Critic]
NO_DATA = DataCard(name="unknown", fingerprint="unknown", images=0)


class Read(Protocol):
    """Reads the files of one layout. Raises InterchangeError."""

    def __call__(
        self,
        source: Path,
        encoder: str | None,
        objective: str | None,
        arguments: Mapping[str, Any],
        /,
    ) -> Imported:
        """Read the file or folder; the rest is what the user says of it."""


LAYOUTS: dict[str, Read] = {
    "dim": dim.read,
    "duanenielsen": duanenielsen.read,
    "amdim": amdim.read,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `import`."""
    parser.add_argument("--from", dest="source", type=Path, required=True, help="file or folder")
    parser.add_argument("--layout", choices=LAYOUTS, required=True, help="which project wrote it")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint folder to write")
    parser.add_argument("--name", help="the checkpoint's name (default: the name of --out)")
    parser.add_argument("--encoder", help="the architecture, where the layout has several")
    parser.add_argument(
        "--objective",
        choices=OBJECTIVES,
        help="the bound it was trained by, where the files do not say; jsd keeps its critics",
    )
    parser.add_argument(
        "--data",
        help=f"fit served critics on these images: a folder, or {', '.join(NAMED_SETS)}",
    )
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where named sets lie")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="key=value",
        help="arguments of the architecture: summary_dim=64 image_channels=1",
    )


def run(args: argparse.Namespace) -> int:
    """0 with the checkpoint written; 2 where files, arguments or images cannot be used."""
    try:
        import_run(args)
    except (InterchangeError, DataError, CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def import_run(args: argparse.Namespace) -> None:
    """Read, fit critics where images are given, write the checkpoint, say what it is."""
    imported = LAYOUTS[args.layout](
        args.source, args.encoder, args.objective, read_arguments(args.arguments)
    )
    critics = {
        role: (CriticCard(name=name, arguments=critic.arguments), critic)
        for role, (name, critic) in imported.critics.items()
    }
    data = NO_DATA
    if args.data is not None:
        critics, data = fit_from_images(args, imported)
    card = describe(args, imported, {role: card for role, (card, _) in critics.items()}, data)
    networks: dict[str, Critic] = {role: critic for role, (_, critic) in critics.items()}
    save_checkpoint(args.out, card, imported.encoder, networks, draw_golden(card.preprocessing))
    print(f"Imported {', '.join(imported.files)} as {card.encoder.name}. It is {args.out}.")
    for part in imported.left_out:
        print(f"Left out: {part}, which nothing here serves.")
    print(say_critics(card, args))
    print(f"Serve it:     python -m service serve --checkpoint {args.out}")


def read_arguments(words: list[str]) -> dict[str, Any]:
    """key=value words as architecture arguments. Raises BadArguments."""
    arguments = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise BadArguments(f"{word!r} is not key=value; for example summary_dim=64.")
        arguments[key.strip()] = parse_value(text.strip())
    return arguments


def fit_from_images(
    args: argparse.Namespace, imported: Imported
) -> tuple[dict[Role, Served], DataCard]:
    """Fit JSD critics on the frozen encoder, as `train` does at its end, and measure them."""
    preprocessing = imported.preprocessing
    load = partial(load_images, args.data, preprocessing=preprocessing, root=args.root)
    with Display() as progress:
        images = load(progress=progress)
    require_enough(images)
    images = replace(images, pixels=images.pixels.to(choose_device(args.device)))
    config = TrainConfig(colour=preprocessing.colour, resize=preprocessing.resize)
    held_out, which = held_out_images(
        lambda: load(split="test", tell=lambda sentence: None),  # noqa: ARG005 - told before
        images,
    )
    encoder = imported.encoder.to(images.pixels.device)
    fitted = fit_served(config, encoder, images.pixels, held_out, which, preprocessing)
    served: dict[Role, Served] = {}
    for role, each in fitted.items():
        name = getattr(config, f"served_{role}_critic")
        card = CriticCard(name=name, arguments=each.critic.arguments, calibration=each.calibration)
        served[role] = (card, each.critic.cpu())
    data = DataCard(
        name=images.name,
        fingerprint=images.fingerprint,
        images=len(images),
        skipped=images.skipped,
    )
    return served, data


def describe(
    args: argparse.Namespace,
    imported: Imported,
    critics: Mapping[Role, CriticCard],
    data: DataCard,
) -> Card:
    """The card of the imported weights; what is not known of them is not made up."""
    recipe: dict[str, JsonValue] = {"layout": args.layout, "sha256": dict(imported.files)}
    return Card(
        name=args.name or args.out.resolve().name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        encoder=Component(name=imported.encoder_name, arguments=dict(imported.encoder.arguments)),
        critics=dict(critics),
        preprocessing=imported.preprocessing,
        objective=imported.objective,
        data=data,
        training=TrainingCard(
            steps=0,
            images_seen=0,
            epochs=0.0,
            seconds=0.0,
            device="unknown",
            precision="unknown",
            versions={name: metadata.version(name) for name in PACKAGES},
            git_commit=git_commit(),
            seed=0,
            recipe=recipe,
        ),
        origin=imported.origin,
    )


def say_critics(card: Card, args: argparse.Namespace) -> str:
    """Which critics the service will have, and what to do where there are none."""
    if not card.critics:
        return (
            "It has no critics, so /mi-score will refuse; the same command with --data FOLDER fits "
            "some on images."
        )
    roles = " and ".join(f"the {role}" for role in card.critics)
    if args.data is None:
        return f"Its critics are the files' own ({roles}); their calibration was not measured."
    return f"Its critics ({roles}) were fitted on {card.data.images:,} images of {card.data.name}."
