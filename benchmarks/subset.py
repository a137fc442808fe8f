"""The first images of a set as a folder of classes, so that any command can be given fewer."""

import shutil
from pathlib import Path

import torch
from PIL import Image

from models.card import Preprocessing
from training.evaluation.images import load_labelled

SIDE = 32  # pixels, of what is written
SEED = 0


def subset(data: str, root: Path, images: int, folder: Path) -> str:
    """`data` itself where it has no more training images; else a folder with so many, drawn once.

    The test split is kept whole. Raises DataError where the images have no classes.
    """
    whole = load_labelled(data, Preprocessing(size=SIDE, colour="rgb"), root=root)
    if images >= len(whole.train):
        return data
    drawn = folder / f"{whole.facts.name}-{whole.facts.fingerprint[:12]}-{images}"
    if drawn.is_dir():
        return str(drawn)
    growing = drawn.with_suffix(".part")
    shutil.rmtree(growing, ignore_errors=True)
    chosen = torch.randperm(len(whole.train), generator=torch.Generator().manual_seed(SEED))
    for split, pixels, labels in (
        ("train", whole.train[chosen[:images]], whole.train_labels[chosen[:images]]),
        ("test", whole.test, whole.test_labels),
    ):
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            file = growing / split / whole.class_names[int(label)] / f"{number:05d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.numpy()).save(file)
    growing.rename(drawn)
    return str(drawn)
