"""How much of the image can be drawn from Y: a decoder trained on frozen Y, judged by MS-SSIM.

The decoder (Linear, then transposed 4x4 convolutions of stride 2, sigmoid) learns by squared error
on the training images' Y; the paper trains its own by squared error too (1808.06670, section 4.1).
MS-SSIM of its drawings is taken on test images.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from models.types import Pixels, Summaries
from training.evaluation.fitting import SEED, FitSettings, fit, set_aside
from training.evaluation.similarity import ms_ssim

WIDEST = 256
SMALLEST_MAP = 4  # the side that the decoder starts from, or up to twice as large
ROWS_AT_ONCE = 100

Drawn = Float[Tensor, "images channels height width"]  # values in [0, 1]


class Decoder(nn.Module):
    """Y to images of `side` x `side` pixels with values in [0, 1]."""

    def __init__(self, summary_dim: int, channels: int, side: int) -> None:
        super().__init__()
        self.side = side
        doublings = max(0, math.floor(math.log2(side / SMALLEST_MAP)))
        self.start = math.ceil(side / 2**doublings)
        widths = [max(32, WIDEST >> level) for level in range(doublings + 1)]
        self.first = nn.Linear(summary_dim, widths[0] * self.start**2)
        layers: list[nn.Module] = []
        for width, narrower in pairwise(widths):
            layers += [
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.ConvTranspose2d(width, narrower, 4, stride=2, padding=1),
            ]
        self.layers = nn.Sequential(
            *layers, nn.ReLU(), nn.Conv2d(widths[-1], channels, 3, padding=1)
        )

    def forward(self, y: Summaries) -> Drawn:
        """Draw an image for each Y; what is drawn beyond `side` is cut off."""
        maps = self.first(y).unflatten(1, (-1, self.start, self.start))
        drawn: Tensor = self.layers(maps)
        return drawn[:, :, : self.side, : self.side].sigmoid()


def reconstruction(
    train: tuple[UInt8[Tensor, "train height width channels"], Float[Tensor, "train dim"]],
    test: tuple[UInt8[Tensor, "test height width channels"], Float[Tensor, "test dim"]],
    settings: FitSettings,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Mean MS-SSIM of the test images with what the decoder draws of their Y, at most 1."""
    pixels, device = train[0], train[1].device
    deviation, mean = torch.std_mean(train[1], dim=0, correction=0)
    y, test_y = ((part - mean) / deviation.clamp_min(1e-6) for part in (train[1], test[1]))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SEED)
        decoder = Decoder(y.shape[1], pixels.shape[3], pixels.shape[1]).to(device)
        rows, held = set_aside(len(y))

        def loss(batch: Tensor) -> Tensor:
            return F.mse_loss(decoder(y[batch.to(device)]), unit(pixels[batch], device))

        def goodness() -> float:
            return -sum(float(loss(part)) * len(part) for part in held.split(ROWS_AT_ONCE))

        fit(decoder, rows, loss, goodness, settings, progress)
        with torch.inference_mode():
            total = sum(
                float(ms_ssim(decoder(part), unit(truth, device)).sum())
                for part, truth in zip(
                    test_y.split(ROWS_AT_ONCE), test[0].split(ROWS_AT_ONCE), strict=True
                )
            )
    return total / len(test_y)


def unit(pixels: Pixels, device: torch.device) -> Drawn:
    """uint8 pixels (N, H, W, C) as images (N, C, H, W) with values in [0, 1] on `device`."""
    return pixels.to(device).permute(0, 3, 1, 2).float() / 255
