"""A ResNet trained on ImageNet, from a file the user has: a rival that saw a million labels.

Nothing is ever downloaded. It decides no verdict; it says what a ready-made network would give.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from models.types import Pixels, Summaries
from training.images import DataError
from training.interchange.errors import InterchangeError
from training.interchange.foreign_files import read_foreign, state_of

NETWORKS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
SIDE = 224  # pixels, as these networks were trained
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in [0, 1]
BATCH = 64


@dataclass(frozen=True)
class Backbone:
    """A network without its classifier, in eval(), with its name."""

    name: str
    network: nn.Module

    @torch.inference_mode()
    def encode(self, pixels: Pixels, device: torch.device) -> Summaries:
        """The mean of its last map for every image, (N, 512) or (N, 2048)."""
        network = self.network.to(device)
        parts = [network(prepared(batch.to(device))) for batch in pixels.split(BATCH)]
        return torch.cat(parts).clone()


def load_backbone(file: Path) -> Backbone:
    """The torchvision ResNet whose state dict this is. Raises DataError for anything else."""
    try:
        state = state_of(read_foreign(file), str(file))
    except InterchangeError as error:
        raise DataError(str(error)) from error
    given = shapes(state)
    for name in NETWORKS:
        with torch.device("meta"):
            wanted = shapes(torchvision.models.get_model(name, weights=None).state_dict())
        if wanted == given:
            network = torchvision.models.get_model(name, weights=None)
            network.load_state_dict(state, strict=False)
            network.fc = nn.Identity()
            return Backbone(name, network.eval().requires_grad_(False))
    raise DataError(
        f"{file} holds the weights of none of {', '.join(NETWORKS)}; name a file that torchvision"
        " publishes for one of them, with its 1,000 classes"
    )


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Names and shapes, without the counters of batches, which older files do not have."""
    return {
        name: tuple(tensor.shape)
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }


def prepared(pixels: Pixels) -> Float[Tensor, "images 3 224 224"]:
    """Pixels of any size as these networks take them; grey images become colour."""
    scaled = pixels.permute(0, 3, 1, 2).float() / 255
    large = interpolate(scaled, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    mean = torch.tensor(MEAN, device=pixels.device)[:, None, None]
    std = torch.tensor(STD, device=pixels.device)[:, None, None]
    return (large.expand(-1, 3, -1, -1) - mean) / std
