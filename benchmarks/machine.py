"""What a figure was measured on: the facts that stand above every report."""

import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parent.parent
MEASURED = ("models", "service", "training", "configs", "benchmarks/*.py", "benchmarks/rivals")
NOTABLE_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
BUSY = 0.25  # load average, for each core in use, above which the figures are not to be quoted


def use_cores(count: int | None) -> int:
    """Run this process and its children on the first `count` cores, all by default; give how many.

    torch counted its threads when it was imported and is told again, unless OMP_NUM_THREADS is set.
    """
    os.sched_setaffinity(0, range(count or os.cpu_count() or 1))
    cores = len(os.sched_getaffinity(0))
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(cores)
    return cores


def command(module: str) -> str:
    """The command line that was given, without the reader's business: where files lay."""
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    return shlex.join(["python", "-m", module, *words])


def facts(packages: tuple[str, ...], load_before: float) -> dict[str, str]:
    """Machine, versions, commit and date, each under the name it has in a report."""
    cores = len(os.sched_getaffinity(0))
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = os.uname()
    load = f"{load_before:.2f} (1 minute) before the run"
    if load_before > BUSY * cores:
        load += "; **other programs were running: do not quote these figures**"
    versions = [f"{name} {version_of(name)}" for name in packages]
    return {
        "Machine": f"{processor()}, {cores} of {os.cpu_count()} cores used, {memory_gib:.0f} GiB",
        "System": f"{system.sysname} {system.release}, {system.machine}",
        "Versions": ", ".join([f"Python {sys.version.split()[0]}", *versions]),
        "Commit": commit(),
        "Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Threads of torch": f"{torch.get_num_threads()} by default",
        "Load": load,
    }


def version_of(package: str) -> str:
    """The installed version, or "not installed"."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def processor() -> str:
    """The processor's name with the instruction sets that decide its speed here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return os.uname().machine
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    told = {key.strip(): value.strip() for key, value in told.items()}
    flags = [flag for flag in NOTABLE_FLAGS if flag in told.get("flags", "").split()]
    name = told.get("model name", os.uname().machine)
    return f"{name} ({', '.join(flags)})" if flags else name


def commit() -> str:
    """The checkout's commit, and whether what is measured had changes on top of it."""
    try:
        head = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--", *MEASURED)
    except (OSError, subprocess.SubprocessError):
        return "unknown (not a git checkout)"
    return f"{head}, with uncommitted changes" if changed else head


def git(*words: str) -> str:
    """What git prints."""
    done = subprocess.run(
        ["git", *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=20, check=True
    )
    return done.stdout.strip()
