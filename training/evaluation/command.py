"""`evaluate`: the table into the checkpoint's card, onto the screen and into a Markdown file."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from models.checkpoint import CheckpointError, read_card, write_card
from training.datasets import DEFAULT_ROOT, NAMED_SETS
from training.devices import DEVICES, choose_device
from training.display import Display
from training.evaluation.evaluate import evaluate
from training.evaluation.probes import BATCH, EPOCHS, MOST_EPOCHS
from training.evaluation.report import to_markdown
from training.images import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `evaluate`."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="a checkpoint folder")
    parser.add_argument(
        "--data",
        required=True,
        help=f"a folder with a sub-folder a class, or {', '.join(NAMED_SETS)}",
    )
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where named sets lie")
    parser.add_argument("--download", action="store_true", help="fetch a named set if missing")
    parser.add_argument(
        "--probe-epochs",
        type=_at_least(1),
        help=f"epochs a probe is trained; the paper: 150 (default: {EPOCHS} for 50,000 images or "
        f"more, up to {MOST_EPOCHS} for fewer)",
    )
    parser.add_argument(
        "--probe-batch",
        type=_at_least(2),
        default=BATCH,
        help="batch of a probe; the paper: 64 (default: %(default)s)",
    )
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")


def run(args: argparse.Namespace) -> int:
    """0 with the table in the card; 2 where the checkpoint or the images cannot be used."""
    try:
        read_card(args.checkpoint)  # a bad checkpoint is told before the images are read
        with Display() as progress:
            evaluation = evaluate(
                args.checkpoint,
                args.data,
                root=args.root,
                download=args.download,
                probe_epochs=args.probe_epochs,
                probe_batch=args.probe_batch,
                device=choose_device(args.device),
                progress=progress,
            )
        card = read_card(args.checkpoint).model_copy(update={"evaluation": evaluation})
        write_card(args.checkpoint, card)
    except (DataError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = to_markdown(card.name, evaluation)
    print(text)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")
    return 0


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return number
