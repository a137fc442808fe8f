"""Closed-loop load from wrk: so many clients, each sending its next request on the last answer."""

import json
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.failures import BenchmarkError

SCRIPT = Path(__file__).with_name("post.lua")
ANSWER_WITHIN_S = 10  # wrk counts a later answer as an error
GRACE_S = 30  # beyond the duration asked for, after which wrk is killed
MARK = "RESULT "


@dataclass(frozen=True)
class Measured:
    """One run of wrk. Latencies are of whole requests, errors of any kind.

    wrk_cores  processor time that wrk itself took, for each second of the run
    """

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    wrk_cores: float

    def __str__(self) -> str:
        return (
            f"{self.requests_per_s:.1f} requests/s, p50 {self.p50_ms:.2f} ms,"
            f" p99 {self.p99_ms:.2f} ms, {self.errors} errors"
        )


def require_wrk() -> str:
    """The first line of what wrk says of itself; BenchmarkError where it is not installed."""
    if shutil.which("wrk") is None:
        raise BenchmarkError(
            "wrk makes the load and is not installed; on Debian and Ubuntu: apt-get install wrk"
        )
    told = subprocess.run(["wrk", "-v"], capture_output=True, text=True, timeout=10, check=False)
    return " ".join((told.stdout + told.stderr).split("[")[0].split())


def press(
    url: str, content_type: str, bodies: Sequence[Path], clients: int, seconds: int
) -> Measured:
    """POST the bodies in turn from so many clients. BenchmarkError where wrk gives no figures."""
    words = ["wrk", "--threads", "1", "--connections", str(clients)]
    words += ["--duration", f"{seconds}s", "--timeout", f"{ANSWER_WITHIN_S}s"]
    words += ["--script", str(SCRIPT), url, "--", content_type, *map(str, bodies)]
    before_s = children_s()
    try:
        ran = subprocess.run(
            words, capture_output=True, text=True, timeout=seconds + GRACE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"wrk did not end within {GRACE_S} s of its time") from None
    results = [line for line in ran.stdout.splitlines() if line.startswith(MARK)]
    if ran.returncode or not results:
        raise BenchmarkError(f"wrk failed: {(ran.stderr or ran.stdout).strip()[-400:]}")
    told = json.loads(results[-1].removeprefix(MARK))
    return Measured(
        requests_per_s=told["requests"] / told["seconds"],
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        errors=told["errors"],
        wrk_cores=(children_s() - before_s) / told["seconds"],
    )


def children_s() -> float:
    """Processor seconds of children that have ended; while servers run, those are wrk's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
