"""Arrays of equally sized images, brought to the size and colours an encoder takes."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from models.card import Preprocessing
from models.pixels import to_pixels
from models.types import Pixels
from training.images import Progress

CHUNK = 1000  # images between two reports of progress


def resize_arrays(
    images: UInt8[np.ndarray, "images rows columns shades"],
    preprocessing: Preprocessing,
    progress: Progress | None = None,
) -> Pixels:
    """(N, h, w, 1 or 3) uint8 to (N, size, size, channels), by the rule the service applies.

    Images that already have the size and the channels are passed on byte for byte.
    """
    size, channels = preprocessing.size, preprocessing.channels
    if images.shape[1:] == (size, size, channels):
        return torch.from_numpy(images)
    pixels = torch.empty((len(images), size, size, channels), dtype=torch.uint8)
    rows = pixels.numpy()

    def resize(place: int) -> None:
        image = images[place]
        opened = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        rows[place] = to_pixels(opened, preprocessing)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for start in range(0, len(images), CHUNK):
            stop = min(start + CHUNK, len(images))
            list(pool.map(resize, range(start, stop)))
            if progress is not None:
                progress("resizing", stop, len(images))
    return pixels
