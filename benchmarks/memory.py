"""The memory that training plans for a large folder, and what it takes.

python -m benchmarks.memory [--images 200000] [--stream] [key=value ...]

Makes a folder of so many small PNGs (a few hundred, under many names), lets `training train` plan
and run there to its end, and compares the plan's peak with the process's. Takes minutes and writes
benchmarks/results/training-memory.md; nothing of it is timed, so the machine may be busy.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.failures import BenchmarkError
from benchmarks.machine import REPOSITORY, command, facts
from benchmarks.report import RESULTS, deliver, head, page, table, verdict
from training.pixel_files import PIXELS_FILE

IMAGES, DIFFERENT, FILES_A_FOLDER = 200_000, 500, 1_000
ALLOWED = 0.10  # of the measured peak
GIB = 2**30
FAILED = 2
SAMPLE_EVERY_S = 0.1
SETTINGS = ("budget_minutes=0.3", "calibrate_epochs=1")
PEAK = re.compile(r"([\d.]+) (GiB|MiB) at the peak")
MEANING = (
    "The peak is that of the whole process, from its start to the checkpoint it writes, the fit of"
    f" the served critics included: the kernel's record (ru_maxrss); streamed, sampled every"
    f" {SAMPLE_EVERY_S} s without the pages of the mapped file, which the system takes back when"
    " memory runs short."
)
PACKAGES = ("torch", "numpy", "pillow")


def main() -> int:
    """Measure and report; 2, with one sentence, where that is not possible."""
    load_before = os.getloadavg()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--out", type=Path, default=RESULTS, help="the report's folder")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="of training")
    asked = parser.parse_args()
    try:
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            pictures = make_folder(Path(folder) / "pictures", asked.images)
            for name, flags in (("resident", []), ("streamed", ["--stream"])):
                planned, measured = run(pictures, Path(folder) / name, [*flags, *asked.settings])
                rows.append((name, planned, measured))
                print(f"{name}: planned {planned / GIB:.3f} GiB, took {measured / GIB:.3f} GiB")
    except BenchmarkError as error:
        print(f"benchmarks.memory: {error}", file=sys.stderr)
        return FAILED
    text = report(rows, asked.images, load_before)
    deliver(text, "training-memory.md", asked.out)
    return 0


def make_folder(folder: Path, images: int) -> Path:
    """So many names for a few hundred pictures of noise."""
    draw = np.random.default_rng(0)
    originals = folder.with_name("originals")
    originals.mkdir()
    for number in range(min(DIFFERENT, images)):
        noise = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(originals / f"{number}.png")
    for number in range(images):
        inside = folder / f"{number // FILES_A_FOLDER:04d}"
        if number % FILES_A_FOLDER == 0:
            inside.mkdir(parents=True)
        os.link(originals / f"{number % DIFFERENT}.png", inside / f"{number:07d}.png")
    return folder


def run(pictures: Path, out: Path, words: list[str]) -> tuple[int, int]:
    """Bytes at the peak, as planned and as taken, of a whole run."""
    log = out.with_suffix(".txt")
    with log.open("w") as words_said:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "training", "train", "--data", str(pictures)),
                *("--out", str(out), "--device", "cpu", *SETTINGS, *words),
            ],
            cwd=REPOSITORY,
            stdout=words_said,
        )
    peak = most_taken(process)
    said = log.read_text()
    found = PEAK.search(said)
    if process.returncode or found is None:
        raise BenchmarkError(f"training ended with {process.returncode}: {said[-500:]}")
    return int(float(found[1]) * {"GiB": GIB, "MiB": 2**20}[found[2]]), peak


def most_taken(process: subprocess.Popen[bytes]) -> int:
    """The most memory the process held, without pages of the file of decoded pixels.

    Where there is no such file it is the kernel's own record, which misses nothing.
    """
    sampled, mapped_ever = 0, False
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            return sampled if mapped_ever else usage.ru_maxrss * 1024
        total, mapped = 0, False
        with suppress(OSError):
            for line in Path(f"/proc/{process.pid}/smaps").read_text().splitlines():
                if not line[:1].isupper():  # a mapping begins with its addresses
                    mapped = line.endswith(PIXELS_FILE)
                    mapped_ever |= mapped
                elif line.startswith("Rss:") and not mapped:
                    total += int(line.split()[1]) * 1024
        sampled = max(sampled, total)
        time.sleep(SAMPLE_EVERY_S)


def report(rows: list[tuple[str, int, int]], images: int, load_before: float) -> str:
    """The page."""
    off = max(abs(planned / measured - 1) for _, planned, measured in rows)
    cells = [
        [name, f"{planned / GIB:.3f}", f"{measured / GIB:.3f}", f"{planned / measured:.3f}"]
        for name, planned, measured in rows
    ]
    columns = ("set", "planned peak, GiB", "measured peak, GiB", "planned/measured")
    held = verdict(off <= ALLOWED)
    pictures = f"{min(DIFFERENT, images)} PNGs of 32 x 32 noise under {images:,} names"
    return page(
        head(
            f"Memory of training on a folder of {images:,} images",
            command("benchmarks.memory"),
            facts(PACKAGES, load_before),
        ),
        f"**The plan is at most {off:.1%} away from the peak of the process.**",
        table(columns, cells),
        MEANING,
        [f"* within {ALLOWED:.0%} of the measured peak: {held}"],
        [f"* {pictures}, a fifth of them held out.", f"* The run: {' '.join(SETTINGS)}."],
    )


if __name__ == "__main__":
    sys.exit(main())
