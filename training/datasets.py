"""The data sets known by name: torchvision reads them, with their official splits."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torchvision
from jaxtyping import Int64, UInt8

from training.images import DataError

DEFAULT_ROOT = Path("data")  # where the named sets are looked for without --root

Arrays = tuple[
    UInt8[np.ndarray, "images height width channels"], Int64[np.ndarray, " images"], list[str]
]


@dataclass(frozen=True)
class NamedSet:
    """How a named set is read: (root, train, download, labelled only) -> pixels, labels, classes."""

    read: Callable[[Path, bool, bool, bool], Arrays]
    train_origin: str
    test_origin: str


def read_named(
    name: str, root: Path, *, train: bool, download: bool, labelled_only: bool
) -> Arrays:
    """The published pixels (N, H, W, C) uint8, labels (-1: none) and class names of a named set.

    Raises DataError, with the remedy, where the files are not there or are damaged.
    """
    with warnings.catch_warnings():
        # The published CIFAR pickles hold an `align=0` that newer numpy warns about.
        warnings.filterwarnings("ignore", message=r"dtype\(\): align should be passed")
        try:
            return NAMED_SETS[name].read(root, train, download, labelled_only)
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"{name} is not (or not whole) under {root}: {error} "
                "Name the folder that holds it with --root, or fetch it with --download."
            ) from error


def fingerprint_arrays(name: str, pixels: UInt8[np.ndarray, "..."]) -> str:
    """sha256 over the name, the shape and the published pixels, before any resizing."""
    digest = hashlib.sha256(f"{name} {pixels.shape}\n".encode())
    for start in range(0, len(pixels), 1000):
        digest.update(np.ascontiguousarray(pixels[start : start + 1000]))
    return digest.hexdigest()


def _cifar(of: type[torchvision.datasets.CIFAR10]) -> Callable[[Path, bool, bool, bool], Arrays]:
    def read(root: Path, train: bool, download: bool, labelled_only: bool) -> Arrays:  # noqa: ARG001, FBT001 - one signature for the table
        published = of(str(root), train=train, download=download)
        labels = np.asarray(published.targets, dtype=np.int64)
        return np.ascontiguousarray(published.data), labels, list(published.classes)

    return read


def _mnist(root: Path, train: bool, download: bool, labelled_only: bool) -> Arrays:  # noqa: ARG001, FBT001 - one signature for the table
    published = torchvision.datasets.MNIST(str(root), train=train, download=download)
    labels = published.targets.numpy().astype(np.int64)
    return published.data.numpy()[..., None], labels, list(published.classes)


def _stl10(root: Path, train: bool, download: bool, labelled_only: bool) -> Arrays:  # noqa: FBT001 - one signature for the table
    split = "test" if not train else "train" if labelled_only else "train+unlabeled"
    published = torchvision.datasets.STL10(str(root), split=split, download=download)
    pixels = np.ascontiguousarray(published.data.transpose(0, 2, 3, 1))
    return pixels, np.asarray(published.labels, dtype=np.int64), list(published.classes)


NAMED_SETS: dict[str, NamedSet] = {
    "cifar10": NamedSet(
        _cifar(torchvision.datasets.CIFAR10), "official train split", "official test split"
    ),
    "cifar100": NamedSet(
        _cifar(torchvision.datasets.CIFAR100), "official train split", "official test split"
    ),
    "mnist": NamedSet(_mnist, "official train split", "official test split"),
    "stl10": NamedSet(
        _stl10,
        "official train split (and, for the encoder, the unlabelled images)",
        "official test split",
    ),
}
