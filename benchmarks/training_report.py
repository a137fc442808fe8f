"""The report on training: images a second by input pipeline, and the pipeline's share of a step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.report import head, page, rate, ratio, table, verdict
from benchmarks.steps import SETTLING_STEPS

SHARE = 0.95  # of the speed of the same step fed by a constant tensor
TIMES_LOADER = 3.0  # where the pipeline binds
STREAM_SHARE = 0.90  # of the speed of the resident set
OURS = "ours: resident set, whole-batch views"
STREAMED = "ours: streamed from a file"
CONSTANT = "a constant tensor, no input work"
COLUMNS = ("input", "views", "training, images/s", "ours/it", "input alone, images/s", "ours/it")
SPREAD = "Medians of the rounds with the least and the greatest; ratios are medians of theirs."
SAME = (
    "* Ours is training.loop.train itself, logs and all. The others are its step alone: the same"
    " channels_last model, fused Adam, autocast and prior game, so that only the input differs.\n"
    "* DataLoader: one Pillow image at a time through torchvision's transforms of the same name and"
    " strength (benchmarks/rivals/loader.py).\n"
    "* Input alone: batches made and thrown away, the ratio where a model takes no time."
)

Rates = Mapping[tuple[str, str], Sequence[float]]  # (input, views) -> images/s, one a round


@dataclass(frozen=True)
class Findings:
    """Images/s of whole steps and of the input alone, by input and views; `constant` has none."""

    training: Rates
    alone: Rates
    constant: Sequence[float]
    settings: Mapping[str, object]
    data: str
    steps: int

    @property
    def views(self) -> list[str]:
        """The views, in the order measured."""
        return list(dict.fromkeys(views for _, views in self.training))

    @property
    def loaders(self) -> list[str]:
        """The names of the rivals."""
        names = dict.fromkeys(name for name, _ in self.training)
        return [name for name in names if name not in {OURS, STREAMED}]

    def best_loader(self, rates: Rates, views: str) -> str:
        """The rival with the most images/s."""
        return max(self.loaders, key=lambda name: median(rates[name, views]))


def write(command: str, facts: Mapping[str, str], found: Findings) -> str:
    """The whole report as Markdown."""
    start = head(
        "Training on CPU: our input pipeline, a DataLoader with torchvision", command, facts
    )
    figures = table(COLUMNS, rows(found))
    return page(start, conclusion(found), figures, SPREAD, targets(found), how(found))


def conclusion(found: Findings) -> str:
    """The one sentence."""
    told = []
    for views in found.views:
        best = found.best_loader(found.training, views)
        times = ratio(found.training[OURS, views], found.training[best, views])
        told.append(f"{times:.2f} times ({views})")
    shares = ", ".join(
        f"{ratio(found.training[OURS, views], found.constant):.1%} ({views})"
        for views in found.views
    )
    return (
        f"**Our loop trains {' and '.join(told)} as fast as the same step behind the better"
        f" DataLoader, at {shares} of the speed of a step that needs no input at all.**"
    )


def rows(found: Findings) -> list[list[str]]:
    """One row an input and views, then the constant tensor."""
    written = []
    for views in found.views:
        for name in (OURS, STREAMED, *found.loaders):
            row = [name, views]
            for rates in (found.training, found.alone):
                times = ratio(rates[OURS, views], rates[name, views])
                row += [rate(rates[name, views]), "" if name == OURS else f"{times:.2f}"]
            written.append(row)
    return [*written, [CONSTANT, "", rate(found.constant), "", "", ""]]


def targets(found: Findings) -> list[str]:
    """Each target with its figure."""
    lines = []
    for views in found.views:
        share = ratio(found.training[OURS, views], found.constant)
        held = verdict(share >= SHARE)
        lines.append(
            f"* {views}: the loop reaches {share:.1%} of a step on a constant tensor (at least"
            f" {SHARE:.0%}): {held}"
        )
    for views in found.views:
        share = ratio(found.training[STREAMED, views], found.training[OURS, views])
        held = verdict(share >= STREAM_SHARE)
        lines.append(
            f"* {views}: streamed, the loop reaches {share:.1%} of its speed on the resident set"
            f" (at least {STREAM_SHARE:.0%}): {held}"
        )
    for views in found.views:
        best = found.best_loader(found.alone, views)
        times = ratio(found.alone[OURS, views], found.alone[best, views])
        held = verdict(times >= TIMES_LOADER)
        lines.append(
            f"* {views}: where the input binds, {times:.1f} times {best} (at least"
            f" {TIMES_LOADER:g}): {held}"
        )
        whole = found.best_loader(found.training, views)
        times = ratio(found.training[OURS, views], found.training[whole, views])
        lines.append(f"* {views}: the whole step, network included, {times:.2f} times {whole}")
    return lines


def how(found: Findings) -> list[str]:
    """What was run."""
    settings = ", ".join(f"{name} {value}" for name, value in found.settings.items())
    turns = f"Rounds: {len(found.constant)}; in each, everybody takes a turn of {found.steps} steps"
    return [
        f"* {turns}, after {SETTLING_STEPS} that do not count.",
        f"* Model and step: {settings}.",
        f"* Data: {found.data}; uint8 in memory; streamed: in a file the system may keep there.",
        SAME,
    ]
