"""Eight images and the outputs they must give: the proof that a checkpoint still means the same."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from models.card import Preprocessing
from models.critics import Critic
from models.inference import encode
from models.pairs import directed
from models.types import Pixels

GOLDEN_IMAGES = 8


@dataclass(frozen=True)
class Golden:
    """The images, uint8 (8, size, size, channels), and their outputs by name, float32.

    outputs  "y" (8, D), "map" (8, C, M, M), and for each critic its mean logits "t.local" (8, 8)
             and mean sigmoids "p.local" (8, 8): summary of the row's image, map of the column's
    """

    images: Pixels
    outputs: Mapping[str, Tensor]


def draw_golden(preprocessing: Preprocessing) -> Pixels:
    """Draw the eight images: random colours, from coarse to fine, the same for every checkpoint.

    They are drawn, not taken from the training images, because a checkpoint may be given away.
    """
    draw = torch.Generator().manual_seed(GOLDEN_IMAGES)
    images = []
    for number in range(GOLDEN_IMAGES):
        side = 2 + number
        colours = torch.rand(1, preprocessing.channels, side, side, generator=draw)
        smooth = interpolate(colours, preprocessing.size, mode="bilinear", align_corners=True)
        images.append((smooth[0] * 255).round().to(torch.uint8).permute(1, 2, 0))
    return torch.stack(images)


@torch.inference_mode()
def golden_outputs(
    encoder: nn.Module, critics: Mapping[str, Critic], preprocessing: Preprocessing, images: Pixels
) -> dict[str, Tensor]:
    """Compute the outputs of `Golden` on the device of the encoder and the critics."""
    features = encode(encoder, images, preprocessing)
    outputs = {"y": features.y, "map": features.map}
    for role, critic in critics.items():
        scores = directed(critic(features.y, features.map))
        outputs |= {f"t.{role}": scores.t, f"p.{role}": scores.p}
    return {name: output.float().contiguous() for name, output in outputs.items()}


def largest_errors(ours: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, float]:
    """Give each output's largest absolute error, relative to its largest absolute value.

    The error of an output that is not finite is not a number, which is below no tolerance.
    """
    return {
        name: float((ours[name].cpu() - value).abs().max() / value.abs().max().clamp_min(1e-6))
        for name, value in expected.items()
    }
