"""From pixels to an encoder's input, on whatever device the pixels are."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from models.card import Preprocessing
from models.types import Images, Pixels


def normalise(pixels: Pixels, preprocessing: Preprocessing) -> Images:
    """Scale uint8 pixels (N, H, W, C) to [0, 1] and standardise: float32 (N, C, H, W).

    The result keeps the pixels' layout in memory, which is channels_last. Raises ValueError for
    pixels of another number of channels.
    """
    if pixels.shape[-1] != preprocessing.channels:
        raise ValueError(
            f"the card asks for {preprocessing.channels} channels ({preprocessing.colour}), "
            f"but the pixels have {pixels.shape[-1]}; make them with models.pixels.to_pixels"
        )
    count, height, width, channels = pixels.shape
    factor, shift = factor_and_shift(preprocessing, pixels.device)
    # Rows of all columns and channels: with 3 channels innermost, a broadcast is 20 times as slow.
    rows = pixels.reshape(count, height, width * channels).float()
    rows.mul_(factor.repeat(width)).sub_(shift.repeat(width))
    return rows.reshape(pixels.shape).permute(0, 3, 1, 2)


# Kept, because a copy to a GPU in every batch would make the host wait for the device.
@lru_cache(maxsize=32)
def factor_and_shift(
    preprocessing: Preprocessing, device: torch.device
) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]]:
    """(x / 255 - mean) / std as one multiplication and one subtraction."""
    with torch.inference_mode(False):  # the first caller's mode must not bind the others
        mean = torch.tensor(preprocessing.mean, dtype=torch.float64)
        std = torch.tensor(preprocessing.std, dtype=torch.float64)
        factor, shift = 1 / (255 * std), mean / std
        return factor.to(device, torch.float32), shift.to(device, torch.float32)
