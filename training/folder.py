"""What lies in a folder of images: the files, their classes, and which are for testing.

Paths are strings relative to the folder, with `/` between names. A name that is not UTF-8 keeps
its bytes through surrogate escapes, as `os` gives them; `shown` makes any path fit to print.
"""

import errno
import hashlib
import os
import stat
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor

from training.images import NO_LABEL, DataError, Unusable

Split = Literal["train", "test", "all"]

TRAIN_FOLDER = "train"
TEST_FOLDERS = ("test", "val")  # the first that is there
HELD_OUT_SHARE = 0.2
FEWEST_CLASSES = 2


@dataclass(frozen=True)
class Listing:
    """The files below `root`, sorted by the bytes of their paths, and what could not be listed."""

    root: Path
    files: tuple[str, ...]
    problems: tuple[Unusable, ...] = ()


@dataclass(frozen=True)
class Part:
    """The files of one split; `classes_under` is the folder whose sub-folders are the classes.

    `beside` are files that belong to no split: they lie next to `train/` and `test/`.
    """

    files: tuple[str, ...]
    problems: tuple[Unusable, ...]
    classes_under: str
    beside: tuple[str, ...]
    origin: str


def scan(path: Path) -> Listing:
    """Every file below `path` but hidden ones; symbolic links are followed, each folder once.

    Folders reached by a link come last, so that a folder with two names is read under its real
    one. Raises DataError where `path` is not a folder that can be read.
    """
    _require_folder(path)
    files: list[str] = []
    problems: list[Unusable] = []
    seen: set[tuple[int, int]] = set()
    real, linked = deque([""]), deque[str]()
    while real or linked:
        folder = real.popleft() if real else linked.popleft()
        try:
            status = (path / folder).stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path / folder) as entries:
                for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
                    _sort_in(entry, path, folder, files, problems, real, linked)
        except OSError as error:
            problems.append(Unusable(folder, f"folder cannot be read: {error.strerror}"))
    files.sort(key=os.fsencode)
    return Listing(path, tuple(files), tuple(problems))


def choose_part(listing: Listing, split: Split) -> Part:
    """The files of a split.

    A folder with `train/` and `test/` (or `val/`) is split that way. Any other is split by a hash
    of each path, a fifth of the files for testing: adding files moves none from one side to the
    other. "all" is every file.
    """
    folders = {path.split("/", 1)[0] for path in listing.files if "/" in path}
    test_folder = next((name for name in TEST_FOLDERS if name in folders), None)
    if TRAIN_FOLDER in folders and test_folder is not None and split != "all":
        return _layout_part(listing, TRAIN_FOLDER if split == "train" else test_folder)
    if split == "all":
        return Part(listing.files, listing.problems, "", (), "all images of the folder")
    test = split == "test"
    files = tuple(path for path in listing.files if _held_out(path) == test)
    share = f"{HELD_OUT_SHARE:.0%}" if test else f"{1 - HELD_OUT_SHARE:.0%}"
    origin = f"{share} of the folder's images, chosen by a hash of each path"
    return Part(files, listing.problems, "", (), origin)


def class_labels(
    paths: Sequence[str], classes_under: str = ""
) -> tuple[Int64[Tensor, " images"] | None, list[str] | None]:
    """Each path's class: the first folder below `classes_under`; names sorted.

    (None, None) with fewer than two such folders; a file outside any of them has `NO_LABEL`.
    """
    prefix = f"{classes_under}/" if classes_under else ""
    below = [path.removeprefix(prefix) for path in paths]
    names = sorted({path.split("/", 1)[0] for path in below if "/" in path}, key=os.fsencode)
    if len(names) < FEWEST_CLASSES:
        return None, None
    index = {name: place for place, name in enumerate(names)}
    labels = [index[path.split("/", 1)[0]] if "/" in path else NO_LABEL for path in below]
    return torch.tensor(labels, dtype=torch.int64), [shown(name) for name in names]


def shown(path: str) -> str:
    """The path as one line of valid UTF-8: other bytes and control characters as escapes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _require_folder(path: Path) -> None:
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError) as error:  # also names that are too long or hold a zero byte
        raise DataError(f"{shown(str(path))}: there is no such folder. Check the path.") from error
    if not stat.S_ISDIR(kind):
        raise DataError(
            f"{shown(str(path))} is not a folder. Give the folder that holds the images; "
            "unpack an archive first."
        )
    if not os.access(path, os.R_OK | os.X_OK):
        raise DataError(f"{shown(str(path))} may not be read by this user. Change its permissions.")


def _sort_in(
    entry: os.DirEntry[str],
    root: Path,
    folder: str,
    files: list[str],
    problems: list[Unusable],
    real: deque[str],
    linked: deque[str],
) -> None:
    """Put one entry of a folder where it belongs."""
    if entry.name.startswith("."):
        return
    relative = f"{folder}/{entry.name}" if folder else entry.name
    if entry.is_dir(follow_symlinks=False):
        real.append(relative)
    elif entry.is_file(follow_symlinks=False):
        files.append(relative)
    elif not entry.is_symlink():
        problems.append(Unusable(relative, "not a file: a pipe, socket or device"))
    else:
        try:
            kind = entry.stat().st_mode
        except OSError as error:
            problems.append(Unusable(relative, _broken_link(error)))
            return
        if stat.S_ISREG(kind):
            files.append(relative)
        elif not stat.S_ISDIR(kind):
            problems.append(Unusable(relative, "symbolic link to a pipe, socket or device"))
        elif root.resolve().is_relative_to(Path(entry.path).resolve()):
            problems.append(
                Unusable(relative, "symbolic link to a folder that contains it: a loop")
            )
        else:
            linked.append(relative)


def _broken_link(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "symbolic link that leads back to itself"
    if error.errno == errno.ENOENT:
        return "broken symbolic link: what it points to does not exist"
    return f"symbolic link that cannot be followed: {error.strerror}"


def _layout_part(listing: Listing, folder: str) -> Part:
    """The files below `train/` or `test/`, and the names of those beside them."""
    inside = f"{folder}/"
    return Part(
        files=tuple(path for path in listing.files if path.startswith(inside)),
        problems=tuple(
            problem
            for problem in listing.problems
            if problem.path == folder or problem.path.startswith(inside)
        ),
        classes_under=folder,
        beside=tuple(path for path in listing.files if "/" not in path),
        origin=f"the folder's own {folder}/ images",
    )


def _held_out(path: str) -> bool:
    digest = hashlib.sha256(b"held out\0" + os.fsencode(path)).digest()
    return int.from_bytes(digest[:8]) < HELD_OUT_SHARE * 2**64
