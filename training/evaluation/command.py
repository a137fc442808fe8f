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
from training.evaluation.plan import PARTS, Request
from training.evaluation.probes import BATCH, EPOCHS, MOST_EPOCHS, PAPER_BATCH, PAPER_EPOCHS
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
        "--what",
        choices=tuple(PARTS),
        default="quick",
        help="quick: 200-unit and linear probe, kNN; paper: the paper's 200-unit probe to the "
        "letter, linear SVM, mutual information, dependence of Y's dimensions, MS-SSIM of a "
        "decoder (takes several times as long); all: both, and retrieval (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds",
        type=_at_least(1),
        default=Request.seeds,
        help="seeds of each probe; several give mean and spread (default: %(default)s)",
    )
    parser.add_argument(
        "--probe-epochs",
        type=_at_least(1),
        help=f"epochs a probe is trained (default: quick, {EPOCHS} for 50,000 images or more, up "
        f"to {MOST_EPOCHS} for fewer; paper, {PAPER_EPOCHS})",
    )
    parser.add_argument(
        "--probe-batch",
        type=_at_least(2),
        help=f"batch of a probe (default: quick, {BATCH}; paper, {PAPER_BATCH})",
    )
    parser.add_argument(
        "--steps",
        type=_at_least(1),
        default=Request.steps,
        help="updates of each critic and decoder of paper and all (default: %(default)s)",
    )
    _add_search(parser)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")


def _add_search(parser: argparse.ArgumentParser) -> None:
    """What is searched for by similarity."""
    parser.add_argument(
        "--retrieval",
        action="store_true",
        help="recall@1 and mAP of the test images, those of one class belonging together",
    )
    parser.add_argument(
        "--groups",
        type=Path,
        help="recall@1 and mAP of all images, by a CSV file: its first column is an image's path "
        "in the data folder, with or without suffix",
    )
    parser.add_argument(
        "--group-by",
        type=lambda text: tuple(text.split(",")),
        default=Request.group_by,
        help="the columns of --groups that make a group, such as class,track (default: group)",
    )
    parser.add_argument(
        "--duplicates",
        type=Path,
        help="precision and recall of near-duplicates between test and training images, by a CSV "
        "file with columns TestID, TrainID, Judgment, as ciFAIR's; for a named set",
    )


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
                request=_request(args),
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


def _request(args: argparse.Namespace) -> Request:
    return Request(
        what=args.what,
        probe_epochs=args.probe_epochs,
        probe_batch=args.probe_batch,
        seeds=args.seeds,
        steps=args.steps,
        retrieval=args.retrieval,
        duplicates=args.duplicates,
        groups=args.groups,
        group_by=args.group_by,
    )


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return number
