"""Table 1 is held against the paper cell by cell, and a smaller run is no reproduction."""

import tomllib

import pytest

from benchmarks.gpu import amdim_curve, table1
from benchmarks.gpu.table1 import RECIPES
from tests.benchmarks.measured import result


def recipe(name: str) -> dict[str, object]:
    return tomllib.loads((RECIPES / f"{name}.toml").read_text())


def test_a_cell_one_point_below_the_paper_holds_and_a_lower_one_does_not() -> None:
    assert table1.holds(72.25, 73.25)
    assert not table1.holds(72.24, 73.25)
    assert table1.holds(80.0, 73.25)


def test_cells_stand_beside_the_papers_with_their_difference() -> None:
    jsd = result(
        "dim-l-jsd",
        recipe=recipe("dim-l-jsd"),
        conv_mlp200=73.0,
        fc_mlp200=74.0,
        y_mlp200=60.0,
    )
    text = table1.page("command", [jsd], None)
    assert "| the dim-l-jsd, conv | 73.00 | 73.25 | -0.25 | met |" in text
    assert "| the dim-l-jsd, y | 60.00 | 66.96 | -6.96 | **missed** |" in text
    assert "**2 of 3 cells are at most 1 point below the paper's.**" in text
    assert "None: the paper's own setting." in text


def test_another_setting_is_listed_and_is_no_reproduction() -> None:
    used = recipe("dim-l-infonce") | {"epochs": 2}
    small = result("dim-l-infonce", recipe=used, conv_mlp200=40, fc_mlp200=40, y_mlp200=30)
    text = table1.page("command", [small], 3)
    assert "Not a reproduction" in text
    assert "* dim-l-infonce: epochs 2 instead of 1000" in text
    assert "* probe: 3 epochs instead of 150" in text


@pytest.mark.parametrize("name", table1.TITLES)
def test_the_papers_recipes_have_its_settings(name: str) -> None:
    facts = {"batch_size": 64, "epochs": 1000, "local_units": 2048, "learning_rate": 1e-4}
    assert recipe(name).items() >= (facts | {"betas": [0.5, 0.999], "scale": "none"}).items()


def test_points_of_the_curve_are_even_and_end_with_the_run() -> None:
    assert amdim_curve.even(100, 4) == [25, 50, 75, 100]
    assert amdim_curve.even(2, 10) == [1, 2]
