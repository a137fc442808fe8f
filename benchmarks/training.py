"""Images a second in training: a set in memory, streamed, and behind a usual DataLoader.

python -m benchmarks.training [--quick] [--root DIR] [--recipe FILE] [key=value ...]

Takes about nine minutes and writes benchmarks/results/training-cpu.md; `--quick` takes two and
only prints. Nothing else should be running.
"""

import argparse
import faulthandler
import itertools
import os
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import training_report
from benchmarks.failures import BenchmarkError
from benchmarks.images import training_pixels
from benchmarks.machine import REPOSITORY, command, facts, use_cores
from benchmarks.report import RESULTS, deliver
from benchmarks.rivals import loader
from benchmarks.steps import Loader, Ours, bare_step_s, loop_step_s, source_batches, streamed
from benchmarks.training_report import CONSTANT, OURS, STREAMED, Findings
from models.card import Preprocessing
from training.building import build_preprocessing
from training.config import ConfigError, TrainConfig, read_config
from training.source import Resident, Source

VIEWS = tuple(loader.VIEWS)
ROUNDS, SECONDS = 5, 6.0
QUICK_ROUNDS, QUICK_SECONDS = 2, 3.0
ALONE_SHARE = 0.25  # of a turn's seconds, for the input alone
LEAST_STEPS = 3
SHORTEST_STEP_S = 1e-3
HANGS_AFTER_S = 30 * 60
FAILED = 2
RECIPE = REPOSITORY / "configs" / "dim-cifar10.toml"
SHOWN = ("encoder", "batch_size", "objective", "local_critic", "local_units", "gamma", "precision")
PACKAGES = ("torch", "torchvision", "pillow", "numpy")


def main() -> int:
    """Measure and report; 2, with one sentence, where that is not possible."""
    load_before = os.getloadavg()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where CIFAR-10 may lie")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="default: the shipped one's")
    parser.add_argument("--cores", type=int, help="use the first N cores only (default: all)")
    parser.add_argument("--quick", action="store_true", help="two minutes; print, write no report")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, quick {QUICK_ROUNDS}")
    parser.add_argument(
        "--seconds", type=float, help=f"of a turn: {SECONDS}, quick {QUICK_SECONDS}"
    )
    parser.add_argument("--out", type=Path, help="the report's folder")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="over the recipe")
    asked = parser.parse_args()
    faulthandler.dump_traceback_later(HANGS_AFTER_S, exit=True)
    cores = use_cores(asked.cores)
    try:
        run(asked, cores, load_before)
    except (BenchmarkError, ConfigError) as error:
        print(f"benchmarks.training: {error}", file=sys.stderr)
        return FAILED
    return 0


def run(asked: argparse.Namespace, cores: int, load_before: float) -> None:
    """The benchmark from its options to its report."""
    config = read_config(asked.recipe, asked.settings)
    preprocessing = build_preprocessing(config)
    if preprocessing.colour != "rgb":
        raise BenchmarkError("the rival's colour changes need colour=rgb")
    pixels, described = training_pixels(asked.root, preprocessing.size)
    if len(pixels) < config.batch_size:
        raise BenchmarkError(f"batch_size= is above the {len(pixels):,} images there are")
    found = measure(
        config,
        preprocessing,
        pixels,
        described,
        workers=(0, cores),
        rounds=asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS),
        seconds=asked.seconds or (QUICK_SECONDS if asked.quick else SECONDS),
    )
    text = training_report.write(
        command("benchmarks.training"), facts(PACKAGES, load_before), found
    )
    deliver(text, "training-cpu.md", asked.out or (None if asked.quick else RESULTS))


def measure(
    config: TrainConfig,
    preprocessing: Preprocessing,
    pixels: NDArray[np.uint8],
    described: str,
    *,
    workers: tuple[int, ...],
    rounds: int,
    seconds: float,
) -> Findings:
    """Everybody in turn, round by round; images a second."""
    resident = Resident(torch.from_numpy(pixels))
    steps = steps_in(seconds, config, resident, preprocessing)
    say(f"{steps} steps a turn")
    training: dict[tuple[str, str], list[float]] = {}
    alone: dict[tuple[str, str], list[float]] = {}
    constant: list[float] = []
    with streamed(resident.pixels, preprocessing) as stream:
        for number in range(1, rounds + 1):
            for views in VIEWS:
                viewed = config.model_copy(update={"views": views})
                inputs: list[Ours | Loader]
                inputs = [Ours(viewed, preprocessing, resident, OURS)]
                inputs += [Ours(viewed, preprocessing, stream, STREAMED)]
                inputs += [Loader(viewed, preprocessing, pixels, count) for count in workers]
                for each in inputs:
                    whole = config.batch_size / each.step_s(steps)
                    only_input = config.batch_size / each.fetch_s(seconds * ALONE_SHARE)
                    training.setdefault((each.name, views), []).append(whole)
                    alone.setdefault((each.name, views), []).append(only_input)
                    say(
                        f"round {number}/{rounds}  {each.name}, {views}: {whole:.1f} images/s,"
                        f" input alone {only_input:.1f}"
                    )
            images = next(source_batches(config, resident, preprocessing))
            constant.append(
                config.batch_size / bare_step_s(config, itertools.repeat(images), steps)
            )
            say(f"round {number}/{rounds}  {CONSTANT}: {constant[-1]:.1f} images/s")
    settings = config.model_dump(include=set(SHOWN))
    return Findings(training, alone, constant, settings, described, steps)


def steps_in(
    seconds: float, config: TrainConfig, source: Source, preprocessing: Preprocessing
) -> int:
    """How many steps of the loop take about so long."""
    step_s = loop_step_s(config, source, preprocessing, LEAST_STEPS)
    return max(LEAST_STEPS, round(seconds / max(step_s, SHORTEST_STEP_S)))


def say(line: str) -> None:
    """One line of progress."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
