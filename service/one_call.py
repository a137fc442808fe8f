"""A forward pass as one call, in which torch never waits for Python's lock.

Run layer by layer, a pass takes the lock back after each operation and waits for whoever holds it:
with 32 clients on two cores a third of a pass went there (docs/adr/0005-one-call.md).
"""

import logging
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.card import Preprocessing
from models.encoders import Encoder
from models.inference import encode
from models.preprocess import normalise
from models.types import Features, Pixels

logger = logging.getLogger("infomax.engine")

Pass = Callable[[Pixels], Features]

TRACED_IMAGES = 2
PROOF_IMAGES = (1, 3)  # of batches on which the one call must give what the layers give
CLOSE = 1e-5  # relative to the largest number of an output


class _WholePass(nn.Module):
    """Pixels to every representation."""

    def __init__(self, encoder: Encoder, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.encoder, self.preprocessing = encoder, preprocessing

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Encode uint8 pixels (N, size, size, channels)."""
        features: Features = self.encoder(normalise(pixels, self.preprocessing))
        return tuple(features)


def one_call(encoder: Encoder, preprocessing: Preprocessing) -> Pass:
    """The pass of a prepared encoder on a CPU: one call, or layer by layer where that cannot be.

    An encoder whose one call would give other numbers, for whatever number of images, keeps its
    layers: the log says so.
    """

    def by_layers(pixels: Pixels) -> Features:
        return encode(encoder, pixels, preprocessing)

    try:
        script = _script(encoder, preprocessing)
        proved = all(_agree(script, by_layers, preprocessing, count) for count in PROOF_IMAGES)
    except (RuntimeError, AttributeError, TypeError, ValueError) as error:
        logger.warning("the model runs layer by layer: it cannot be one call (%s)", type(error))
        return by_layers
    if not proved:
        logger.warning("the model runs layer by layer: as one call it gives other numbers")
        return by_layers
    return lambda pixels: Features(*script(pixels))


@torch.inference_mode()
def _script(encoder: Encoder, preprocessing: Preprocessing) -> Callable[[Tensor], list[Tensor]]:
    """TorchScript by tracing: deprecated, and still the one way that needs no compiler."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecation, and of shapes that are checked in Python
        traced = torch.jit.trace(
            _WholePass(encoder, preprocessing).eval(),
            _pixels(preprocessing, TRACED_IMAGES),
            check_trace=False,
        )
        script: Callable[[Tensor], list[Tensor]] = torch.jit.freeze(traced)
    return script


@torch.inference_mode()
def _agree(
    script: Callable[[Tensor], list[Tensor]],
    by_layers: Pass,
    preprocessing: Preprocessing,
    images: int,
) -> bool:
    pixels = _pixels(preprocessing, images)
    return all(
        one.shape == other.shape
        and bool((one - other).abs().max() <= CLOSE * other.abs().max().clamp_min(1.0))
        for one, other in zip(script(pixels), by_layers(pixels), strict=True)
    )


def _pixels(preprocessing: Preprocessing, images: int) -> Pixels:
    shape = (images, preprocessing.size, preprocessing.size, preprocessing.channels)
    draw = torch.Generator().manual_seed(images)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw)
