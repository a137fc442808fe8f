"""What the reports have in common: a head of facts, tables, medians with their spread."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.machine import REPOSITORY

RESULTS = REPOSITORY / "benchmarks" / "results"


def head(title: str, command: str, facts: Mapping[str, str]) -> str:
    """A title, the command and the facts of the machine."""
    lines = [f"* {name}: {fact}" for name, fact in facts.items()]
    return "\n".join([f"# {title}", "", f"`{command}`", "", *lines])


def page(
    start: str, told: str, figures: str, spread: str, targets: Sequence[str], how: Sequence[str]
) -> str:
    """The whole report: head, the one sentence, the table and how to read it, targets, the way."""
    lists = ["## Targets\n\n" + "\n".join(targets), "## How\n\n" + "\n".join(how)]
    return "\n\n".join([start, told, figures, spread, *lists]) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (columns, rule, *rows))


def rate(values: Sequence[float]) -> str:
    """The median of several rounds, with the least and the greatest."""
    middle, least, most = median(values), min(values), max(values)
    return f"{middle:,.0f} ({least:,.0f} to {most:,.0f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return median(our / their for our, their in zip(ours, theirs, strict=True))


def verdict(holds: bool) -> str:
    """How a target came out."""
    return "met" if holds else "**missed**"


def deliver(text: str, name: str, folder: Path | None) -> None:
    """Print a report, and write it where it is to be kept."""
    print(f"\n{text}", flush=True)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        print(f"written to {folder / name}", flush=True)
