"""A plan says what a run would take, and what to change where that is too much."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.picture_folder import draw
from training.__main__ import main
from training.choices import Measured
from training.images import DataError
from training.planning import Plan, SetSize, require_fit

GIB = 2**30
PLAN = Plan(
    size=SetSize(1_000_000, 250_000, decode_s=0.001),
    set_bytes=4 * GIB,
    network_bytes=GIB,
    process_bytes=GIB // 2,
    free_bytes=16 * GIB,
    streamed=False,
    disk_free_bytes=100 * GIB,
    measured=Measured(threads=2, compiled=False, step_s=0.5),
    total_steps=7200,
)


def test_a_plan_adds_up_memory_and_time() -> None:
    told = " ".join(PLAN.sentences())
    assert "5.50 GiB at the peak; 16.00 GiB are free" in told
    assert "Reading the images takes about 21 min" in told
    assert "2.00 steps/s; 7,200 steps take about 60 min, with the reading 81 min" in told
    require_fit(PLAN)


def test_what_does_not_fit_is_refused_with_what_to_change() -> None:
    small = replace(PLAN, free_bytes=3 * GIB)
    with pytest.raises(DataError, match="Add --stream"):
        require_fit(small)
    require_fit(replace(small, streamed=True))
    with pytest.raises(DataError, match="on the disk of --out"):
        require_fit(replace(small, streamed=True, disk_free_bytes=GIB))
    with pytest.raises(DataError, match="smaller batch_size"):
        require_fit(replace(small, streamed=True, free_bytes=GIB // 2))


def test_plan_measures_a_folder_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for number in range(20):
        draw(tmp_path / "pictures" / f"{number}.png")
    settings = ("encoder=basic28x28", "colour=grey", "local_units=8", "batch_size=8", "gamma=0")
    words = ("plan", "--data", str(tmp_path / "pictures"), "--device", "cpu", "--stream")
    assert main([*words, *settings, "epochs=200"]) == 0
    said = capsys.readouterr().out
    assert "torch.compile: no" in said
    assert "The set is streamed" in said
    assert re.search(r"[\d.]+ steps/s; (200|400) steps take about", said)  # 8 to 23 to train with
    assert [file.name for file in tmp_path.iterdir()] == ["pictures"]


def test_a_plan_for_nothing_is_refused(tmp_path: Path, capsys) -> None:
    assert main(["plan", "--data", str(tmp_path)]) == 2
    assert "Put images into it" in capsys.readouterr().err
