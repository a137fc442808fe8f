"""The curves of a run: bounds, loss, speed and health over steps, from its logs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from training.config import ConfigError, make_config
from training.report.charts import Limit, Line, chart
from training.report.markup import Content, Markup, missing, paragraph, section, tag
from training.report.sources import Run
from training.watch import bounds_of, ceilings

Lines = Sequence[Mapping[str, Any]]


def curves_section(run: Run) -> Markup:
    """All curves, or why there are none."""
    if not run.log:
        why = (
            "The training log is in the run's folder, and this is a checkpoint alone: no curves."
            if run.folder is None
            else "The run has not logged a step yet: no curves."
        )
        return section("Curves", missing(why))
    charts: list[Content] = [*training_charts(run), *health_charts(run)]
    note: list[Content] = []
    if not run.health:
        note = [missing("The run has no health.jsonl: it was trained before health was watched.")]
    return section(
        "Curves",
        paragraph(
            f"{len(run.log):,} steps. Each point is the mean of neighbouring steps.", class_="faint"
        ),
        tag("div", *charts, class_="grid"),
        *note,
    )


def training_charts(run: Run) -> list[Markup]:
    """Bounds with the most they can say, losses, and images a second."""
    names = list(run.log[-1])
    bounds = list(bounds_of(run.log[-1]))
    aside = "held out" if run.health and run.health[-1].get("held_out") else "in eval()"
    held = [
        Line(f"{words(name)}, {aside}", column(run.health, name, inside="bounds"))
        for name in bounds
        if run.health
    ]
    limits = [
        Limit(f"at most {most:.2f}", most)
        for name, most in limits_of(run).items()
        if name in bounds
    ]
    losses = [name for name in names if name.endswith("loss")]
    found = [
        chart(
            "Bounds, nats",
            [*(Line(words(name), column(run.log, name)) for name in bounds), *held],
            limits[:1],
        ),
        chart("Losses", [Line(words(name), column(run.log, name)) for name in losses]),
    ]
    speed = column([line for line in run.log if "images_per_s" in line], "images_per_s")
    if speed:
        found.append(chart("Images a second", [Line("images a second", speed)]))
    return found


def health_charts(run: Run) -> list[Markup]:
    """Rank, spread, uniformity and alignment over the looks."""
    if not run.health:
        return []
    groups = (
        ("Effective rank of Y (RankMe)", ("rankme",)),
        ("Spread and dead dimensions", ("spread", "dead_share")),
        ("Uniformity (lower: more even)", ("uniformity",)),
        ("Alignment of two views (lower: closer)", ("alignment",)),
    )
    found = []
    for title, names in groups:
        lines = [Line(words(name), column(run.health, name)) for name in names]
        shown = [line for line in lines if any(math.isfinite(y) for _, y in line.points)]
        if shown:
            found.append(chart(title, shown))
    return found


def limits_of(run: Run) -> dict[str, float]:
    """The most each bound can say; nothing for settings that this version does not know."""
    try:
        return ceilings(make_config(dict(run.settings)))
    except ConfigError:
        return {}


def column(lines: Lines, name: str, *, inside: str | None = None) -> list[tuple[float, float]]:
    """(step, number) of one name; not-a-number where it is missing."""
    found = []
    for line in lines:
        numbers = line if inside is None else line.get(inside, {})
        value = numbers.get(name)
        found.append((float(line["step"]), math.nan if value is None else float(value)))
    return found


def words(name: str) -> str:
    """A name of the log as words."""
    return {"rankme": "effective rank", "dead_share": "share of dead dimensions"}.get(
        name, name.replace("_", " ")
    )
