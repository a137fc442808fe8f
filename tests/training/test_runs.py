"""The folder of a run knows its run, and keeps others out."""

from pathlib import Path

import pytest
import torch
from torch import nn

from training.config import TrainConfig
from training.runs import (
    LOG_FILE,
    RESUME_FILE,
    NotFiniteError,
    RunError,
    load_resume,
    lock_run,
    open_run,
    save_resume,
    trim_log,
)

DATA = {"name": "toys", "fingerprint": "f" * 64, "images": 40, "skipped": 0}


def test_the_same_run_is_opened_again_and_another_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    open_run(out, TrainConfig(epochs=3), DATA)
    open_run(out, TrainConfig(epochs=3), DATA)
    with pytest.raises(RunError, match="epochs: 3 there, 4 now"):
        open_run(out, TrainConfig(epochs=4), DATA)
    with pytest.raises(RunError, match="images: 40 there, 41 now"):
        open_run(out, TrainConfig(epochs=3), DATA | {"images": 41})


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("chapter 1")
    with pytest.raises(RunError, match="not empty"):
        open_run(tmp_path, TrainConfig(), DATA)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"config": {"epochs": 0}, "data": {}}'])
def test_a_damaged_description_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError, match=r"run\.json"):
        open_run(tmp_path, TrainConfig(), DATA)


def test_two_processes_cannot_train_in_one_folder(tmp_path: Path) -> None:
    with lock_run(tmp_path), pytest.raises(RunError, match="another process"), lock_run(tmp_path):
        pass
    with lock_run(tmp_path):
        pass


def test_a_state_that_is_not_finite_is_never_saved(tmp_path: Path) -> None:
    network = nn.Linear(2, 3)
    save_resume(tmp_path, 7, 1.5, {"model": network}, {})
    before = (tmp_path / RESUME_FILE).read_bytes()
    with torch.no_grad():
        network.weight[1, 1] = torch.nan
    with pytest.raises(NotFiniteError, match="model/weight is not finite after step 8"):
        save_resume(tmp_path, 8, 1.6, {"model": network}, {})
    assert (tmp_path / RESUME_FILE).read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "empty", "of another network"])
def test_a_state_that_cannot_be_resumed_from_is_named(tmp_path: Path, damage: str) -> None:
    save_resume(tmp_path, 7, 1.5, {"model": nn.Linear(2, 3)}, {})
    file = tmp_path / RESUME_FILE
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-4])
    if damage == "empty":
        file.write_bytes(b"")
    network = nn.Linear(2, 4) if damage == "of another network" else nn.Linear(2, 3)
    with pytest.raises(RunError, match=r"resume\.safetensors.*delete it"):
        load_resume(tmp_path, {"model": network}, {})


def test_the_optimiser_returns_in_the_layout_of_its_parameters(tmp_path: Path) -> None:
    def stepped() -> tuple[nn.Module, torch.optim.Adam]:
        torch.manual_seed(1)
        network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        optimiser = torch.optim.Adam(network.parameters(), fused=True)
        network(torch.ones(1, 3, 5, 5)).sum().backward()
        optimiser.step()
        return network, optimiser

    network, optimiser = stepped()
    save_resume(tmp_path, 1, 2.5, {"model": network}, {"adam": optimiser})
    again, restored = stepped()
    restored.state.clear()
    assert load_resume(tmp_path, {"model": again}, {"adam": restored}) == (1, 2.5)
    for parameter, other in zip(network.parameters(), again.parameters(), strict=True):
        before, after = optimiser.state[parameter], restored.state[other]
        for slot, value in before.items():
            assert torch.equal(value, after[slot])
            assert value.stride() == after[slot].stride()


def test_lines_after_the_saved_step_and_torn_lines_are_dropped(tmp_path: Path) -> None:
    log = tmp_path / LOG_FILE
    log.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    trim_log(tmp_path, 2)
    assert log.read_text() == '{"step": 1}\n{"step": 2}\n'
