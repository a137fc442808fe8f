"""The encoders of AMDIM (arXiv 1906.00910 and its authors' code, amdim-public) at 32, 64, 128 px.

No convolution is padded (but the first of 128 pixels), so that a place sees its own window and
nothing else, and nothing is normalised inside unless use_bn: only Y is. Each residual branch ends
in a convolution that starts at 0, so a fresh network averages its inputs (in the spirit of fixup).

The layers, in the authors' numbering (`layer_list.N`): `to_map` holds all up to the 7 x 7 map,
`to_five`, `to_three` and `to_one` the three stages after it, `norm` the last normalisation.
"""

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from models.encoders.base import check_positive
from models.encoders.scales import MultiScaleEncoder, Scales
from models.types import Features, Images

NORMS = ("batch", "none")

Before = Float[Tensor, "images channels_in side_in side_in"]
After = Float[Tensor, "images channels_out side_out side_out"]


class Residual(nn.Module):
    """Convolution - ReLU - 1x1 convolution (starts at 0), plus a shortcut without weights.

    The shortcut averages over the kernel's window and fills new channels with zeros; where
    channels get fewer it is a convolution.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int, use_bn: bool
    ) -> None:
        super().__init__()
        self.grown = max(0, channels_out - channels_in)
        self.hidden = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, kernel, stride, bias=False),
            *norm_if(use_bn, channels_out),
            nn.ReLU(),
        )
        self.out = nn.Conv2d(channels_out, channels_out, 1, bias=False)
        nn.init.zeros_(self.out.weight)
        self.shortcut: nn.Module = nn.Identity()
        if channels_out < channels_in:
            self.shortcut = nn.Conv2d(channels_in, channels_out, kernel, stride)
        elif kernel > 1:
            self.shortcut = nn.AvgPool2d(kernel, stride)

    def forward(self, maps: Before) -> After:
        """Run both branches."""
        return self.finish(self.hidden(maps), maps)

    def finish(self, hidden: After, maps: Before) -> After:
        """Join the hidden layer, computed before, with the shortcut."""
        shortcut: Tensor = self.shortcut(maps)
        return self.out(hidden) + pad(shortcut, (0, 0, 0, 0, 0, self.grown))


def block(
    channels_in: int, channels_out: int, kernel: int, stride: int, depth: int, use_bn: bool
) -> nn.Sequential:
    """One residual that changes the map's side, then depth - 1 of 1x1."""
    first = Residual(channels_in, channels_out, kernel, stride, use_bn)
    rest = [Residual(channels_out, channels_out, 1, 1, use_bn) for _ in range(depth - 1)]
    return nn.Sequential(first, *rest)


