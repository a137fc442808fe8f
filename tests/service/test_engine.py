"""The real model, as it is served."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import CheckpointMissing, GoldenMismatch, load_checkpoint
from models.inference import encode
from service.engine import HEADS, TorchEngine, choose_device
from tests.fakes import noise

ALL = frozenset(HEADS)


def test_served_features_are_those_of_the_checkpoint(torch_engine: TorchEngine, checkpoint: Path):
    loaded = load_checkpoint(checkpoint)
    pixels = noise(5, 32)
    expected = encode(loaded.encoder, torch.from_numpy(pixels), loaded.card.preprocessing)
    served = torch_engine.encode(pixels, ALL)
    for head in HEADS:
        assert np.allclose(served[head], getattr(expected, head).numpy(), atol=1e-5)
        assert served[head].shape[1:] == torch_engine.shapes[head]


def test_a_batch_gives_what_its_images_give_alone(torch_engine: TorchEngine):
    pixels = noise(33, 32)
    batch = torch_engine.encode(pixels, ALL)
    for number in (0, 16, 32):
        alone = torch_engine.encode(pixels[number : number + 1], ALL)
        assert all(np.allclose(batch[head][number], alone[head][0], atol=1e-4) for head in HEADS)


def test_only_wanted_heads_are_given(torch_engine: TorchEngine):
    assert set(torch_engine.encode(noise(1, 32), frozenset(("fc",)))) == {"fc"}


@pytest.mark.parametrize("role", ["local", "global"])
def test_served_scores_are_those_of_the_critic(torch_engine, checkpoint: Path, role: str):
    arrays = torch_engine.encode(noise(4, 32), frozenset(("y", "map")))
    critic = load_checkpoint(checkpoint).critics[role]
    y, maps = torch.from_numpy(arrays["y"]), torch.from_numpy(arrays["map"])
    table = torch_engine.score_all(role, arrays["y"], arrays["map"])
    assert np.allclose(table, critic(y, maps).numpy(), atol=1e-4)
    paired = torch_engine.score_paired(role, arrays["y"], arrays["map"])
    assert np.allclose(paired, table[np.arange(4), np.arange(4)], atol=1e-4)
    assert table.shape[2] == torch_engine.critics[role].side ** 2


def test_another_machine_that_computes_otherwise_is_found_out(checkpoint: Path):
    loaded = load_checkpoint(checkpoint)
    engine = TorchEngine(loaded, "cpu", threads=1)
    engine.check(loaded.golden)
    wrong = {name: value * 1.01 for name, value in loaded.golden.outputs.items()}
    with pytest.raises(GoldenMismatch, match="differs"):
        engine.check(dataclasses.replace(loaded.golden, outputs=wrong))


def test_outputs_that_are_not_finite_are_a_failure(checkpoint: Path):
    loaded = load_checkpoint(checkpoint)
    with torch.no_grad():
        next(loaded.encoder.parameters()).fill_(float("nan"))
    engine = TorchEngine(loaded, "cpu", threads=1)
    with pytest.raises(FloatingPointError):
        engine.encode(noise(1, 32), frozenset(("y",)))


def test_threads_are_measured_unless_they_are_given(checkpoint: Path):
    before = torch.get_num_threads()
    try:
        engine = TorchEngine(load_checkpoint(checkpoint), "cpu")
        engine.warm_up(4)
        assert 1 <= engine.threads <= before
    finally:
        torch.set_num_threads(before)


def test_running_out_of_memory_is_a_memory_error(torch_engine: TorchEngine):
    with pytest.raises(MemoryError), torch_engine._guarded():
        raise torch.OutOfMemoryError
    with pytest.raises(MemoryError), torch_engine._guarded():
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")
    with pytest.raises(RuntimeError, match="other"), torch_engine._guarded():
        raise RuntimeError("other")


def test_a_device_that_is_not_there_is_refused():
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="cuda:99"):
        choose_device("cuda:99")


def test_a_missing_checkpoint_is_said_to_be_missing(tmp_path: Path):
    with pytest.raises(CheckpointMissing):
        load_checkpoint(tmp_path / "nowhere")
