"""Processes that are started together end together, and leave one run that goes on."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from models.checkpoint import load_checkpoint
from training.__main__ import main
from training.launch import explained
from training.runs import CHECKPOINT_FOLDER, LOG_FILE

STEPS = 40


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(25):
        Image.radial_gradient("L").rotate(12 * number).resize((28, 28)).save(
            folder / f"{number}.png"
        )
    return folder


def command(pictures: Path, out: Path) -> list[str]:
    """Short steps in two processes."""
    settings = "method=amdim encoder=amdim32 views=amdim channels=3 rkhs=12 depth=1 precision=fp32"
    length = f"batch_size=10 epochs={STEPS} calibrate_epochs=1"
    words = ["train", "--data", str(pictures), "--out", str(out), "--processes", "2"]
    return [*words, *settings.split(), *length.split()]


def second_in_its_loop() -> int | None:
    """Our process of rank 1, once it catches SIGTERM: it takes steps now."""
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
                caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{child}/status").read_text())
                if caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1:
                    return int(child)
    return None


@pytest.fixture
def killing() -> Iterator[None]:
    """Kill the second process as soon as it takes steps, once."""

    def kill() -> None:
        end_s = time.monotonic() + 200
        while (process := second_in_its_loop()) is None and time.monotonic() < end_s:
            time.sleep(0.01)
        if process is not None:
            os.kill(process, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    yield
    thread.join()


@pytest.mark.slow  # twice two processes that import torch
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds its processes in /proc")
@pytest.mark.usefixtures("killing")
def test_a_run_whose_second_process_was_killed_says_so_and_goes_on_to_one_checkpoint(
    pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = [*command(pictures, out), "--name", "of-two"]
    assert main(words) == 128 + signal.SIGKILL
    told = capfd.readouterr().err
    assert "process 1 of 2 (counted from 0) was ended by SIGKILL" in told
    assert "process 0 of 2 cannot reach the others any more" in told
    assert "Traceback" not in told
    assert not (out / CHECKPOINT_FOLDER).exists()

    assert main(words) == 0
    steps = [json.loads(line)["step"] for line in (out / LOG_FILE).read_text().splitlines()]
    assert steps == list(range(1, STEPS + 1))
    card = load_checkpoint(out / CHECKPOINT_FOLDER).card
    assert (card.name, card.training.steps, card.training.device) == ("of-two", STEPS, "2 x cpu")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--processes", "3"], "8 images cannot be shared equally by 3 processes.*6 or 9"),
        (["--processes", "0"], "--processes must be at least 1"),
        (["--processes", "2", "--device", "cuda"], "choose one of them"),
    ],
)
def test_what_cannot_be_launched_is_refused_before_anything_starts(
    words: list[str],
    sentence: str,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    start = ["train", "--data", str(pictures), "--out", str(tmp_path / "run")]
    assert main([*start, *words, "batch_size=8"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(sentence, error)
    assert not (tmp_path / "run").exists()


def test_the_exit_status_is_that_of_the_process_that_failed() -> None:
    assert explained(1, 2, 4) == 2
    assert explained(3, -signal.SIGKILL, 4) == 137
