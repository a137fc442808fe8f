"""AMDIM's accuracy over the images it has seen: one run, probed at even steps on its way.

python -m benchmarks.gpu.amdim_curve --data cifar10 --root DIR [--points 10] [key=value ...]

The run keeps its schedule: it is stopped, probed and resumed, which is the same run bit for bit on
a CPU. A point is written as soon as it is measured; the same command goes on after an interruption.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.drawing import lines
from benchmarks.failures import BenchmarkError
from benchmarks.machine import REPOSITORY, command
from benchmarks.probing import Probed, Probing
from benchmarks.report import RESULTS, deliver, head, table
from benchmarks.shelf import Result, Shelf, Trained, common_facts, require_alike
from benchmarks.trials import Trial, add_arguments, as_result, last_bounds, run
from models.method import Method
from training.building import build_model, build_preprocessing
from training.config import TrainConfig, read_config
from training.data import load_images
from training.devices import choose_device
from training.draws import batch_size, steps_an_epoch
from training.evaluation.plan import Request
from training.loop import train
from training.runs import LOG_FILE, lock_run, open_run
from training.source import Resident
from training.step import precision

PROGRAM = "benchmarks.gpu.amdim_curve"
RECIPE = REPOSITORY / "configs" / "amdim_cifar10.toml"
POINTS = 10
PARTS = ("knn", "mlp200", "linear")
CELLS = (("y", "linear"), ("y", "mlp200"), ("y", "knn"))
NAMES = {"linear": "linear", "mlp200": "MLP", "knn": "kNN"}


def main(words: list[str] | None = None) -> int:
    """Train, stop, probe, go on; 2, with one sentence, where that is not possible."""
    parser = argparse.ArgumentParser(prog=f"python -m {PROGRAM}", description=__doc__)
    parser.add_argument("--points", type=int, default=POINTS, help="of the curve")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    add_arguments(parser, "amdim-curve")
    asked = parser.parse_intermixed_args(words)
    return run(PROGRAM, asked, lambda load_before: work(asked, load_before))


def work(asked: argparse.Namespace, load_before: float) -> list[str]:
    """From the options to the report."""
    config = read_config(asked.recipe, asked.settings)
    device = choose_device(asked.device)
    preprocessing = build_preprocessing(config)
    images = load_images(asked.data, preprocessing=preprocessing, root=asked.root)
    folder = asked.out or RESULTS / "gpu"
    shelf = Shelf(folder / "amdim-curve")
    request = Request(probe_epochs=asked.probe_epochs)
    probing = Probing(asked.data, asked.root, request, PARTS, ("y",), device)
    source = Resident(images.pixels.to(device))
    stops = even(config.epochs * steps_an_epoch(config, len(images)), asked.points)
    names = [f"step-{stop:08d}" for stop in stops]
    runs: Path = asked.runs.resolve()
    open_run(runs, config, {"fingerprint": images.fingerprint, "stops": stops})
    with lock_run(runs):
        torch.manual_seed(config.seed)
        model = build_model(config)
        for stop, name in zip(stops, names, strict=True):
            if shelf.has(name):
                continue
            outcome = train(
                config, model, source, preprocessing, runs, device=device, stop_after_steps=stop
            )
            if outcome.steps != stop:
                raise BenchmarkError(
                    f"the run is at step {outcome.steps}, not {stop}: it was stopped, and the same"
                    f" command goes on; or points are missing behind it, then delete {runs}"
                )
            trained = describe(config, outcome.steps, outcome.seconds, len(images), runs, device)
            probed = probe(probing, model, config)
            trial = Trial(name, f"{trained.images_seen:,} images", asked.recipe)
            shelf.put(as_result(trial, probed, trained, None, load_before))
    results = list(shelf.read(names))
    require_alike(results)
    (folder / "amdim-curve.svg").write_text(plot(results), encoding="utf-8")
    deliver(page(command(PROGRAM), results), "amdim-curve.md", folder)
    return []


def even(total: int, points: int) -> list[int]:
    """So many steps, evenly apart, the last one `total`."""
    return sorted({max(1, round(total * (place + 1) / points)) for place in range(points)})


def probe(probing: Probing, model: Method, config: TrainConfig) -> Probed:
    """The encoder as it is now."""
    return probing.encoder("trained", model.encoder, build_preprocessing(config))


def describe(
    config: TrainConfig, steps: int, seconds: float, images: int, run: Path, device: torch.device
) -> Trained:
    """The facts of the run so far."""
    seen = steps * batch_size(config, images)
    return Trained(
        steps=steps,
        images_seen=seen,
        epochs=seen / images,
        seconds=round(seconds, 1),
        precision=precision(config, device),
        bounds=last_bounds(run / LOG_FILE),
        recipe=config.model_dump(mode="json"),
    )


def page(told: str, results: Sequence[Result]) -> str:
    """The report."""
    columns = ["images seen", "epochs", "seconds", *(NAMES[probe] for _, probe in CELLS), "bounds"]
    rows, last = [], results[-1]
    for result in results:
        if result.trained is not None:
            accuracies = [result.accuracy(*cell) for cell in CELLS]
            bounds = ", ".join(f"{nats:.2f}" for nats in result.trained.bounds.values())
            rows.append(
                [
                    f"{result.trained.images_seen:,}",
                    f"{result.trained.epochs:.1f}",
                    f"{result.trained.seconds:,.0f}",
                    *("" if value is None else f"{value:.2f}" for value in accuracies),
                    bounds,
                ]
            )
    linear = last.accuracy("y", "linear") or 0.0
    parts = [
        head("AMDIM over the images it has seen", told, common_facts(results)),
        f"**After {last.title} a linear probe on Y reaches {linear:.2f} % on {last.data.name}.**",
        table(columns, rows),
        "Top-1 of Y in per cent, frozen encoder; bounds in nats.",
        "![Top-1 of Y over images seen](amdim-curve.svg)",
        f"## How\n\n{last.protocol}",
    ]
    return "\n\n".join(parts) + "\n"


def plot(results: Sequence[Result]) -> str:
    """One curve a probe, in thousands of images."""
    series: dict[str, list[tuple[float, float]]] = {}
    for result in results:
        for representation, name in CELLS:
            value = result.accuracy(representation, name)
            if value is not None and result.trained is not None:
                point = (result.trained.images_seen / 1000, value)
                series.setdefault(NAMES[name], []).append(point)
    return lines(series, "thousands of images seen", "top-1 of Y, per cent")


if __name__ == "__main__":
    sys.exit(main())
