"""A set of images as one tensor: from a folder, from shards, or known by name."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from models.card import Preprocessing
from models.types import Pixels
from training.datasets import DEFAULT_ROOT, NAMED_SETS, ORIGINS, fingerprint_arrays, read_named
from training.decoding import Decoded
from training.files import Folder, open_files
from training.folder import Listing, Part, Split, choose_part, class_labels, scan, shown
from training.images import NO_LABEL, DataError, ImageSet, Progress, Tell, Unusable
from training.memory import MemoryPlan, plan_memory
from training.pixel_files import PixelFile, find_pixels, map_pixels
from training.resizing import resize_arrays
from training.shards import Shards

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
    files: Folder | Shards | None = None,
    store: Path | None = None,
    stream: bool = False,
    progress: Progress | None = None,
    tell: Tell = print,
) -> ImageSet:
    """The images of `data` (a named set, a folder or shards), resized, as one tensor.

    root           where the named sets lie; default `data/`. Only `download` fetches anything
    split          "train" and "test" never share an image. A named set has its official splits; a
                   folder its `train/` and `test/` (or `val/`), else a fifth is held out
    labelled_only  leave out images without a class (STL-10's unlabelled, files beside the classes)
    files          what `open_files(data)` gave, if it was called before
    store          where decoded images go, and stay mapped, if they do not fit into memory (without
                   it they have to fit), or if `stream` asks for that. Named sets are never streamed
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
        opened = files or open_files(data)
        images = _load_files(
            opened, preprocessing, split, store=store, stream=stream, progress=progress, tell=tell
        )
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
    plan = plan_memory(len(images), preprocessing)
    tell(plan.sentence)
    plan.require()
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


def _load_files(
    files: Folder | Shards,
    preprocessing: Preprocessing,
    split: Split,
    *,
    store: Path | None,
    stream: bool,
    progress: Progress | None,
    tell: Tell,
) -> ImageSet:
    part = choose_part(files.listing, split)
    plan = plan_memory(len(part.files), preprocessing)
    tell(plan.sentence)
    streamed = store is not None and (stream or not plan.fits)
    if store is not None and streamed:
        loaded = _stream(files, part, preprocessing, store / split, progress, tell)
    else:
        plan.require()
        outcomes = files.decode(part.files, preprocessing, progress)
        loaded = _collect(outcomes, len(part.files), preprocessing)
    pixels, paths, fingerprint, unusable = loaded
    unusable = (*part.problems, *unusable)
    for sentence in explain_skipped(unusable, part.beside):
        tell(sentence)
    if not paths:
        raise DataError(nothing_usable(files.root, part, unusable))
    labels, class_names = (
        (None, None)
        if split == "all" or isinstance(files, Shards)
        else class_labels(paths, part.classes_under)
    )
    return ImageSet(
        pixels=pixels,
        labels=labels,
        paths=paths,
        name=files.name,
        fingerprint=fingerprint,
        skipped=len(unusable),
        class_names=class_names,
        unusable=unusable,
        origin=part.origin,
        streamed=streamed,
    )


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


Loaded = tuple[Pixels, list[str], str, tuple[Unusable, ...]]  # pixels, paths, fingerprint, rest


def _collect(
    outcomes: Iterable[Decoded | Unusable], count: int, preprocessing: Preprocessing
) -> Loaded:
    """Usable files one after the other in one tensor, with paths and fingerprint; and the rest.

    The tensor has room for every file; rows that stay empty are never touched, so that the
    operating system never gives them memory.
    """
    shape = (count, preprocessing.size, preprocessing.size, preprocessing.channels)
    pixels = np.empty(shape, dtype=np.uint8)
    places = itertools.count()

    def put(image: UInt8[np.ndarray, "size size channels"]) -> None:
        pixels[next(places)] = image

    paths, fingerprint, unusable = _sort_out(outcomes, put)
    return torch.from_numpy(pixels[: len(paths)]), paths, fingerprint, unusable


def _stream(
    files: Folder | Shards,
    part: Part,
    preprocessing: Preprocessing,
    store: Path,
    progress: Progress | None,
    tell: Tell,
) -> Loaded:
    """The same in a file on disk; what an earlier run decoded there is used again."""
    key = files.key(part.files)
    found = find_pixels(store, key, preprocessing)
    if found is not None:
        tell(f"Streaming {found['images']:,} images that were decoded before, from {store}.")
        unusable = tuple(Unusable(path, reason) for path, reason in found["unusable"])
        left_out = {each.path for each in unusable}
        paths = [path for path in part.files if path not in left_out]
        pixels = map_pixels(store, found["images"], preprocessing)
        return pixels, paths, found["fingerprint"], unusable
    tell(f"Streaming: images are decoded once, to {store}, and read from there.")
    with PixelFile(store, len(part.files), preprocessing) as file:
        outcomes = files.decode(part.files, preprocessing, progress)
        paths, fingerprint, unusable = _sort_out(outcomes, file.add)
        return file.keep(key, fingerprint, unusable), paths, fingerprint, unusable


def _sort_out(
    outcomes: Iterable[Decoded | Unusable],
    put: Callable[[UInt8[np.ndarray, "size size channels"]], None],
) -> tuple[list[str], str, tuple[Unusable, ...]]:
    """Put the pixels of usable files away; paths, fingerprint, and the rest with their reasons."""
    paths: list[str] = []
    unusable: list[Unusable] = []
    fingerprint = hashlib.sha256()
    for outcome in outcomes:
        if isinstance(outcome, Unusable):
            unusable.append(outcome)
            continue
        put(outcome.pixels)
        paths.append(outcome.path)
        fingerprint.update(os.fsencode(outcome.path) + b"\0" + outcome.digest)
    return paths, fingerprint.hexdigest(), tuple(unusable)


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
