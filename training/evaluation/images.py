"""The labelled images of an evaluation: a training and a test split with the same classes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from models.card import EvaluationData, Preprocessing
from training.data import load_images
from training.images import DataError, ImageSet, Progress, Tell


@dataclass(frozen=True)
class LabelledImages:
    """Pixels and class numbers of both splits; the origins say which images they are.

    The paths are relative to the data folder; None for the named sets, whose order is published.
    """

    train: UInt8[Tensor, "train height width channels"]
    train_labels: Int64[Tensor, " train"]
    train_origin: str
    test: UInt8[Tensor, "test height width channels"]
    test_labels: Int64[Tensor, " test"]
    test_origin: str
    class_names: list[str]
    facts: EvaluationData
    train_paths: list[str] | None = None
    test_paths: list[str] | None = None


def load_labelled(
    data: str,
    preprocessing: Preprocessing,
    *,
    root: Path | None = None,
    download: bool = False,
    progress: Progress | None = None,
    tell: Tell = print,
) -> LabelledImages:
    """Both splits of `data`, only images with a class, class numbers by the training split's names.

    Raises DataError where there are no classes, or a test image has one that training lacks.
    """
    train, test = (
        load_images(
            data,
            preprocessing=preprocessing,
            root=root,
            split=split,
            download=download,
            labelled_only=True,
            progress=progress,
            tell=tell,
        )
        for split in ("train", "test")
    )
    return pair(train, test)


def pair(train: ImageSet, test: ImageSet) -> LabelledImages:
    """The two splits with one numbering of classes. Raises DataError for a class train lacks."""
    train_labels, class_names = train.classes()
    test_labels, test_names = test.classes()
    missing = [name for name in test_names if name not in class_names]
    if missing:
        raise DataError(
            f"{test.name} has test images of classes that no training image has: "
            f"{', '.join(missing[:10])}. Give both splits the same class folders."
        )
    number = torch.tensor([class_names.index(name) for name in test_names])
    fingerprint = hashlib.sha256(f"{train.fingerprint}{test.fingerprint}".encode())
    return LabelledImages(
        train=train.pixels,
        train_labels=train_labels,
        train_origin=train.origin,
        test=test.pixels,
        test_labels=number[test_labels],
        test_origin=test.origin,
        class_names=class_names,
        facts=EvaluationData(
            name=train.name,
            fingerprint=fingerprint.hexdigest(),
            train=len(train),
            test=len(test),
        ),
        train_paths=train.paths,
        test_paths=test.paths,
    )
