"""The evaluation as Markdown: every cell with its margins, and a verdict in one sentence."""

from collections.abc import Iterable

from models.card import EvaluationCard, EvaluationMeasure, EvaluationRow

TITLES = {"mlp200": "MLP, 200 units", "linear": "linear", "svm": "linear SVM", "knn": "kNN"}
MEASURES = {
    "mine": "I(X; Y), MINE, nats",
    "ndm": "total correlation (NDM), nats",
    "ndm_sigmoid": "total correlation (NDM) after the sigmoid, nats",
    "ms_ssim": "MS-SSIM of a decoder's drawings",
    "duplicates_ap": "near-duplicates: average precision",
    "duplicates_recall_at_precision_0.5": "near-duplicates: recall at precision 0.5",
    "duplicates_recall_at_precision_0.9": "near-duplicates: recall at precision 0.9",
    "duplicates_best_f1_threshold": "near-duplicates: cosine with the best F1",
    "duplicates_best_f1_precision": "near-duplicates: precision there",
    "duplicates_best_f1_recall": "near-duplicates: recall there",
    "class_recall_at_1": "same class: recall@1",
    "class_map": "same class: mAP",
    "group_recall_at_1": "same group: recall@1",
    "group_map": "same group: mAP",
}


def margins(evaluation: EvaluationCard) -> list[tuple[EvaluationRow, float, float]]:
    """Each trained cell with random initialisation's and pixel PCA's accuracy in the same cell.

    PCA has no conv, fc or y: its best row with the same probe stands against each of them.
    """
    found = []
    for row in evaluation.rows:
        if row.encoder == "trained":
            random, pca = _baselines(row, evaluation.rows)
            found.append((row, random.accuracy, pca.accuracy))
    return found


def to_markdown(name: str, evaluation: EvaluationCard) -> str:
    """The tables, top-1 in %, margins in points, with verdict and protocol."""
    lines = [
        f"# Evaluation of {name} on {evaluation.data.name}",
        "",
        verdict(evaluation),
        "",
        "| representation | probe | trained | random init | margin | PCA of pixels | margin |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in evaluation.rows:
        if row.encoder == "trained":
            random, pca = _baselines(row, evaluation.rows)
            lines.append(
                f"| {row.representation} | {TITLES[row.probe]} | **{_percent(row)}** "
                f"| {_percent(random)} | {_points(row.accuracy - random.accuracy)} "
                f"| {_percent(pca)} | {_points(row.accuracy - pca.accuracy)} |"
            )
    pixels = [row for row in evaluation.rows if row.encoder == "pixels_pca"]
    each = "; ".join(f"{row.note}, {TITLES[row.probe]} {_percent(row)}" for row in pixels)
    lines += ["", f"PCA of pixels (the better for each probe stands in the table): {each}."]
    lines += measures_table(evaluation.measures)
    lines += ["", f"Protocol: {evaluation.protocol}", "", f"Took {evaluation.seconds:.0f} s."]
    return "\n".join(lines) + "\n"


def measures_table(measures: list[EvaluationMeasure]) -> list[str]:
    """Every measure of every representation, the encoders side by side; nothing without any."""
    if not measures:
        return []
    lines = [
        "",
        "| measure | representation | trained | random init | PCA of pixels |",
        "|---|---|--:|--:|--:|",
    ]
    for measure in (each for each in measures if each.encoder == "trained"):
        same = [each for each in measures if each.measure == measure.measure]
        random = [
            _figure(each)
            for each in same
            if each.encoder == "random" and each.representation == measure.representation
        ]
        pca = [f"{_figure(each)} ({each.note})" for each in same if each.encoder == "pixels_pca"]
        lines.append(
            f"| {MEASURES.get(measure.measure, measure.measure)} | {measure.representation} "
            f"| **{_figure(measure)}** | {', '.join(random) or '-'} | {', '.join(pca) or '-'} |"
        )
    return lines


def verdict(evaluation: EvaluationCard) -> str:
    """One sentence on whether training paid off: above both baselines, in every cell.

    Where there are several seeds, by more than the trained encoder's spread over them.
    """
    cells = margins(evaluation)
    lost = [
        f"{row.representation} ({TITLES[row.probe]})"
        for row, random, pca in cells
        if row.accuracy - max(random, pca) <= (row.spread or 0)
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


def _baselines(
    row: EvaluationRow, rows: Iterable[EvaluationRow]
) -> tuple[EvaluationRow, EvaluationRow]:
    """Random initialisation's cell, and pixel PCA's best with the same probe."""
    same = [other for other in rows if other.probe == row.probe]
    random = _best(
        other
        for other in same
        if other.encoder == "random" and other.representation == row.representation
    )
    return random, _best(other for other in same if other.encoder == "pixels_pca")


def _best(rows: Iterable[EvaluationRow]) -> EvaluationRow:
    return max(rows, key=lambda row: row.accuracy)


def _percent(row: EvaluationRow) -> str:
    spread = "" if row.spread is None else f" ± {100 * row.spread:.2f}"
    return f"{100 * row.accuracy:.2f}{spread}"


def _points(share: float) -> str:
    return f"{100 * share:+.2f}"


def _figure(measure: EvaluationMeasure) -> str:
    return f"{measure.value:.2f}" if measure.unit == "nats" else f"{measure.value:.3f}"
