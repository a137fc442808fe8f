"""The page on the methods: one table, what it says of the paper's order, and a plot."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.drawing import bars
from benchmarks.ordering import PROBE, comparisons, sentences, summary
from benchmarks.paper import REPRESENTATIONS
from benchmarks.report import deliver, head, table
from benchmarks.shelf import Result, common_facts, require_alike

PAGE, PLOT = "methods.md", "methods.svg"
COLUMNS = (
    ("conv", "mlp200"),
    ("fc", "mlp200"),
    ("y", "mlp200"),
    ("conv", "linear"),
    ("fc", "linear"),
    ("y", "linear"),
    ("conv", "knn"),
    ("fc", "knn"),
    ("y", "knn"),
)
NAMES = {"mlp200": "MLP", "linear": "linear", "knn": "kNN", "y": "Y"}
PIXELS = "pixels"


def write(command: str, results: Sequence[Result], folder: Path) -> None:
    """The page and the plot into a folder; BenchmarkError where results do not belong together."""
    require_alike(results)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PLOT).write_text(plot(results), encoding="utf-8")
    deliver(page(command, results), PAGE, folder)


def page(command: str, results: Sequence[Result]) -> str:
    """The whole page."""
    minutes = next((each.minutes for each in results if each.minutes is not None), None)
    title = "Methods in equal time" + (f": {minutes:g} minutes each" if minutes else "")
    found = comparisons(cells(results), results[0].data.test)
    titles = {each.name: each.title for each in results}
    parts = [
        head(title, command, common_facts(results)),
        f"**{best(results)} {summary(found)}**",
        table(*accuracies(results)),
        f"Top-1 in per cent on {results[0].data.name}; MLP is the paper's probe of 200 units.",
        f"![The MLP probe's accuracy by method, in per cent]({PLOT})",
        "## The paper's order\n\n" + "\n".join([*sentences(found, titles), "", CAUTION]),
        "## What each was given\n\n" + table(*spent(results)),
        "## How\n\n" + "\n".join(how(results)),
    ]
    return "\n\n".join(parts) + "\n"


CAUTION = (
    "Two standard errors are those of counting right answers on the test images. Every method has"
    " one seed, and another seed may move a cell by more. The paper's cells are those of CIFAR-10"
    " after 1000 epochs."
)


def cells(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Method -> representation -> the paper's probe, in per cent."""
    return {
        each.name: {
            representation: value
            for representation in REPRESENTATIONS
            if (value := each.accuracy(representation, PROBE)) is not None
        }
        for each in results
    }


def best(results: Sequence[Result]) -> str:
    """Which method without labels comes first for each representation."""
    learned = {each.name: each.title for each in results if each.trained}
    learned.pop("supervised", None)
    measured = cells(results)
    told = []
    for representation in REPRESENTATIONS:
        values = {
            name: measured[name][representation]
            for name in learned
            if representation in measured[name]
        }
        if values:
            first = max(values, key=values.__getitem__)
            shown = NAMES.get(representation, representation)
            told.append(f"{shown} {values[first]:.1f} % ({learned[first]})")
    return f"Best without labels: {', '.join(told)}." if told else "Nothing was trained."


def accuracies(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the table; the pixels have no conv, fc or y and stand in each."""
    columns = ["", *(f"{NAMES.get(place, place)}, {NAMES[probe]}" for place, probe in COLUMNS)]
    rows = []
    for each in results:
        values = [each.accuracy(place, probe) for place, probe in COLUMNS]
        if each.name == "pca":
            values = [each.accuracy(PIXELS, probe) for _, probe in COLUMNS]
        rows.append([each.title, *("" if value is None else f"{value:.2f}" for value in values)])
    return columns, rows


def spent(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Time, images and bound of each trained method."""
    columns = ["", "seconds", "steps", "images seen", "epochs", "bound, nats", "own top-1, %"]
    rows = []
    for each in results:
        if each.trained is not None:
            own = each.numbers.get("top1")
            rows.append(
                [
                    each.title,
                    f"{each.trained.seconds:,.0f}",
                    f"{each.trained.steps:,}",
                    f"{each.trained.images_seen:,}",
                    f"{each.trained.epochs:.1f}",
                    ", ".join(bound(*item) for item in each.trained.bounds.items()),
                    "" if own is None else f"{100 * own:.2f}",
                ]
            )
    return columns, rows


def bound(name: str, nats: float) -> str:
    """A bound with its name."""
    return f"{name.removesuffix('_bound').replace('_', ' ')} {nats:.2f}"


def plot(results: Sequence[Result]) -> str:
    """Three bars a method; the pixels have one."""
    groups = {}
    for each in results:
        group = {NAMES.get(name, name): value for name, value in cells([each])[each.name].items()}
        pixels = each.accuracy(PIXELS, PROBE)
        groups[each.title] = group or ({} if pixels is None else {PIXELS: pixels})
    return bars(groups, "top-1, per cent, MLP probe")


def how(results: Sequence[Result]) -> list[str]:
    """How it was measured."""
    trained = [each.trained.seconds for each in results if each.trained is not None]
    lines = []
    if trained:
        lines.append(
            f"* Wall-clock seconds of training: {min(trained):,.0f} to {max(trained):,.0f}; loading"
            " the images, fitting the served critics and probing are not in it."
        )
        recipes = ", ".join(f"`{each.name}`" for each in results if each.trained)
        lines.append(f"* Recipes: configs/short/, {recipes}; one seed each.")
    lines += [
        f"* {each.title} has another encoder: conv is its last map (3 x 3), fc the hidden layer"
        f" before Y, and Y has {each.trained.recipe.get('rkhs')} numbers."
        for each in results
        if each.trained is not None and each.trained.recipe.get("method") == "amdim"
    ]
    slowest = max(each.evaluation_s for each in results)
    lines.append(f"* Probing took at most {slowest:,.0f} s for one encoder. Protocol:")
    return [*lines, "", results[0].protocol]
