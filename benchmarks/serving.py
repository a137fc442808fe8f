"""Requests a second and latency: the service, a naive FastAPI endpoint and litserve, by wrk.

python -m benchmarks.serving [--quick] [--checkpoint DIR] [--root DIR] [--cores N] [--out DIR]

Takes about seven minutes and writes benchmarks/results/serving-cpu.md; `--quick` takes two and only
prints. Nothing else should be running.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from benchmarks import serving_report
from benchmarks.contenders import LitserveSetting, litserve, litserve_settings, naive, ours
from benchmarks.failures import BenchmarkError
from benchmarks.images import corpus
from benchmarks.limit import InProcess
from benchmarks.load import Measured, require_wrk
from benchmarks.machine import command, facts, use_cores
from benchmarks.report import RESULTS, deliver
from benchmarks.serving_report import Findings
from benchmarks.subjects import Trial, at_work
from models.checkpoint import CheckpointError
from service.settings import default_checkpoint

CLIENTS = (1, 8, 32)
CORPUS_IMAGES = 48
ROUNDS, SECONDS = 5, 6
QUICK_ROUNDS, QUICK_SECONDS = 2, 4
TUNE_S = 3
FAILED = 2
PACKAGES = ("torch", "pillow", "fastapi", "starlette", "uvicorn", "litserve")


def main() -> int:
    """Measure and report; 2, with one sentence, where that is not possible."""
    load_before = os.getloadavg()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="folder (default: the shipped one)")
    parser.add_argument("--root", type=Path, default=Path("data"), help="where CIFAR-10 may lie")
    parser.add_argument("--cores", type=int, help="use the first N cores only (default: all)")
    parser.add_argument("--quick", action="store_true", help="two minutes; print, write no report")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, quick {QUICK_ROUNDS}")
    parser.add_argument(
        "--seconds", type=int, help=f"of a run of wrk: {SECONDS}, quick {QUICK_SECONDS}"
    )
    parser.add_argument("--out", type=Path, help="the report's folder")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # stops the servers
    use_cores(asked.cores)
    try:
        run(asked, load_before)
    except BenchmarkError as error:
        print(f"benchmarks.serving: {error}", file=sys.stderr)
        return FAILED
    return 0


def run(asked: argparse.Namespace, load_before: float) -> None:
    """The benchmark from its options to its report."""
    wrk = require_wrk()
    require_litserve()
    rounds = asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)
    seconds = asked.seconds or (QUICK_SECONDS if asked.quick else SECONDS)
    checkpoint = asked.checkpoint or default_checkpoint()
    try:
        found, model = measure(checkpoint, asked.root, rounds, seconds, tuned=not asked.quick)
    except CheckpointError as error:
        raise BenchmarkError(str(error)) from error
    told = facts(PACKAGES, load_before)
    told["Versions"] += f", {wrk}"
    text = serving_report.write(command("benchmarks.serving"), told | {"Checkpoint": model}, found)
    deliver(text, "serving-cpu.md", asked.out or (None if asked.quick else RESULTS))


def measure(
    checkpoint: Path, root: Path, rounds: int, seconds: int, *, tuned: bool
) -> tuple[Findings, str]:
    """Start everybody, take turns, and give what was found, with the checkpoint in words."""
    images, described = corpus(root, CORPUS_IMAGES)
    model = InProcess(checkpoint, images)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trial = Trial(checkpoint, images, model.embeddings(), scratch)
        settings = litserve_settings(len(os.sched_getaffinity(0)))
        tried = tune(settings, trial) if tuned else {}
        best = fastest(tried) if tried else settings[0]

        contenders = [ours(), naive(), litserve(best)]
        subjects = []
        for contender in contenders:
            say(f"starting {contender.name}")
            subjects.append(stack.enter_context(at_work(contender, trial)))
        arrangement = model.best_arrangement()
        say(f"in process: {arrangement}")

        runs: dict[tuple[str, int], list[Measured]] = {}
        limits = []
        for number in range(1, rounds + 1):
            for clients in CLIENTS:
                for subject in subjects:
                    name = subject.contender.name
                    run = subject.measure(clients, seconds)
                    runs.setdefault((name, clients), []).append(run)
                    say(f"round {number}/{rounds}  {name:<8} {clients:>2} clients  {run}")
            limits.append(model.images_per_s(arrangement, seconds / 2))
            say(f"round {number}/{rounds}  in process  {limits[-1]:.1f} images/s")
    found = Findings(
        contenders=contenders,
        runs=runs,
        limits=limits,
        arrangement=str(arrangement),
        tried={str(setting): value for setting, value in tried.items()},
        seconds=seconds,
        corpus=described,
    )
    return found, f"{model.card.name} ({model.card.encoder.name}, {model.card.identity})"


def tune(settings: Sequence[LitserveSetting], trial: Trial) -> dict[LitserveSetting, float]:
    """Requests/s of litserve at the most clients: each setting, then the best one with forms."""
    tried: dict[LitserveSetting, float] = {}

    def attempt(setting: LitserveSetting) -> None:
        with at_work(litserve(setting), trial) as subject:
            tried[setting] = subject.turn(CLIENTS[-1], TUNE_S).requests_per_s
        say(f"litserve, {setting}: {tried[setting]:.1f} requests/s")

    for setting in settings:
        attempt(setting)
    attempt(replace(fastest(tried), form=True))
    return tried


def fastest(tried: Mapping[LitserveSetting, float]) -> LitserveSetting:
    """The setting with the most requests/s."""
    return max(tried, key=lambda setting: tried[setting])


def require_litserve() -> None:
    """Raise BenchmarkError where the rival is not installed."""
    if find_spec("litserve") is None:
        raise BenchmarkError("litserve is not installed; `make bench` installs what is needed")


def say(line: str) -> None:
    """One line of progress."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
