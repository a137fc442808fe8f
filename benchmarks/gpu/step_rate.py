"""How near a training step comes to what the device could do.

python -m benchmarks.gpu.step_rate [--recipe FILE] [--batch-sizes 64,256,1024] [key=value ...]

FLOPs    of one step, forward, backward and prior game, as torch.utils.flop_counter counts them:
         matrix products and convolutions, 2 for a multiplication with its addition
bytes    that a step cannot help moving: parameters x 4 x 10 (read forward, read backward, gradient
         written; Adam reads weight, gradient and two moments, writes weight and two moments), each
         tensor kept for the backward pass written once and read once, the batch's pixels read once
R        matrix rate: 2 n^3 FLOPs by the time of an n x n product in the step's own precision
W        copy rate: 2 x bytes by the time of copying a tensor larger than any cache
floor    max(FLOPs / R, bytes / W): neither arithmetic nor memory allows less
MFU      FLOPs / (R x seconds of a step), with the measured R, not the data sheet's

R and W are measured on the same device in the same process; times are the best of several turns.
The rival is the same step fed by a DataLoader with torchvision's transforms.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.failures import BenchmarkError
from benchmarks.gpu.floors import Floors, Work, measure_floors, work_of
from benchmarks.gpu.turns import loader_step_s, new_step, resident_step_s
from benchmarks.images import training_pixels
from benchmarks.machine import REPOSITORY, command, facts
from benchmarks.report import RESULTS, deliver, head, table, verdict
from benchmarks.rivals import loader
from benchmarks.trials import PACKAGES, run
from models.types import Pixels
from training.building import build_preprocessing
from training.config import TrainConfig, read_config
from training.datasets import DEFAULT_ROOT
from training.devices import DEVICES, choose_device
from training.step import precision

PROGRAM = "benchmarks.gpu.step_rate"
RECIPE = REPOSITORY / "configs" / "dim-cifar10.toml"
BATCH_SIZES = "64,256,1024"
SECONDS = 5.0
WITHIN = 1.5  # times the floor
TIMES_LOADER = 10.0  # a GPU's target


class Rate(NamedTuple):
    """What was measured at one batch size; seconds a step."""

    batch_size: int
    work: Work
    step_s: float
    loader_s: float | None  # None where the rival does not know the views


def main(words: list[str] | None = None) -> int:
    """Measure and report; 2, with one sentence, where that is not possible."""
    parser = argparse.ArgumentParser(prog=f"python -m {PROGRAM}", description=__doc__)
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="default: the shipped one's")
    parser.add_argument("--batch-sizes", default=BATCH_SIZES, help="with commas between")
    parser.add_argument("--workers", type=int, help="of the DataLoader (default: one a core)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where CIFAR-10 may lie")
    parser.add_argument("--cores", type=int, help="use the first N cores only (default: all)")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu", help="the report's folder")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="over the recipe")
    asked = parser.parse_intermixed_args(words)
    return run(PROGRAM, asked, lambda load_before: work(asked, load_before))


def work(asked: argparse.Namespace, load_before: float) -> list[str]:
    """From the options to the report."""
    config = read_config(asked.recipe, asked.settings)
    device = choose_device(asked.device)
    pixels, described = training_pixels(asked.root, build_preprocessing(config).size)
    resident = torch.from_numpy(pixels).to(device)
    used = precision(config, device)
    floors = measure_floors(device, torch.bfloat16 if used == "bf16" else torch.float32)
    workers = len(os.sched_getaffinity(0)) if asked.workers is None else asked.workers
    found = []
    for size in (int(word) for word in asked.batch_sizes.split(",")):
        if size > len(pixels):
            raise BenchmarkError(f"a batch of {size} is above the {len(pixels):,} images there are")
        sized = config.model_copy(update={"batch_size": size})
        found.append(measure(sized, resident, pixels, device, workers, asked.seconds))
        print(f"batch {size}: {size / found[-1].step_s:,.0f} images/s", flush=True)
    told = facts(PACKAGES, load_before) | {
        "Device": name_of(device),
        "Step": f"{config.method}, {config.encoder}, views {config.views}, {used}",
        "Data": described,
        "DataLoader": f"{workers} workers",
    }
    text = page(command(PROGRAM), told, floors, found, device.type == "cuda")
    deliver(text, f"step-rate-{device.type}.md", asked.out)
    return []


def measure(
    config: TrainConfig,
    resident: Pixels,
    pixels: NDArray[np.uint8],
    device: torch.device,
    workers: int,
    seconds: float,
) -> Rate:
    """One batch size: the work counted, then our step and the rival's timed."""
    counted = work_of(new_step(config, device), 0, resident[: config.batch_size])
    step = new_step(config, device)
    step_s = resident_step_s(config, step, resident, seconds)
    rival = None
    if config.views in loader.VIEWS and step.model.num_views == 1:
        preprocessing = build_preprocessing(config)
        rival = loader_step_s(config, step, pixels, preprocessing, workers, seconds)
    return Rate(config.batch_size, counted, step_s, rival)


