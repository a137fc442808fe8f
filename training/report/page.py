"""The page, from top to bottom."""

from collections.abc import Sequence
from datetime import UTC, datetime

from training.report.curves import curves_section
from training.report.figures import facts_section, tables_section, verdict_box
from training.report.markup import Content, Markup, join, missing, paragraph, section, tag
from training.report.plane import plane_figures
from training.report.sheets import (
    agreement_sheet,
    chosen_rows,
    feature_sheet,
    neighbours_sheet,
    views_sheet,
)
from training.report.shown import Shown
from training.report.sources import Run
from training.report.style import STYLE

# Nothing may be loaded from anywhere: the page says so to the browser itself.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(run: Run, shown: Shown | None, why_not: str = "") -> str:
    """The whole HTML document; `why_not` says why there is nothing to show images with."""
    head = tag(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Markup('<link rel="icon" href="data:,">'),
        tag("title", f"{run.name}: training report"),
        tag("style", Markup(STYLE)),
    )
    body = tag(
        "main",
        tag("h1", run.name),
        paragraph(subtitle(run), class_="faint"),
        verdict_box(run),
        curves_section(run),
        tables_section(run),
        *pictures(run, shown, why_not),
        facts_section(run),
        paragraph(
            "Written by ",
            tag("code", "python -m training report"),
            f" on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
            class_="faint",
        ),
    )
    return f'<!doctype html>\n<html lang="en">{join([head, tag("body", body)]).text}</html>\n'


def subtitle(run: Run) -> str:
    """What this is a report of."""
    images = f"{run.data.get('images', 0):,} images of {run.data.get('name', 'unknown')}"
    encoder = run.checkpoint.card.encoder.name if run.checkpoint else run.settings.get("encoder")
    what = "A run" if run.folder is not None else "A checkpoint, without its run's logs"
    return f"{what}: {encoder} on {images}."


def pictures(run: Run, shown: Shown | None, why_not: str) -> Sequence[Content]:
    """The sections that need images and a checkpoint, or one sentence on why there are none."""
    if shown is None or run.checkpoint is None:
        return [section("Pictures", missing(why_not))]
    rows = chosen_rows(shown.sample)
    critic = run.checkpoint.critics.get("local")
    agreement = (
        agreement_sheet(shown, rows, critic)
        if critic is not None
        else missing("This checkpoint has no local critic, so there is no map of agreement.")
    )
    return [
        section(
            "Views as trained",
            views_sheet(shown.sample, rows, str(run.settings.get("views", "none"))),
        ),
        section("Nearest neighbours", neighbours_sheet(shown, rows)),
        section("What the encoder sees where", feature_sheet(shown, rows)),
        section("Where two images agree", agreement),
        section("The embedding in two dimensions", *plane_figures(shown)),
        paragraph(f"Pictures are of {shown.sample.which}.", class_="faint"),
    ]
