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
from models.types import Images, Pixels
from training.building import build_model
from training.config import TrainConfig
from training.loop import adam, precision, seeded, train
from training.views import draw_view

CPU = torch.device("cpu")
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
            config, model, pixels, preprocessing, Path(folder), device=CPU, stop_after_steps=steps
        )
        took = time.perf_counter() - began
    if outcome.steps != steps:
        raise BenchmarkError(
            f"training stopped after {outcome.steps} of {steps} steps: by a signal, or because"
            " epochs= is too small for --seconds"
        )
    return took


class BareStep:
    """The step of training.loop.train on images that are given, without schedule and logs."""

    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        self._config = config
        self.model = build_model(config).to(memory_format=torch.channels_last).train()
        self._bounds = adam(self.model.bound_parameters(), config)
        critic = self.model.prior_critic
        self._prior = None if critic is None else adam(list(critic.parameters()), config)
        self._autocast = precision(config, CPU) == "bf16"
        self._taken = 0

    def __call__(self, images: Images) -> None:
        """One step on normalised images."""
        negatives = seeded(self._config, "negatives", self._taken)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._autocast):
            loss, _, features = self.model(images, generator=negatives)
        self._bounds.zero_grad(set_to_none=True)
        loss.backward()
        self._bounds.step()
        if self._prior is not None:
            prior_loss = self.model.prior_loss(features, seeded(self._config, "prior", self._taken))
            self._prior.zero_grad(set_to_none=True)
            prior_loss.backward()
            self._prior.step()
        self._taken += 1


def bare_step_s(config: TrainConfig, images: Iterator[Tensor], steps: int) -> float:
    """Seconds a step, fetching its images included."""
    step = BareStep(config)
    began = 0.0
    for number in range(SETTLING_STEPS + steps):
        if number == SETTLING_STEPS:
            began = time.perf_counter()
        step(next(images).contiguous(memory_format=torch.channels_last))
    return (time.perf_counter() - began) / steps


def resident_batches(
    config: TrainConfig, pixels: Pixels, preprocessing: Preprocessing
) -> Iterator[Tensor]:
    """Batches without end, the very ones of the loop: rows of the tensor, a view, normalised."""
    steps_an_epoch = len(pixels) // config.batch_size
    for step in itertools.count():
        epoch, place = divmod(step, steps_an_epoch)
        if place == 0:
            order = torch.randperm(len(pixels), generator=seeded(config, "order", epoch))
        rows = order[place * config.batch_size :][: config.batch_size]
        views = draw_view(config.views, pixels[rows], seeded(config, "views", step))
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
