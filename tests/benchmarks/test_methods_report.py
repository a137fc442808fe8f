"""The page on the methods holds what was measured, and refuses what does not belong together."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import methods_report
from benchmarks.failures import BenchmarkError
from tests.benchmarks.measured import result, rows

RESULTS = [
    result("dim-g", conv_mlp200=50, fc_mlp200=49, y_mlp200=40, y_knn=38),
    result("dim-l-jsd", conv_mlp200=60, fc_mlp200=58, y_mlp200=52, y_knn=50),
    result("supervised", numbers={"top1": 0.6543}, conv_mlp200=70, y_mlp200=69),
    result("random", minutes=None, encoder="random", conv_mlp200=45, y_mlp200=30),
    result("pca", minutes=None, encoder="pixels_pca", pixels_mlp200=41, pixels_knn=33),
]


def cells_of(text: str, title: str) -> list[str]:
    """The table's row of that method."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {title} |")][:1]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_every_cell_stands_under_its_probe_and_pixels_stand_in_all_of_a_probe() -> None:
    text = methods_report.page("command", RESULTS)
    assert "| conv, MLP | fc, MLP | Y, MLP |" in text
    assert cells_of(text, "the dim-g") == ["50.00", "49.00", "40.00", *[""] * 5, "38.00"]
    assert cells_of(text, "the pca") == ["41.00"] * 3 + [""] * 3 + ["33.00"] * 3


def test_the_best_method_without_labels_is_named_and_no_supervised_one() -> None:
    text = methods_report.page("command", RESULTS)
    assert "Best without labels: conv 60.0 % (the dim-l-jsd)" in text
    assert "of 3 cells 3 have it" in text


def test_time_images_and_bound_of_each_method_are_told() -> None:
    text = methods_report.page("command", RESULTS)
    assert "| the dim-g | 900 | 100 | 12,800 | 0.3 | local 3.25 |  |" in text
    assert "| the supervised | 900 | 100 | 12,800 | 0.3 | local 3.25 | 65.43 |" in text


def test_the_better_number_of_components_stands_for_the_pixels() -> None:
    pca = RESULTS[-1].model_copy(
        update={"rows": rows("pixels_pca", pixels_mlp200=41) + rows("p", pixels_mlp200=43)}
    )
    assert pca.accuracy("pixels", "mlp200") == pytest.approx(43)


def test_results_of_different_budgets_or_protocols_make_no_table(tmp_path: Path) -> None:
    shorter = result("dim-l-dv", minutes=5.0, y_mlp200=30)
    with pytest.raises(BenchmarkError, match="different budgets"):
        methods_report.write("command", [*RESULTS, shorter], tmp_path)
    otherwise = result("dim-l-dv", protocol="ten epochs", y_mlp200=30)
    with pytest.raises(BenchmarkError, match="different protocols"):
        methods_report.write("command", [*RESULTS, otherwise], tmp_path)
    with pytest.raises(BenchmarkError, match="nothing has been measured"):
        methods_report.write("command", [], tmp_path)


def test_the_plot_has_a_bar_for_every_measured_cell(tmp_path: Path) -> None:
    methods_report.write("command", RESULTS, tmp_path)
    drawn = ET.parse(tmp_path / "methods.svg").getroot()
    words = [each.text for each in drawn.iter() if each.tag.endswith("text")]
    assert [word for word in words if word in {"50.0", "49.0", "40.0", "41.0"}] == [
        *("50.0", "49.0", "40.0", "41.0")
    ]
    assert "the dim-l-jsd" in words
