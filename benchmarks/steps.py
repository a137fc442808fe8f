"""Training steps, timed: the whole loop on the resident set, and the bare step on given images."""

import contextlib
import io
import itertools
import tempfile
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.failures import BenchmarkError
from benchmarks.rivals import loader
from models.card import Preprocessing
from models.preprocess import normalise
from models.types import Pixels
from training.building import build_model, build_preprocessing
from training.config import TrainConfig
from training.draws import seeded, step_rows
from training.loop import train
from training.source import Resident as Source
from training.step import Step
from training.views import draw_view

CPU = torch.device("cpu")
NEVER = 2**31  # steps of a schedule that has hardly begun
SETTLING_STEPS = 2  # at the beginning of every measurement, not counted


@dataclass(frozen=True)
class Resident:
    """Our input: the whole set as one tensor, views drawn for a whole batch."""

    config: TrainConfig
    preprocessing: Preprocessing
    pixels: Pixels
    name: str = "ours: resident set, whole-batch views"

    def step_s(self, steps: int) -> float:
        """Seconds a step of the training loop."""
        return loop_step_s(self.config, self.pixels, self.preprocessing, steps)

    def fetch_s(self, seconds: float) -> float:
        """Seconds a batch, made and thrown away."""
        return fetch_s(resident_batches(self.config, self.pixels, self.preprocessing), seconds)


@dataclass(frozen=True)
class Loader:
    """The rival's input: a DataLoader with so many worker processes."""

    config: TrainConfig
    preprocessing: Preprocessing
    pixels: NDArray[np.uint8]
    workers: int

    @property
    def name(self) -> str:
        """Its name in the report."""
        return f"DataLoader, {self.workers} workers"

    def step_s(self, steps: int) -> float:
        """Seconds a step on its batches."""
        with contextlib.closing(self._batches()) as batches:
            return bare_step_s(self.config, batches, steps)

    def fetch_s(self, seconds: float) -> float:
        """Seconds a batch, fetched and thrown away."""
        with contextlib.closing(self._batches()) as batches:
            return fetch_s(batches, seconds)

    def _batches(self) -> Generator[Tensor]:
        return loader.batches(
            self.pixels,
            self.config.views,
            self.preprocessing,
            self.config.batch_size,
            self.workers,
        )


def loop_step_s(
    config: TrainConfig, pixels: Pixels, preprocessing: Preprocessing, steps: int
) -> float:
    """Seconds a step of training.loop.train, with all it does: views, logs, prior game.

    What a run costs once (optimisers, logs opened, the state saved at the end) is in a short run as
    it is in a longer one, so the difference of the two is `steps` steps.
    """
    short = loop_s(config, pixels, preprocessing, SETTLING_STEPS)
    long = loop_s(config, pixels, preprocessing, SETTLING_STEPS + steps)
    return (long - short) / steps


def loop_s(config: TrainConfig, pixels: Pixels, preprocessing: Preprocessing, steps: int) -> float:
    """Seconds of a whole run of so many steps, in a folder that is thrown away."""
    torch.manual_seed(config.seed)
    model = build_model(config)
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        began = time.perf_counter()
        outcome = train(
            config,
            model,
            Source(pixels),
            preprocessing,
            Path(folder),
            device=CPU,
            stop_after_steps=steps,
        )
        took = time.perf_counter() - began
    if outcome.steps != steps:
        raise BenchmarkError(
            f"training stopped after {outcome.steps} of {steps} steps: by a signal, or because"
            " epochs= is too small for --seconds"
        )
    return took


def bare_step_s(config: TrainConfig, images: Iterator[Tensor], steps: int) -> float:
    """Seconds a step on normalised images that are given, without logs; fetching them included."""
    step = bare_step(config)
    began = 0.0
    for number in range(SETTLING_STEPS + steps):
        if number == SETTLING_STEPS:
            began = time.perf_counter()
        step.learn(number, [next(images).contiguous(memory_format=torch.channels_last)])
    return (time.perf_counter() - began) / steps


def bare_step(config: TrainConfig) -> Step:
    """The step of training.loop.train with a new model; its schedule never ends."""
    torch.manual_seed(config.seed)
    model = build_model(config)
    return Step(config, model, build_preprocessing(config), device=CPU, total=NEVER)


def resident_batches(
    config: TrainConfig, pixels: Pixels, preprocessing: Preprocessing
) -> Iterator[Tensor]:
    """Batches without end, the very ones of the loop: rows of the tensor, a view, normalised."""
    rows = (step_rows(config, len(pixels), number) for number in itertools.count())
    for number, chosen in enumerate(Source(pixels).batches(rows)):
        views = draw_view(config.views, chosen, seeded(config.seed, "views", number))
        yield normalise(views, preprocessing)


def fetch_s(batches: Iterator[Tensor], seconds: float) -> float:
    """Seconds a batch where nothing is done with it, over at least so many seconds."""
    for _ in range(SETTLING_STEPS):
        next(batches)
    fetched, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        next(batches)
        fetched += 1
    return (time.perf_counter() - began) / fetched
