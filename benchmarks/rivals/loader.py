"""The input pipeline of a torchvision tutorial: one Pillow image at a time through its transforms.

The random changes are those of training/views.py, by the names they have there.
"""

from collections.abc import Callable, Generator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from models.card import Preprocessing
from training.views import CROP_SHIFT, GREY_CHANCE, HUE_TURN, JITTER, JITTER_CHANCE

FETCH_WITHIN_S = 120.0  # a worker that takes longer hangs

Transform = Callable[[Image.Image], object]


class Photographs(Dataset[Tensor]):
    """Pixels (N, H, W, 3) given out as torchvision's CIFAR10 does: image by image, transformed."""

    def __init__(self, pixels: NDArray[np.uint8], transform: Transform) -> None:
        self._pixels = pixels
        self._transform = transform

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> Tensor:
        """One normalised image (3, H, W), changed anew each time."""
        return self._transform(Image.fromarray(self._pixels[index]))  # type: ignore[return-value]


def batches(
    pixels: NDArray[np.uint8],
    views: str,
    preprocessing: Preprocessing,
    batch_size: int,
    workers: int,
) -> Generator[Tensor]:
    """Shuffled batches (N, 3, H, W) without end; `workers` processes decode, 0: this one does."""
    finish = [transforms.ToTensor(), transforms.Normalize(preprocessing.mean, preprocessing.std)]
    steps = VIEWS[views](preprocessing.size)
    loader = DataLoader(
        Photographs(pixels, transforms.Compose([*steps, *finish])),
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        timeout=FETCH_WITHIN_S if workers else 0,
    )
    while True:
        yield from loader


def flip(size: int) -> list[Transform]:  # noqa: ARG001 - the table's signature
    """Mirrored half of the time."""
    return [transforms.RandomHorizontalFlip()]


def flip_crop_colour(size: int) -> list[Transform]:
    """Mirrored, moved by up to 4 pixels, jittered in colour, grey now and then."""
    jitter = transforms.ColorJitter(JITTER, JITTER, JITTER, HUE_TURN)
    return [
        transforms.RandomHorizontalFlip(),
        transforms.RandomCrop(size, padding=CROP_SHIFT, padding_mode="reflect"),
        transforms.RandomApply([jitter], p=JITTER_CHANCE),
        transforms.RandomGrayscale(GREY_CHANCE),
    ]


VIEWS: dict[str, Callable[[int], list[Transform]]] = {
    "flip": flip,
    "flip_crop_colour": flip_crop_colour,
}
