"""The table of methods, at toy size: real trainings of seconds on drawn images."""

from pathlib import Path

import pytest

from benchmarks import methods
from benchmarks.failures import BenchmarkError
from benchmarks.shelf import Shelf
from tests.benchmarks.measured import result
from tests.training.picture_folder import two_classes


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The command at toy size, all its files in one folder."""
    two_classes(tmp_path / "pictures", 40)
    return [
        *("--data", str(tmp_path / "pictures"), "--minutes", "0.02", "--probe-epochs", "2"),
        *("--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs"), "--device", "cpu"),
    ]


@pytest.mark.slow
def test_a_method_is_trained_probed_kept_and_not_trained_again(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [*words, "--only", "dim-l-jsd,random,pca", "batch_size=16", "local_units=8"]
    assert methods.main(asked) == 0
    page = (tmp_path / "out" / "methods.md").read_text()
    for title in ("DIM(L), JSD", "random initialisation", "PCA of pixels"):
        assert f"\n| {title} | " in page
    kept = {each.name: each for each in Shelf(tmp_path / "out").read(list(methods.TITLES))}
    trained = kept["dim-l-jsd"].trained
    assert trained is not None
    assert trained.images_seen == 16 * trained.steps
    assert trained.recipe["budget_minutes"] == 0.02
    assert list(trained.bounds) == ["local_bound"]
    assert {row.representation for row in kept["random"].rows} == {"conv", "fc", "y"}
    assert {row.representation for row in kept["pca"].rows} == {"pixels"}

    written = (tmp_path / "out" / "dim-l-jsd.json").stat().st_mtime_ns
    capsys.readouterr()
    assert methods.main(asked) == 0
    assert capsys.readouterr().out.count("measured before") == 3
    assert (tmp_path / "out" / "dim-l-jsd.json").stat().st_mtime_ns == written


def test_a_result_of_another_budget_stops_the_command_before_it_trains(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Shelf(tmp_path / "out").put(result("dim-l-dv", minutes=15.0, y_mlp200=40))
    assert methods.main([*words, "--only", "dim-l-dv,dim-g"]) == 2
    assert "dim-l-dv was measured with 15 minutes, not 0.02" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_an_unknown_method_is_named_with_those_there_are() -> None:
    with pytest.raises(BenchmarkError, match="no vae; known are dim-g, dim-l-jsd"):
        methods.chosen("dim-g,vae")


def test_every_method_has_a_recipe_and_no_recipe_is_left_over() -> None:
    assert {recipe.stem for recipe in methods.SHORT.glob("*.toml")} == set(methods.TRAINED)
