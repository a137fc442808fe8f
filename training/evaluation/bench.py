"""What all numbers of one evaluation share, and what each of them is taken of."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from models.card import Preprocessing
from training.evaluation.images import LabelledImages
from training.evaluation.pace import Pace, cost
from training.evaluation.plan import Plan


@dataclass(frozen=True)
class Bench:
    """Images, how they become an encoder's input, the plan, the device, and who is told."""

    images: LabelledImages
    preprocessing: Preprocessing
    plan: Plan
    device: torch.device
    pace: Pace


@dataclass(frozen=True)
class Vectors:
    """What one encoder says of every image in one representation; float32 on one device."""

    encoder: str
    representation: str
    train: Float[Tensor, "train dim"]
    test: Float[Tensor, "test dim"]
    is_summary: bool  # Y, or what stands beside it: as many components of the pixels
    note: str = ""

    def begin(self, part: str, bench: Bench) -> Callable[[int, int], None]:
        """Begin a part on these vectors; what is returned gets steps done and their number."""
        what = f"{part} on {self.representation} ({self.encoder})"
        return bench.pace.part(what, cost(part, self.train.shape[1], bench.images, bench.plan))
