"""Images in memory: from a folder, or from a data set known by name."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from models.card import Preprocessing
from models.types import Pixels
from training.datasets import DEFAULT_ROOT, NAMED_SETS, ORIGINS, fingerprint_arrays, read_named
from training.decoding import Decoded, decode_files
from training.folder import Listing, Part, Split, choose_part, class_labels, scan, shown
from training.images import NO_LABEL, DataError, ImageSet, Progress, Tell, Unusable
from training.memory import MemoryPlan, plan_memory
from training.resizing import resize_arrays

__all__ = [
    "NO_LABEL",
    "DataError",
    "ImageSet",
    "Listing",
    "MemoryPlan",
    "Progress",
    "Split",
    "Tell",
    "Unusable",
    "load_images",
    "plan_memory",
    "scan",
    "shown",
]


def load_images(
    data: str,
    *,
    preprocessing: Preprocessing,
    root: Path | None = None,
    split: Split = "train",
    download: bool = False,
    labelled_only: bool = False,
    progress: Progress | None = None,
    tell: Tell = print,
) -> ImageSet:
    """The images of `data` (a named set or a folder), resized and in memory as one tensor.

    root           where the named sets lie; default `data/`. Only `download` fetches anything
    split          "train" and "test" never share an image. A named set has its official splits; a
                   folder its `train/` and `test/` (or `val/`), else a fifth is held out
    labelled_only  leave out images without a class (STL-10's unlabelled, files beside the classes)
    tell           gets the memory plan before anything is decoded, then each unusable file
    Raises DataError, with the remedy, where nothing can be loaded.
    """
    if data in NAMED_SETS:
        images = _load_named(
            data,
            preprocessing,
            root or DEFAULT_ROOT,
            split,
            download=download,
            labelled_only=labelled_only,
            progress=progress,
            tell=tell,
        )
    else:
        images = _load_folder(data, preprocessing, split, progress, tell)
    return _only_labelled(images) if labelled_only else images


def _load_named(
    name: str,
    preprocessing: Preprocessing,
    root: Path,
    split: Split,
    *,
    download: bool,
    labelled_only: bool,
    progress: Progress | None,
    tell: Tell,
) -> ImageSet:
    images, labels, class_names = read_named(
        name, root, split, download=download, labelled_only=labelled_only
    )
    _announce(plan_memory(len(images), preprocessing), tell)
    return ImageSet(
        pixels=resize_arrays(images, preprocessing, progress),
        labels=torch.from_numpy(labels),
        paths=None,
        name=name,
        fingerprint=fingerprint_arrays(name, images),
        skipped=0,
        class_names=class_names,
        origin=ORIGINS[split],
    )


def _load_folder(
    data: str,
    preprocessing: Preprocessing,
    split: Split,
    progress: Progress | None,
    tell: Tell,
) -> ImageSet:
    folder = Path(data).expanduser()
    if not _is_there(folder):
        raise DataError(
            f"{shown(data)} is neither a folder nor a data set known by name "
            f"({', '.join(NAMED_SETS)}). Check the path or the name."
        )
    part = choose_part(scan(folder), split)
    _announce(plan_memory(len(part.files), preprocessing), tell)
    outcomes = decode_files(folder, part.files, preprocessing, progress)
    pixels, paths, fingerprint, unusable = _collect(outcomes, len(part.files), preprocessing)
    unusable = (*part.problems, *unusable)
    for sentence in explain_skipped(unusable, part.beside):
        tell(sentence)
    if not paths:
        raise DataError(nothing_usable(folder, part, unusable))
    labels, class_names = (
        (None, None) if split == "all" else class_labels(paths, part.classes_under)
    )
    return ImageSet(
        pixels=pixels,
        labels=labels,
        paths=paths,
        name=shown(folder.resolve().name),
        fingerprint=fingerprint,
        skipped=len(unusable),
        class_names=class_names,
        unusable=unusable,
        origin=part.origin,
    )


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError):  # also names that are too long or hold a zero byte
        return False
    return True


def explain_skipped(unusable: Sequence[Unusable], beside: Sequence[str]) -> list[str]:
    """A sentence for each file that is not used, and why."""
    lines = [f"Skipped {shown(each.path)}: {each.reason}." for each in unusable]
    if beside:
        names = ", ".join(shown(path) for path in beside)
        lines.append(f"Not used, because outside the folders for training and testing: {names}.")
    return lines


def nothing_usable(folder: Path, part: Part, unusable: tuple[Unusable, ...]) -> str:
    """Why no image is left, and what to do."""
    where = folder / part.classes_under
    if not unusable and not part.files:
        return f"{shown(str(where))} has no files for this ({part.origin}). Put images into it."
    return (
        f"None of the {len(unusable):,} files in {shown(str(where))} can be used as an image; "
        f"the first is {shown(unusable[0].path)}: {unusable[0].reason}. Check the path."
    )


def _announce(plan: MemoryPlan, tell: Tell) -> None:
    tell(plan.sentence)
    plan.require()


def _collect(
    outcomes: Iterable[Decoded | Unusable], count: int, preprocessing: Preprocessing
) -> tuple[Pixels, list[str], str, tuple[Unusable, ...]]:
    """Usable files one after the other in one tensor, with paths and fingerprint; and the rest.

    The tensor has room for every file; rows that stay empty are never touched, so that the
    operating system never gives them memory.
    """
    shape = (count, preprocessing.size, preprocessing.size, preprocessing.channels)
    pixels = np.empty(shape, dtype=np.uint8)
    paths: list[str] = []
    unusable: list[Unusable] = []
    fingerprint = hashlib.sha256()
    for outcome in outcomes:
        if isinstance(outcome, Unusable):
            unusable.append(outcome)
            continue
        pixels[len(paths)] = outcome.pixels
        paths.append(outcome.path)
        fingerprint.update(os.fsencode(outcome.path) + b"\0" + outcome.digest)
    used = torch.from_numpy(pixels[: len(paths)])
    return used, paths, fingerprint.hexdigest(), tuple(unusable)


def _only_labelled(images: ImageSet) -> ImageSet:
    """The images that have a class; raises DataError where none has."""
    labels, _ = images.classes()
    has_class = labels != NO_LABEL
    if bool(has_class.all()):
        return images
    kept = has_class.nonzero().flatten().tolist()
    return replace(
        images,
        pixels=images.pixels[has_class],
        labels=labels[has_class],
        paths=None if images.paths is None else [images.paths[place] for place in kept],
    )
