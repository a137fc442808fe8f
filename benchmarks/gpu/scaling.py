"""Images a second in 1, 2, 4, ... processes of one machine, and how near that comes to N times one.

python -m benchmarks.gpu.scaling [--processes 1,2,4,8] [--device auto] [--recipe FILE] [key=value]

Every process has a GPU of its own; without GPUs all share this machine's cores, so that the figures
then tell what the exchange costs, not how training scales. The batch grows with the processes
(`batch_size` images each), or with --same-batch is shared by them. Steps are those of training, on
random pixels that lie on the device. Prints, and writes nothing.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.failures import BenchmarkError
from benchmarks.machine import REPOSITORY, command, facts
from benchmarks.report import head, table
from training.building import build_model, build_preprocessing
from training.config import ConfigError, TrainConfig, read_config
from training.devices import DEVICES, choose_device
from training.distributed import check_shares, joined
from training.launch import run_together
from training.planning import noise
from training.step import precision
from training.trial import trial

PROGRAM = "benchmarks.gpu.scaling"
RECIPE = REPOSITORY / "configs" / "dim-cifar10.toml"
PACKAGES = ("torch",)
FAILED = 2


def main() -> int:
    """0 when all was measured, 2 where it could not be."""
    load_before = os.getloadavg()[0]
    parser = argparse.ArgumentParser(prog=f"python -m {PROGRAM}", description=__doc__)
    parser.add_argument("--processes", default="1,2", help="how many, one after the other")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--seconds", type=float, default=10.0, help="of steps, each time")
    parser.add_argument("--same-batch", action="store_true", help="share one batch of batch_size")
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)  # of one of the processes
    parser.add_argument("settings", nargs="*", metavar="key=value", help="over the recipe")
    asked = parser.parse_args()
    try:
        config = read_config(asked.recipe, asked.settings)
        if asked.result is not None:
            take_part(config, asked)
            return 0
        counts = [int(word) for word in asked.processes.split(",")]
        print(report(asked, config, counts, load_before))
    except (BenchmarkError, ConfigError, ValueError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return FAILED
    return 0


def report(
    asked: argparse.Namespace, config: TrainConfig, counts: list[int], load_before: float
) -> str:
    """The table, below what it was measured on."""
    device = choose_device(asked.device)
    on = f"{torch.cuda.device_count()} GPUs, one for each process"
    if device.type == "cpu":
        on = "no GPU: the processes share the cores, so this is no measure of scaling"
    rows = []
    for count in counts:
        batch = config.batch_size * (1 if asked.same_batch else count)
        check_shares(batch, count)
        rate = batch / step_s(asked, batch, count)
        each = rate / count
        if not rows:
            first = each
        rows.append([str(count), str(batch), f"{rate:,.0f}", f"{each:,.0f}", f"{each / first:.2f}"])
    columns = ["processes", "batch", "images/s", "images/s each", "efficiency"]
    described = {
        "Device": on,
        "Training": f"{config.encoder}, {config.method}, {precision(config, device)}",
    }
    start = head(
        "Training in many processes", command(PROGRAM), described | facts(PACKAGES, load_before)
    )
    return f"{start}\n\n{table(columns, rows)}"


def step_s(asked: argparse.Namespace, batch: int, count: int) -> float:
    """Seconds a step of so many processes, started for it."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "step_s"
        options = ["--device", asked.device, "--recipe", asked.recipe, "--seconds", asked.seconds]
        words = [*options, "--result", result, *asked.settings, f"batch_size={batch}"]
        if run_together([sys.executable, "-m", PROGRAM, *map(str, words)], count):
            raise BenchmarkError(f"{count} processes did not come to an end; see above")
        return float(result.read_text())


def take_part(config: TrainConfig, asked: argparse.Namespace) -> None:
    """Take steps with the other processes; the first one writes how long they took."""
    with joined(choose_device(asked.device)) as (ranks, device):
        torch.manual_seed(config.seed)
        preprocessing = build_preprocessing(config)
        source = noise(config, preprocessing, 4 * config.batch_size, device)
        model = build_model(config)
        with trial(config, model, source, preprocessing, device=device, ranks=ranks) as timed:
            timed.settle()
            taken_s = timed.step_s(least_s=asked.seconds)
        if ranks.writes:
            asked.result.write_text(repr(taken_s))


if __name__ == "__main__":
    sys.exit(main())
