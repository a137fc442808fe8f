"""What one choice is worth, all else alike: a grid of short runs, a table and plots in docs/.

python -m benchmarks.ablations estimators   estimator x negatives x batch size
python -m benchmarks.ablations weights      alpha against beta: classification, reconstruction
python -m benchmarks.ablations prior        the prior game on and off: independence of Y

Each with --minutes-each M (of training) or epochs=E, and --images N (of each split at most), which
the page states. Results go to benchmarks/results/ablations/, the page to docs/ablations/. What was
measured is not measured again; a training that was interrupted goes on.
"""

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ablations_report
from benchmarks.machine import REPOSITORY, command
from benchmarks.methods import BASELINE_RECIPE, require_minutes
from benchmarks.probing import Probing
from benchmarks.report import RESULTS
from benchmarks.shelf import Result, Shelf
from benchmarks.subset import subset
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
from training.devices import choose_device
from training.evaluation.plan import PARTS, Request

PROGRAM = "benchmarks.ablations"
MINUTES_EACH = 3.0
IMAGES = 10_000


@dataclass(frozen=True)
class Grid:
    """The settings that are varied, by their key, and what is measured of Y beside its probes."""

    cells: Sequence[Mapping[str, str]]
    parts: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()

    def trials(self, minutes: float | None, settings: Sequence[str]) -> list[Trial]:
        """One a cell; without minutes the settings say for how many epochs."""
        return [
            Trial(
                name="-".join(cell.values()),
                title=", ".join(f"{key} {value}" for key, value in cell.items()),
                recipe=BASELINE_RECIPE,
                settings=(
                    *(() if minutes is None else (f"budget_minutes={minutes!r}",)),
                    *self.fixed,
                    *(f"{key}={value}" for key, value in cell.items()),
                    *settings,
                ),
            )
            for cell in self.cells
        ]


def product(**choices: tuple[str, ...]) -> list[dict[str, str]]:
    """Every combination."""
    return [dict(zip(choices, each, strict=True)) for each in itertools.product(*choices.values())]


GRIDS = {
    "estimators": Grid(
        product(
            objective=("jsd", "infonce", "dv"),
            negatives=("all", "shuffle", "roll"),
            batch_size=("16", "64", "256"),
        )
    ),
    "weights": Grid(
        [
            {"alpha": alpha, "beta": beta}
            for alpha, beta in (
                ("1.0", "0.0"),
                ("1.0", "0.1"),
                ("0.5", "0.1"),
                ("0.5", "0.5"),
                ("0.1", "1.0"),
                ("0.0", "1.0"),
            )
        ],
        parts=("mine", "ms_ssim"),
        fixed=("objective=jsd", "global_units=256"),
    ),
    "prior": Grid(
        [
            {"prior": "uniform", "gamma": "0.0"},
            *product(prior=("uniform", "gaussian"), gamma=("0.1", "1.0")),
        ],
        parts=("ndm",),
    ),
}


def main(words: list[str] | None = None) -> int:
    """Measure what is missing, write the page; 2 where something could not be measured."""
    parser = argparse.ArgumentParser(prog=f"python -m {PROGRAM}", description=__doc__)
    parser.add_argument("grid", choices=GRIDS)
    parser.add_argument("--minutes-each", type=float, default=MINUTES_EACH, help="of training")
    parser.add_argument("--images", type=int, default=IMAGES, help="of each split, at most")
    parser.add_argument("--fit-steps", type=int, default=Request.steps, help="of critics, decoders")
    add_arguments(parser, "ablations")
    asked = parser.parse_intermixed_args(words)
    return run(PROGRAM, asked, lambda load_before: work(asked, load_before))


def work(asked: argparse.Namespace, load_before: float) -> list[str]:
    """One grid from its options to its page; give the cells that failed."""
    grid = GRIDS[asked.grid]
    runs: Path = asked.runs.resolve()
    data = subset(asked.data, asked.root, asked.images, runs)
    place = Place(data, asked.root, runs / asked.grid, asked.device)
    shelf = Shelf((asked.out or RESULTS / "ablations") / asked.grid)
    by_epochs = any(word.startswith("epochs=") for word in asked.settings)
    minutes = None if by_epochs else asked.minutes_each
    trials = grid.trials(minutes, asked.settings)
    names = [trial.name for trial in trials]
    if minutes is not None and not asked.again:
        require_minutes(list(shelf.read(names)), minutes)
    request = Request(probe_epochs=asked.probe_epochs, steps=asked.fit_steps)
    parts = (*PARTS["quick"], *grid.parts)
    device = choose_device(asked.device)
    probing = Probing(data, place.root, request, parts, ("y",), device)

    def measure(trial: Trial) -> Result:
        checkpoint = train(trial, place)
        probed, trained = probing.checkpoint(checkpoint), describe(checkpoint)
        return as_result(trial, probed, trained, minutes, load_before)

    failed = measure_missing(trials, place, shelf, measure, again=asked.again)
    measured = {result.name: result for result in shelf.read(names)}
    cells = [
        (cell, measured[trial.name])
        for cell, trial in zip(grid.cells, trials, strict=True)
        if trial.name in measured
    ]
    folder = asked.docs or asked.out or REPOSITORY / "docs" / "ablations"
    ablations_report.write(asked.grid, command(PROGRAM), cells, folder)
    return failed


if __name__ == "__main__":
    sys.exit(main())
