"""Every method of the family in equal time: one table, beside supervised, random and PCA.

python -m benchmarks.methods [--minutes 15] [--data cifar10 --root DIR] [--only NAME,...]

Each method is trained by `python -m training` with its recipe of configs/short/ for so many minutes
of wall-clock time, then probed. A result is written to benchmarks/results/methods/ as soon as it is
measured and not measured again; a training that was interrupted goes on. At the end docs/methods.md
and its plot are written from the results. Nothing else should be running.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from benchmarks import methods_report
from benchmarks.failures import BenchmarkError
from benchmarks.machine import REPOSITORY, command, facts, use_cores
from benchmarks.probing import Probed, Probing
from benchmarks.report import RESULTS
from benchmarks.trials import Place, Result, Shelf, Trained, Trial, describe, forget, train
from models.checkpoint import CheckpointError
from training.config import ConfigError, read_config
from training.datasets import DEFAULT_ROOT
from training.evaluation.plan import Request
from training.images import DataError

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
FAILED = 2
PACKAGES = ("torch", "torchvision", "numpy")


def main(words: list[str] | None = None) -> int:
    """Measure what is missing, write the page; 2 where something could not be measured."""
    load_before = os.getloadavg()[0]
    asked = arguments().parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops the training in its turn
    use_cores(asked.cores)
    try:
        names = chosen(asked.only)
        failed = measure_all(asked, names, load_before)
        write_page(asked)
    except (BenchmarkError, ConfigError, DataError, CheckpointError) as error:
        print(f"benchmarks.methods: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from here.", file=sys.stderr)
        return FAILED
    return FAILED if failed else 0


def arguments() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of training for each")
    parser.add_argument("--data", default="cifar10", help="a named set, or a folder of classes")
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where named sets lie")
    parser.add_argument("--only", help=f"some of {','.join(TITLES)}")
    parser.add_argument("--again", action="store_true", help="measure them anew")
    parser.add_argument("--probe-epochs", type=int, help="default: as evaluate has them")
    parser.add_argument("--cores", type=int, help="use the first N cores only (default: all)")
    parser.add_argument("--out", type=Path, help="the results' folder")
    parser.add_argument("--docs", type=Path, help="the page's folder (default: docs, or --out)")
    parser.add_argument("--runs", type=Path, default=REPOSITORY / "runs" / "methods")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="over every recipe")
    return parser


def chosen(only: str | None) -> list[str]:
    """The names asked for, in the table's order; BenchmarkError for an unknown one."""
    wanted = set(only.split(",")) if only else set(TITLES)
    unknown = wanted - TITLES.keys()
    if unknown:
        raise BenchmarkError(
            f"there is no {', '.join(sorted(unknown))}; known: {', '.join(TITLES)}"
        )
    return [name for name in TITLES if name in wanted]


def measure_all(asked: argparse.Namespace, names: list[str], load_before: float) -> list[str]:
    """Measure the names that have no result yet; give those that failed, and go on after them."""
    place = Place(asked.data, asked.root, asked.runs.resolve(), asked.out or RESULTS / "methods")
    shelf = Shelf(place.out)
    for result in shelf.read(names):
        if not asked.again and result.minutes not in {None, asked.minutes}:
            raise BenchmarkError(
                f"{shelf.file(result.name)} was measured with {result.minutes:g} minutes, not"
                f" {asked.minutes:g}; give --again to replace it, or another --out"
            )
    failed = []
    for name in names:
        trial = trial_of(name, asked)
        if asked.again:
            forget(trial, place, shelf)
        if shelf.has(name):
            print(f"{name}: measured before, {shelf.file(name)}", flush=True)
            continue
        print(f"{name}: {trial.title}", flush=True)
        try:
            shelf.put(measure(trial, place, asked, load_before))
        except BenchmarkError as error:
            print(f"benchmarks.methods: {error}", file=sys.stderr)
            failed.append(name)
    return failed


def trial_of(name: str, asked: argparse.Namespace) -> Trial:
    """The method as a trial with its budget."""
    recipe = SHORT / f"{name}.toml" if name in TRAINED else BASELINE_RECIPE
    budget = f"budget_minutes={asked.minutes:g}"
    kind = "supervised" if name == "supervised" else "train"
    return Trial(name, TITLES[name], recipe, (budget, *asked.settings), kind)


def measure(trial: Trial, place: Place, asked: argparse.Namespace, load_before: float) -> Result:
    """Train it if it is trained, probe it, and say on what."""
    request = Request(probe_epochs=asked.probe_epochs)
    probing = Probing(place.data, place.root, request)
    trained: Trained | None = None
    if trial.name in TRAINED:
        checkpoint = train(trial, place)
        trained = describe(checkpoint)
        probed: Probed = probing.checkpoint(checkpoint)
    else:
        config = read_config(trial.recipe, list(trial.settings))
        probed = probing.random(config) if trial.name == "random" else probing.pixels(config)
    return Result(
        name=trial.name,
        title=trial.title,
        minutes=asked.minutes if trained else None,
        data=probed.data,
        rows=probed.rows,
        numbers=probed.numbers,
        trained=trained,
        protocol=probed.protocol,
        evaluation_s=round(probed.seconds, 1),
        facts=facts(PACKAGES, load_before),
    )


def write_page(asked: argparse.Namespace) -> None:
    """docs/methods.md and its plot, from all results there are."""
    shelf = Shelf(asked.out or RESULTS / "methods")
    results = list(shelf.read(list(TITLES)))
    folder = asked.docs or asked.out or REPOSITORY / "docs"
    methods_report.write(command("benchmarks.methods"), results, folder)


if __name__ == "__main__":
    sys.exit(main())
