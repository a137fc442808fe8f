"""Occlusion: Y sees an image with a block hidden, the map sees all of it.

Y must then say what the hidden places hold (arXiv 1808.06670, section 4.4 and Table 5). The paper
asks that at least one 10 x 10 block is hidden and at least one stays visible, the receptive field
of a place at 32 pixels, and leaves the rest open; the authors' published code has no occlusion.
Here: one rectangle an image, its height and width uniform from `smallest` to the image's side less
`smallest`, and on one of its four sides, drawn at random, a strip of `smallest` pixels left free.

The hidden pixels become 0: grey, the middle of what the preprocessing gives.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from models.shares import WHOLE, Shares
from models.types import Images


def occlude(
    images: Images,
    smallest: int,
    generator: torch.Generator | None = None,
    shares: Shares = WHOLE,
) -> Images:
    """Hide one random block of each image; ValueError where no such block fits."""
    count = shares.world * len(images)
    drawn = shares.own(draw_blocks(count, images.shape[-1], smallest, generator))
    hidden = drawn.to(images.device, non_blocking=True)
    return images.masked_fill(hidden[:, None], 0.0)


def draw_blocks(
    count: int, side: int, smallest: int, generator: torch.Generator | None = None
) -> Bool[Tensor, "images side side"]:
    """Where each image's block lies: true at every hidden pixel."""
    check_occlusion(smallest, side)
    uniform = torch.rand((5, count), generator=generator, device=device_of(generator))
    length = smallest + (uniform[:2] * (side - 2 * smallest + 1)).long()  # (2, N) rows, columns
    free = (uniform[4] * 4).long()  # the strip that stays free: top, left, bottom, right
    axis = torch.arange(2, device=length.device)[:, None]
    before, after = smallest * (free == axis), smallest * (free == axis + 2)
    start = before + (uniform[2:4] * (side - length - before - after + 1)).long()
    place = torch.arange(side, device=length.device)
    inside = (place >= start[..., None]) & (place < (start + length)[..., None])  # (2, N, side)
    return inside[0][:, :, None] & inside[1][:, None, :]


def check_occlusion(smallest: int, side: int) -> None:
    """Raise ValueError unless a block of `smallest` pixels can be hidden and another one left."""
    if not 1 <= smallest <= side // 2:
        raise ValueError(
            f"occlusion is the least side of the hidden block and of what stays visible, so for"
            f" images of {side} pixels it must be from 1 to {side // 2}, not {smallest}; 0 is off"
        )


def device_of(generator: torch.Generator | None) -> torch.device:
    """Where that generator draws."""
    return generator.device if generator is not None else torch.device("cpu")
