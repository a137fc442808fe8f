"""What a step draws: its rows, views, negatives and prior sample, from the seed and the step alone.

Nothing else is random in training, so a run that is resumed repeats itself bit for bit.
"""

from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor

from training.config import TrainConfig

Rows = Int64[Tensor, " rows"]
Stream = Literal["order", "views", "negatives", "prior"]
STREAMS: dict[Stream, int] = {"order": 0, "views": 1, "negatives": 2, "prior": 3}


def step_rows(
    config: TrainConfig, images: int, step: int, *, rank: int = 0, world: int = 1
) -> Rows:
    """The rows of the set that step number `step` (from 0) learns from; of a rank, its share.

    Every epoch has an order of its own; what is left of it after the last whole batch is not seen
    in that epoch. The shares of all ranks, one after the other, are the batch of a single process.
    """
    epoch, place = divmod(step, steps_an_epoch(config, images))
    size = batch_size(config, images)
    batch = epoch_order(config.seed, images, epoch)[place * size :][:size]
    return batch.tensor_split(world)[rank]


def batch_size(config: TrainConfig, images: int) -> int:
    """Images a step, over all ranks: as configured, or the whole of a smaller set."""
    return min(config.batch_size, images)


def steps_an_epoch(config: TrainConfig, images: int) -> int:
    """Whole batches in the set."""
    return images // batch_size(config, images)


@lru_cache(maxsize=2)  # a batch of every step asks, and drawing millions of rows takes a while
def epoch_order(seed: int, images: int, epoch: int) -> Rows:
    """The order in which an epoch goes through the set. Not to be changed in place."""
    return torch.randperm(images, generator=seeded(seed, "order", epoch))


def seeded(
    seed: int, stream: Stream, number: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator for one stream of random numbers at one step (or epoch)."""
    # Weyl steps by odd constants keep the seeds of streams and steps apart; manual_seed hashes.
    mixed = (seed * 0x9E3779B97F4A7C15 + STREAMS[stream] * 0xBF58476D1CE4E5B9 + number) % 2**63
    return torch.Generator(device).manual_seed(mixed)
