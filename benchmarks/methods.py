"""Every method of the family in equal time: one table, beside supervised, random and PCA.

python -m benchmarks.methods [--minutes 15] [--data cifar10 --root DIR] [--only NAME,...]

Each method is trained by `python -m training` with its recipe of configs/short/ for so many minutes
of wall-clock time, then probed. A result is written to benchmarks/results/methods/ as soon as it is
measured and not measured again; a training that was interrupted goes on. At the end docs/methods.md
and its plot are written from the results. Nothing else should be running.
"""

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks import methods_report
from benchmarks.failures import BenchmarkError
from benchmarks.machine import REPOSITORY, command
from benchmarks.probing import Probing
from benchmarks.report import RESULTS
from benchmarks.shelf import Result, Shelf
from benchmarks.trials import (
    Place,
    Trial,
    add_arguments,
    as_result,
    describe,
    measure_missing,
    run,
    train,
)
from training.config import read_config
from training.devices import choose_device
from training.evaluation.plan import Request

PROGRAM = "benchmarks.methods"
SHORT = REPOSITORY / "configs" / "short"
TRAINED = {
    "dim-g": "DIM(G), JSD",
    "dim-l-jsd": "DIM(L), JSD",
    "dim-l-dv": "DIM(L), Donsker-Varadhan",
    "dim-l-infonce": "DIM(L), InfoNCE",
    "dim-l-tasks": "DIM(L), InfoNCE, coordinates, occlusion",
    "amdim": "AMDIM, small",
    "supervised": "supervised, same network",
}
BASELINES = {"random": "random initialisation", "pca": "PCA of pixels"}
TITLES = TRAINED | BASELINES
BASELINE_RECIPE = SHORT / "dim-l-infonce.toml"
MINUTES = 15.0
FIRST_EPOCH, SHORTEST_S = "supervised-epoch", 0.1
ACCURACY_FILE = "accuracy.json"  # of `python -m training supervised`


def main(words: list[str] | None = None) -> int:
    """Measure what is missing, write the page; 2 where something could not be measured."""
    parser = argparse.ArgumentParser(prog=f"python -m {PROGRAM}", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of training for each")
    parser.add_argument("--only", help=f"some of {','.join(TITLES)}")
    add_arguments(parser, "methods")
    asked = parser.parse_intermixed_args(words)
    return run(PROGRAM, asked, lambda load_before: work(asked, load_before))


def work(asked: argparse.Namespace, load_before: float) -> list[str]:
    """The table from its options to its page; give the methods that failed."""
    place = Place(asked.data, asked.root, asked.runs.resolve(), asked.device)
    shelf = Shelf(asked.out or RESULTS / "methods")
    names = chosen(asked.only)
    if not asked.again:
        require_minutes(list(shelf.read(names)), asked.minutes)
    trials = [trial_of(name, asked.minutes, asked.settings) for name in names]
    request = Request(probe_epochs=asked.probe_epochs)
    probing = Probing(place.data, place.root, request, device=choose_device(asked.device))

    def measure(trial: Trial) -> Result:
        if trial.name in TRAINED:
            by_label = trial.name == "supervised"
            checkpoint = train(fitted(trial, place, asked.minutes) if by_label else trial, place)
            probed, trained = probing.checkpoint(checkpoint), describe(checkpoint)
            probed.numbers.update(own_accuracy(checkpoint))
            return as_result(trial, probed, trained, asked.minutes, load_before)
        config = read_config(trial.recipe, list(trial.settings))
        probed = probing.random(config) if trial.name == "random" else probing.pixels(config)
        return as_result(trial, probed, None, None, load_before)

    if asked.again and "supervised" in names:
        shutil.rmtree(place.runs / FIRST_EPOCH, ignore_errors=True)
    failed = measure_missing(trials, place, shelf, measure, again=asked.again)
    folder = asked.docs or asked.out or REPOSITORY / "docs"
    methods_report.write(command(PROGRAM), list(shelf.read(list(TITLES))), folder)
    return failed


def chosen(only: str | None) -> list[str]:
    """The names asked for, in the table's order; BenchmarkError for an unknown one."""
    wanted = set(only.split(",")) if only else set(TITLES)
    unknown = wanted - TITLES.keys()
    if unknown:
        listed = ", ".join(sorted(unknown))
        raise BenchmarkError(f"there is no {listed}; known are {', '.join(TITLES)}")
    return [name for name in TITLES if name in wanted]


def trial_of(name: str, minutes: float, settings: list[str]) -> Trial:
    """The method as a trial with its budget; a baseline has the recipe of its network."""
    if name == "supervised":
        return Trial(name, TITLES[name], SHORT / f"{name}.toml", tuple(settings), "supervised")
    recipe = SHORT / f"{name}.toml" if name in TRAINED else BASELINE_RECIPE
    return Trial(name, TITLES[name], recipe, (f"budget_minutes={minutes!r}", *settings))


def fitted(trial: Trial, place: Place, minutes: float) -> Trial:
    """The trial with as many epochs as fit into the budget, by the time that a first one took.

    The first one is a run beside the others, so a trial that goes on has the same number.
    """
    first = replace(trial, name=FIRST_EPOCH, settings=(*trial.settings, "epochs=1"))
    epoch_s = describe(train(first, place)).seconds
    epochs = max(1, round(60 * minutes / max(epoch_s, SHORTEST_S)))
    return replace(trial, settings=(*trial.settings, f"epochs={epochs}"))


def own_accuracy(checkpoint: Path) -> dict[str, float]:
    """What a network with a classifier of its own reaches on the test images, 0 to 1."""
    file = checkpoint.parent / ACCURACY_FILE
    return {"top1": json.loads(file.read_bytes())["test_accuracy"]} if file.exists() else {}


def require_minutes(results: list[Result], minutes: float) -> None:
    """BenchmarkError where a result was measured with another budget, before hours are spent."""
    for result in results:
        if result.minutes not in {None, minutes}:
            raise BenchmarkError(
                f"{result.name} was measured with {result.minutes:g} minutes, not {minutes:g};"
                " replace it with --again, or give another --out"
            )


if __name__ == "__main__":
    sys.exit(main())
