"""What a run measures once, at its start, and keeps: its threads, compiled or not, its length.

Each of them changes the bits of what is learned, so a run that is resumed reads them from its
folder and measures nothing.
"""

import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.atomic import write_file
from models.card import Preprocessing
from models.method import Method
from training.config import TrainConfig
from training.distributed import ALONE, Ranks
from training.draws import steps_an_epoch
from training.images import Tell
from training.progress import duration
from training.runs import RunError
from training.source import Source
from training.trial import fastest_threads, trial

CHOICES_FILE = "choices.json"
SHORT_RUN_STEPS = 200  # nothing is measured for a run that ends before measuring has paid
BUDGET_SHARE = (0.015, 0.04)  # of a budget goes to its trial, at least and at most
TRIAL_S = 20.0  # at most, without a budget
WORTH_COMPILING_S = {"cuda": 3 * 60, "cpu": 30 * 60}  # of training, as compiling takes a while
WORTH_CHANGING = 1.03  # compiled steps must be so much faster


@dataclass(frozen=True)
class Measured:
    """What is fastest here; `step_s` is None where nothing was measured."""

    threads: int
    compiled: bool
    step_s: float | None = None

    def total_steps(self, config: TrainConfig, images: int) -> int:
        """The length of a run on so many images: what fits into its budget, or its epochs."""
        if config.budget_minutes and self.step_s is not None:
            return max(1, int(60 * config.budget_minutes / self.step_s))
        return epochs_in_steps(config, images)


class Choices(BaseModel):
    """What a run keeps: in choices.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    total_steps: int = Field(ge=1)
    threads: int = Field(ge=1)
    compiled: bool


def read_choices(out: Path) -> Choices | None:
    """The choices kept in a run's folder, or None. RunError where they cannot be understood."""
    file = out / CHOICES_FILE
    try:
        return Choices.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise RunError(f"{file} is damaged; choose another --out") from error


def keep_choices(
    out: Path, config: TrainConfig, measured: Measured, images: int, ranks: Ranks = ALONE
) -> Choices:
    """Make the choices of a new run and write them to its folder."""
    choices = Choices(
        total_steps=measured.total_steps(config, images),
        threads=measured.threads,
        compiled=measured.compiled,
    )
    if ranks.writes:
        write_file(out / CHOICES_FILE, (choices.model_dump_json(indent=2) + "\n").encode())
    return choices


def unmeasured(config: TrainConfig) -> Measured:
    """Torch's own threads, and compiled only where that was asked for."""
    return Measured(torch.get_num_threads(), compiled=config.compile == "on")


def measure(
    config: TrainConfig,
    model: Method,
    source: Source,
    preprocessing: Preprocessing,
    *,
    images: int,
    device: torch.device,
    tell: Tell,
    ranks: Ranks = ALONE,
) -> Measured:
    """Try the threads of a CPU, torch.compile where it may pay, and time the steps.

    The steps are a copy's: the model stays as it is, and so do torch's threads. Many ranks take
    them together and by the first one's clock, so that they choose alike.
    """
    start = partial(trial, config, model, source, preprocessing, device=device, ranks=ranks)
    budget_s = 60 * config.budget_minutes
    least_s, most_s = budget_s * BUDGET_SHARE[0], budget_s * BUDGET_SHARE[1] or TRIAL_S
    before = torch.get_num_threads()
    try:
        with start(compiled=config.compile == "on") as timed:
            timed.settle()
            threads = fastest_threads(timed) if device.type == "cpu" else before
            torch.set_num_threads(threads)
            step_s = timed.step_s(least_s=least_s, most_s=most_s)
        if device.type == "cpu":
            tell(f"Threads: {threads}, the fastest of up to {before}.")
        expected_s = budget_s or epochs_in_steps(config, images) * step_s
        why_not = not_worth_trying(config, expected_s, device)
        if ranks.any(why_not is not None):
            tell(f"torch.compile: {why_not or 'no, not every machine can.'}")
            return Measured(threads, config.compile == "on", step_s)
        with start(compiled=True) as timed:
            compiling_s = timed.settle()
            compiled_s = timed.step_s(least_s=least_s, most_s=most_s)
    finally:
        torch.set_num_threads(before)
    gained_s = expected_s * (1 - compiled_s / step_s)
    pays = compiled_s * WORTH_CHANGING < step_s and gained_s > compiling_s
    tell(
        f"torch.compile: {'yes' if pays else 'no'}; a step takes {1000 * compiled_s:.1f} ms with"
        f" it, {1000 * step_s:.1f} ms without, and compiling takes {duration(compiling_s)}."
    )
    return Measured(threads, pays, compiled_s if pays else step_s)


def not_worth_trying(config: TrainConfig, expected_s: float, device: torch.device) -> str | None:
    """Why compiled steps are not even timed; None where they should be."""
    if config.compile != "auto":
        return f"{config.compile}, as configured."
    if expected_s < WORTH_COMPILING_S[device.type]:
        return "no, the run is too short for it to pay."
    if device.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
        return "no, on a CPU it needs a C++ compiler (g++)."
    return None


def epochs_in_steps(config: TrainConfig, images: int) -> int:
    """The steps of the configured epochs."""
    return config.epochs * steps_an_epoch(config, images)


def is_short(config: TrainConfig, images: int) -> bool:
    """Whether a run ends before measuring anything has paid."""
    return not config.budget_minutes and epochs_in_steps(config, images) < SHORT_RUN_STEPS
