"""Runs with every task on places, several globals and MINE's average: resumed, and refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.building import build_model, build_preprocessing
from training.config import ConfigError, TrainConfig, make_config, read_config
from training.loop import train
from training.runs import LOG_FILE, RESUME_FILE
from training.source import Resident

EVERYTHING = TrainConfig(
    encoder="basic28x28",
    colour="grey",
    objective="dv",
    dv_ema=0.1,
    alpha=0.5,
    local_units=8,
    global_units=8,
    num_globals=4,
    coordinates=1.0,
    relative_coordinates=0.5,
    coordinate_units=16,
    occlusion=9,
    batch_size=8,
    epochs=5,
    learning_rate=1e-3,
)


def run(out: Path, stop_after_steps: int | None = None) -> list[dict[str, float]]:
    """Train on toy pixels; return the log."""
    out.mkdir(exist_ok=True)
    torch.manual_seed(EVERYTHING.seed)
    model = build_model(EVERYTHING)
    draw = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (16, 28, 28, 1), generator=draw).to(torch.uint8)
    torch.seed()  # the loop must not draw from the global state
    train(
        EVERYTHING,
        model,
        Resident(pixels),
        build_preprocessing(EVERYTHING),
        out,
        device=torch.device("cpu"),
        stop_after_steps=stop_after_steps,
    )
    return [json.loads(line) for line in (out / LOG_FILE).read_text().splitlines()]


def test_with_everything_on_ten_steps_are_five_and_five_more_bit_for_bit(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    run(tmp_path / "halves", stop_after_steps=5)
    halves = run(tmp_path / "halves")
    parts = {"global_bound", "local_bound", "coordinates_loss", "relative_coordinates_loss"}
    for one, other in zip(whole, halves, strict=True):
        assert parts < one.keys()
        assert {key: one[key] for key in (*parts, "loss")} == {
            key: other[key] for key in (*parts, "loss")
        }
    one, other = (load_file(tmp_path / name / RESUME_FILE) for name in ("whole", "halves"))
    assert "model/log_averages" in one
    assert one.keys() == other.keys()
    for key, tensor in one.items():
        assert torch.equal(tensor, other[key]), key


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"occlusion": 17}, "for images of 32 pixels it must be from 1 to 16, not 17"),
        ({"num_globals": 3}, "must divide summary_dim 64; 3 does not"),
        ({"dv_ema": 0.1}, "infonce has no such bias"),
    ],
)
def test_terms_that_do_not_fit_are_refused_before_anything_is_read(
    values: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_preprocessing(make_config(values))


@pytest.mark.parametrize(
    "values",
    [{"coordinates": -1}, {"occlusion": -1}, {"occlusion": 0.5}, {"dv_ema": 1}, {"num_globals": 0}],
)
def test_values_out_of_range_name_their_key(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        make_config(values)


def test_the_recipe_of_the_papers_tasks_builds(repository: Path) -> None:
    recipe = repository / "configs" / "dim-cifar10-coordinates-occlusion.toml"
    config = read_config(recipe, ["coordinate_units=8", "local_units=8"])
    build_preprocessing(config)
    terms = build_model(config).terms
    assert (terms.coordinates, terms.relative_coordinates, terms.occlusion) == (1.0, 1.0, 10)
