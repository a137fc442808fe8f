"""The encoder whose checkpoints `import --layout amdim` reads, with the names it has there.

Written from the layout (head of training/interchange/amdim.py), not from our encoder.
"""

import torch
from torch import nn
from torch.nn import functional as F


class MaybeNorm(nn.Module):
    """amdim-public's batch norm that may be there without being used."""

    def __init__(self, channels: int, used: bool) -> None:
        super().__init__()
        self.bn, self.used = nn.BatchNorm2d(channels), used

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.bn(maps) if self.used else maps


class Stem(nn.Module):
    """Convolution and ReLU, without a norm whatever use_bn says."""

    def __init__(self, before: int, units: int, kernel: int, stride: int, margin: int) -> None:
        super().__init__()
        self.conv, self.margin = nn.Conv2d(before, units, kernel, stride), margin

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return F.relu(self.conv(F.pad(maps, (self.margin,) * 4, mode="reflect")))


class ResNxN(nn.Module):
    """amdim-public's residual."""

    def __init__(self, before: int, units: int, width: int, stride: int, use_bn: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, units, width, stride, bias=False)
        self.conv2 = nn.Conv2d(units, units, 1, bias=False)
        self.conv3 = nn.Conv2d(before, units, width, stride) if units < before else None
        self.bn1 = MaybeNorm(units, use_bn)
        self.width, self.stride, self.grown = width, stride, units - before

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        branch = self.conv2(F.relu(self.bn1(self.conv1(maps))))
        if self.conv3 is not None:
            return branch + self.conv3(maps)
        shortcut = F.avg_pool2d(maps, self.width, self.stride)
        return branch + F.pad(shortcut, (0, 0, 0, 0, 0, self.grown))


class ResBlock(nn.Module):
    """Residuals in a row; only the first changes anything of the shape."""

    def __init__(
        self, before: int, units: int, width: int, stride: int, depth: int, use_bn: bool
    ) -> None:
        super().__init__()
        rest = [ResNxN(units, units, 1, 1, use_bn) for _ in range(depth - 1)]
        self.layer_list = nn.Sequential(ResNxN(before, units, width, stride, use_bn), *rest)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.layer_list(maps)


class AmdimEncoder(nn.Module):
    """amdim-public's encoder at 32, 64 or 128 pixels; a head stands for the ones at 5 and 7."""

    def __init__(self, size: int, n: int, r: int, depth: int, use_bn: bool) -> None:
        super().__init__()

        def block(before: int, units: int, width: int, stride: int) -> ResBlock:
            return ResBlock(before, units, width, stride, depth, use_bn)

        wide = 4 * n if size == 32 else 8 * n
        middle = [block(n, 2 * n, 4, 2), block(2 * n, 4 * n, 4, 2), block(4 * n, 8 * n, 2, 2)]
        begin = {
            32: [
                *(Stem(3, n, 3, 1, 0), ResNxN(n, n, 1, 1, use_bn)),
                *(block(n, 2 * n, 4, 2), block(2 * n, 4 * n, 2, 2)),
            ],
            64: [Stem(3, n, 3, 1, 0), *middle],
            128: [Stem(3, n, 5, 2, 2), Stem(n, n, 3, 1, 0), *middle],
        }[size]
        self.layer_list = nn.ModuleList(
            [
                *begin,
                MaybeNorm(wide, use_bn),
                block(wide, wide, 3, 1),
                block(wide, wide, 3, 1),
                ResNxN(wide, r, 3, 1, use_bn),
                MaybeNorm(r, True),
            ]
        )
        self.rkhs_block_5 = nn.Conv2d(wide, r, 1)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The last map of every side."""
        by_side = {}
        for layer in self.layer_list:
            images = layer(images)
            by_side[images.shape[2]] = images
        return [by_side[side] for side in (1, 3, 7)]


class AmdimModel(nn.Module):
    """What `torch.save` gets of amdim-public: the encoder in DataParallel, and classifiers."""

    def __init__(self, encoder: AmdimEncoder) -> None:
        super().__init__()
        self.encoder = nn.DataParallel(encoder)
        self.evaluator = nn.Linear(2, 2)
