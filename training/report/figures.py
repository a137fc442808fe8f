"""The verdict, the tables behind it, and the facts of the run."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from models.card import Card, EvaluationCard, EvaluationMeasure, EvaluationRow, VerdictCard
from training.evaluation.report import MEASURES, TITLES, margins, verdict
from training.progress import duration
from training.report.markup import (
    Content,
    Markup,
    facts,
    folded,
    missing,
    paragraph,
    section,
    table,
    tag,
)
from training.report.sources import Run

ENCODERS = {
    "trained": "trained",
    "random": "untrained",
    "pixels_pca": "PCA of pixels",
    "imagenet": "ImageNet",
}
EVALUATE = tag("code", "python -m training evaluate")
# What stands above the sentence, and the colour of both.
HEADLINES = {
    "yes": ("Training paid off", "yes"),
    "in part": ("Training paid off in part", "part"),
    "no": ("Training did not pay off", "no"),
    "failed": ("Training failed", "no"),
}


def verdict_box(run: Run) -> Markup:
    """The answer first: the labelled table's where there is one, else the one without labels."""
    evaluation = run.checkpoint.card.evaluation if run.checkpoint else None
    said: list[Content] = []
    answer = None
    if evaluation is not None:
        sentence = verdict(evaluation)
        answer = "in part" if "in part" in sentence else "no" if "not paid" in sentence else "yes"
        said.append(paragraph(f"By the labels of {evaluation.data.name}: {sentence}"))
    if run.verdict is not None:
        answer = answer or run.verdict.answer
        said.append(paragraph(f"Without labels: {run.verdict.sentence}"))
        told = run.verdict.sentence
        said += [paragraph(each) for each in run.verdict.findings if each not in told]
    if answer is None:
        return tag("div", no_verdict(run), class_="verdict")
    headline, colour = HEADLINES[answer]
    return tag("div", paragraph(headline, class_="answer"), *said, class_=f"verdict {colour}")


def no_verdict(run: Run) -> Markup:
    """Why there is no verdict, and how to get one."""
    if run.checkpoint is None:
        return missing(
            "No verdict yet: training has not finished. The command that started it goes on from"
            " where it stopped."
        )
    return missing("No verdict: ", EVALUATE, " writes one into the checkpoint's card.")


def tables_section(run: Run) -> Markup:
    """Did it pay off, in figures: by labels, and without."""
    content: list[Content] = []
    evaluation = run.checkpoint.card.evaluation if run.checkpoint else None
    if evaluation is not None:
        content += [tag("h3", "By labels, top-1 %"), labelled_table(evaluation)]
        content += measures_tables(evaluation.measures)
        content.append(folded("Protocol", paragraph(evaluation.protocol)))
    else:
        content.append(missing("Not evaluated with labels: ", EVALUATE, " does it."))
    if run.verdict is not None:
        content += [tag("h3", "Without labels, recall@1 %"), unlabelled_table(run.verdict)]
        content.append(folded("Protocol", paragraph(run.verdict.protocol)))
    else:
        content.append(missing("Not judged without labels: training does it when it finishes."))
    return section("Did it pay off?", *content)


def labelled_table(evaluation: EvaluationCard) -> Markup:
    """Every trained cell beside its baselines; margins in points."""
    rows = [
        (
            row.representation,
            TITLES.get(row.probe, row.probe),
            tag("strong", percent(row.accuracy) + spread_of(row)),
            percent(random),
            points(row.accuracy - random),
            percent(pca),
            points(row.accuracy - pca),
        )
        for row, random, pca in margins(evaluation)
    ]
    heads = ("representation", "probe", "trained", "untrained", "margin", "PCA", "margin")
    return table(heads, rows, numbers_from=2)


def spread_of(row: EvaluationRow) -> str:
    """The deviation over seeds, where there are several."""
    return "" if row.spread is None else f" ± {percent(row.spread)}"


def measures_tables(measures: Sequence[EvaluationMeasure]) -> list[Markup]:
    """What was measured besides accuracies, a line a number; nothing without any."""
    rows = [
        (
            MEASURES.get(each.measure, each.measure) + (f" ({each.note})" if each.note else ""),
            each.representation,
            ENCODERS.get(each.encoder, each.encoder),
            f"{each.value:.2f} nats" if each.unit == "nats" else f"{each.value:.3f}",
        )
        for each in measures
    ]
    heads = ("measure", "representation", "encoder", "value")
    return [tag("h3", "And beside them"), table(heads, rows, numbers_from=3)] if rows else []


def unlabelled_table(verdict: VerdictCard) -> Markup:
    """How often a changed view finds its own image."""
    rows = [
        (
            ENCODERS.get(row.encoder, row.encoder),
            f"{row.representation}{', ' + row.note if row.note else ''}",
            percent(row.recall),
        )
        for row in verdict.rows
    ]
    return table(("encoder", "representation", "finds itself"), rows, numbers_from=2)


def facts_section(run: Run) -> Markup:
    """What was trained, on what, how; the whole configuration folded away."""
    card = run.checkpoint.card if run.checkpoint else None
    known = [*data_facts(run), *(card_facts(card) if card else [])]
    settings = [(name, in_words(value)) for name, value in run.settings.items()]
    return section(
        "What was run",
        facts(known),
        folded(f"The whole configuration ({len(settings)} settings)", facts(settings)),
    )


def data_facts(run: Run) -> list[tuple[str, str]]:
    """The images trained on."""
    data = run.data
    skipped = f", {data['skipped']:,} files skipped" if data.get("skipped") else ""
    return [
        ("Images", f"{data.get('images', 0):,} of {data.get('name', 'unknown')}{skipped}"),
        ("Their fingerprint", str(data.get("fingerprint", "unknown"))),
    ]


def card_facts(card: Card) -> list[tuple[str, str]]:
    """The card in words."""
    training, objective = card.training, card.objective
    found = [
        ("Encoder", described(card.encoder.name, card.encoder.arguments)),
        (
            "Objective",
            ", ".join(
                f"{name} {in_words(value)}"
                for name, value in objective.model_dump().items()
                if value not in (None, {})
            ),
        ),
        (
            "Training",
            (
                f"{training.steps:,} steps, {training.epochs:.1f} epochs,"
                f" {training.images_seen:,} images seen, {duration(training.seconds)} on"
                f" {training.device} in {training.precision}, seed {training.seed}"
            ),
        ),
        ("Preprocessing", f"{card.preprocessing.size} pixels, {card.preprocessing.colour}"),
    ]
    for role, critic in card.critics.items():
        words = described(critic.name, critic.arguments)
        if (measured := critic.calibration) is not None:
            words += (
                f"; calibration error {measured.ece:.3f}, AUC {measured.auc:.4f} on"
                f" {measured.description}"
            )
        found.append((f"Served {role} critic", words))
    versions = ", ".join(f"{name} {version}" for name, version in training.versions.items())
    commit = training.git_commit or "unknown"
    return [*found, ("Made", card.created), ("Versions", versions), ("Code", f"commit {commit}")]


def described(name: str, arguments: Mapping[str, Any]) -> str:
    """A component with its arguments."""
    return f"{name} ({', '.join(f'{key} {in_words(value)}' for key, value in arguments.items())})"


def in_words(value: Any) -> str:
    """A value of the configuration as it would be written on the command line."""
    return value if isinstance(value, str) else json.dumps(value)


def percent(share: float) -> str:
    """0.7342 as 73.4."""
    return f"{100 * share:.1f}"


def points(share: float) -> str:
    """A margin in points, with its sign."""
    return f"{100 * share:+.1f}"
