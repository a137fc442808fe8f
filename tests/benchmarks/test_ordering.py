"""What is said of the paper's order follows from the cells, whichever way they fall."""

import math

import pytest

from benchmarks.ordering import comparisons, sentences, standard_error, summary

TITLES = {
    "dim-g": "G",
    "dim-l-jsd": "L jsd",
    "dim-l-infonce": "L infonce",
    "dim-l-tasks": "L tasks",
}
AS_THE_PAPER = {
    "dim-g": {"conv": 50.0, "fc": 50.0, "y": 40.0},
    "dim-l-jsd": {"conv": 60.0, "fc": 60.0, "y": 50.0},
    "dim-l-infonce": {"conv": 65.0, "fc": 65.0, "y": 55.0},
    "dim-l-tasks": {"conv": 70.0, "fc": 62.0, "y": 60.0},
}


def test_cells_in_the_papers_order_are_said_to_be_in_it() -> None:
    found = comparisons(AS_THE_PAPER, 10_000)
    assert {each.outcome for each in found} == {"the paper's order"}
    assert "found again in every cell that can be compared: of 9 cells 9 have it" in summary(found)


def test_cells_in_the_opposite_order_are_said_to_be_in_that() -> None:
    turned = {
        name: {place: 100 - value for place, value in cells.items()}
        for name, cells in AS_THE_PAPER.items()
    }
    found = comparisons(turned, 10_000)
    assert {each.outcome for each in found} == {"the opposite of the paper's order"}
    assert "is not found again" in summary(found)
    assert "0 have it, 9 have the opposite" in summary(found)


def test_a_lower_fc_with_the_tasks_is_the_papers_order_because_the_paper_has_it_lower() -> None:
    (fc,) = [
        each
        for each in comparisons(AS_THE_PAPER, 10_000)
        if (each.one, each.representation) == ("dim-l-tasks", "fc")
    ]
    assert fc.here < 0
    assert fc.outcome == "the paper's order"


def test_a_difference_that_few_test_images_cannot_carry_is_undecided() -> None:
    cells = {"dim-g": {"y": 50.0}, "dim-l-jsd": {"y": 51.0}}
    assert comparisons(cells, 100)[0].outcome == "undecided"
    assert comparisons(cells, 100_000)[0].outcome == "the paper's order"
    assert "neither found again nor contradicted" in summary(comparisons(cells, 100))


def test_a_mixed_order_is_called_found_in_part() -> None:
    mixed = AS_THE_PAPER | {"dim-g": {"conv": 80.0, "fc": 50.0, "y": 40.0}}
    assert "found again in part: of 9 cells 8 have it, 1 have" in summary(
        comparisons(mixed, 10_000)
    )


def test_a_missing_method_is_not_compared() -> None:
    without = {name: cells for name, cells in AS_THE_PAPER.items() if name != "dim-l-jsd"}
    lines = sentences(comparisons(without, 10_000), TITLES)
    assert len(lines) == 1
    assert lines[0].startswith("* L tasks against L infonce: conv +5.00 (the paper +2.06)")
    assert "Nothing can be said" in summary([])


def test_the_standard_error_is_that_of_two_counts() -> None:
    by_hand = 100 * math.sqrt(0.6 * 0.4 / 1000 + 0.5 * 0.5 / 1000)
    assert standard_error(60, 50, 1000) == pytest.approx(by_hand)
