"""The AlexNet-like encoder of Deep InfoMax for Tiny ImageNet and STL-10 at 64 pixels."""

from torch import nn

from models.encoders.base import Encoder, check_positive
from models.encoders.convnet import conv_block, linear_block
from models.types import Features, Images


class Alex64x64(Encoder):
    """58.4 M parameters; map (384, 15, 15) after the third convolution, conv 9408, fc 4096."""

    def __init__(self, summary_dim: int = 64, image_channels: int = 3, fc_dim: int = 4096) -> None:
        check_positive(summary_dim=summary_dim, image_channels=image_channels, fc_dim=fc_dim)
        super().__init__(summary_dim=summary_dim, image_channels=image_channels, fc_dim=fc_dim)
        self.image_size, self.image_channels = 64, image_channels
        self.summary_dim, self.fc_dim = summary_dim, fc_dim
        self.map_shape, self.conv_dim = (384, 15, 15), 192 * 7 * 7
        self.to_map = nn.Sequential(
            conv_block(image_channels, 96, 3, 1, 1),
            nn.MaxPool2d(3, 2),
            conv_block(96, 192, 3, 1, 1),
            nn.MaxPool2d(3, 2),
            conv_block(192, 384, 3, 1, 1),
        )
        self.to_conv = nn.Sequential(
            conv_block(384, 384, 3, 1, 1),
            conv_block(384, 192, 3, 1, 1),
            nn.MaxPool2d(3, 2),
            nn.Flatten(),
        )
        self.to_fc = nn.Sequential(
            linear_block(self.conv_dim, fc_dim), linear_block(fc_dim, fc_dim)
        )
        self.to_y = nn.Linear(fc_dim, summary_dim)

    def forward(self, images: Images) -> Features:
        """Encode normalised images (N, channels, 64, 64)."""
        self.check_images(images)
        feature_map = self.to_map(images)
        conv = self.to_conv(feature_map)
        fc = self.to_fc(conv)
        return Features(y=self.to_y(fc), map=feature_map, fc=fc, conv=conv)
