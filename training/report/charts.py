"""Curves and points as SVG, drawn here: lines in the page's colours, axes with round numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from training.report.markup import Markup, join, tag

WIDTH, HEIGHT = 460.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 14.0, 12.0, 34.0  # room for numbers
MOST_POINTS = 300
LINE_COLOURS = 10  # --c0 to --c9 of the page's style

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One curve: its name and its points from left to right."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Limit:
    """A level line, such as the most a bound can say."""

    name: str
    level: float


@dataclass(frozen=True)
class Scale:
    """Numbers to places along one axis of the picture."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where the number stands, in units of the picture."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def chart(
    title: str, lines: Sequence[Line], limits: Sequence[Limit] = (), *, across: str = "step"
) -> Markup:
    """A title, the legend and the curves; numbers that are not finite leave a gap."""
    thinned = [Line(line.name, thin(line.points)) for line in lines]
    points = [p for line in thinned for p in line.points if math.isfinite(p[1])]
    ys = [y for _, y in points] + [limit.level for limit in limits]
    x = spread([x for x, _ in points], LEFT, WIDTH - RIGHT)
    y = spread(ys, HEIGHT - BOTTOM, TOP, margin=0.05)
    drawn = [*axes(x, y, across), *(level(limit, y) for limit in limits)]
    drawn += [curve(line, number, x, y) for number, line in enumerate(thinned)]
    label = f"{title}, by {across}"
    picture = tag("svg", *drawn, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)
    names = [line.name for line in lines]
    known = legend(names) if len(names) > 1 else ""
    return tag("div", tag("h3", title), known, picture)


def thin(points: Sequence[Point]) -> list[Point]:
    """At most MOST_POINTS points, each the mean of its neighbours."""
    size = math.ceil(len(points) / MOST_POINTS)
    groups = (points[start : start + size] for start in range(0, len(points), max(size, 1)))
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]


def spread(values: Sequence[float], start: float, end: float, margin: float = 0.0) -> Scale:
    """A scale that holds all the values, with some room where `margin` asks for it."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    room = (high - low) * margin
    return Scale(low - room, high + room, start, end)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """About so many round numbers between the two: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.7)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def in_words(value: float) -> str:
    """A number as short as it can be read: 12k, 0.25, -3."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{round(value, 6):g}"


def axes(x: Scale, y: Scale, across: str) -> list[Markup]:
    """Level rules with numbers on the left, numbers below."""
    drawn = []
    for value in ticks(y.low, y.high):
        at = f"{y(value):.1f}"
        drawn.append(tag("line", x1=str(LEFT), x2=str(WIDTH - RIGHT), y1=at, y2=at, class_="rule"))
        down = f"{y(value) + 4:.1f}"
        drawn.append(tag("text", in_words(value), x=str(LEFT - 7), y=down, text_anchor="end"))
    for value in ticks(x.low, x.high):
        below = f"{HEIGHT - BOTTOM + 17:.1f}"
        drawn.append(
            tag("text", in_words(value), x=f"{x(value):.1f}", y=below, text_anchor="middle")
        )
    middle = f"{(LEFT + WIDTH - RIGHT) / 2:.1f}"
    drawn.append(tag("text", across, x=middle, y=str(HEIGHT - 3), text_anchor="middle"))
    return drawn


def level(limit: Limit, y: Scale) -> Markup:
    """A dashed level line with its name."""
    at = f"{y(limit.level):.1f}"
    line = tag("line", x1=str(LEFT), x2=str(WIDTH - RIGHT), y1=at, y2=at, class_="limit")
    below = f"{y(limit.level) + 15:.1f}"
    name = tag("text", limit.name, x=str(WIDTH - RIGHT), y=below, text_anchor="end")
    return join([line, name])


def curve(line: Line, number: int, x: Scale, y: Scale) -> Markup:
    """One curve in its colour; a dot where there is a single point."""
    colour = f"var(--c{number % LINE_COLOURS})"
    pen, words = "M", []
    for across, up in line.points:
        if not math.isfinite(up):
            pen = "M"
            continue
        words.append(f"{pen}{x(across):.1f} {y(up):.1f}")
        pen = "L"
    path = tag("path", d=" ".join(words), fill="none", style=f"stroke:{colour}", stroke_width="2")
    if len(words) > 40:
        return path
    dots = (
        tag("circle", cx=f"{x(a):.1f}", cy=f"{y(u):.1f}", r="3", style=f"fill:{colour}")
        for a, u in line.points
        if math.isfinite(u)
    )
    return join([path, *dots])


def legend(names: Sequence[str]) -> Markup:
    """Names with their colours."""
    return tag(
        "div",
        *(
            tag("span", name, style=f"--own:var(--c{number % LINE_COLOURS})")
            for number, name in enumerate(names)
        ),
        class_="legend",
    )


def scatter(
    groups: Sequence[Line], description: str, *, width: float = 640.0, height: float = 460.0
) -> Markup:
    """Points in the plane, a colour a group, with a legend where there are several."""
    known = [point for group in groups for point in group.points]
    x = spread([a for a, _ in known], 10.0, width - 10, margin=0.02)
    y = spread([b for _, b in known], height - 10, 10.0, margin=0.02)
    dots = (
        tag(
            "circle",
            cx=f"{x(a):.1f}",
            cy=f"{y(b):.1f}",
            r="3.2",
            style=f"fill:var(--c{number % LINE_COLOURS});fill-opacity:.65",
        )
        for number, group in enumerate(groups)
        for a, b in group.points
    )
    picture = tag("svg", *dots, viewBox=f"0 0 {width} {height}", role="img", aria_label=description)
    names = [group.name for group in groups]
    return tag("div", legend(names), picture) if len(names) > 1 else picture
