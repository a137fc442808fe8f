"""Charts as SVG, drawn here: lines over an axis, and bars in groups.

python -m benchmarks.drawing RUN/log.jsonl local_bound OUT.svg

draws the curve of a run: the mean of each hundredth of it; epochs across, nats (or whatever it is)
up.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 320, 56, 40, 16, 44
COLOURS = ("#1f6feb", "#d1602b", "#2da44e", "#8250df", "#9a6700", "#57606a")
POINTS = 100
TICKS = 5
HEADROOM = 1.05
BAR, GAP, NAMES = 12, 14, 230  # pixels: a bar's height, between groups, room for the names
LETTER, LINE, SWATCH = 7.0, 13.0, 10  # pixels: a letter's width, a line's height, a legend's square

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axes:
    """From values to pixels, with room for ticks and names around."""

    left: float
    right: float
    low: float
    high: float
    logarithmic: bool = False

    def x(self, value: float) -> float:
        """Pixels from the left."""
        scale = math.log2 if self.logarithmic else float
        first, last = scale(self.left), scale(self.right)
        share = (scale(value) - first) / ((last - first) or 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        share = (self.high - value) / ((self.high - self.low) or 1.0)
        return TOP + share * (HEIGHT - TOP - BOTTOM)

    def x_ticks(self, values: Sequence[float]) -> list[float]:
        """Where the axis is marked: at the values themselves if it is logarithmic."""
        if self.logarithmic:
            return sorted(set(values))
        return [self.left + (self.right - self.left) * tick / TICKS for tick in range(TICKS + 1)]


def lines(
    series: Mapping[str, Points],
    across: str,
    up: str,
    *,
    logarithmic: bool = False,
    low: float = 0.0,
) -> str:
    """One line a series over a shared axis, its last value written out; a legend above.

    The axis upwards begins at `low`, or below where values do.
    """
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    left = min(xs) if logarithmic else min(0.0, *xs)
    high = max(ys) * HEADROOM if max(ys) > 0 else 1.0
    axes = Axes(left, max(xs), min(low, *ys), high, logarithmic)
    marks = [text(axes.x(x), HEIGHT - BOTTOM + 18, number(x)) for x in axes.x_ticks(xs)]
    for tick in range(TICKS + 1):
        value = axes.low + (axes.high - axes.low) * tick / TICKS
        marks.append(f'<path d="M{LEFT} {axes.y(value):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        marks.append(text(LEFT - 8, axes.y(value) + 4, f"{value:.3g}", "end"))
    ends: list[tuple[float, float]] = []
    for points, colour in zip(series.values(), COLOURS, strict=False):
        placed = [(axes.x(x), axes.y(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        marks.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(placed) <= POINTS // 2:
            marks += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed
            ]
        ends.append((placed[-1][1] - 8, points[-1][1]))
    lowest = -math.inf
    for y, value in sorted(ends):  # apart from each other, however close the lines end
        lowest = max(y, lowest + LINE)
        marks.append(text(WIDTH - RIGHT, lowest, f"{value:.3g}", "end"))
    return picture(
        HEIGHT,
        [
            *marks,
            *legend(list(series)),
            text(LEFT, TOP - 6, up, "start"),
            text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, across),
        ],
    )


def bars(groups: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """A group of horizontal bars a row, one a key, from 0; values written at their ends."""
    keys = list(dict.fromkeys(key for group in groups.values() for key in group))
    most = max((value for group in groups.values() for value in group.values()), default=1.0)
    room = WIDTH - NAMES - RIGHT - 48
    marks, top = [], float(TOP)
    for name, group in groups.items():
        marks.append(text(NAMES - 8, top + BAR * len(group) / 2 + 4, name, "end"))
        for key, value in group.items():
            colour = COLOURS[keys.index(key) % len(COLOURS)]
            length = room * max(0.0, value) / (most or 1.0)
            marks.append(
                f'<rect x="{NAMES}" y="{top:.1f}" width="{length:.1f}" height="{BAR - 1}"'
                f' fill="{colour}"/>'
            )
            marks.append(text(NAMES + length + 5, top + BAR - 2, f"{value:.1f}", "start"))
            top += BAR
        top += GAP
    return picture(round(top + 8), [*marks, *legend(keys), text(8, 20, unit, "start")])


def legend(names: Sequence[str]) -> list[str]:
    """Coloured squares with names, from the right end of the first line."""
    marks, right = [], float(WIDTH - RIGHT)
    for place, name in reversed(list(enumerate(names))):
        right -= len(name) * LETTER
        marks.append(text(right, 20, name, "start"))
        right -= SWATCH + 4
        colour = COLOURS[place % len(COLOURS)]
        marks.append(
            f'<rect x="{right:.1f}" y="11" width="{SWATCH}" height="{SWATCH}" fill="{colour}"/>'
        )
        right -= 12
    return marks


def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def number(value: float) -> str:
    """A tick's label: whole where it is, thousands apart."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:.2g}"


def picture(height: int, marks: Sequence[str]) -> str:
    """The SVG around them, on white."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
    return "\n".join(
        [
            f'{head} font-family="sans-serif" font-size="12" fill="#333">',
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
            *marks,
            "</svg>\n",
        ]
    )


def read_curve(log: Path, key: str) -> list[tuple[float, float]]:
    """(epoch, mean of `key`) for each hundredth of the run."""
    steps = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    size = max(1, len(steps) // POINTS)
    parts = [steps[start : start + size] for start in range(0, len(steps), size)]
    return [(part[-1]["epoch"], sum(step[key] for step in part) / len(part)) for part in parts]


if __name__ == "__main__":
    log_file, wanted, out = sys.argv[1:]
    name = wanted.replace("_", " ")
    drawn = lines({name: read_curve(Path(log_file), wanted)}, "epochs", name)
    Path(out).write_text(drawn, encoding="utf-8")
