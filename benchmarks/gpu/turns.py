"""A step timed on a device: fed by the resident set, or by a DataLoader."""

import contextlib
import itertools
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu.floors import synchronise
from benchmarks.rivals import loader
from benchmarks.steps import NEVER, SETTLING_STEPS
from models.card import Preprocessing
from models.types import Pixels
from training.building import build_model, build_preprocessing
from training.config import TrainConfig
from training.draws import step_rows
from training.source import Resident
from training.step import Step

LEAST_STEPS = 3


def new_step(config: TrainConfig, device: torch.device) -> Step:
    """The step of the training loop with a new model; its schedule never ends."""
    torch.manual_seed(config.seed)
    preprocessing = build_preprocessing(config)
    return Step(config, build_model(config), preprocessing, device=device, total=NEVER)


def resident_step_s(config: TrainConfig, step: Step, pixels: Pixels, seconds: float) -> float:
    """Seconds a step on the resident set, its input pipeline included."""
    rows = (step_rows(config, len(pixels), number) for number in itertools.count())
    with contextlib.closing(Resident(pixels).batches(rows)) as batches:
        return mean_s(lambda number: step(number, next(batches)), step.device, seconds)


def loader_step_s(
    config: TrainConfig,
    step: Step,
    pixels: NDArray[np.uint8],
    preprocessing: Preprocessing,
    workers: int,
    seconds: float,
) -> float:
    """Seconds a step on a DataLoader's batches, their way to the device included."""
    made = loader.batches(pixels, config.views, preprocessing, config.batch_size, workers)
    with contextlib.closing(made) as batches:

        def take(number: int) -> object:
            images = next(batches).to(step.device, non_blocking=True)
            return step.learn(number, [images.contiguous(memory_format=torch.channels_last)])

        return mean_s(take, step.device, seconds)


def mean_s(take: Callable[[int], object], device: torch.device, seconds: float) -> float:
    """Seconds a step, over about so many seconds of them, after some that do not count."""
    for number in range(SETTLING_STEPS):
        take(number)
    synchronise(device)
    began, number = time.perf_counter(), SETTLING_STEPS
    while number < SETTLING_STEPS + LEAST_STEPS or time.perf_counter() - began < seconds:
        take(number)
        number += 1
        if device.type == "cuda" and number % 50 == 0:  # or the queue of the GPU runs far ahead
            synchronise(device)
    synchronise(device)
    return (time.perf_counter() - began) / (number - SETTLING_STEPS)
