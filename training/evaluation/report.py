"""The evaluation as Markdown: every cell with its margins, and a verdict in one sentence."""

from collections.abc import Iterable

from models.card import EvaluationCard, EvaluationRow

TITLES = {"mlp200": "MLP, 200 units", "linear": "linear", "knn": "kNN"}


def margins(evaluation: EvaluationCard) -> list[tuple[EvaluationRow, float, float]]:
    """Each trained cell with random initialisation's and pixel PCA's accuracy in the same cell.

    PCA has no conv, fc or y: its best row with the same probe stands against each of them.
    """
    found = []
    for row in evaluation.rows:
        if row.encoder == "trained":
            same = [other for other in evaluation.rows if other.probe == row.probe]
            random = _best(
                other
                for other in same
                if other.encoder == "random" and other.representation == row.representation
            )
            pca = _best(other for other in same if other.encoder == "pixels_pca")
            found.append((row, random, pca))
    return found


def to_markdown(name: str, evaluation: EvaluationCard) -> str:
    """The table, top-1 in %, margins in points, with verdict and protocol."""
    lines = [
        f"# Evaluation of {name} on {evaluation.data.name}",
        "",
        verdict(evaluation),
        "",
        "| representation | probe | trained | random init | margin | PCA of pixels | margin |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for row, random, pca in margins(evaluation):
        lines.append(
            f"| {row.representation} | {TITLES[row.probe]} | **{_percent(row.accuracy)}** "
            f"| {_percent(random)} | {_points(row.accuracy - random)} "
            f"| {_percent(pca)} | {_points(row.accuracy - pca)} |"
        )
    pixels = [row for row in evaluation.rows if row.encoder == "pixels_pca"]
    each = "; ".join(f"{row.note}, {TITLES[row.probe]} {_percent(row.accuracy)}" for row in pixels)
    lines += ["", f"PCA of pixels (the better for each probe stands in the table): {each}."]
    lines += ["", f"Protocol: {evaluation.protocol}", "", f"Took {evaluation.seconds:.0f} s."]
    return "\n".join(lines) + "\n"


def verdict(evaluation: EvaluationCard) -> str:
    """One sentence on whether training paid off: above both baselines, in every cell."""
    cells = margins(evaluation)
    lost = [
        f"{row.representation} ({TITLES[row.probe]})"
        for row, random, pca in cells
        if row.accuracy <= max(random, pca)
    ]
    if not lost:
        over_random = min(row.accuracy - random for row, random, _ in cells)
        over_pca = min(row.accuracy - pca for row, _, pca in cells)
        return (
            f"Training paid off: every cell is above both baselines, by at least "
            f"{_points(over_random)} points over random initialisation and "
            f"{_points(over_pca)} over PCA of the pixels."
        )
    if len(lost) == len(cells):
        return "Training has not paid off: no cell is above both baselines. Train longer or larger."
    return f"Training paid off in part: not above both baselines in {', '.join(lost)}."


def _best(rows: Iterable[EvaluationRow]) -> float:
    return max(row.accuracy for row in rows)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _points(share: float) -> str:
    return f"{100 * share:+.2f}"
