"""The networks whose checkpoints `import` reads, in plain torch, with the names they have there.

Written from the layouts (named at the head of training/interchange/*.py), not from our encoders:
they are the independent side of the comparison.
"""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

CONVNETS = {  # convolutions (units, kernel, stride, padding, pooled), then the hidden layers
    "basic28x28": ([(64, 5, 2, 2, False), (128, 5, 2, 2, False)], 1),
    "basic32x32": ([(64, 4, 2, 1, False), (128, 4, 2, 1, False), (256, 4, 2, 1, False)], 1),
    "basic64x64": (
        [(64, 4, 2, 1, False), (128, 4, 2, 1, False), (256, 4, 2, 1, False), (512, 4, 2, 1, False)],
        1,
    ),
    "alex64x64": (
        [
            (96, 3, 1, 1, True),
            (192, 3, 1, 1, True),
            (384, 3, 1, 1, False),
            (384, 3, 1, 1, False),
            (192, 3, 1, 1, True),
        ],
        2,
    ),
}
MAP_LAYER = {"basic28x28": 1, "basic32x32": 1, "basic64x64": 2, "alex64x64": 2}


class Convnet(nn.Module):
    """rdevon/DIM in April 2019: `layers.layerN`, each of conv or fc, bn, ReLU and pool."""

    def __init__(self, name: str, channels: int, size: int, hidden: int, summary: int) -> None:
        super().__init__()
        convolutions, hidden_layers = CONVNETS[name]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        before, side = channels, size
        for units, kernel, stride, padding, pooled in convolutions:
            block = OrderedDict(
                conv=nn.Conv2d(before, units, kernel, stride, padding, bias=False),
                bn=nn.BatchNorm2d(units),
                ReLU=nn.ReLU(),
            )
            side = (side - kernel + 2 * padding) // stride + 1
            if pooled:
                block["pool"] = nn.MaxPool2d(3, 2)
                side = (side - 3) // 2 + 1
            layers[f"layer{len(layers)}"] = nn.Sequential(block)
            before = units
        layers[f"layer{len(layers)}"] = nn.Flatten()
        before *= side * side
        for _ in range(hidden_layers):
            block = OrderedDict(
                fc=nn.Linear(before, hidden, bias=False), bn=nn.BatchNorm1d(hidden), ReLU=nn.ReLU()
            )
            layers[f"layer{len(layers)}"] = nn.Sequential(block)
            before = hidden
        layers[f"layer{len(layers)}"] = nn.Linear(before, summary)
        self.layers = nn.Sequential(layers)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The output of every layer."""
        outputs = []
        for layer in self.layers:
            images = layer(images)
            outputs.append(images)
        return outputs


class OldBasic32(nn.Module):
    """rdevon/DIM's basic32x32 in January 2019: widths in the names, a bias before the last norm."""

    def __init__(self, hidden: int, summary: int) -> None:
        super().__init__()
        conv: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (before, units) in enumerate([(3, 64), (64, 128), (128, 256)], 1):
            name = f"({before}/{units})_{number}"
            conv[name] = nn.Sequential(
                OrderedDict(
                    [
                        (f"{name}conv", nn.Conv2d(before, units, 4, 2, 1, bias=False)),
                        (f"{name}bn", nn.BatchNorm2d(units)),
                        ("ReLU", nn.ReLU()),
                    ]
                )
            )
        first, last = f"(4096/{hidden})_1", f"({hidden}/{summary})_2"
        self.conv_layers = nn.Sequential(conv)
        self.fc_layers = nn.Sequential(
            OrderedDict(
                [
                    (
                        first,
                        nn.Sequential(
                            OrderedDict(
                                [
                                    (f"{first}fc", nn.Linear(4096, hidden)),
                                    (f"{first}bn", nn.BatchNorm1d(hidden)),
                                    ("ReLU", nn.ReLU()),
                                ]
                            )
                        ),
                    ),
                    (last, nn.Sequential(OrderedDict([(f"{last}fc", nn.Linear(hidden, summary))]))),
                ]
            )
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The summary."""
        return self.fc_layers(self.conv_layers(images).flatten(1))


class Conv1x1Net(nn.Module):
    """rdevon/DIM's network on either side of the local dot product."""

    def __init__(self, before: int, units: int) -> None:
        super().__init__()
        self.block_nonlinear = nn.Sequential(
            nn.Conv2d(before, units, 1, bias=False),
            nn.BatchNorm2d(units),
            nn.ReLU(),
            nn.Conv2d(units, units, 1),
        )
        self.block_ln = nn.Sequential(nn.Identity(), nn.LayerNorm(units), nn.Identity())
        self.linear_shortcut = nn.Conv2d(before, units, 1, bias=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Embed every place."""
        embedded = self.block_nonlinear(maps) + self.linear_shortcut(maps)
        return self.block_ln(embedded.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class BigEncoder(nn.Module):
    """rdevon/DIM's encoder with the critic networks of task `local` and others hung on it."""

    def __init__(self, encoder: nn.Module, summary: int, units: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.local_local_net = Conv1x1Net(128, units)
        self.local_global_net = Conv1x1Net(summary, units)
        self.glob_local_net = nn.Linear(3, 2)  # of another task, which nothing here serves


class DuaneEncoder(nn.Module):
    """DuaneNielsen/DeepInfomaxPytorch's encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.c0, self.c1 = nn.Conv2d(3, 64, 4), nn.Conv2d(64, 128, 4)
        self.c2, self.c3 = nn.Conv2d(128, 256, 4), nn.Conv2d(256, 512, 4)
        self.l1 = nn.Linear(512 * 20 * 20, 64)
        self.b1, self.b2, self.b3 = (nn.BatchNorm2d(units) for units in (128, 256, 512))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Summary and map."""
        maps = F.relu(self.b1(self.c1(F.relu(self.c0(images)))))
        last = F.relu(self.b3(self.c3(F.relu(self.b2(self.c2(maps))))))
        return self.l1(last.flatten(1)), maps


class DuaneLoss(nn.Module):
    """Its three critics, under the names they have in `loss*.wgt`."""

    def __init__(self) -> None:
        super().__init__()
        self.global_d = nn.ModuleDict(
            {
                "c0": nn.Conv2d(128, 64, 3),
                "c1": nn.Conv2d(64, 32, 3),
                "l0": nn.Linear(32 * 22 * 22 + 64, 512),
                "l1": nn.Linear(512, 512),
                "l2": nn.Linear(512, 1),
            }
        )
        self.local_d = nn.ModuleDict(
            {"c0": nn.Conv2d(192, 512, 1), "c1": nn.Conv2d(512, 512, 1), "c2": nn.Conv2d(512, 1, 1)}
        )
        self.prior_d = nn.ModuleDict(
            {"l0": nn.Linear(64, 1000), "l1": nn.Linear(1000, 200), "l2": nn.Linear(200, 1)}
        )

    def local(self, y: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """T at each place, of summaries and maps in pairs."""
        everywhere = y[:, :, None, None].expand(-1, -1, *maps.shape[2:])
        d = self.local_d
        hidden = F.relu(d["c0"](torch.cat((maps, everywhere), 1)))
        return d["c2"](F.relu(d["c1"](hidden))).flatten(1)

    def whole(self, y: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """T of summaries and whole maps in pairs."""
        d = self.global_d
        flat = d["c1"](F.relu(d["c0"](maps))).flatten(1)
        return d["l2"](F.relu(d["l1"](F.relu(d["l0"](torch.cat((y, flat), 1))))))


def shaken(network: nn.Module) -> nn.Module:
    """The network in eval(), with batch statistics and norms that are not the initial ones."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.3, 2.0)
    return network.eval()


def save_foreign(value: object, file: Path, zipped: bool = True) -> Path:
    """Write a file as those projects do."""
    torch.save(value, file, _use_new_zipfile_serialization=zipped)  # noqa: TID251 - a foreign file
    return file
