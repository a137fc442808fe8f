"""basic32x32 on strided crops: each place sees its own 8 x 8 pixels and nothing else.

The form that the paper compares with CPC (arXiv 1808.06670, section 4.3): crops at half-crop
stride, each encoded to one column, folded back into a 7 x 7 map.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.encoders.base import Encoder, check_positive
from models.encoders.convnet import conv_block, linear_block
from models.types import Features, Images

CROP, STRIDE, SIZE = 8, 4, 32
SIDE = (SIZE - CROP) // STRIDE + 1


class Fold32x32(Encoder):
    """Map (256, 7, 7) of independent 8 x 8 crops; conv is that map flattened (12,544)."""

    def __init__(self, summary_dim: int = 64, image_channels: int = 3, fc_dim: int = 1024) -> None:
        check_positive(summary_dim=summary_dim, image_channels=image_channels, fc_dim=fc_dim)
        super().__init__(summary_dim=summary_dim, image_channels=image_channels, fc_dim=fc_dim)
        self.image_size, self.image_channels = SIZE, image_channels
        self.summary_dim, self.fc_dim = summary_dim, fc_dim
        self.map_shape, self.conv_dim = (256, SIDE, SIDE), 256 * SIDE * SIDE
        self.to_column = nn.Sequential(
            conv_block(image_channels, 64, 4, 2, 1),
            conv_block(64, 128, 4, 2, 1),
            conv_block(128, 256, 4, 2, 1),
        )
        self.to_fc = linear_block(self.conv_dim, fc_dim)
        self.to_y = nn.Linear(fc_dim, summary_dim)

    def forward(self, images: Images) -> Features:
        """Encode normalised images (N, channels, 32, 32)."""
        self.check_images(images)
        columns = self.to_column(crops(images)).flatten(1)
        grid = columns.unflatten(0, (-1, SIDE, SIDE))
        feature_map = grid.permute(0, 3, 1, 2).contiguous()
        conv = feature_map.flatten(1)
        fc = self.to_fc(conv)
        return Features(y=self.to_y(fc), map=feature_map, fc=fc, conv=conv)


def crops(images: Images) -> Float[Tensor, "crops channels 8 8"]:
    """Cut images into SIDE x SIDE overlapping crops, in row-major order, image by image."""
    windows = images.unfold(2, CROP, STRIDE).unfold(3, CROP, STRIDE)  # N C rows columns 8 8
    return torch.flatten(windows.permute(0, 2, 3, 1, 4, 5), 0, 2)
