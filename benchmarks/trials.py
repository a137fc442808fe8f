"""One run of `python -m training` as a trial: started or resumed, read, its result kept as JSON."""

import json
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue

from benchmarks.failures import BenchmarkError
from benchmarks.machine import REPOSITORY
from models.atomic import write_file
from models.card import Card, EvaluationData, EvaluationRow
from models.checkpoint import read_card
from training.runs import CHECKPOINT_FOLDER, LOG_FILE

BOUND = "_bound"  # how the names of bounds end in a run's log
LAST_STEPS = 100  # whose mean is the bound that is told
STOP_WITHIN_S = 120.0


@dataclass(frozen=True)
class Place:
    """Where the images are, and where runs and results go."""

    data: str
    root: Path
    runs: Path
    out: Path


@dataclass(frozen=True)
class Trial:
    """What is trained: a recipe with settings over it.

    name      of its run's folder and of its result
    title     in tables
    command   of `python -m training`
    """

    name: str
    title: str
    recipe: Path
    settings: tuple[str, ...] = ()
    command: str = "train"

    def words(self, place: Place) -> list[str]:
        """The command line."""
        return [
            *(sys.executable, "-m", "training", self.command),
            *("--data", place.data, "--root", str(place.root)),
            *("--recipe", str(self.recipe), "--out", str(place.runs / self.name)),
            *self.settings,
        ]


class Trained(BaseModel):
    """What a run says of itself; seconds are of training alone, bounds in nats."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int
    images_seen: int
    epochs: float
    seconds: float
    precision: str
    bounds: dict[str, float]
    recipe: dict[str, JsonValue]


class Result(BaseModel):
    """One measured trial, as its JSON file keeps it.

    minutes     of the budget; None for what is not trained
    data        the images, of both splits
    rows        accuracies on the test images, 0 to 1
    numbers     what else was measured, by name
    facts       machine, versions, commit, date
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    minutes: float | None
    data: EvaluationData
    rows: list[EvaluationRow]
    numbers: dict[str, float] = {}
    trained: Trained | None = None
    protocol: str
    evaluation_s: float
    facts: dict[str, str]

    def accuracy(self, representation: str, probe: str) -> float | None:
        """In per cent, the best where there are several; None where there is no such cell."""
        wanted = (representation, probe)
        return max(
            (100 * row.accuracy for row in self.rows if (row.representation, row.probe) == wanted),
            default=None,
        )


@dataclass(frozen=True)
class Shelf:
    """The folder of results: one JSON file a trial, written as soon as it is measured."""

    folder: Path

    def file(self, name: str) -> Path:
        """Where a trial's result lies."""
        return self.folder / f"{name}.json"

    def has(self, name: str) -> bool:
        """Whether it has been measured."""
        return self.file(name).exists()

    def put(self, result: Result) -> None:
        """Keep a result; whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result.model_dump(mode="json"), indent=1) + "\n"
        write_file(self.file(result.name), text.encode())

    def read(self, names: Sequence[str]) -> Iterator[Result]:
        """The results there are, in this order; BenchmarkError for a file that cannot be read."""
        for name in names:
            if self.has(name):
                try:
                    yield Result.model_validate_json(self.file(name).read_bytes())
                except ValueError as error:
                    raise BenchmarkError(
                        f"{self.file(name)} is not a result of this version; measure it again with"
                        f" --again --only {name}"
                    ) from error


def train(trial: Trial, place: Place) -> Path:
    """Start the trial or let it go on; give its checkpoint. BenchmarkError where there is none.

    A signal that ends this process stops the training first, with its state saved.
    """
    run = place.runs / trial.name
    checkpoint = run / CHECKPOINT_FOLDER
    if checkpoint.is_dir():
        return checkpoint
    with subprocess.Popen(trial.words(place), cwd=REPOSITORY, stdin=subprocess.DEVNULL) as process:
        try:
            status = process.wait()
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_WITHIN_S)
            raise
    if status != 0:
        raise BenchmarkError(f"the training of {trial.name} failed, see above; its run is {run}")
    if not checkpoint.is_dir():
        raise BenchmarkError(f"the training of {trial.name} was stopped; the same command goes on")
    return checkpoint


def forget(trial: Trial, place: Place, shelf: Shelf) -> None:
    """Remove the trial's run and its result."""
    shutil.rmtree(place.runs / trial.name, ignore_errors=True)
    shelf.file(trial.name).unlink(missing_ok=True)


def describe(checkpoint: Path) -> Trained:
    """What the card and the log beside it say."""
    card: Card = read_card(checkpoint)
    return Trained(
        steps=card.training.steps,
        images_seen=card.training.images_seen,
        epochs=card.training.epochs,
        seconds=card.training.seconds,
        precision=card.training.precision,
        bounds=last_bounds(checkpoint.parent / LOG_FILE),
        recipe=card.training.recipe,
    )


def last_bounds(log: Path) -> dict[str, float]:
    """The mean of every bound over the last steps, in nats."""
    steps = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    last = steps[-LAST_STEPS:]
    names = [name for name in last[-1] if name.endswith(BOUND)] if last else []
    return {name: statistics.fmean(step[name] for step in last) for name in names}
