"""Training steps, timed: the whole loop on our sources, and the bare step on given images."""

import contextlib
import io
import itertools
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator
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
from training.draws import Rows, seeded, step_rows
from training.loop import train
from training.pixel_files import PixelFile
from training.source import Source, Streamed
from training.step import Step
from training.views import draw_view

CPU = torch.device("cpu")
NEVER = 2**31  # steps of a schedule that has hardly begun
SETTLING_STEPS = 2  # at the beginning of every measurement, not counted


@dataclass(frozen=True)
class Ours:
    """Our input: a source of rows, views drawn for a whole batch."""

    config: TrainConfig
    preprocessing: Preprocessing
    source: Source
    name: str

    def step_s(self, steps: int) -> float:
        """Seconds a step of the training loop."""
        return loop_step_s(self.config, self.source, self.preprocessing, steps)

    def fetch_s(self, seconds: float) -> float:
        """Seconds a batch, made and thrown away."""
        with contextlib.closing(
            source_batches(self.config, self.source, self.preprocessing)
        ) as batches:
            return fetch_s(batches, seconds)


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
    config: TrainConfig, source: Source, preprocessing: Preprocessing, steps: int
) -> float:
    """Seconds a step of training.loop.train, with all it does between two batches.

    What a run costs once (optimisers, logs opened, the state saved at the end) is not in it.
    """
    clocked = Clocked(source)
    torch.manual_seed(config.seed)
    model = build_model(config)
    asked = SETTLING_STEPS + steps
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        outcome = train(
            config, model, clocked, preprocessing, Path(folder), device=CPU, stop_after_steps=asked
        )
    if outcome.steps != asked:
        raise BenchmarkError(
            f"training stopped after {outcome.steps} of {asked} steps: by a signal, or because"
            " epochs= is too small for --seconds"
        )
    return (clocked.returns[-1] - clocked.returns[SETTLING_STEPS - 1]) / steps


class Clocked:
    """A source that notes when its reader comes back from each batch."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.returns: list[float] = []

    def __len__(self) -> int:
        return len(self.source)

    def batches(self, rows: Iterable[Rows]) -> Generator[Pixels]:
        """The batches of the source."""
        with contextlib.closing(self.source.batches(rows)) as batches:
            for batch in batches:
                yield batch
                self.returns.append(time.perf_counter())


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


def source_batches(
    config: TrainConfig, source: Source, preprocessing: Preprocessing
) -> Generator[Tensor]:
    """Batches without end, the very ones of the loop: rows of the set, a view, normalised."""
    rows = (step_rows(config, len(source), number) for number in itertools.count())
    with contextlib.closing(source.batches(rows)) as batches:
        for number, chosen in enumerate(batches):
            views = draw_view(config.views, chosen, seeded(config.seed, "views", number))
            yield normalise(views, preprocessing)


@contextlib.contextmanager
def streamed(pixels: Pixels, preprocessing: Preprocessing) -> Iterator[Source]:
    """The same images from a file, as training streams them; the file goes away afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        with PixelFile(Path(folder), len(pixels), preprocessing) as file:
            for image in pixels.numpy():
                file.add(image)
            mapped = file.keep("benchmark", "benchmark", ())
        yield Streamed(mapped, CPU)


def fetch_s(batches: Iterator[Tensor], seconds: float) -> float:
    """Seconds a batch where nothing is done with it, over at least so many seconds."""
    for _ in range(SETTLING_STEPS):
        next(batches)
    fetched, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        next(batches)
        fetched += 1
    return (time.perf_counter() - began) / fetched
