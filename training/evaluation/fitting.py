"""A small network trained on what a frozen encoder gave, and judged on images set aside.

The measures of `paper` train one each: the critics of mine.py and ndm.py, the decoder of
decoder.py. A critic that has learned its training images by heart says absurd things about others,
so a tenth of them is never trained on and tells which state of the network is kept. The test images
take no part in that choice.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

SEED = 0
CHECKS = 10  # how often the network is judged on the way
SET_ASIDE, MOST_SET_ASIDE = 0.1, 5_000  # share of the training images, and at most so many
FEWEST_IMAGES = 4

Rows = Int64[Tensor, " _"]  # numbers of images; each of its own length


@dataclass(frozen=True)
class FitSettings:
    """How many updates of Adam, on how many images each, at which rate."""

    steps: int = 2_000
    batch_size: int = 256
    learning_rate: float = 3e-4


@dataclass(frozen=True)
class Fitted:
    """The step at which the network was best, and how good on the images set aside."""

    step: int
    value: float


def set_aside(count: int) -> tuple[Rows, Rows]:
    """Which of `count` images train, and which are set aside, drawn with a fixed seed.

    Raises ValueError for fewer than four: two of each kind make the smallest shuffle.
    """
    if count < FEWEST_IMAGES:
        raise ValueError(f"{count} images cannot be split in two; give at least {FEWEST_IMAGES}")
    held = min(max(2, round(SET_ASIDE * count)), MOST_SET_ASIDE)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SEED))
    return order[held:], order[:held]


def fit(
    network: nn.Module,
    rows: Rows,
    loss: Callable[[Rows], Float[Tensor, ""]],
    goodness: Callable[[], float],
    settings: FitSettings,
    progress: Callable[[int, int], None] | None = None,
) -> Fitted:
    """Train on batches of `rows`; leave the network, in eval(), at its best state.

    `loss` gets the rows of a batch. `goodness` (larger is better) is asked before the first step
    and ten times on the way, in eval() and without gradients. `progress` gets steps done and their
    number. The caller forks the random generator.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    order = torch.Generator().manual_seed(SEED)
    best, kept = Fitted(0, _judge(network, goodness)), copy.deepcopy(network.state_dict())
    every = max(1, settings.steps // CHECKS)
    left = rows[:0]
    size = min(settings.batch_size, len(rows))
    for step in range(1, settings.steps + 1):
        if len(left) < size:
            left = rows[torch.randperm(len(rows), generator=order)]
        batch, left = left[:size], left[size:]
        optimiser.zero_grad(set_to_none=True)
        loss(batch).backward()
        optimiser.step()
        if step % every == 0 or step == settings.steps:
            value = _judge(network, goodness)
            if value > best.value:
                best, kept = Fitted(step, value), copy.deepcopy(network.state_dict())
        if progress is not None:
            progress(step, settings.steps)
    network.load_state_dict(kept)
    network.eval()
    return best


def _judge(network: nn.Module, goodness: Callable[[], float]) -> float:
    network.eval()
    with torch.inference_mode():
        value = goodness()
    network.train()
    return value
