"""Some images of a set as a folder of classes, so that any command can be given fewer."""

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

    There are at most as many test images. Raises DataError where the images have no classes.
    """
    whole = load_labelled(data, Preprocessing(size=SIDE, colour="rgb"), root=root)
    if images >= len(whole.train):
        return data
    drawn = folder / f"{whole.facts.name}-{whole.facts.fingerprint[:12]}-{images}"
    if drawn.is_dir():
        return str(drawn)
    growing = drawn.with_suffix(".part")
    shutil.rmtree(growing, ignore_errors=True)
    for split, pixels, labels in (
        ("train", whole.train, whole.train_labels),
        ("test", whole.test, whole.test_labels),
    ):
        generator = torch.Generator().manual_seed(SEED)
        chosen = torch.randperm(len(pixels), generator=generator)[:images]
        for number, (image, label) in enumerate(zip(pixels[chosen], labels[chosen], strict=True)):
            file = growing / split / whole.class_names[int(label)] / f"{number:05d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.numpy()).save(file)
    growing.rename(drawn)
    return str(drawn)
