"""Encoders made of well-known networks: ResNets of torchvision, and the stages of a timm model.

Y is linear in the mean of the last stage; the feature map is the deepest stage before it that has
7 x 7 places or more. Weights are always fresh: nothing is downloaded.

AMDIM asks for maps of 5 x 5 and 7 x 7 places, and here they are averages of that feature map over
overlapping windows (adaptive average pooling). That departs from AMDIM twice: these networks pad,
so a place sees beyond its window, up to the whole image; and they normalise inside, so images see
their batch. Y has no normalisation of its own.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, relu

from models.encoders.base import check_positive
from models.encoders.scales import MultiScaleEncoder, Scales
from models.registry import did_you_mean
from models.types import Features, Images

SMALL_SIDE = 64  # pixels; up to here a ResNet begins at stride 1 and without pooling
LEAST_MAP_SIDE = 7


class Backbone(MultiScaleEncoder):
    """Stages, each smaller than the one before; subclasses give them.

    map   the deepest stage but the last with 7 x 7 places or more
    fc    the mean of the last stage over its places
    conv  the last stage, flattened
    """

    def take_shapes(self, channels: Sequence[int], sides: Sequence[int]) -> None:
        """Choose the map and make Y, for stages of these channels and sides."""
        able = [n for n, side in enumerate(sides[:-1]) if side >= LEAST_MAP_SIDE]
        if not able:
            raise ValueError(
                f"at {self.image_size} pixels the stages of {type(self).__name__} have"
                f" {', '.join(map(str, sides))} places a side, and none before the last has"
                f" {LEAST_MAP_SIDE}; raise image_size"
            )
        self.map_stage = able[-1]
        self.map_shape = (channels[able[-1]], sides[able[-1]], sides[able[-1]])
        self.side_channels = dict.fromkeys((5, 7), channels[able[-1]])
        self.fc_dim, self.conv_dim = channels[-1], channels[-1] * sides[-1] ** 2
        self.to_y = nn.Linear(channels[-1], self.summary_dim)

    def stages(self, images: Images) -> list[Tensor]:
        """The map of every stage."""
        raise NotImplementedError(f"{type(self).__name__} does not define stages")

    def scales(self, images: Images) -> Scales:
        """Encode normalised images (N, channels, size, size)."""
        self.check_images(images)
        maps = self.stages(images)
        chosen, last = maps[self.map_stage], maps[-1]
        fc = last.mean((2, 3))
        features = Features(y=self.to_y(fc), map=chosen, fc=fc, conv=last.flatten(1))
        five, seven = (adaptive_avg_pool2d(chosen, side) for side in (5, 7))
        return Scales(features, five, seven)


class ResNet(Backbone):
    """A ResNet of torchvision without its classifier.

    Up to 64 pixels it begins with a 3x3 convolution at stride 1 and no pooling, as is usual for
    CIFAR, so the stages have 32, 16, 8 and 4 places a side at 32 pixels; above, as it was made.
    """

    network: ClassVar[str]  # its name in torchvision.models

    def __init__(
        self, summary_dim: int = 64, image_size: int = 32, image_channels: int = 3
    ) -> None:
        check_positive(
            summary_dim=summary_dim, image_size=image_size, image_channels=image_channels
        )
        super().__init__(
            summary_dim=summary_dim, image_size=image_size, image_channels=image_channels
        )
        from torchvision import models  # a slow import that most runs do not need

        whole: Any = getattr(models, self.network)(weights=None)
        self.image_size, self.image_channels = image_size, image_channels
        self.summary_dim = summary_dim
        self.stem = _stem(image_channels, whole.bn1.num_features, small=image_size <= SMALL_SIDE)
        layers = (whole.layer1, whole.layer2, whole.layer3, whole.layer4)
        self.layers = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(block) for block in layer)) for layer in layers
        )
        widest = whole.fc.in_features
        side = image_size if image_size <= SMALL_SIDE else _halved(_halved(image_size))
        sides = [side]
        for _ in range(3):
            sides.append(_halved(sides[-1]))
        self.take_shapes([widest // 8, widest // 4, widest // 2, widest], sides)

    def stages(self, images: Images) -> list[Tensor]:
        """The maps after each of the four layers."""
        current, maps = self.stem(images), []
        for layer in self.layers:
            current = layer(current)
            maps.append(current)
        return maps


class ResidualBlock(nn.Module):
    """A block of torchvision's with its branch as one sequence, whose norms can be folded."""

    def __init__(self, made: Any) -> None:
        super().__init__()
        pairs = [(made.conv1, made.bn1), (made.conv2, made.bn2)]
        if hasattr(made, "conv3"):
            pairs.append((made.conv3, made.bn3))
        between = [layer for pair in pairs for layer in (*pair, nn.ReLU())]
        self.branch = nn.Sequential(*between[:-1])
        self.shortcut: nn.Module = made.downsample or nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Add the shortcut to the branch, then ReLU."""
        return relu(self.branch(maps) + self.shortcut(maps))


class ResNet18(ResNet):
    """11.2 M parameters; at 32 pixels map (256, 8, 8), fc 512, conv 8,192."""

    network = "resnet18"


class ResNet50(ResNet):
    """23.6 M parameters; at 32 pixels map (1024, 8, 8), fc 2,048, conv 32,768."""

    network = "resnet50"


class Timm(Backbone):
    """Any model of timm that can give its stages as maps (timm's features_only), by its name.

    Needs the extra `timm`. Raises ValueError without it and for names that timm does not know.
    """

    def __init__(
        self,
        timm_model: str = "resnet18",
        summary_dim: int = 64,
        image_size: int = 64,
        image_channels: int = 3,
    ) -> None:
        check_positive(
            summary_dim=summary_dim, image_size=image_size, image_channels=image_channels
        )
        super().__init__(
            timm_model=timm_model,
            summary_dim=summary_dim,
            image_size=image_size,
            image_channels=image_channels,
        )
        self.image_size, self.image_channels = image_size, image_channels
        self.summary_dim = summary_dim
        made = _timm_stages(timm_model, image_channels)
        self.network: nn.Module = made
        channels: list[int] = made.feature_info.channels()
        sides = [-(-image_size // reduction) for reduction in made.feature_info.reduction()]
        self.stage_shapes = [(c, side, side) for c, side in zip(channels, sides, strict=True)]
        self.take_shapes(channels, sides)

    def stages(self, images: Images) -> list[Tensor]:
        """The maps that timm gives, of the shapes it promised."""
        maps: list[Tensor] = self.network(images)
        given = [tuple(each.shape[1:]) for each in maps]
        if given != self.stage_shapes:
            raise ValueError(
                f"timm's {self.arguments['timm_model']} gives maps of {given} where its"
                f" description says {self.stage_shapes}; choose a convolutional model"
            )
        return maps


def _stem(channels_in: int, channels_out: int, *, small: bool) -> nn.Sequential:
    """What stands before the first layer."""
    kernel, stride, padding = (3, 1, 1) if small else (7, 2, 3)
    convolution = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    pooling: list[nn.Module] = [] if small else [nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU(), *pooling)


def _halved(side: int) -> int:
    """The side after a convolution or a pooling at stride 2 that pads."""
    return -(-side // 2)


def _timm_stages(name: str, image_channels: int) -> Any:
    """A timm model that gives its stages, freshly initialised."""
    try:
        import timm  # an extra
    except ImportError as error:
        raise ValueError(
            "encoder timm needs the package timm: pip install 'infomax[timm]'"
        ) from error
    if not timm.is_model(name):  # also keeps out names that timm would look up on a hub
        raise ValueError(f"timm knows no model {name!r}{did_you_mean(name, timm.list_models())}")
    try:
        return timm.create_model(
            name, pretrained=False, features_only=True, in_chans=image_channels
        )
    except (RuntimeError, AttributeError, AssertionError, TypeError) as error:
        raise ValueError(f"timm's {name} cannot give its stages as maps ({error})") from error
