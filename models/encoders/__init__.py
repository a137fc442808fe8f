"""Encoders by name."""

from typing import Any

from models.encoders.alexnet import Alex64x64
from models.encoders.amdim import Amdim32, Amdim64, Amdim128
from models.encoders.backbone import ResNet18, ResNet50, Timm
from models.encoders.base import Encoder
from models.encoders.convnet import Basic28x28, Basic32x32, Basic64x64
from models.encoders.dense import Dense32
from models.encoders.fold import Fold32x32, Fold64x64
from models.registry import build

ENCODERS: dict[str, type[Encoder]] = {
    "basic28x28": Basic28x28,
    "basic32x32": Basic32x32,
    "basic64x64": Basic64x64,
    "alex64x64": Alex64x64,
    "dense32": Dense32,
    "fold32x32": Fold32x32,
    "fold64x64": Fold64x64,
    "amdim32": Amdim32,
    "amdim64": Amdim64,
    "amdim128": Amdim128,
    "resnet18": ResNet18,
    "resnet50": ResNet50,
    "timm": Timm,
}

__all__ = ["ENCODERS", "Encoder", "build_encoder"]


def build_encoder(name: str, **arguments: Any) -> Encoder:
    """Build the encoder of that name; ValueError for an unknown name or bad arguments."""
    return build("encoder", ENCODERS, name, arguments)
