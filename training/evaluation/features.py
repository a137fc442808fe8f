"""What a frozen encoder makes of every image, computed once and kept in memory."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from models.card import Preprocessing
from models.inference import encode
from models.types import Features, Pixels
from training.images import DataError, Progress
from training.memory import available_bytes

REPRESENTATIONS = ("conv", "fc", "y")
BATCH = 256  # images a forward pass
GIB = 2**30


@dataclass(frozen=True)
class LabelledFeatures:
    """Vectors of the training and the test images, with their classes.

    train, test                (N, D) float32, all on one device
    train_labels, test_labels  (N,) int64 class numbers on the same device
    classes                    how many classes there are
    """

    train: Float[Tensor, "train dim"]
    train_labels: Int64[Tensor, " train"]
    test: Float[Tensor, "test dim"]
    test_labels: Int64[Tensor, " test"]
    classes: int

    def standardised(self) -> "LabelledFeatures":
        """The same in place, each dimension with mean 0 and deviation 1 over the training images.

        The features themselves are changed: a second copy of them may not fit. A dimension that
        never changes becomes 0.
        """
        deviation, mean = torch.std_mean(self.train, dim=0, correction=0)
        scale = torch.where(deviation > 1e-6, 1 / deviation.clamp_min(1e-6), 0.0)
        for features in (self.train, self.test):
            features.sub_(mean).mul_(scale)
        return self


def encode_all(
    encoder: nn.Module,
    pixels: Pixels,
    preprocessing: Preprocessing,
    device: torch.device,
    progress: Progress | None = None,
    what: str = "encoding",
) -> dict[str, Float[Tensor, "images dim"]]:
    """conv, fc and y of every image, float32 on `device`; the encoder is as `prepare` gives it.

    Raises DataError where they would not fit in memory.
    """
    features: dict[str, Tensor] = {}
    for start in range(0, len(pixels), BATCH):
        batch = pixels[start : start + BATCH]
        encoded = encode(encoder, batch, preprocessing)
        if not features:
            features = _room_for(len(pixels), encoded, device)
        for name, room in features.items():
            room[start : start + len(batch)] = getattr(encoded, name)
        if progress is not None:
            progress(what, start + len(batch), len(pixels))
    return features


def _room_for(count: int, encoded: Features, device: torch.device) -> dict[str, Tensor]:
    """Empty tensors for the features of `count` images. Raises DataError where they do not fit."""
    dims = {name: getattr(encoded, name).shape[1] for name in REPRESENTATIONS}
    needed = 4 * count * sum(dims.values())
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_bytes()
    if needed > free:
        raise DataError(
            f"the features of {count:,} images take {needed / GIB:.1f} GiB and {free / GIB:.1f} GiB"
            " are free; evaluate on fewer images or on a machine with more memory"
        )
    return {name: torch.empty((count, dim), device=device) for name, dim in dims.items()}
