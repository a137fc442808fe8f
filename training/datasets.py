"""The data sets known by name: torchvision reads them, with their official splits."""

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torchvision
from jaxtyping import Int64, UInt8

from training.folder import Split
from training.images import DataError

DEFAULT_ROOT = Path("data")  # where the named sets are looked for without --root

# "labelled" is "train" without the images that have no label (STL-10).
_Published = Literal["train", "labelled", "test"]
Arrays = tuple[
    UInt8[np.ndarray, "images height width channels"], Int64[np.ndarray, " images"], list[str]
]
_Read = Callable[[Path, _Published, bool], Arrays]  # (root, split, download)


def read_named(
    name: str, root: Path, split: Split, *, download: bool = False, labelled_only: bool = False
) -> Arrays:
    """The published pixels (N, H, W, C) uint8, labels (-1: none) and class names of a named set.

    "all" is the training split followed by the test split. Raises DataError, with the remedy,
    where the files are not there or are damaged.
    """
    train: _Published = "labelled" if labelled_only else "train"
    published: dict[Split, tuple[_Published, ...]] = {
        "train": (train,),
        "test": ("test",),
        "all": (train, "test"),
    }
    with warnings.catch_warnings():
        # The published CIFAR pickles hold an `align=0` that newer numpy warns about.
        warnings.filterwarnings("ignore", message=r"dtype\(\): align should be passed")
        try:
            parts = [NAMED_SETS[name](root, which, download) for which in published[split]]
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"{name} is not, or not whole, under {root}: {error}. "
                "Name the folder that holds it with --root, or fetch it with --download."
            ) from error
    if len(parts) == 1:
        return parts[0]
    pixels = np.concatenate([part[0] for part in parts])
    return pixels, np.concatenate([part[1] for part in parts]), parts[0][2]


def fingerprint_arrays(name: str, pixels: UInt8[np.ndarray, "..."]) -> str:
    """sha256 over the name, the shape and the published pixels, before any resizing."""
    digest = hashlib.sha256(f"{name} {pixels.shape}\n".encode())
    for start in range(0, len(pixels), 1000):
        digest.update(np.ascontiguousarray(pixels[start : start + 1000]).data)
    return digest.hexdigest()


def _cifar(published: type[torchvision.datasets.CIFAR10]) -> _Read:
    def read(root: Path, split: _Published, download: bool) -> Arrays:
        images = published(str(root), train=split != "test", download=download)
        labels = np.asarray(images.targets, dtype=np.int64)
        return np.ascontiguousarray(images.data), labels, list(images.classes)

    return read


def _read_mnist(root: Path, split: _Published, download: bool) -> Arrays:
    images = torchvision.datasets.MNIST(str(root), train=split != "test", download=download)
    labels = images.targets.numpy().astype(np.int64)
    return images.data.numpy()[..., None], labels, list(images.classes)


def _read_stl10(root: Path, split: _Published, download: bool) -> Arrays:
    names = {"train": "train+unlabeled", "labelled": "train", "test": "test"}
    images = torchvision.datasets.STL10(str(root), split=names[split], download=download)
    pixels = np.ascontiguousarray(images.data.transpose(0, 2, 3, 1))
    return pixels, np.asarray(images.labels, dtype=np.int64), list(images.classes)


NAMED_SETS: dict[str, _Read] = {
    "cifar10": _cifar(torchvision.datasets.CIFAR10),
    "cifar100": _cifar(torchvision.datasets.CIFAR100),
    "mnist": _read_mnist,
    "stl10": _read_stl10,
}
# (to train with, to evaluate with), as published; STL-10's unlabelled ones are trained with.
SIZES = {
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "mnist": (60_000, 10_000),
    "stl10": (105_000, 8_000),
}
ORIGINS: dict[Split, str] = {
    "train": "the official training split",
    "test": "the official test split",
    "all": "the official training and test splits",
}
