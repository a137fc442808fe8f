"""How much memory the images take, against how much there is; said before the first is decoded."""

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from models.card import Preprocessing
from training.images import DataError

MIB = 2**20
GIB = 2**30
RESERVE = 512 * MIB  # left for the network, its gradients and one batch


@dataclass(frozen=True)
class MemoryPlan:
    """The size of the pixel tensor, in bytes, against the memory that is free."""

    images: int
    bytes_needed: int
    bytes_available: int
    sentence: str

    @property
    def fits(self) -> bool:
        """Whether the pixels fit beside what must stay free."""
        return self.bytes_needed + RESERVE <= self.bytes_available

    def require(self) -> None:
        """Raise DataError with the remedy where the images do not fit."""
        if not self.fits:
            raise DataError(
                f"{self.sentence} They do not fit: {RESERVE // MIB} MiB must stay free. "
                "Use a smaller image size, fewer images, or a machine with more memory."
            )


def plan_memory(
    count: int, preprocessing: Preprocessing, available: int | None = None
) -> MemoryPlan:
    """What `count` images take once resized; `available` in bytes, measured when not given."""
    size, channels = preprocessing.size, preprocessing.channels
    needed = count * size * size * channels
    free = available_bytes() if available is None else available
    sentence = (
        f"Memory: {count:,} images of {size} x {size} x {channels} bytes take "
        f"{in_words(needed)}; {in_words(free)} are free."
    )
    return MemoryPlan(count, needed, free, sentence)


def available_bytes() -> int:
    """Memory this process may still take: what the machine has left, or its container allows."""
    return min(_machine_available(), _container_available())


def resident_bytes() -> int:
    """Memory this process holds now."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return peak_bytes()


def peak_bytes() -> int:
    """The most memory this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere


def _machine_available() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # macOS: all there is


def _container_available() -> int:
    """Bytes left under the control group's limit (version 2, then 1); a huge number without one."""
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        try:
            allowed, taken = Path(limit).read_text().strip(), Path(used).read_text().strip()
        except OSError:
            continue
        if allowed != "max":
            return max(0, int(allowed) - int(taken))
    return 2**63 - 1


def in_words(count: int) -> str:
    """Bytes as "1.25 GiB" or "34.5 MiB"."""
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / MIB:.1f} MiB"
