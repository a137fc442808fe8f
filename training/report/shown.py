"""The encoder at work on the sample: summaries of all, feature maps of those that are shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from models.card import Preprocessing
from models.checkpoint import Checkpoint
from models.inference import encode, prepare
from models.types import FeatureMaps, Summaries
from training.images import Progress
from training.report.sources import Sample

BATCH = 256


@dataclass(frozen=True)
class Shown:
    """A sample with its summaries, (images, D) on the CPU; maps are made when they are asked for.

    Where the prepared encoder came from is the checkpoint's card.
    """

    sample: Sample
    y: Summaries
    encoder: nn.Module
    preprocessing: Preprocessing

    def maps(self, rows: Sequence[int]) -> FeatureMaps:
        """The feature maps of some images, in their order, on the CPU."""
        features = encode(self.encoder, self.sample.pixels[list(rows)], self.preprocessing)
        return features.map.float().cpu()


def show(
    checkpoint: Checkpoint, sample: Sample, device: torch.device, progress: Progress | None = None
) -> Shown:
    """Encode the sample."""
    encoder, preprocessing = prepare(checkpoint.encoder).to(device), checkpoint.card.preprocessing
    parts = []
    for start in range(0, len(sample), BATCH):
        batch = sample.pixels[start : start + BATCH]
        parts.append(encode(encoder, batch, preprocessing).y.float().cpu())
        if progress is not None:
            progress("encoding", start + len(batch), len(sample))
    return Shown(sample, torch.cat(parts), encoder, preprocessing)
