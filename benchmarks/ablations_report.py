"""The pages on single choices: a table, a sentence computed from it, and plots."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.drawing import bars, lines
from benchmarks.failures import BenchmarkError
from benchmarks.report import deliver, head, table
from benchmarks.shelf import Result, common_facts, require_alike

PROBE = "mlp200"
NUMBERS = {
    "mine": "MINE, nats",
    "ms_ssim": "MS-SSIM",
    "ndm": "NDM of Y, nats",
    "ndm_sigmoid": "NDM after the sigmoid, nats",
}
TITLES = {
    "estimators": "Estimators, negatives and batch size",
    "weights": "Global against local bound",
    "prior": "The prior game, on and off",
}
MIDDLE_BATCH = "64"
ONE = "roll"  # the negatives that are one image for each

Cells = Sequence[tuple[Mapping[str, str], Result]]  # the varied settings, and what came out


def write(grid: str, command: str, cells: Cells, folder: Path) -> None:
    """The page and its plots; BenchmarkError where results do not belong together."""
    results = [result for _, result in cells]
    require_alike(results)
    require_one_recipe(cells)
    folder.mkdir(parents=True, exist_ok=True)
    plots = PLOTS[grid](cells)
    for name, drawn in plots.items():
        (folder / f"{grid}-{name}.svg").write_text(drawn, encoding="utf-8")
    deliver(page(grid, command, cells, list(plots)), f"{grid}.md", folder)


def require_one_recipe(cells: Cells) -> None:
    """BenchmarkError where runs differ in more than what is varied."""
    recipes = [result.trained.recipe for _, result in cells if result.trained is not None]
    differing = {
        key
        for recipe in recipes
        for key in recipes[0]
        if key not in cells[0][0] and recipe.get(key) != recipes[0][key]
    }
    if differing:
        raise BenchmarkError(
            f"the results differ in {', '.join(sorted(differing))} too, and make no table; measure"
            " them anew with --again, or keep them in another --out"
        )


def page(grid: str, command: str, cells: Cells, plots: Sequence[str]) -> str:
    """The whole page."""
    results = [result for _, result in cells]
    shown = [f"![{TITLES[grid]}: {name.replace('-', ' ')}]({grid}-{name}.svg)" for name in plots]
    parts = [
        head(TITLES[grid], command, common_facts(results)),
        f"**{SENTENCES[grid](cells)}** {size(results)}",
        table(*rows(cells)),
        "Top-1 of Y in per cent.",
        *shown,
        f"## How\n\n{results[0].protocol}",
    ]
    return "\n\n".join(parts) + "\n"


def size(results: Sequence[Result]) -> str:
    """How small this is, in a sentence."""
    data, minutes = results[0].data, results[0].minutes
    each = "the same epochs" if minutes is None else f"{minutes:g} minutes of training"
    epochs = [result.trained.epochs for result in results if result.trained]
    seen = f"{min(epochs):.1f} to {max(epochs):.1f} epochs" if epochs else "no epoch"
    return (
        f"One seed a cell, {each} on {data.train:,} images ({seen}), {data.test:,} test images: a"
        f" trend at most; one standard error of an accuracy is up to {worst_error(data.test):.1f}"
        " points."
    )


def worst_error(images: int) -> float:
    """The standard error of an accuracy of one half, counted on so many images, in points."""
    return 50 / math.sqrt(images)


def rows(cells: Cells) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: the settings, accuracies, other numbers, and what was spent."""
    keys = list(cells[0][0])
    numbers = [name for name in NUMBERS if any(name in result.numbers for _, result in cells)]
    columns = [*keys, "MLP", "linear", "kNN", *(NUMBERS[name] for name in numbers)]
    written = []
    for cell, result in cells:
        accuracies = [result.accuracy("y", probe) for probe in (PROBE, "linear", "knn")]
        row = [*cell.values(), *(f"{value:.2f}" if value else "" for value in accuracies)]
        row += [f"{result.numbers[name]:.3f}" for name in numbers]
        if result.trained is not None:
            row += [", ".join(f"{value:.2f}" for value in result.trained.bounds.values())]
            row += [f"{result.trained.steps:,}", f"{result.trained.seconds:,.0f}"]
        written.append(row)
    return [*columns, "bounds, nats", "steps", "seconds"], written


