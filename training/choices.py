"""What a run measures once, at its start, and keeps: its threads, compiled or not, its length.

Each of them changes the bits of what is learned, so a run that is resumed reads them from its
folder and measures nothing.
"""

import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.atomic import write_file
from models.card import Preprocessing
from models.method import Method
from training.config import TrainConfig
from training.distributed import ALONE, Ranks
from training.draws import batch_size, steps_an_epoch
from training.images import Tell
from training.progress import duration
from training.runs import RESUME_FILE, RunError
from training.source import Source
from training.trial import Trial, fastest_threads, trial

CHOICES_FILE = "choices.json"
SHORT_RUN_STEPS = 200  # nothing is measured for a run that ends before measuring has paid
BUDGET_SHARE = (0.015, 0.04)  # of a budget goes to its trial, at least and at most
TRIAL_S = 20.0  # at most, without a budget
WORTH_COMPILING_S = {"cuda": 3 * 60, "cpu": 30 * 60}  # of training, as compiling takes a while
WORTH_CHANGING = 1.03  # compiled steps must be so much faster


class Choices(BaseModel):
    """What was chosen; `step_s` is None where nothing was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    total_steps: int = Field(ge=1)
    threads: int = Field(ge=1)
    compiled: bool
    step_s: float | None = Field(None, gt=0)


def settle(
    config: TrainConfig,
    model: Method,
    source: Source,
    preprocessing: Preprocessing,
    out: Path,
    *,
    device: torch.device,
    tell: Tell,
    ranks: Ranks = ALONE,
) -> Choices:
    """The choices in the run's folder, or new ones, measured, told and kept there.

    Sets torch's threads. The model stays as it is. Raises RunError for a damaged file. Many ranks
    measure together and by the first one's clock, so that they choose alike.
    """
    with ranks.copy_of(out / CHOICES_FILE) as file:
        known = read_choices(file) if file.exists() else None
    if known is not None:
        choices = known
    else:
        # by a version that chose nothing
        started = ranks.any(ranks.writes and (out / RESUME_FILE).exists())
        settling = _Settling(config, model, source, preprocessing, device, tell, ranks)
        choices = settling.as_configured() if started else settling.measured()
        if ranks.writes:
            write_file(out / CHOICES_FILE, (choices.model_dump_json(indent=2) + "\n").encode())
    torch.set_num_threads(choices.threads)
    return choices


def read_choices(file: Path) -> Choices:
    """RunError where it cannot be understood."""
    try:
        return Choices.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise RunError(f"{file} is damaged; choose another --out") from error


@dataclass(frozen=True)
class _Settling:
    """Everything a trial needs."""

    config: TrainConfig
    model: Method
    source: Source
    preprocessing: Preprocessing
    device: torch.device
    tell: Tell
    ranks: Ranks

    def as_configured(self) -> Choices:
        """Without measuring: torch's own threads, compiled only where that was asked for."""
        return Choices(
            total_steps=epochs_in_steps(self.config, len(self.source)),
            threads=torch.get_num_threads(),
            compiled=self.config.compile == "on",
        )

    def measured(self) -> Choices:
        """What is fastest here, and how many steps the run takes."""
        planned = epochs_in_steps(self.config, len(self.source))
        budget_s = 60 * self.config.budget_minutes
        if not budget_s and planned < SHORT_RUN_STEPS:
            return self.as_configured()
        least_s, most_s = (share * budget_s for share in BUDGET_SHARE)
        compiled = self.config.compile == "on"
        with self._trial(compiled) as timed:
            timed.settle()
            threads = self._threads(timed)
            torch.set_num_threads(threads)
            step_s = timed.step_s(least_s=least_s, most_s=most_s or TRIAL_S)
        expected_s = budget_s or planned * step_s
        if self.config.compile == "auto":
            compiled, step_s = self._faster(step_s, expected_s, least_s, most_s or TRIAL_S)
        total = max(1, int(budget_s / step_s)) if budget_s else planned
        self._say(total, step_s)
        return Choices(total_steps=total, threads=threads, compiled=compiled, step_s=step_s)

    def _threads(self, timed: Trial) -> int:
        if self.device.type != "cpu":
            return torch.get_num_threads()
        threads = fastest_threads(timed)
        self.tell(f"Threads: {threads}, the fastest here.")
        return threads

    def _faster(
        self, eager_s: float, expected_s: float, least_s: float, most_s: float
    ) -> tuple[bool, float]:
        """Whether to compile, and the seconds a step then takes."""
        if expected_s < WORTH_COMPILING_S[self.device.type]:
            self.tell("torch.compile: no, the run is too short for it to pay.")
            return False, eager_s
        if self.device.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
            self.tell("torch.compile: no, it needs a C++ compiler (g++) on a CPU.")
            return False, eager_s
        with self._trial(compiled=True) as timed:
            compiling_s = timed.settle()
            compiled_s = timed.step_s(least_s=least_s, most_s=most_s)
        gained_s = expected_s * (1 - compiled_s / eager_s)
        pays = eager_s > WORTH_CHANGING * compiled_s and gained_s > compiling_s
        self.tell(
            f"torch.compile: {'yes' if pays else 'no'}; a step takes {1000 * compiled_s:.1f} ms"
            f" compiled and {1000 * eager_s:.1f} ms as it is, compiling takes"
            f" {duration(compiling_s)}."
        )
        return (True, compiled_s) if pays else (False, eager_s)

    def _trial(self, compiled: bool) -> AbstractContextManager[Trial]:
        return trial(
            self.config,
            self.model,
            self.source,
            self.preprocessing,
            device=self.device,
            compiled=compiled,
            ranks=self.ranks,
        )

    def _say(self, total: int, step_s: float) -> None:
        images = batch_size(self.config, len(self.source)) / step_s
        self.tell(
            f"Speed: {1 / step_s:.2f} steps/s = {images:,.0f} images/s; {total:,} steps take about"
            f" {duration(total * step_s)}."
        )


def epochs_in_steps(config: TrainConfig, images: int) -> int:
    """The steps of the configured epochs."""
    return config.epochs * steps_an_epoch(config, images)
