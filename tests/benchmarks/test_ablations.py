"""The pages on single choices say what their cells say, both ways."""

from pathlib import Path

import pytest

from benchmarks import ablations_report
from benchmarks.ablations import GRIDS
from benchmarks.ablations_report import Cells
from benchmarks.failures import BenchmarkError
from benchmarks.shelf import Result
from tests.benchmarks.measured import result
from training.config import read_config


def estimators(**curves: tuple[float, float, float]) -> Cells:
    """jsd=(top-1 with one negative, with 15, with 255)."""
    settings = (("roll", "64"), ("all", "16"), ("all", "256"))
    return [
        ({"objective": name, "negatives": kind, "batch_size": batch}, result(name, y_mlp200=value))
        for name, values in curves.items()
        for (kind, batch), value in zip(settings, values, strict=True)
    ]


def weights(*cells: tuple[str, str, float, float]) -> Cells:
    return [
        ({"alpha": a, "beta": b}, result(a + b, numbers={"ms_ssim": similar}, y_mlp200=top1))
        for a, b, top1, similar in cells
    ]


def game(gamma: str, ndm: float, top1: float) -> tuple[dict[str, str], Result]:
    numbers = {"ndm": ndm, "ndm_sigmoid": ndm}
    return {"prior": "uniform", "gamma": gamma}, result(gamma, numbers=numbers, y_mlp200=top1)


@pytest.mark.parametrize("grid", GRIDS)
def test_every_cell_of_a_grid_is_a_configuration_of_its_own(grid: str) -> None:
    trials = GRIDS[grid].trials(3.0, [])
    assert len({trial.name for trial in trials}) == len(trials)
    for cell, trial in zip(GRIDS[grid].cells, trials, strict=True):
        config = read_config(trial.recipe, list(trial.settings))
        assert all(str(getattr(config, key)) == value for key, value in cell.items())
        assert config.budget_minutes == 3.0


def test_the_curve_counts_negative_images() -> None:
    curves = ablations_report.negatives(estimators(jsd=(40, 45, 47)))
    assert curves == {"jsd": [(1.0, 40.0), (15.0, 45.0), (255.0, 47.0)]}


def test_which_estimator_minds_few_negatives_follows_from_the_ends() -> None:
    sentence = ablations_report.estimators_sentence
    as_the_paper = sentence(estimators(jsd=(45, 46, 47), infonce=(30, 45, 50)))
    assert "JSD gains +2.00 points and InfoNCE +20.00" in as_the_paper
    assert "minds few negatives more than JSD, as the paper says" in as_the_paper
    otherwise = sentence(estimators(jsd=(30, 46, 50), infonce=(45, 45, 47)))
    assert "does not mind few negatives more than JSD" in otherwise
    assert "cells are missing" in sentence(estimators(jsd=(45, 46, 47)))


def test_a_trade_is_seen_only_where_the_best_settings_differ() -> None:
    sentence = ablations_report.weights_sentence
    apart = sentence(weights(("1.0", "0.0", 40, 0.5), ("0.0", "1.0", 60, 0.3)))
    assert "classifies best at alpha / beta 0.0 / 1.0 (60.00 %)" in apart
    assert "rebuilt best at 1.0 / 0.0 (MS-SSIM 0.500)" in apart
    assert "one is paid for with the other" in apart
    together = sentence(weights(("1.0", "0.0", 60, 0.5), ("0.0", "1.0", 40, 0.3)))
    assert "there is no trade here" in together


def test_the_prior_game_is_judged_by_ndm_with_and_without_it() -> None:
    sentence = ablations_report.prior_sentence
    helped = sentence([game("0.0", 0.9, 60), game("0.1", 0.5, 58), game("1.0", 0.4, 50)])
    assert "The prior game makes the dimensions of Y more independent: of 2 settings 2" in helped
    assert "the lowest is 0.400 nats (uniform, gamma 1.0) against 0.900, at -10.00" in helped
    assert "does not make" in sentence([game("0.0", 0.3, 60), game("0.1", 0.5, 58)])
    mixed = sentence([game("0.0", 0.6, 60), game("0.1", 0.5, 58), game("1.0", 0.7, 58)])
    assert "is not decided: of 2 settings 1 have" in mixed


def test_runs_that_differ_in_more_than_the_grid_make_no_table(tmp_path: Path) -> None:
    one, other = (
        ({"prior": "uniform", "gamma": gamma}, result(gamma, recipe={"gamma": gamma, "epochs": n}))
        for gamma, n in (("0.0", 2), ("0.1", 3))
    )
    with pytest.raises(BenchmarkError, match="differ in epochs too"):
        ablations_report.write("prior", "command", [one, other], tmp_path)


def test_a_page_has_a_row_a_cell_its_numbers_and_how_small_it_was(tmp_path: Path) -> None:
    cells = [game("0.0", 0.9, 60), game("0.1", 0.5, 58)]
    ablations_report.write("prior", "command", cells, tmp_path)
    text = (tmp_path / "prior.md").read_text()
    assert "| uniform | 0.1 | 58.00 |  |  | 0.500 | 0.500 | 3.25 | 100 | 900 |" in text
    assert "15 minutes of training on 50,000 images (0.3 to 0.3 epochs)" in text
    assert "10,000 test images: a trend at most; one standard error" in text
    assert "is up to 0.5 points" in text
    for plot in ("prior-ndm.svg", "prior-accuracy.svg"):
        assert f"({plot})" in text
        assert (tmp_path / plot).exists()
