"""`report`: one HTML page on a run."""

import argparse
import sys
from pathlib import Path

import torch

from models.atomic import write_file
from models.checkpoint import CheckpointError
from training.datasets import DEFAULT_ROOT, NAMED_SETS
from training.devices import DEVICES, choose_device
from training.display import Display
from training.images import DataError, Progress, Tell
from training.report.page import page
from training.report.shown import Shown, show
from training.report.sources import ReportError, Run, read_run, read_sample

PAGE = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `report`."""
    parser.add_argument(
        "run_folder", metavar="RUN", type=Path, help="a run's folder, or a checkpoint's"
    )
    parser.add_argument(
        "--data",
        help=f"images to show: a folder, or {', '.join(NAMED_SETS)} (default: the set that the run"
        " was trained on, where it is known by name)",
    )
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where named sets lie")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--out", type=Path, help=f"the page (default: RUN/{PAGE})")


def run(args: argparse.Namespace) -> int:
    """0 with the page written; 2 where RUN or the images cannot be used."""
    try:
        described = read_run(args.run_folder)
        out = args.out or default_place(described, args.run_folder)
        device = choose_device(args.device)
        with Display() as progress:
            shown, why_not = images_of(described, args.data, args.root, device, progress)
        write_file(out, page(described, shown, why_not).encode())
    except (ReportError, DataError, CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if why_not:
        print(why_not)
    print(f"Wrote {out}. Open it in a browser; it loads nothing from anywhere.")
    return 0


def default_place(described: Run, named: Path) -> Path:
    """Into the run's folder; beside a checkpoint, never into it."""
    if described.folder is not None:
        return described.folder / PAGE
    return named.absolute().parent / f"{named.absolute().name}-{PAGE}"


def images_of(
    described: Run,
    data: str | None,
    root: Path,
    device: torch.device,
    progress: Progress | None = None,
    tell: Tell = print,
) -> tuple[Shown | None, str]:
    """The encoder's view of a sample, or None and why.

    Raises DataError where the images that were asked for cannot be had.
    """
    if described.checkpoint is None:
        return None, "No pictures: the run has no checkpoint yet; it is written when it finishes."
    trained_on = str(described.data.get("name"))
    chosen = data or (trained_on if trained_on in NAMED_SETS else None)
    if chosen is None:
        return None, f"No pictures: name the images with --data FOLDER ({trained_on} was its name)."
    preprocessing = described.checkpoint.card.preprocessing
    try:
        sample = read_sample(chosen, preprocessing, root=root, progress=progress, tell=tell)
    except DataError as error:
        if data is not None:
            raise
        return None, f"No pictures: {error}"
    return show(described.checkpoint, sample, device, progress), ""
