"""Folders of small drawn images, and of everything that is none, for the tests of loading."""

from pathlib import Path

import numpy as np
from PIL import Image

NOISE = np.random.default_rng(5)


def draw(file: Path, size: tuple[int, int] = (12, 12), colour: int | None = None) -> Path:
    """A PNG or JPEG of noise around a grey level; the folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    middle = int(NOISE.integers(40, 216)) if colour is None else colour
    noise = NOISE.integers(-20, 21, (size[1], size[0], 3))
    Image.fromarray(np.clip(middle + noise, 0, 255).astype(np.uint8)).save(file)
    return file


def two_classes(folder: Path, each: int, prefix: str = "") -> Path:
    """`each` dark and as many bright images in class folders of their own."""
    for number in range(each):
        draw(folder / prefix / "dark" / f"{number:03d}.png", (28, 28), 60)
        draw(folder / prefix / "light" / f"{number:03d}.png", (28, 28), 190)
    return folder
