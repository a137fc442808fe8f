"""The paper's Table 1 for DIM(L), CIFAR-10: trained and probed to the letter, cell beside cell.

python -m benchmarks.gpu.table1 --data cifar10 --root DIR [--only dim-l-jsd] [key=value ...]

Recipes: configs/paper/ (2048 units, batch 64, 1000 epochs). Probe: 200 units, 150 epochs at batch
64, the mean of the last 100. A cell is held where it is at most one point below the paper's.
Words such as epochs=1 make it small; the report then says what was not the paper's.
"""

import argparse
import sys
import tomllib
from collections.abc import Sequence

from benchmarks.failures import BenchmarkError
from benchmarks.machine import REPOSITORY, command
from benchmarks.paper import CIFAR10, REPRESENTATIONS
from benchmarks.probing import Probing
from benchmarks.report import RESULTS, deliver, head, table, verdict
from benchmarks.shelf import Result, Shelf, common_facts, require_alike
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
from training.evaluation.plan import Request

PROGRAM = "benchmarks.gpu.table1"
RECIPES = REPOSITORY / "configs" / "paper"
TITLES = {"dim-l-jsd": "DIM(L), JSD", "dim-l-infonce": "DIM(L), InfoNCE"}
PROBE = "mlp200"
PAPER_PROBE_EPOCHS = 150
PAPER_IMAGES = 50_000
WITHIN = 1.0  # points below the paper that still count as its figure


def main(words: list[str] | None = None) -> int:
    """Train and probe what is missing, write the report; 2 where something failed."""
    parser = argparse.ArgumentParser(prog=f"python -m {PROGRAM}", description=__doc__)
    parser.add_argument("--only", choices=TITLES, help="one of them")
    add_arguments(parser, "table1")
    asked = parser.parse_intermixed_args(words)
    return run(PROGRAM, asked, lambda load_before: work(asked, load_before))


def work(asked: argparse.Namespace, load_before: float) -> list[str]:
    """From the options to the report; give the cells that failed."""
    place = Place(asked.data, asked.root, asked.runs.resolve(), asked.device)
    folder = asked.out or RESULTS / "gpu"
    shelf = Shelf(folder / "table1")
    trials = [
        Trial(name, title, RECIPES / f"{name}.toml", tuple(asked.settings))
        for name, title in TITLES.items()
        if asked.only in {None, name}
    ]
    request = Request(what="paper", probe_epochs=asked.probe_epochs)
    probing = Probing(place.data, place.root, request, (PROBE,), device=choose_device(asked.device))

    def measure(trial: Trial) -> Result:
        checkpoint = train(trial, place)
        probed = probing.checkpoint(checkpoint)
        return as_result(trial, probed, describe(checkpoint), None, load_before)

    failed = measure_missing(trials, place, shelf, measure, again=asked.again)
    results = list(shelf.read(list(TITLES)))
    require_alike(results)
    deliver(page(command(PROGRAM), results, asked.probe_epochs), "table1.md", folder)
    return failed


def page(told: str, results: Sequence[Result], probe_epochs: int | None) -> str:
    """The report."""
    rows, held = [], []
    for result in results:
        for representation in REPRESENTATIONS:
            here, paper = result.accuracy(representation, PROBE), CIFAR10[result.name]
            if here is None:
                raise BenchmarkError(f"{result.name} has no {representation}; give --again")
            theirs = paper[representation]
            held.append(holds(here, theirs))
            rows.append(
                [
                    f"{result.title}, {representation}",
                    f"{here:.2f}",
                    f"{theirs:.2f}",
                    f"{here - theirs:+.2f}",
                    verdict(held[-1]),
                ]
            )
    columns = ["", "here", "paper", "difference", f"at most {WITHIN:g} point below"]
    differing = deviations(results, probe_epochs)
    setting = "\n".join(f"* {line}" for line in differing) or "None: the paper's own setting."
    parts = [
        head("The paper's Table 1, DIM(L) on CIFAR-10", told, common_facts(results)),
        conclusion(sum(held), len(held), differing),
        table(columns, rows),
        f"## What was not the paper's setting\n\n{setting}",
        f"## How\n\n{results[0].protocol}",
    ]
    return "\n\n".join(parts) + "\n"


def holds(here: float, paper: float) -> bool:
    """Whether a cell is reached, in per cent."""
    return here >= paper - WITHIN


def conclusion(held: int, cells: int, differing: Sequence[str]) -> str:
    """The one sentence; a small run is not held against the paper."""
    if differing:
        return (
            "**Not a reproduction: the setting was not the paper's (below). Cells at most"
            f" {WITHIN:g} point below the paper's: {held} of {cells}.**"
        )
    return f"**{held} of {cells} cells are at most {WITHIN:g} point below the paper's.**"


def deviations(results: Sequence[Result], probe_epochs: int | None) -> list[str]:
    """What was run otherwise than by configs/paper/ and the paper's probe, on its images."""
    found = []
    for result in results:
        if result.trained is None:
            continue
        recipe = tomllib.loads((RECIPES / f"{result.name}.toml").read_text(encoding="utf-8"))
        used = result.trained.recipe
        found += [
            f"{result.name}: {key} {used.get(key)!r} instead of {value!r}"
            for key, value in recipe.items()
            if used.get(key) != value
        ]
    data = results[0].data
    if (data.name, data.train) != ("cifar10", PAPER_IMAGES):
        found.append(f"images: {data.train:,} of {data.name} instead of CIFAR-10's")
    if probe_epochs not in {None, PAPER_PROBE_EPOCHS}:
        found.append(f"probe: {probe_epochs} epochs instead of {PAPER_PROBE_EPOCHS}")
    return found


if __name__ == "__main__":
    sys.exit(main())
