"""What every encoder promises: `Features` from one pass, and all it takes to build it again."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from models.types import Features, Images


class Encoder(nn.Module):
    """An image encoder: normalised images (N, channels, size, size) -> Features.

    `arguments` holds every constructor argument, so that a checkpoint's card can rebuild it.
    """

    image_size: int
    image_channels: int
    summary_dim: int
    map_shape: tuple[int, int, int]  # C, M, M
    fc_dim: int
    conv_dim: int

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.arguments: Mapping[str, Any] = arguments

    def forward(self, images: Images) -> Features:
        """Encode normalised images."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def check_images(self, images: Images) -> None:
        """Raise ValueError unless the images have the shape this encoder was built for."""
        expected = (self.image_channels, self.image_size, self.image_size)
        if images.shape[1:] != expected:
            raise ValueError(
                f"{type(self).__name__} takes images of shape (N, {', '.join(map(str, expected))}),"
                f" not {tuple(images.shape)}; preprocess them as the checkpoint's card says"
            )


def check_positive(**numbers: object) -> None:
    """Raise ValueError naming the first argument that is not a positive integer."""
    for name, number in numbers.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ValueError(f"{name} must be a positive integer, not {number!r}")
