"""AMDIM under the training loop, its settings, and the steps of its learning rate."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.amdim import Amdim
from training.building import build_model, build_preprocessing, objective_card, served_critics
from training.config import ConfigError, TrainConfig, make_config, read_config
from training.loop import Outcome, train
from training.runs import LOG_FILE, RESUME_FILE
from training.source import Resident
from training.step import learning_rate

TINY: dict[str, Any] = {
    "method": "amdim",
    "encoder": "amdim32",
    "channels": 4,
    "rkhs": 24,
    "depth": 1,
    "views": "amdim",
    "batch_size": 8,
    "epochs": 5,
    "betas": (0.8, 0.999),
    "weight_decay": 1e-5,
    "warmup_steps": 3,
    "schedule": "steps",
    "drop_epochs": (3,),
}
BOUNDS = ("1to5_bound", "1to7_bound", "5to5_bound")


def run(out: Path, stop_after_steps: int | None = None, **changes: Any) -> Outcome:
    """Train on sixteen random pictures, as the command does."""
    out.mkdir(exist_ok=True)
    config = TrainConfig(**(TINY | changes))
    torch.manual_seed(config.seed)
    model = build_model(config)
    draw = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (16, 32, 32, 3), dtype=torch.uint8, generator=draw)
    torch.seed()  # the loop must not draw from the global generator
    return train(
        config,
        model,
        Resident(pixels),
        build_preprocessing(config),
        out,
        device=torch.device("cpu"),
        stop_after_steps=stop_after_steps,
    )


def test_ten_steps_are_five_and_five_more_bit_for_bit(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    first, second = run(tmp_path / "halves", stop_after_steps=5), run(tmp_path / "halves")
    assert (whole.steps, first.steps, second.steps) == (10, 5, 10)
    logs = [(tmp_path / name / LOG_FILE).read_text().splitlines() for name in ("whole", "halves")]
    one, other = ([json.loads(line) for line in log] for log in logs)
    for mine, theirs in zip(one, other, strict=True):
        for name in ("step", "loss", "squared_score", *BOUNDS):
            assert mine[name] == theirs[name], name
    kept, again = (load_file(tmp_path / name / RESUME_FILE) for name in ("whole", "halves"))
    assert kept.keys() == again.keys()
    assert any(key.startswith("model/head_seven.") for key in kept)  # the heads resume too
    for key, tensor in kept.items():
        assert torch.equal(tensor, again[key]), key


def test_a_run_in_bf16_is_finite(tmp_path: Path) -> None:
    assert run(tmp_path / "run", stop_after_steps=3, precision="bf16").steps == 3


def test_the_settings_reach_encoder_heads_and_card() -> None:
    changes = {"clip": 9.0, "regulariser": 0.1, "norm": "none", "use_bn": True}
    config = TrainConfig(**(TINY | changes))
    model = build_model(config)
    assert isinstance(model, Amdim)
    assert model.arguments == changes
    assert dict(model.encoder.arguments) == {
        "channels": 4,
        "rkhs": 24,
        "depth": 1,
        "use_bn": True,
        "norm": "none",
        "image_channels": 3,
    }
    card = objective_card(config)
    assert (card.method, card.name, card.negatives, card.beta) == ("amdim", "infonce", "all", None)
    assert card.arguments == changes
    assert objective_card(TrainConfig()).method == "dim"
    assert objective_card(TrainConfig(gamma=0)).prior is None
    assert objective_card(TrainConfig(occlusion=8)).arguments == {"occlusion": 8}


def test_the_served_critics_fit_a_wide_summary_and_the_map_of_49_places() -> None:
    config = TrainConfig(**(TINY | {"rkhs": 1024, "channels": 128, "depth": 1}))
    with torch.device("meta"):
        encoder = build_model(config).encoder
        critics = served_critics(config, encoder)
        y, maps = torch.empty(3, 1024), torch.empty(3, 512, 7, 7)
        assert critics["local"](y, maps).shape == (3, 3, 49)
        assert critics["global"](y, maps).shape == (3, 3, 1)
    size = {role: sum(p.numel() for p in each.parameters()) for role, each in critics.items()}
    assert size["local"] < 1e6
    assert size["global"] < 4e6  # its map side reads 25,088 numbers


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["alpha=1"], "alpha is a setting of method dim"),
        (["objective=jsd"], "objective is a setting of method dim"),
        (["local_units=8"], "local_units is a setting of method dim"),
        (["summary_dim=64"], "summary_dim is a setting of other encoders"),
        (["encoder=basic32x32"], "choose one of amdim32"),
        (["views=flip"], "set views=amdim"),
        (["views=none"], "set views=amdim"),
        (["clip=0"], "clip: "),
        (["norm=layer"], "norm: "),
        (["drop_factor=0"], "drop_factor: "),
    ],
)
def test_what_amdim_has_no_use_for_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_config(None, ["method=amdim", "encoder=amdim32", "views=amdim", *words])
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clip=5"], "clip is a setting of method amdim"),
        (["rkhs=5"], "rkhs is a setting of other encoders"),
        (["use_bn=true"], "use_bn is a setting of method amdim"),
        (["image_size=64"], "image_size is a setting of other encoders"),
        (["encoder=resnet18", "timm_model=resnet50"], "timm_model is a setting of other encoders"),
    ],
)
def test_what_dim_has_no_use_for_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_config(None, words)
    assert message in str(refusal.value)


def test_dim_trains_an_amdim_encoder_too() -> None:
    words = ["encoder=amdim32", "channels=4", "rkhs=24", "depth=1", "local_units=8", "use_bn=true"]
    model = build_model(read_config(None, words))
    images = torch.randn(4, 3, 32, 32)
    loss, parts, features = model(images)
    loss.backward()
    assert set(parts) == {"local_bound", "prior_encoder_loss"}
    assert features.y.shape == (4, 24)


def test_a_backbone_has_its_own_size_unless_one_is_set() -> None:
    assert build_preprocessing(TrainConfig(encoder="resnet18")).size == 32
    assert build_preprocessing(TrainConfig(encoder="timm")).size == 64
    assert build_preprocessing(TrainConfig(encoder="resnet18", image_size=96)).size == 96
    with pytest.raises(ConfigError, match="raise image_size"):
        build_preprocessing(TrainConfig(encoder="resnet18", image_size=6))


def test_a_run_is_read_back_with_every_setting_written_down() -> None:
    config = read_config(None, ["method=amdim", "encoder=amdim32", "views=amdim"])
    assert make_config(config.model_dump(mode="json")) == config  # as run.json has it


def test_the_rate_warms_up_and_drops_at_its_epochs() -> None:
    config = TrainConfig(
        learning_rate=1.0,
        schedule="steps",
        warmup_steps=4,
        epochs=10,
        drop_epochs=(5, 8),
        drop_factor=0.2,
    )
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert set(rates[4:50]) == {1.0}
    assert set(rates[50:80]) == {0.2}
    assert rates[80:] == pytest.approx([0.04] * 20)
    falling = config.model_copy(update={"schedule": "cosine"})
    assert learning_rate(falling, 0, 100) == 0.25
    assert learning_rate(falling, 50, 100) == pytest.approx(0.5)


def test_the_recipes_are_the_authors_where_they_say_so(repository: Path) -> None:
    config = read_config(repository / "configs" / "amdim_cifar10.toml", [])
    assert (config.learning_rate, config.betas, config.weight_decay) == (2e-4, (0.8, 0.999), 1e-5)
    assert (config.warmup_steps, config.drop_epochs, config.epochs) == (500, (250, 280), 300)
    assert (config.channels, config.rkhs, config.depth) == (128, 1024, 3)
