"""What AMDIM asks of an encoder: maps of 5 x 5 and 7 x 7 places beside the summary, in one pass."""

from collections.abc import Mapping
from typing import NamedTuple

from models.encoders.base import Encoder
from models.types import FeatureMaps, Features, Images


class Scales(NamedTuple):
    """The features of one pass with the maps at AMDIM's scales; the scale of 1 place is y.

    five   (images, C5, 5, 5)
    seven  (images, C7, 7, 7)
    """

    features: Features
    five: FeatureMaps
    seven: FeatureMaps


class MultiScaleEncoder(Encoder):
    """An encoder that any method can train: DIM asks for its Features, AMDIM for its Scales.

    side_channels  channels of the 5 x 5 and of the 7 x 7 map, by their side
    """

    side_channels: Mapping[int, int]

    def scales(self, images: Images) -> Scales:
        """Encode normalised images, with the maps that AMDIM's tasks lie between."""
        raise NotImplementedError(f"{type(self).__name__} does not define scales")

    def forward(self, images: Images) -> Features:
        """Encode normalised images."""
        return self.scales(images).features
