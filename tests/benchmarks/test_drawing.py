"""Charts are valid SVG, drawn where the values are."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.drawing import Axes, bars, lines, read_curve

SVG = "{http://www.w3.org/2000/svg}"


def marks(drawn: str, kind: str) -> list[ET.Element]:
    return list(ET.fromstring(drawn).iter(SVG + kind))


def test_bars_are_as_long_as_their_values() -> None:
    drawn = bars({"one": {"conv": 80.0, "y": 20.0}, "two & three": {"conv": 40.0}}, "per cent")
    lengths = [
        float(bar.attrib["width"]) for bar in marks(drawn, "rect") if float(bar.get("x", 0)) == 230
    ]
    assert lengths[0] == pytest.approx(4 * lengths[1], rel=0.01)
    assert lengths[0] == pytest.approx(2 * lengths[2], rel=0.01)
    assert "two & three" in [each.text for each in marks(drawn, "text")]


def test_a_line_rises_with_its_values_and_says_where_it_ends() -> None:
    drawn = lines({"bound": [(0, 1.0), (5, 2.0), (10, 4.0)]}, "epochs", "nats")
    (line,) = marks(drawn, "polyline")
    points = [tuple(map(float, each.split(","))) for each in line.attrib["points"].split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)
    assert "4" in [each.text for each in marks(drawn, "text")]


def test_lines_that_end_together_have_labels_apart() -> None:
    drawn = lines({"a": [(0, 1.0), (1, 2.00)], "b": [(0, 1.0), (1, 2.01)]}, "x", "y")
    ends = [float(each.attrib["y"]) for each in marks(drawn, "text") if each.text in {"2", "2.01"}]
    assert abs(ends[0] - ends[1]) >= 12


def test_a_logarithmic_axis_puts_doublings_evenly() -> None:
    axes = Axes(1, 256, 0, 1, logarithmic=True)
    assert axes.x(16) == pytest.approx((axes.x(1) + axes.x(256)) / 2)


def test_a_run_is_read_as_means_of_its_hundredths(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps({"epoch": n / 10, "b": n}) + "\n" for n in range(1, 201)))
    curve = read_curve(log, "b")
    assert len(curve) == 100
    assert curve[0] == (0.2, 1.5)
    assert curve[-1] == (20.0, 199.5)
