"""Y of a basic32x32 checkpoint with torch and safetensors alone: copy this file, it needs no other.

python load_without_infomax.py FOLDER   compares with the outputs that the checkpoint must give.
Pixels are uint8 (N, 32, 32, 3), made as card.json says under "preprocessing".
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, linear, relu


def load_encoder(folder: str) -> Callable[[Tensor], Tensor]:
    """A function from pixels (N, 32, 32, 3) to Y (N, D)."""
    card = json.loads(Path(folder, "card.json").read_text())
    weights = load_file(Path(folder, "weights.safetensors"))
    w = {name.removeprefix("encoder."): tensor.float() for name, tensor in weights.items()}
    mean, std = (torch.tensor(card["preprocessing"][name]) for name in ("mean", "std"))

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return relu(batch_norm(x, mean, var, w[f"{name}.weight"], w[f"{name}.bias"]))

    def encode(pixels: Tensor) -> Tensor:
        x = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)
        for block in ("to_map.0", "to_map.1", "to_conv.0"):
            x = norm(conv2d(x, w[f"{block}.0.weight"], stride=2, padding=1), f"{block}.1")
        x = norm(linear(x.flatten(1), w["to_fc.0.weight"]), "to_fc.1")
        return linear(x, w["to_y.weight"], w["to_y.bias"])

    return encode


if __name__ == "__main__":
    golden = load_file(Path(sys.argv[1], "golden.safetensors"))
    error = (load_encoder(sys.argv[1])(golden["images"]) - golden["y"]).abs().max()
    print(f"Y of {len(golden['y'])} images, largest error {error:.1e}")
