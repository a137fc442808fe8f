"""The stride-1 encoder of the PyTorch port that many read first: map (128, 26, 26) and 64-d Y."""

from torch import nn

from models.encoders.base import Encoder, check_positive
from models.encoders.convnet import conv_block
from models.types import Features, Images


class Dense32(Encoder):
    """Four 4x4 convolutions at stride 1 without padding: 32 -> 29 -> 26 -> 23 -> 20 pixels.

    The map is relu(bn(conv2)); Y is linear in the flattened last map (204,800 numbers). The net
    has no hidden layer between the two, so `fc` is the last map's mean over places (512).
    """

    def __init__(self, summary_dim: int = 64, image_channels: int = 3) -> None:
        check_positive(summary_dim=summary_dim, image_channels=image_channels)
        super().__init__(summary_dim=summary_dim, image_channels=image_channels)
        self.image_size, self.image_channels = 32, image_channels
        self.summary_dim, self.map_shape = summary_dim, (128, 26, 26)
        self.fc_dim, self.conv_dim = 512, 512 * 20 * 20
        self.to_map = nn.Sequential(
            nn.Conv2d(image_channels, 64, 4),  # batch normalisation begins at the second
            nn.ReLU(),
            conv_block(64, 128, 4, 1, 0),
        )
        self.to_conv = nn.Sequential(conv_block(128, 256, 4, 1, 0), conv_block(256, 512, 4, 1, 0))
        self.to_y = nn.Linear(self.conv_dim, summary_dim)

    def forward(self, images: Images) -> Features:
        """Encode normalised images (N, channels, 32, 32)."""
        self.check_images(images)
        feature_map = self.to_map(images)
        last_map = self.to_conv(feature_map)
        conv = last_map.flatten(1)
        return Features(y=self.to_y(conv), map=feature_map, fc=last_map.mean((2, 3)), conv=conv)
