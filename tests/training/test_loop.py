"""A run can be stopped anywhere and goes on as if nothing had happened."""

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.building import build_model, build_preprocessing
from training.config import TrainConfig
from training.draws import step_rows
from training.loop import Outcome, train
from training.runs import LOG_FILE, RESUME_FILE, NotFiniteError
from training.source import Resident, Source, Streamed
from training.step import Step, learning_rate

SMALL = TrainConfig(
    encoder="basic28x28",
    colour="grey",
    alpha=0.5,
    objective="jsd",
    negatives="shuffle",
    local_units=8,
    global_units=8,
    batch_size=8,
    epochs=5,
    views="flip_crop",
    learning_rate=1e-3,
)
CPU = torch.device("cpu")


def toy_pixels(images: int = 16) -> torch.Tensor:
    """Draw smooth random pictures, the same every time."""
    coarse = torch.rand(images, 1, 7, 7, generator=torch.Generator().manual_seed(3))
    fine = torch.nn.functional.interpolate(coarse, size=28, mode="bilinear")
    return (fine * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def run(
    out: Path,
    config: TrainConfig = SMALL,
    stop_after_steps: int | None = None,
    source: Source | None = None,
) -> Outcome:
    """Train on toy pixels in a folder, as the command does."""
    out.mkdir(exist_ok=True)
    torch.manual_seed(config.seed)
    model = build_model(config)
    preprocessing = build_preprocessing(config)
    torch.manual_seed(int(time.monotonic_ns()) % 2**31)  # the loop must not draw from this
    return train(
        config,
        model,
        source or Resident(toy_pixels()),
        preprocessing,
        out,
        device=CPU,
        stop_after_steps=stop_after_steps,
    )


def test_a_streamed_set_trains_bit_for_bit_as_a_resident_one(tmp_path: Path) -> None:
    run(tmp_path / "resident")
    run(tmp_path / "streamed", source=Streamed(toy_pixels(), CPU))
    assert losses(tmp_path / "resident") == losses(tmp_path / "streamed")
    one, other = (load_file(tmp_path / name / RESUME_FILE) for name in ("resident", "streamed"))
    assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())


def losses(out: Path) -> list[tuple[int, float, float]]:
    """Read step, loss and prior critic's loss of every line of a log."""
    lines = [json.loads(line) for line in (out / LOG_FILE).read_text().splitlines()]
    return [(line["step"], line["loss"], line["prior_critic_loss"]) for line in lines]


def test_ten_steps_are_five_and_five_more_bit_for_bit(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    first = run(tmp_path / "halves", stop_after_steps=5)
    second = run(tmp_path / "halves")
    assert (whole.steps, first.steps, second.steps) == (10, 5, 10)
    assert (whole.finished, first.finished, second.finished) == (True, False, True)
    assert losses(tmp_path / "whole") == losses(tmp_path / "halves")
    one, other = (load_file(tmp_path / name / RESUME_FILE) for name in ("whole", "halves"))
    assert one.keys() == other.keys()
    assert any(key.startswith("bounds/") for key in one)  # the optimisers' state is in there
    for key, tensor in one.items():
        assert torch.equal(tensor, other[key]), key


def test_a_killed_run_repeats_the_steps_after_its_last_save(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    out = tmp_path / "killed"
    run(out, stop_after_steps=4)
    with (out / LOG_FILE).open("a") as log:  # what a killed process had logged but not saved
        log.write('{"step": 5, "loss": 1.0, "prior_critic_loss": 1.0}\n{"step": 6, "lo')
    run(out)
    assert losses(out) == losses(tmp_path / "whole")


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    run(tmp_path / "one", stop_after_steps=2)
    run(tmp_path / "two", SMALL.model_copy(update={"seed": 1}), stop_after_steps=2)
    assert losses(tmp_path / "one") != losses(tmp_path / "two")


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_state(tmp_path: Path) -> None:
    wild = SMALL.model_copy(update={"learning_rate": 1e25, "schedule": "constant"})
    run(tmp_path / "run", wild, stop_after_steps=1)
    before = (tmp_path / "run" / RESUME_FILE).read_bytes()
    with pytest.raises(NotFiniteError, match=r"step \d+ is not finite.*learning_rate"):
        run(tmp_path / "run", wild)
    assert (tmp_path / "run" / RESUME_FILE).read_bytes() == before


def test_the_cosine_falls_from_the_whole_rate_to_nothing() -> None:
    assert learning_rate(SMALL, 0, 100) == SMALL.learning_rate
    assert math.isclose(learning_rate(SMALL, 50, 100), SMALL.learning_rate / 2)
    assert learning_rate(SMALL, 99, 100) < SMALL.learning_rate / 1000
    constant = SMALL.model_copy(update={"schedule": "constant"})
    assert learning_rate(constant, 99, 100) == SMALL.learning_rate


def test_sigterm_saves_exits_0_and_the_same_command_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    from PIL import Image

    for number, picture in enumerate(toy_pixels(40)):
        Image.fromarray(picture[..., 0].numpy()).save(folder / f"{number}.png")
    out = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "training", "train", "--data", str(folder), "--out", str(out)),
        *("--device", "cpu", "epochs=100000", "encoder=basic28x28", "colour=grey"),
        *("local_units=8", "batch_size=8", "gamma=0", "compile=off"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 240
    while not (out / LOG_FILE).exists() or not (out / LOG_FILE).read_bytes():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "the same command goes on from there" in output
    steps = [json.loads(line)["step"] for line in (out / LOG_FILE).read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1))
    assert f"Stopped after step {steps[-1]}" in output


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_no_step_waits_for_the_gpu() -> None:
    device = torch.device("cuda")
    preprocessing = build_preprocessing(SMALL)
    take = Step(SMALL, build_model(SMALL), preprocessing, device=device, total=10)
    source = Resident(toy_pixels().to(device))
    batches = source.batches(step_rows(SMALL, 16, number) for number in range(5))
    take(0, next(batches))  # memory is taken, factors are sent
    try:
        torch.cuda.set_sync_debug_mode("error")
        for number, pixels in enumerate(batches, start=1):
            take(number, pixels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