def accuracy(result: Result) -> float:
    """Of Y, by the paper's probe."""
    return result.accuracy("y", PROBE) or 0.0


# ---- estimators: the curve over the number of negatives ----


def negatives(cells: Cells) -> dict[str, list[tuple[float, float]]]:
    """Estimator -> (negative images for each positive, top-1 of Y), few to many.

    All pairs give one fewer than the batch; the single one is `roll` at the middle batch size.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    for cell, result in cells:
        single = cell["negatives"] == ONE and cell["batch_size"] == MIDDLE_BATCH
        if cell["negatives"] == "all" or single:
            count = 1.0 if single else float(cell["batch_size"]) - 1
            curves.setdefault(cell["objective"], []).append((count, accuracy(result)))
    return {name: sorted(points) for name, points in curves.items()}


def estimators_plot(cells: Cells) -> dict[str, str]:
    """The curves over the number of negatives, and bars of all cells at the middle batch size."""
    curves = negatives(cells)
    drawn = {}
    if curves:
        low = min(value for points in curves.values() for _, value in points)
        drawn["negatives"] = lines(
            curves,
            "negative images for each positive",
            "top-1 of Y, per cent, MLP probe",
            logarithmic=True,
            low=max(0.0, low - 5),
        )
    groups: dict[str, dict[str, float]] = {}
    for cell, result in cells:
        if cell["batch_size"] == MIDDLE_BATCH:
            groups.setdefault(cell["objective"], {})[cell["negatives"]] = accuracy(result)
    if groups:
        drawn[f"batch-{MIDDLE_BATCH}"] = bars(groups, "top-1 of Y, per cent")
    return drawn


def estimators_sentence(cells: Cells) -> str:
    """Which of JSD and InfoNCE minds few negatives more, from the two ends of their curves."""
    curves = negatives(cells)
    ends = {
        name: (curves[name][0], curves[name][-1])
        for name in ("jsd", "infonce")
        if len(curves.get(name, [])) > 1
    }
    if len(ends) < 2:
        return "JSD and InfoNCE cannot be compared yet: cells are missing."
    gains = {name: last[1] - first[1] for name, (first, last) in ends.items()}
    few, many = ends["jsd"][0][0], ends["jsd"][1][0]
    if gains["infonce"] > gains["jsd"]:
        verdict = "InfoNCE minds few negatives more than JSD, as the paper says"
    else:
        verdict = "InfoNCE does not mind few negatives more than JSD, unlike in the paper"
    return (
        f"From {few:.0f} to {many:.0f} negatives JSD gains {gains['jsd']:+.2f} points and InfoNCE"
        f" {gains['infonce']:+.2f}: {verdict}."
    )


# ---- weights: classification against reconstruction ----


def local_share(cell: Mapping[str, str]) -> float:
    """Beta / (alpha + beta)."""
    alpha, beta = float(cell["alpha"]), float(cell["beta"])
    return beta / (alpha + beta)


def weights_plot(cells: Cells) -> dict[str, str]:
    """Accuracy, MS-SSIM and MINE over the share of the local bound, each in a plot of its own."""
    ordered = sorted(cells, key=lambda pair: local_share(pair[0]))
    across = "beta / (alpha + beta): 0 is global alone, 1 is local alone"
    measures: dict[str, tuple[str, Callable[[Result], float | None]]] = {
        "accuracy": ("top-1 of Y, per cent", accuracy),
        "ms-ssim": ("MS-SSIM", lambda result: result.numbers.get("ms_ssim")),
        "mine": ("MINE, nats", lambda result: result.numbers.get("mine")),
    }
    drawn = {}
    for name, (unit, of) in measures.items():
        values = [(local_share(cell), of(result)) for cell, result in ordered]
        points = [(share, value) for share, value in values if value is not None]
        if points:
            drawn[name] = lines({unit: points}, across, unit)
    return drawn


def weights_sentence(cells: Cells) -> str:
    """Where each measure is best, and whether the two pull apart."""
    told = {cell["alpha"] + " / " + cell["beta"]: result for cell, result in cells}
    measured = {name: result for name, result in told.items() if "ms_ssim" in result.numbers}
    if len(measured) < 2:
        return "Nothing can be said of the trade yet: cells are missing."
    classifies = max(measured, key=lambda name: accuracy(measured[name]))
    rebuilds = max(measured, key=lambda name: measured[name].numbers["ms_ssim"])
    verdict = (
        "one setting is best at both: there is no trade here"
        if classifies == rebuilds
        else "the two are not best at the same place, so one is paid for with the other"
    )
    top1, similarity = accuracy(told[classifies]), told[rebuilds].numbers["ms_ssim"]
    return (
        f"Y classifies best at alpha / beta {classifies} ({top1:.2f} %) and is rebuilt best at"
        f" {rebuilds} (MS-SSIM {similarity:.3f}): {verdict}."
    )


# ---- prior: independence of the dimensions of Y ----


def prior_name(cell: Mapping[str, str]) -> str:
    """As it is called in the plot."""
    return f"{cell['prior']}, gamma {cell['gamma']}" if float(cell["gamma"]) else "no prior game"


def prior_plot(cells: Cells) -> dict[str, str]:
    """NDM before and after the sigmoid, and the accuracy, a group a cell."""
    shown = {"ndm": "before the sigmoid", "ndm_sigmoid": "after it"}
    groups = {
        prior_name(cell): {
            words: result.numbers[name] for name, words in shown.items() if name in result.numbers
        }
        for cell, result in cells
    }
    accuracies = {prior_name(cell): {"Y": accuracy(result)} for cell, result in cells}
    return {
        "ndm": bars(groups, "NDM in nats; 0 is independent"),
        "accuracy": bars(accuracies, "top-1, per cent"),
    }


def prior_sentence(cells: Cells) -> str:
    """Whether the game makes the dimensions more independent, and what it costs."""
    told = {prior_name(cell): result for cell, result in cells if "ndm" in result.numbers}
    without = told.pop("no prior game", None)
    if without is None or not told:
        return "Nothing can be said of the game yet: cells are missing."
    lower = [
        sum(each.numbers[name] < without.numbers[name] for each in told.values())
        for name in ("ndm", "ndm_sigmoid")
    ]
    if lower == [len(told), len(told)]:
        verdict = "The prior game makes the dimensions of Y more independent"
    elif lower == [0, 0]:
        verdict = "The prior game does not make the dimensions of Y more independent"
    else:
        verdict = "Whether the prior game makes the dimensions of Y more independent is not decided"
    best = min(told, key=lambda name: told[name].numbers["ndm"])
    cost = accuracy(told[best]) - accuracy(without)
    return (
        f"{verdict}: of {len(told)} settings {lower[0]} have a lower NDM than without it before the"
        f" sigmoid and {lower[1]} after it; the lowest is {told[best].numbers['ndm']:.3f} nats"
        f" ({best}) against {without.numbers['ndm']:.3f}, at {cost:+.2f} points of top-1."
    )


PLOTS: dict[str, Callable[[Cells], dict[str, str]]] = {
    "estimators": estimators_plot,
    "weights": weights_plot,
    "prior": prior_plot,
}
SENTENCES: dict[str, Callable[[Cells], str]] = {
    "estimators": estimators_sentence,
    "weights": weights_sentence,
    "prior": prior_sentence,
}
