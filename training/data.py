"""Images in memory, from a name."""

from pathlib import Path
from typing import Literal

import torch

from models.card import Preprocessing
from training.datasets import DEFAULT_ROOT, NAMED_SETS, fingerprint_arrays, read_named
from training.images import DataError, ImageSet, Progress, Tell
from training.memory import plan_memory
from training.resizing import resize_arrays

Split = Literal["train", "test"]


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
    """The images of a named set, resized and in memory.

    `root` is where the named sets lie (default `data/`). `labelled_only` leaves out images
    without a label (STL-10's unlabelled ones). Raises DataError with the remedy.
    """
    if data not in NAMED_SETS:
        raise DataError(f"unknown data set {data!r}; known: {', '.join(NAMED_SETS)}")
    return _load_named(
        data,
        preprocessing,
        root or DEFAULT_ROOT,
        split,
        download=download,
        labelled_only=labelled_only,
        progress=progress,
        tell=tell,
    )


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
    train = split == "train"
    images, labels, class_names = read_named(
        name, root, train=train, download=download, labelled_only=labelled_only
    )
    plan = plan_memory(len(images), preprocessing)
    tell(plan.sentence)
    plan.require()
    origins = NAMED_SETS[name]
    return ImageSet(
        pixels=resize_arrays(images, preprocessing, progress),
        labels=torch.from_numpy(labels),
        paths=None,
        name=name,
        fingerprint=fingerprint_arrays(name, images),
        skipped=0,
        class_names=class_names,
        origin=origins.train_origin if train else origins.test_origin,
    )