def name_of(device: torch.device) -> str:
    """As its maker calls it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU above"


def page(
    told: str, stated: Mapping[str, str], floors: Floors, found: Sequence[Rate], on_gpu: bool
) -> str:
    """The report."""
    columns = [
        *("batch", "images/s", "ms a step", "GFLOPs", "GB", "arithmetic, ms", "memory, ms"),
        *("times the floor", "MFU", "DataLoader, images/s", "ours/it"),
    ]
    best = max(found, key=lambda rate: rate.batch_size / rate.step_s)
    parts = [
        head("How near a training step comes to the device", told, stated),
        (
            f"**{best.batch_size / best.step_s:,.0f} images/s at batch {best.batch_size}: MFU"
            f" {floors.mfu(best.work, best.step_s):.1%},"
            f" {best.step_s / floors.floor_s(best.work):.2f} times the floor.**"
        ),
        (
            f"Matrix rate {floors.flops_per_s / 1e12:.3g} TFLOP/s, copy rate"
            f" {floors.bytes_per_s / 1e9:.3g} GB/s, both measured here."
        ),
        table(columns, [row(rate, floors) for rate in found]),
        "## Targets\n\n" + "\n".join(targets(floors, found, on_gpu)),
        f"## How\n\n{formulas()}",
    ]
    return "\n\n".join(parts) + "\n"


def row(rate: Rate, floors: Floors) -> list[str]:
    """One batch size."""
    rival = rate.loader_s
    return [
        str(rate.batch_size),
        f"{rate.batch_size / rate.step_s:,.0f}",
        f"{1000 * rate.step_s:.2f}",
        f"{rate.work.flops / 1e9:.2f}",
        f"{rate.work.moved_bytes / 1e9:.3f}",
        f"{1000 * floors.arithmetic_s(rate.work):.3f}",
        f"{1000 * floors.memory_s(rate.work):.3f}",
        f"{rate.step_s / floors.floor_s(rate.work):.2f}",
        f"{floors.mfu(rate.work, rate.step_s):.1%}",
        "" if rival is None else f"{rate.batch_size / rival:,.0f}",
        "" if rival is None else f"{rival / rate.step_s:.2f}",
    ]


def targets(floors: Floors, found: Sequence[Rate], on_gpu: bool) -> list[str]:
    """Each target with its best figure over the batch sizes; judged on a GPU alone."""

    def judged(holds: bool) -> str:
        return verdict(holds) if on_gpu else "not judged on a CPU"

    near = min(rate.step_s / floors.floor_s(rate.work) for rate in found)
    told = f"* A step takes {near:.2f} times the floor (at most {WITHIN:g})"
    lines = [f"{told}: {judged(near <= WITHIN)}"]
    ratios = [rate.loader_s / rate.step_s for rate in found if rate.loader_s is not None]
    if ratios:
        told = f"* {max(ratios):.2f} times the DataLoader (at least {TIMES_LOADER:g})"
        lines.append(f"{told}: {judged(max(ratios) >= TIMES_LOADER)}")
    return lines


def formulas() -> str:
    """What stands in this module's docstring, below the command."""
    return "```text\n" + (__doc__ or "").split("\n\n", 2)[2].strip() + "\n```"


if __name__ == "__main__":
    sys.exit(main())