def stem(
    channels_in: int, channels_out: int, use_bn: bool, kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    """Convolution and ReLU; the 5x5 one of 128 pixels reflects at the borders."""
    padding = 2 if kernel == 5 else 0
    mode: Literal["reflect", "zeros"] = "reflect" if padding else "zeros"
    convolution = nn.Conv2d(
        channels_in, channels_out, kernel, stride, padding, bias=not use_bn, padding_mode=mode
    )
    return nn.Sequential(convolution, *norm_if(use_bn, channels_out), nn.ReLU())


class AmdimEncoder(MultiScaleEncoder):
    """Y is the output at 1 x 1, normalised over the batch; the map is the one of 7 x 7 places.

    conv  the last map, 3 x 3, flattened: what the 1 x 1 output is computed from
    fc    the hidden layer (after its ReLU) of the last residual, the one before Y
    The map and conv are sums of residual branches and so have both signs.

    channels  n, of the first stage    rkhs    r, dimensions of Y
    depth     residuals in a block     use_bn  normalise inside too (the authors' default is not to)
    norm      "batch": Y is batch-normalised, as the authors do; "none": no image sees another
    """

    size: ClassVar[int]

    def __init__(
        self,
        channels: int = 128,
        rkhs: int = 1024,
        depth: int = 3,
        use_bn: bool = False,
        norm: str = "batch",
        image_channels: int = 3,
    ) -> None:
        check_positive(channels=channels, rkhs=rkhs, depth=depth, image_channels=image_channels)
        check_norm(norm, use_bn)
        super().__init__(
            channels=channels,
            rkhs=rkhs,
            depth=depth,
            use_bn=use_bn,
            norm=norm,
            image_channels=image_channels,
        )
        stages, wide = self.stages(channels, depth, use_bn, image_channels)
        self.image_size, self.image_channels = self.size, image_channels
        self.summary_dim, self.fc_dim, self.conv_dim = rkhs, rkhs, wide * 9
        self.map_shape, self.side_channels = (wide, 7, 7), {5: wide, 7: wide}
        self.to_map = nn.Sequential(*stages, *norm_if(use_bn, wide))
        self.to_five = block(wide, wide, 3, 1, depth, use_bn)
        self.to_three = block(wide, wide, 3, 1, depth, use_bn)
        self.to_one = Residual(wide, rkhs, 3, 1, use_bn)
        self.norm = nn.BatchNorm1d(rkhs) if norm == "batch" else nn.Identity()

    def stages(
        self, channels: int, depth: int, use_bn: bool, image_channels: int
    ) -> tuple[list[nn.Module], int]:
        """The stages up to the map of 7 x 7 places, and its channels."""
        raise NotImplementedError(f"{type(self).__name__} does not define stages")

    def scales(self, images: Images) -> Scales:
        """Encode normalised images (N, channels, size, size)."""
        self.check_images(images)
        seven = self.to_map(images)
        five = self.to_five(seven)
        three = self.to_three(five)
        hidden = self.to_one.hidden(three)
        y = self.norm(self.to_one.finish(hidden, three).flatten(1))
        features = Features(y=y, map=seven, fc=hidden.flatten(1), conv=three.flatten(1))
        return Scales(features, five, seven)


class Amdim32(AmdimEncoder):
    """Maps of 30, 30, 14, 7, 5, 3 and 1; up to 4 n channels."""

    size = 32

    def stages(
        self, channels: int, depth: int, use_bn: bool, image_channels: int
    ) -> tuple[list[nn.Module], int]:
        """32 -> 30 -> 14 -> 7."""
        return [
            stem(image_channels, channels, use_bn),
            Residual(channels, channels, 1, 1, use_bn),
            block(channels, 2 * channels, 4, 2, depth, use_bn),
            block(2 * channels, 4 * channels, 2, 2, depth, use_bn),
        ], 4 * channels


class Amdim64(AmdimEncoder):
    """Maps of 62, 30, 14, 7, 5, 3 and 1; up to 8 n channels."""

    size = 64

    def stages(
        self, channels: int, depth: int, use_bn: bool, image_channels: int
    ) -> tuple[list[nn.Module], int]:
        """64 -> 62 -> 30 -> 14 -> 7."""
        return [
            stem(image_channels, channels, use_bn),
            *wide_stages(channels, depth, use_bn),
        ], 8 * channels


class Amdim128(AmdimEncoder):
    """Maps of 64, 62, 30, 14, 7, 5, 3 and 1; up to 8 n channels."""

    size = 128

    def stages(
        self, channels: int, depth: int, use_bn: bool, image_channels: int
    ) -> tuple[list[nn.Module], int]:
        """128 -> 64 -> 62 -> 30 -> 14 -> 7."""
        return [
            stem(image_channels, channels, use_bn, kernel=5, stride=2),
            stem(channels, channels, use_bn),
            *wide_stages(channels, depth, use_bn),
        ], 8 * channels


def wide_stages(channels: int, depth: int, use_bn: bool) -> list[nn.Module]:
    """62 -> 30 -> 14 -> 7 pixels, n -> 8 n channels."""
    return [
        block(channels, 2 * channels, 4, 2, depth, use_bn),
        block(2 * channels, 4 * channels, 4, 2, depth, use_bn),
        block(4 * channels, 8 * channels, 2, 2, depth, use_bn),
    ]


def norm_if(wanted: bool, channels: int) -> list[nn.Module]:
    """A batch norm to stand in a sequence, or none."""
    return [nn.BatchNorm2d(channels)] if wanted else []


def check_norm(norm: str, use_bn: bool) -> None:
    """Raise ValueError or TypeError for what is neither, from a card edited by hand."""
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, not {norm!r}")
    if not isinstance(use_bn, bool):
        raise TypeError(f"use_bn must be true or false, not {use_bn!r}")
