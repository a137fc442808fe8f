"""The plain convolutional encoders of Deep InfoMax (arXiv 1808.06670, Table 1 and Appendix)."""

from itertools import pairwise
from typing import ClassVar

from torch import nn

from models.encoders.base import Encoder, check_positive
from models.types import Features, Images


def conv_block(
    channels_in: int, channels_out: int, kernel: int, stride: int, padding: int
) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def linear_block(units_in: int, units_out: int) -> nn.Sequential:
    """Linear layer without bias, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Linear(units_in, units_out, bias=False), nn.BatchNorm1d(units_out), nn.ReLU()
    )


class ConvNet(Encoder):
    """Strided convolutions, one hidden layer, a linear summary without nonlinearity.

    Subclasses name the widths, the kernel and the stage whose output is the feature map.
    """

    size: ClassVar[int]
    widths: ClassVar[tuple[int, ...]]
    kernel: ClassVar[int]
    padding: ClassVar[int]
    map_stage: ClassVar[int]  # how many blocks stand before the feature map

    def __init__(self, summary_dim: int = 64, image_channels: int = 3, fc_dim: int = 1024) -> None:
        check_positive(summary_dim=summary_dim, image_channels=image_channels, fc_dim=fc_dim)
        super().__init__(summary_dim=summary_dim, image_channels=image_channels, fc_dim=fc_dim)
        blocks = [
            conv_block(channels_in, channels_out, self.kernel, 2, self.padding)
            for channels_in, channels_out in pairwise((image_channels, *self.widths))
        ]
        side = self.size // 2 ** len(self.widths)
        map_side = self.size // 2**self.map_stage
        self.image_size, self.image_channels = self.size, image_channels
        self.summary_dim, self.fc_dim = summary_dim, fc_dim
        self.map_shape = (self.widths[self.map_stage - 1], map_side, map_side)
        self.conv_dim = self.widths[-1] * side * side
        self.to_map = nn.Sequential(*blocks[: self.map_stage])
        self.to_conv = nn.Sequential(*blocks[self.map_stage :], nn.Flatten())
        self.to_fc = linear_block(self.conv_dim, fc_dim)
        self.to_y = nn.Linear(fc_dim, summary_dim)

    def forward(self, images: Images) -> Features:
        """Encode normalised images (N, channels, size, size)."""
        self.check_images(images)
        feature_map = self.to_map(images)
        conv = self.to_conv(feature_map)
        fc = self.to_fc(conv)
        return Features(y=self.to_y(fc), map=feature_map, fc=fc, conv=conv)


class Basic28x28(ConvNet):
    """The encoder for MNIST: map (128, 7, 7)."""

    size, widths, kernel, padding, map_stage = 28, (64, 128), 5, 2, 2


class Basic32x32(ConvNet):
    """The paper's CIFAR encoder: 4.92 M parameters, map (128, 8, 8), conv 4096, fc 1024."""

    size, widths, kernel, padding, map_stage = 32, (64, 128, 256), 4, 1, 2


class Basic64x64(ConvNet):
    """The same shape for 64 pixels: 11.2 M parameters, map (256, 8, 8)."""

    size, widths, kernel, padding, map_stage = 64, (64, 128, 256, 512), 4, 1, 3
