"""What a run measures at its start changes nothing of what it learns, and is kept."""

from pathlib import Path

import pytest
import torch

from tests.training.test_loop import CPU, SMALL, losses, toy_pixels
from training.building import build_model, build_preprocessing
from training.choices import (
    CHOICES_FILE,
    Measured,
    keep_choices,
    measure,
    read_choices,
    unmeasured,
)
from training.config import ConfigError, TrainConfig, read_config
from training.loop import Outcome, train
from training.runs import RunError
from training.source import Resident


def run(
    out: Path,
    config: TrainConfig,
    stop_after_steps: int | None = None,
    *,
    measuring: bool = True,
) -> Outcome:
    """Measure and train on toy pixels, as the command does."""
    out.mkdir(exist_ok=True)
    torch.manual_seed(config.seed)
    model, preprocessing = build_model(config), build_preprocessing(config)
    source = Resident(toy_pixels())
    told: list[str] = []
    settled = read_choices(out)
    if settled is None:
        measured = unmeasured(config)
        if measuring:
            measured = measure(
                config, model, source, preprocessing, images=16, device=CPU, tell=told.append
            )
        settled = keep_choices(out, config, measured, len(source))
    torch.set_num_threads(settled.threads)
    return train(
        config,
        model,
        source,
        preprocessing,
        out,
        device=CPU,
        choices=settled,
        stop_after_steps=stop_after_steps,
    )


def test_a_trial_leaves_no_trace_in_the_losses(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))  # no other is tried
    run(tmp_path / "measured", SMALL)
    run(tmp_path / "unmeasured", SMALL, measuring=False)
    assert losses(tmp_path / "measured") == losses(tmp_path / "unmeasured")


def test_a_budget_is_turned_into_steps_once_and_resumed_with_them(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"budget_minutes": 0.01})
    for name in ("halves", "whole"):
        (tmp_path / name).mkdir()
        fast = Measured(torch.get_num_threads(), compiled=False, step_s=0.09)
        assert keep_choices(tmp_path / name, config, fast, 16).total_steps == 6  # of 0.09 s in 0.6
    first = run(tmp_path / "halves", config, stop_after_steps=2)
    second = run(tmp_path / "halves", config)  # reads its choices, whatever the clock says now
    assert (first.finished, second.finished, second.steps) == (False, True, 6)
    run(tmp_path / "whole", config)
    assert losses(tmp_path / "whole") == losses(tmp_path / "halves")


def test_damaged_choices_are_named(tmp_path: Path) -> None:
    (tmp_path / CHOICES_FILE).write_text('{"total_steps": 0}')
    with pytest.raises(RunError, match=r"choices\.json is damaged"):
        run(tmp_path, SMALL)


def test_epochs_and_a_budget_together_are_refused_but_words_override_a_recipe(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        read_config(None, ["epochs=3", "budget_minutes=15"])
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("budget_minutes = 15\n")
    assert read_config(recipe, ["epochs=3"]).budget_minutes == 0
    recipe.write_text("epochs = 50\n")
    assert read_config(recipe, ["budget_minutes=15"]).budget_minutes == 15
    recipe.write_text("epochs = 50\nbudget_minutes = 15\n")
    with pytest.raises(ConfigError, match="give one of them"):
        read_config(recipe, [])
