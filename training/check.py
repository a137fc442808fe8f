"""`check`: before training, name every file that cannot be used, and why."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.card import Preprocessing
from training.data import explain_skipped, nothing_usable
from training.datasets import DEFAULT_ROOT, NAMED_SETS, ORIGINS, read_named
from training.decoding import decode_files
from training.display import Display
from training.folder import choose_part, class_labels, scan, shown
from training.images import DataError, Progress, Tell, Unusable

# A file is decoded whole whatever size is asked for; a small one is quick to resize to.
ANY_SIZE = Preprocessing(size=8)


@dataclass(frozen=True)
class Report:
    """The usable files of a list, and the others with their reasons; in the list's order."""

    usable: tuple[str, ...]
    unusable: tuple[Unusable, ...]


def check_files(root: Path, paths: Sequence[str], progress: Progress | None = None) -> Report:
    """Decode every file below `root`, in parallel, exactly as training would."""
    usable: list[str] = []
    unusable: list[Unusable] = []
    for outcome in decode_files(root, paths, ANY_SIZE, progress):
        if isinstance(outcome, Unusable):
            unusable.append(outcome)
        else:
            usable.append(outcome.path)
    return Report(tuple(usable), tuple(unusable))


def check_folder(folder: Path, progress: Progress | None = None, tell: Tell = print) -> Report:
    """Check all that training and evaluation would read; tell what is wrong, then a summary.

    Raises DataError where nothing can be used for training.
    """
    listing = scan(folder)
    train, test = choose_part(listing, "train"), choose_part(listing, "test")
    tell(f"Checking {len(train.files) + len(test.files):,} files in {shown(str(folder))}.")
    report = check_files(folder, train.files + test.files, progress)
    unusable = (*dict.fromkeys((*train.problems, *test.problems)), *report.unusable)
    for sentence in explain_skipped(unusable, train.beside):
        tell(sentence)
    usable = frozenset(report.usable)
    for_training = [path for path in train.files if path in usable]
    if not for_training:
        raise DataError(nothing_usable(folder, train, unusable))
    tell(
        f"{len(usable):,} images can be used, {len(unusable):,} files cannot: "
        f"{len(for_training):,} to train with ({train.origin}), "
        f"{len(usable) - len(for_training):,} to evaluate with ({test.origin})."
    )
    _, class_names = class_labels(for_training, train.classes_under)
    if class_names is None:
        tell("No class folders: an encoder can be trained, but not evaluated by classes.")
    else:
        tell(f"{len(class_names):,} classes, by folder; used for evaluation only.")
    return Report(report.usable, unusable)


def check_named(name: str, root: Path, *, download: bool, tell: Tell = print) -> None:
    """Check that a named set is there and whole. Raises DataError."""
    for split in ("train", "test"):
        pixels, _, _ = read_named(name, root, split, download=download)
        tell(f"{name}: {len(pixels):,} images in {ORIGINS[split]}, all whole.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `check`."""
    parser.add_argument("--data", required=True, help=f"a folder, or {', '.join(NAMED_SETS)}")
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where named sets lie")
    parser.add_argument("--download", action="store_true", help="fetch a named set if missing")


def run(args: argparse.Namespace) -> int:
    """0 where every file can be used, 1 where some cannot, 2 where there is nothing to train on."""
    try:
        if args.data in NAMED_SETS:
            check_named(args.data, args.root, download=args.download)
            return 0
        with Display() as progress:
            report = check_folder(Path(args.data).expanduser(), progress)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if report.unusable else 0
