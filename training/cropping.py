"""Random resized crops of a whole batch at once: a window of each image, drawn to full size.

AMDIM's for images of 64 pixels and more: 0.3 to 1 of the area, sides in a ratio of 0.7 to 1.4.
"""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import grid_sample

from models.types import Pixels
from training.shared_draws import batch_of, own_draws

CROP_AREA = (0.3, 1.0)  # of the image
CROP_RATIO = (0.7, 1.4)  # width / height, uniform in its logarithm
TRIES = 10  # windows drawn, of which the first that fits is taken; else the whole image

Fractions = Float[Tensor, " images"]


def resized_crop(pixels: Pixels, generator: Generator) -> Pixels:
    """A random window of each (square) image, drawn at the image's size with bicubic weights.

    Two differences from torchvision's RandomResizedCrop: windows may begin between two pixels, and
    small ones are not drawn with antialiasing, which only shrinking needs.
    """
    count, height, width, _ = pixels.shape
    boxes = draw_boxes(count, generator).to(pixels.device)
    top_N, left_N, tall_N, wide_N = boxes.unbind(1)
    rows_NH = sample_places(top_N, tall_N, height)
    cols_NW = sample_places(left_N, wide_N, width)
    grid = torch.stack(
        (
            cols_NW[:, None, :].expand(-1, height, -1),
            rows_NH[:, :, None].expand(-1, -1, width),
        ),
        dim=-1,
    )
    images = pixels.permute(0, 3, 1, 2).float()
    drawn = grid_sample(images, grid, "bicubic", padding_mode="border", align_corners=False)
    return drawn.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def draw_boxes(count: int, generator: Generator) -> Float[Tensor, "images 4"]:
    """Top, left, height and width of each window, as fractions of the image."""
    size = (4, TRIES, batch_of(count, generator))
    draws = torch.rand(size, generator=generator, device=generator.device)
    draws = own_draws(draws, generator, axis=2)
    area = CROP_AREA[0] + (CROP_AREA[1] - CROP_AREA[0]) * draws[0]
    low, high = (math.log(ratio) for ratio in CROP_RATIO)
    ratio = torch.exp(low + (high - low) * draws[1])
    wide, tall = (area * ratio).sqrt(), (area / ratio).sqrt()
    fits = (wide <= 1) & (tall <= 1)
    first = fits.int().argmax(0, keepdim=True)  # the first of the largest: 0 where none fits
    chosen = [each.gather(0, first)[0] for each in (tall, wide, draws[2], draws[3])]
    some = fits.any(0)
    tall, wide = (torch.where(some, each, 1.0) for each in chosen[:2])
    return torch.stack((chosen[2] * (1 - tall), chosen[3] * (1 - wide), tall, wide), dim=1)


def sample_places(start: Fractions, length: Fractions, size: int) -> Float[Tensor, "images size"]:
    """Where grid_sample looks along one axis: -1 to 1 over the image's edges."""
    middles = (torch.arange(size, device=start.device) + 0.5) / size
    return 2 * (start[:, None] + length[:, None] * middles) - 1
