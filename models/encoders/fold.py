"""Encoders on strided crops: each place of the map sees its own crop and nothing else.

The form that the paper compares with CPC (arXiv 1808.06670, section 4.3): crops at half-crop
stride, each encoded to one column, folded back into a 7 x 7 map. The critics of that comparison
have 1024 units instead of 2048 (local_units = 1024). A crop goes through the convolutions of the
plain encoder for the whole image; the paper's for 64 pixels is AlexNet-like instead.
"""

from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.encoders.base import Encoder, check_positive
from models.encoders.convnet import conv_block, linear_block
from models.types import Features, Images


class Fold(Encoder):
    """Map (widths[-1], 7, 7) of independent crops; conv is that map flattened.

    Subclasses name the image's and the crop's side, in pixels, and the widths of convolutions of
    stride 2 that leave one column of a crop.
    """

    size: ClassVar[int]
    crop: ClassVar[int]
    widths: ClassVar[tuple[int, ...]]

    def __init__(self, summary_dim: int = 64, image_channels: int = 3, fc_dim: int = 1024) -> None:
        check_positive(summary_dim=summary_dim, image_channels=image_channels, fc_dim=fc_dim)
        super().__init__(summary_dim=summary_dim, image_channels=image_channels, fc_dim=fc_dim)
        self.image_size, self.image_channels = self.size, image_channels
        self.summary_dim, self.fc_dim = summary_dim, fc_dim
        self.side = 2 * self.size // self.crop - 1
        self.map_shape = (self.widths[-1], self.side, self.side)
        self.conv_dim = self.widths[-1] * self.side**2
        self.to_column = nn.Sequential(
            *(
                conv_block(channels_in, channels_out, 4, 2, 1)
                for channels_in, channels_out in pairwise((image_channels, *self.widths))
            )
        )
        self.to_fc = linear_block(self.conv_dim, fc_dim)
        self.to_y = nn.Linear(fc_dim, summary_dim)

    def forward(self, images: Images) -> Features:
        """Encode normalised images (N, channels, size, size)."""
        self.check_images(images)
        columns = self.to_column(crops(images, self.crop)).flatten(1)
        grid = columns.unflatten(0, (-1, self.side, self.side))
        feature_map = grid.permute(0, 3, 1, 2).contiguous()
        conv = feature_map.flatten(1)
        fc = self.to_fc(conv)
        return Features(y=self.to_y(fc), map=feature_map, fc=fc, conv=conv)


class Fold32x32(Fold):
    """basic32x32's convolutions on crops of 8: map (256, 7, 7), conv 12,544."""

    size, crop, widths = 32, 8, (64, 128, 256)


class Fold64x64(Fold):
    """basic64x64's convolutions on crops of 16: map (512, 7, 7), conv 25,088."""

    size, crop, widths = 64, 16, (64, 128, 256, 512)


def crops(images: Images, side: int) -> Float[Tensor, "crops channels side side"]:
    """Cut images into crops that overlap by half, in row-major order, image by image."""
    windows = images.unfold(2, side, side // 2).unfold(3, side, side // 2)  # N C rows columns S S
    return torch.flatten(windows.permute(0, 2, 3, 1, 4, 5), 0, 2)
