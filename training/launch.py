"""Several processes of one machine train one run: started here, watched, and ended together.

Where many machines train, torchrun or a scheduler starts the processes; they find each other by the
environment variables that are set here.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from training.config import ConfigError, TrainConfig
from training.devices import choose_device
from training.distributed import check_shares, meeting_place
from training.loop import StopSignal, stop_signal

LOOK_EVERY_S = 0.1
GRACE_S = 10.0  # in which the others notice themselves that one is gone

Process = subprocess.Popen[bytes]


def add_launch_arguments(parser: argparse.ArgumentParser) -> None:
    """How many processes train."""
    many = parser.add_mutually_exclusive_group()
    many.add_argument("--gpus", type=int, metavar="N", help="train on N GPUs of this machine")
    many.add_argument("--processes", type=int, metavar="N", help="the same on CPUs, N processes")


def device_name(args: argparse.Namespace) -> str:
    """The device to choose; --gpus and --processes have a say in it. ConfigError for nonsense."""
    for option, count in (("--gpus", args.gpus), ("--processes", args.processes)):
        if count is not None and count < 1:
            raise ConfigError(f"{option} must be at least 1, not {count}")
    if (args.gpus and args.device == "cpu") or (args.processes and args.device == "cuda"):
        raise ConfigError("--gpus N is for GPUs and --processes N for CPUs; choose one of them")
    if args.gpus:
        return "cuda"
    return "cpu" if args.processes else args.device


def to_be_launched(args: argparse.Namespace) -> bool:
    """Whether this process is to start others, rather than to train itself."""
    return (args.gpus or args.processes or 1) > 1 and "WORLD_SIZE" not in os.environ


def launch(args: argparse.Namespace, config: TrainConfig) -> int:
    """Run the command in several processes; 0, or the exit status of the first that failed."""
    count = args.gpus or args.processes
    device = choose_device(device_name(args))
    if device.type == "cuda" and torch.cuda.device_count() < count:
        raise ConfigError(f"there are {torch.cuda.device_count()} GPUs here; choose --gpus so")
    check_shares(config.batch_size, count)
    return run_together([sys.executable, "-m", "training", *args.words], count)


def run_together(command: Sequence[str], count: int) -> int:
    """Run a command in so many processes that find each other; its exit status, told if not 0."""
    with stop_signal() as stop, started(command, count) as processes:
        failed = first_failed(processes, stop)
    return 0 if failed is None else explained(*failed, count)


@contextmanager
def started(command: Sequence[str], count: int) -> Iterator[list[Process]]:
    """The processes, each told its rank and its cores' share; none of them is left at the end."""
    place, told = meeting_place()
    told |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    told["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // count)))
    processes: list[Process] = []
    try:
        for rank in range(count):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            processes.append(subprocess.Popen(command, env=os.environ | told | own))  # noqa: S603
        yield processes
    finally:
        del place
        for process in processes:
            process.kill()
            process.wait()


def first_failed(processes: Sequence[Process], stop: StopSignal) -> tuple[int, int] | None:
    """Wait for all; (rank, exit status) of the one that failed first, once the others know it."""
    failed: tuple[int, int] | None = None
    end_s, passed_on = float("inf"), False
    while any(process.poll() is None for process in processes) and time.monotonic() < end_s:
        if failed is None:
            failed = failure(processes)
            end_s = end_s if failed is None else time.monotonic() + GRACE_S
        if stop.is_set and not passed_on:
            passed_on = True
            for process in processes:
                process.send_signal(signal.SIGTERM)
        time.sleep(LOOK_EVERY_S)
    return failed or failure(processes)


def failure(processes: Sequence[Process]) -> tuple[int, int] | None:
    """(rank, exit status) of a process that failed; one that a signal ended is told first."""
    codes = [(process.poll() or 0, rank) for rank, process in enumerate(processes)]
    code, rank = min(codes) if min(codes)[0] < 0 else max(codes, key=lambda each: each[0])
    return (rank, code) if code else None


def explained(rank: int, code: int, count: int) -> int:
    """Tell why the run ended; its exit status."""
    if code > 0:
        print(
            f"error: process {rank} of {count} (counted from 0) ended with exit status {code};"
            " see above",
            file=sys.stderr,
        )
        return code
    print(
        f"error: process {rank} of {count} (counted from 0) was ended by"
        f" {signal.Signals(-code).name}, so the others were ended too. The same command goes on"
        " from the last saved state",
        file=sys.stderr,
    )
    return 128 - code


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
