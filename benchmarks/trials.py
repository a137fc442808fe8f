"""Runs of `python -m training` as trials: started or resumed, measured, kept on a shelf."""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.failures import BenchmarkError
from benchmarks.machine import REPOSITORY, facts, use_cores
from benchmarks.probing import Probed
from benchmarks.shelf import Result, Shelf, Trained
from models.checkpoint import CheckpointError, read_card
from training.config import ConfigError
from training.datasets import DEFAULT_ROOT
from training.devices import DEVICES
from training.images import DataError
from training.runs import CHECKPOINT_FOLDER, LOG_FILE

BOUND = "_bound"  # how the names of bounds end in a run's log
LAST_STEPS = 100  # whose mean is the bound that is told
STOP_WITHIN_S = 120.0
FAILED = 2
PACKAGES = ("torch", "torchvision", "numpy")


@dataclass(frozen=True)
class Place:
    """Where the images are, and where the runs go."""

    data: str
    root: Path
    runs: Path
    device: str = "auto"


@dataclass(frozen=True)
class Trial:
    """What is trained: a recipe with settings over it.

    name     of its run's folder and of its result
    title    in tables
    command  of `python -m training`
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
            *("--device", place.device),
            *self.settings,
        ]


def add_arguments(parser: argparse.ArgumentParser, runs: str) -> None:
    """The options that all programs of trials share."""
    parser.add_argument("--data", default="cifar10", help="a named set, or a folder of classes")
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where named sets lie")
    parser.add_argument("--again", action="store_true", help="train and measure anew")
    parser.add_argument("--probe-epochs", type=int, help="default: as evaluate has them")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--cores", type=int, help="use the first N cores only (default: all)")
    parser.add_argument("--out", type=Path, help="the results' folder")
    parser.add_argument("--docs", type=Path, help="the page's folder (default: docs, or --out)")
    parser.add_argument("--runs", type=Path, default=REPOSITORY / "runs" / runs)
    parser.add_argument("settings", nargs="*", metavar="key=value", help="over every recipe")


def run(program: str, asked: argparse.Namespace, work: Callable[[float], Sequence[str]]) -> int:
    """Call `work` with the machine's load; 2, with one sentence, where it or a trial fails.

    SIGTERM ends it as an interrupt from the keyboard does: a training at work saves its state.
    """
    load_before = os.getloadavg()[0]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    use_cores(asked.cores)
    try:
        failed = work(load_before)
    except (BenchmarkError, ConfigError, DataError, CheckpointError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"{program}: stopped; the same command goes on from here", file=sys.stderr)
        return FAILED
    if failed:
        print(f"{program}: without {', '.join(failed)}, see above", file=sys.stderr)
    return FAILED if failed else 0


def measure_missing(
    trials: Sequence[Trial],
    place: Place,
    shelf: Shelf,
    measure: Callable[[Trial], Result],
    *,
    again: bool = False,
) -> list[str]:
    """Measure the trials that have no result; give those that failed, and go on after them."""
    failed = []
    for trial in trials:
        if again:
            shelf.forget(trial.name)
            shutil.rmtree(place.runs / trial.name, ignore_errors=True)
        if shelf.has(trial.name):
            print(f"{trial.name}: measured before, {shelf.file(trial.name)}", flush=True)
            continue
        print(f"\n{trial.name}: {trial.title}", flush=True)
        try:
            shelf.put(measure(trial))
        except BenchmarkError as error:
            print(f"{trial.name}: {error}", file=sys.stderr)
            failed.append(trial.name)
    return failed


def train(trial: Trial, place: Place) -> Path:
    """Start the trial or let it go on; give its checkpoint. BenchmarkError where there is none.

    What ends this process stops the training first, with its state saved.
    """
    folder = place.runs / trial.name
    checkpoint = folder / CHECKPOINT_FOLDER
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
        raise BenchmarkError(f"its training failed, see above; the run is {folder}")
    if not checkpoint.is_dir():
        raise BenchmarkError("its training was stopped; the same command goes on")
    return checkpoint


def as_result(
    trial: Trial,
    probed: Probed,
    trained: Trained | None,
    minutes: float | None,
    load_before: float,
) -> Result:
    """What is kept of a trial."""
    return Result(
        name=trial.name,
        title=trial.title,
        minutes=minutes,
        data=probed.data,
        rows=probed.rows,
        numbers=probed.numbers,
        trained=trained,
        protocol=probed.protocol,
        evaluation_s=round(probed.seconds, 1),
        facts=facts(PACKAGES, load_before),
    )


def describe(checkpoint: Path) -> Trained:
    """What the card and the log beside it say."""
    training = read_card(checkpoint).training
    return Trained(
        steps=training.steps,
        images_seen=training.images_seen,
        epochs=training.epochs,
        seconds=training.seconds,
        precision=training.precision,
        bounds=last_bounds(checkpoint.parent / LOG_FILE),
        recipe=training.recipe,
    )


def last_bounds(log: Path) -> dict[str, float]:
    """The mean of every bound over the last steps, in nats."""
    steps = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    last = steps[-LAST_STEPS:]
    names = [name for name in last[-1] if name.endswith(BOUND)] if last else []
    return {name: statistics.fmean(step[name] for step in last) for name in names}
