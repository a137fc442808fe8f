"""Did training pay off? Judged without labels, against the untrained network and PCA of pixels.

Where there are labels, `evaluate` judges better, and its table goes before this verdict.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch

from models.atomic import write_file
from models.card import Card, RetrievalRow, VerdictCard
from models.encoders import Encoder
from models.inference import prepare
from models.types import Pixels
from training.diagnosis import FAILURES, Finding
from training.evaluation.baselines import COMPONENTS, principal_components, random_encoder
from training.evaluation.features import REPRESENTATIONS, encode_all
from training.evaluation.imagenet import Backbone
from training.retrieval import (
    VIEW,
    VIEWS_AN_IMAGE,
    Shares,
    Trial,
    clearly_above,
    make_trial,
    recall,
)
from training.runs import VERDICT_FILE
from training.watch import Held

MOST_FITTED = 5_000  # images whose principal components are taken
REMEDY = "Train longer (epochs), with more images, or with stronger views (views=flip_crop_colour)"

Answer = Literal["yes", "in part", "no", "failed"]
Key = tuple[str, str, str]  # encoder, representation, note


def judge(
    encoder: Encoder,
    card: Card,
    training: Pixels,
    held: Held,
    findings: Sequence[Finding],
    rival: Backbone | None = None,
) -> VerdictCard:
    """The verdict on a trained encoder; the card says what it is and how it is fed.

    `findings` are of the last look at its health, `rival` is a ready-made network to mention.
    """
    device = next(encoder.parameters()).device
    trial = make_trial(held.pixels, training if held.held_out else training[:0])
    networks = {"trained": prepare(encoder), "random": prepare(random_encoder(card.encoder))}
    shares: dict[Key, Shares] = {}
    for name, network in networks.items():
        vectors = encode_all(network.to(device), trial.pixels, card.preprocessing, device)
        shares |= {(name, each, ""): recall(trial, vectors[each]) for each in REPRESENTATIONS}
    components = {COMPONENTS, int(vectors["y"].shape[1])}
    shares |= pca_shares(trial, training, components, device)
    answer, sentence = conclude(shares, trial, findings)
    if rival is not None:
        theirs = recall(trial, rival.encode(trial.pixels, device))
        sentence += beside(rival.name, theirs, shares["trained", "fc", ""])
        shares["imagenet", "fc", rival.name] = theirs
    return VerdictCard(
        answer=answer,
        sentence=sentence,
        findings=[finding.sentence for finding in findings],
        protocol=protocol(trial, held, min(len(training), MOST_FITTED)),
        rows=[
            RetrievalRow(encoder=name, representation=each, recall=float(s.mean()), note=note)
            for (name, each, note), s in shares.items()
        ],
    )


def pca_shares(
    trial: Trial, training: Pixels, component_counts: set[int], device: torch.device
) -> dict[Key, Shares]:
    """Principal components of training pixels under the same trial, for each number of them."""
    draw = torch.Generator().manual_seed(0)
    fitted = training[torch.randperm(len(training), generator=draw)[:MOST_FITTED]].cpu()
    _, vectors = principal_components(fitted, trial.pixels, max(component_counts), device)
    counts = sorted({min(count, vectors.shape[1]) for count in component_counts})
    return {
        ("pixels_pca", "pixels", f"{count} components"): recall(trial, vectors[:, :count])
        for count in counts
    }


def conclude(
    shares: dict[Key, Shares], trial: Trial, findings: Sequence[Finding]
) -> tuple[Answer, str]:
    """The answer and why: a representation pays off where it is clearly above both baselines."""
    failures = [finding for finding in findings if finding.kind in FAILURES]
    ours = {each: s for (name, each, _), s in shares.items() if name == "trained"}
    untrained = {each: s for (name, each, _), s in shares.items() if name == "random"}
    pca = max((s for (name, _, _), s in shares.items() if name == "pixels_pca"), key=mean)
    ahead = [
        each
        for each, s in ours.items()
        if clearly_above(s, pca) and clearly_above(s, untrained[each])
    ]
    because = (
        f"a changed view finds its own image among {trial.gallery:,} in {listed(ours)} of cases,"
        f" against {mean(pca):.1%} with PCA of the pixels and {listed(untrained)} with the"
        " untrained network"
    )
    if failures:
        sentence = f"Training failed. {failures[0].sentence} In figures: {because}."
        return "failed", sentence
    if len(ahead) == len(ours):
        return "yes", f"Training paid off: {because}."
    if ahead:
        return "in part", (
            f"Training paid off in part, only {' and '.join(ahead)} being clearly above both"
            f" baselines: {because}. {REMEDY}."
        )
    return "no", (
        f"Training did not pay off, because {because}: not clearly more. {REMEDY}; until then the"
        " baselines serve as well."
    )


def beside(name: str, theirs: Shares, ours: Shares) -> str:
    """How a ready-made network does in the same trial; it decides nothing."""
    if clearly_above(ours, theirs):
        more = "clearly less than this encoder's fc"
    elif clearly_above(theirs, ours):
        more = "clearly more than this encoder's fc: where its licence allows, it may serve better"
    else:
        more = "about as often as this encoder's fc"
    return f" For comparison, a {name} trained on ImageNet: {mean(theirs):.1%}, {more}."


def mean(shares: Shares) -> float:
    """Recall@1."""
    return float(shares.mean())


def listed(shares: Mapping[str, Shares]) -> str:
    """Each representation with its recall: "35.6% (y), 36.1% (fc)"."""
    return ", ".join(f"{mean(shares[name]):.1%} ({name})" for name in reversed(REPRESENTATIONS))


def protocol(trial: Trial, held: Held, fitted: int) -> str:
    """All that must be known to repeat the figures."""
    beside = trial.gallery - trial.queries
    return (
        f"{trial.queries:,} of {held.which}, each changed {VIEWS_AN_IMAGE} times by the view"
        f" {VIEW}, must be nearest by cosine to the image it was made from, among"
        f" {trial.gallery:,} images ({beside:,} of them from training). No labels are used."
        " random: the same architecture with new random weights. pixels_pca: principal components"
        f" of the pixels of {fitted:,} training images. Above means by more than twice the standard"
        " error of the difference over images."
    )


def store(out: Path, verdict: VerdictCard) -> None:
    """Write verdict.json into the run's folder."""
    write_file(out / VERDICT_FILE, (verdict.model_dump_json(indent=2) + "\n").encode())
