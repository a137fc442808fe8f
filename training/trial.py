"""A trial: a copy of the run learns for a moment, is timed, and is thrown away.

The model that is given keeps its weights and its place; no random number is drawn but by steps.
"""

import copy
import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from models.card import Preprocessing
from models.method import Method
from training.config import TrainConfig
from training.distributed import ALONE, Ranks
from training.draws import step_rows
from training.source import Source
from training.step import Step

STEPS = 20
SETTLING_STEPS = 3  # memory is taken, kernels are chosen
THREAD_STEPS, THREAD_S = 5, 2.0  # for each number of threads, whichever is reached first
NEVER = 2**31  # steps of a schedule that has hardly begun


class Trial:
    """A copy of a model that takes the steps a run would take, from the same source."""

    def __init__(
        self,
        config: TrainConfig,
        model: Method,
        source: Source,
        preprocessing: Preprocessing,
        *,
        device: torch.device,
        compiled: bool = False,
        ranks: Ranks = ALONE,
    ) -> None:
        self.device, self.ranks = device, ranks
        self.model = copy.deepcopy(model)
        self.take = Step(
            config,
            self.model,
            preprocessing,
            device=device,
            total=NEVER,
            compiled=compiled,
            ranks=ranks,
        )
        share = {"rank": ranks.rank, "world": ranks.world}
        rows = (step_rows(config, len(source), number, **share) for number in itertools.count())
        self.batches = source.batches(rows)
        self.taken = 0

    def step_s(self, *, steps: int = STEPS, least_s: float = 0.0, most_s: float = 60.0) -> float:
        """Seconds a step: the mean of at least `steps` steps and `least_s`, within `most_s`."""
        began = self._clock()
        for number in itertools.count(1):
            self._advance()
            spent = self._clock() - began
            if (number >= steps and spent >= least_s) or spent >= most_s:
                return spent / number
        raise AssertionError("unreachable: the loop has no end of its own")

    def settle(self, steps: int = SETTLING_STEPS) -> float:
        """Take the first, slower steps; the seconds they took."""
        began = self._clock()
        for _ in range(steps):
            self._advance()
        return self._clock() - began

    def close(self) -> None:
        """End what works for the source, and give the memory back."""
        self.batches.close()
        del self.take, self.model
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _advance(self) -> None:
        self.take(self.taken, next(self.batches))
        self.taken += 1

    def _clock(self) -> float:
        """Seconds, the same on every rank: all must come to the same decisions."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.ranks.agree(time.perf_counter())


@contextmanager
def trial(
    config: TrainConfig,
    model: Method,
    source: Source,
    preprocessing: Preprocessing,
    *,
    device: torch.device,
    compiled: bool = False,
    ranks: Ranks = ALONE,
) -> Iterator[Trial]:
    """A trial that is thrown away at the end."""
    timed = Trial(
        config, model, source, preprocessing, device=device, compiled=compiled, ranks=ranks
    )
    try:
        with ranks.sharing(timed.model):
            yield timed
    finally:
        timed.close()


def fastest_threads(timed: Trial) -> int:
    """The fastest of 1, 2, 4, ... threads, up to as many as torch would take.

    OMP_NUM_THREADS is an answer, not a limit: where it is set, nothing is tried.
    """
    most = int(timed.ranks.agree(float(torch.get_num_threads())))
    if "OMP_NUM_THREADS" in os.environ:
        return most
    step_s: dict[int, float] = {}
    try:
        for threads in sorted({most, *(2**power for power in range(most.bit_length()))}):
            torch.set_num_threads(threads)
            timed.settle(1)
            step_s[threads] = timed.step_s(steps=THREAD_STEPS, most_s=THREAD_S)
    finally:
        torch.set_num_threads(most)
    return min(step_s, key=lambda threads: step_s[threads])
