"""kill -9 anywhere, also inside a save, and a full disk: no step is lost or learned differently."""

import json
import multiprocessing
import signal
import sys
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.training import interrupted_run
from tests.training.picture_folder import draw
from training.runs import LOG_FILE, RESUME_FILE

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc, and limits file sizes")


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that start with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.interrupted_run"])
    return context


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(32):
        draw(folder / "train" / f"{number:02d}.png", (28, 28))
    for number in range(8):
        draw(folder / "test" / f"{number:02d}.png", (28, 28))
    return folder


@pytest.fixture(scope="module")
def whole(processes: ForkServerContext, pictures: Path, tmp_path_factory) -> Path:
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    run(processes, pictures, out)
    return out


def run(processes: ForkServerContext, data: Path, out: Path, stand: str = "", at: int = 0) -> str:
    """Train until the end or until it stands still, and kill it there; return what it said."""
    told = out.parent / f"{interrupted_run.MARK}-{stand}-{at}"
    process = processes.Process(target=interrupted_run.train, args=(data, out, told, stand, at))
    process.start()
    deadline = time.monotonic() + 300
    while process.is_alive() and not told.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if told.exists():
        process.kill()
    process.join()
    said = told.with_suffix(".txt").read_text()
    expected = -signal.SIGKILL if told.exists() else 2 if stand == "full" else 0
    assert process.exitcode == expected, said
    assert told.exists() == (stand not in {"", "full"}), said
    return said


def numbers(out: Path) -> list[dict[str, float]]:
    """Every line of the log, without its speed."""
    lines = [json.loads(line) for line in (out / LOG_FILE).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "images_per_s"} for line in lines]


@linux
@pytest.mark.slow
def test_ten_kills_three_of_them_inside_a_save_change_no_step(
    processes: ForkServerContext, pictures: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    kills = [
        *(("step", 1), ("step", 4), ("fsync", 1), ("step", 7), ("rename", 1)),
        *(("step", 10), ("renamed", 2), ("step", 15), ("step", 18), ("step", 19)),
    ]
    for stand, at in kills:
        run(processes, pictures, out, stand, at)
    run(processes, pictures, out)
    assert len(numbers(out)) == interrupted_run.STEPS
    assert numbers(out) == numbers(whole)
    one, other = (load_file(folder / RESUME_FILE) for folder in (whole, out))
    assert one.keys() == other.keys()
    assert all(bool((one[key] == other[key]).all()) for key in one)


@linux
@pytest.mark.slow
def test_a_disk_that_fills_up_during_a_save_leaves_the_state_before_and_says_what_to_do(
    processes: ForkServerContext, pictures: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    said = run(processes, pictures, out, "full", 2)
    assert "cannot be written to" in said
    assert "Free some space" in said
    assert not (out / f".{RESUME_FILE}.new").exists()
    assert len(load_file(out / RESUME_FILE)) > 0  # whole: it is read to its end
    run(processes, pictures, out)
    assert numbers(out) == numbers(whole)
