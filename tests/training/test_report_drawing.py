"""Curves, axes and HTML as the report draws them."""

import math
import re

import pytest

from training.report.charts import Line, chart, thin, ticks
from training.report.markup import Markup, tag


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-3.0, 11.0, [-2, 0, 2, 4, 6, 8, 10]),
        (4990.0, 5010.0, [4990, 4995, 5000, 5005, 5010]),
    ],
)
def test_ticks_are_round_numbers_inside_the_axis(low, high, wanted) -> None:
    assert ticks(low, high) == pytest.approx(wanted)


def test_thinning_keeps_the_mean_and_at_most_300_points() -> None:
    points = [(float(step), math.sin(step / 50)) for step in range(6000)]
    thinned = thin(points)
    assert len(thinned) == 300
    assert sum(y for _, y in thinned) / 300 == pytest.approx(sum(y for _, y in points) / 6000)


def test_numbers_that_are_not_finite_leave_a_gap() -> None:
    line = Line("bound", [(1.0, 1.0), (2.0, math.nan), (3.0, 2.0), (4.0, 2.5)])
    path = re.search(r' d="([^"]*)"', chart("bounds", [line]).text)
    assert path
    assert re.sub(r"[\d. ]", "", path[1]) == "MML"
    assert "nan" not in path[1]


def test_text_and_attributes_are_escaped_and_markup_is_not() -> None:
    made = tag("p", "a < b & ", Markup("<b>c</b>"), title='"x"')
    assert made.text == '<p title="&quot;x&quot;">a &lt; b &amp; <b>c</b></p>'
