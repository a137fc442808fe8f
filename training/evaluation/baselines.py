"""What an encoder must beat: itself before training, and principal components of the pixels."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from models.card import Component
from models.encoders import Encoder, build_encoder
from models.types import Pixels

COMPONENTS = 100
OVERSAMPLING = 20
POWER_ITERATIONS = 4
CHUNK = 4096
SEED = 1  # of both baselines: fresh, not the one the encoder was trained from


def random_encoder(component: Component) -> Encoder:
    """The checkpoint's architecture with new random weights, in eval()."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return build_encoder(component.name, **component.arguments).eval()


def principal_components(
    train: UInt8[Tensor, "train height width channels"],
    test: UInt8[Tensor, "test height width channels"],
    components: int,
    device: torch.device,
) -> tuple[Float[Tensor, "train dim"], Float[Tensor, "test dim"]]:
    """Both sets' pixels on the first principal components of the training pixels, float32.

    By randomised SVD (Halko et al., 0909.4061), as the full one of 12,288 pixels is out of reach.
    There are fewer components where there are fewer images or pixels.
    """
    flat = _flat(train).to(device)
    mean = flat.mean(dim=0)
    flat -= mean
    most = min(components, *flat.shape)
    rank = min(most + OVERSAMPLING, *flat.shape)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SEED)
        _, _, directions = torch.svd_lowrank(flat, q=rank, niter=POWER_ITERATIONS)
    axes = directions[:, :most]
    projected = [(_flat(part).to(device) - mean) @ axes for part in test.split(CHUNK)]
    return flat @ axes, torch.cat(projected)


def _flat(pixels: Pixels) -> Float[Tensor, "images values"]:
    return pixels.flatten(1).float() / 255
