"""One evaluation: labelled images -> frozen features -> probes, neighbours, measures -> a card."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from models.card import Card, EvaluationCard, EvaluationMeasure, EvaluationRow
from models.checkpoint import load_checkpoint
from models.encoders import Encoder
from models.inference import encode, prepare
from training.evaluation.baselines import COMPONENTS, principal_components, random_encoder
from training.evaluation.bench import Bench, Vectors
from training.evaluation.cells import cells
from training.evaluation.features import REPRESENTATIONS, encode_all
from training.evaluation.images import LabelledImages, load_labelled
from training.evaluation.measures import measures
from training.evaluation.pace import Pace, cost, whole_cost
from training.evaluation.plan import Request, make_plan
from training.evaluation.protocol import protocol
from training.images import Progress, Tell

CPU = torch.device("cpu")
QUICK = Request()


@dataclass
class Results:
    """What has been measured so far."""

    rows: list[EvaluationRow] = field(default_factory=list)
    measures: list[EvaluationMeasure] = field(default_factory=list)

    def add(self, vectors: Vectors, bench: Bench) -> None:
        """All of the plan on one column; the vectors are spent then."""
        self.measures += measures(vectors, bench)  # first: the cells change the vectors
        self.rows += cells(vectors, bench)


def evaluate(
    checkpoint: Path,
    data: str,
    *,
    root: Path | None = None,
    download: bool = False,
    request: Request = QUICK,
    device: torch.device = CPU,
    progress: Progress | None = None,
    tell: Tell = print,
) -> EvaluationCard:
    """Measure the checkpoint's encoder and the baselines on `data`; the checkpoint is not changed.

    Raises DataError where the images have no classes or the request does not fit them,
    CheckpointError for a bad checkpoint.
    """
    began = time.monotonic()
    loaded = load_checkpoint(checkpoint)
    images = load_labelled(
        data,
        loaded.card.preprocessing,
        root=root,
        download=download,
        progress=progress,
        tell=tell,
    )
    plan = make_plan(request, images)
    dims = dims_of(loaded.encoder, images, loaded.card)
    most = min(len(images.train), images.train[0].numel())  # components there are
    counts = {min(COMPONENTS, most), min(dims["y"], most)}
    pace = Pace(progress, whole_cost(dims, counts, min(dims["y"], most), images, plan))
    bench = Bench(images, loaded.card.preprocessing, plan, device, pace)
    results = Results()
    for name, encoder in (
        ("trained", loaded.encoder),
        ("random", random_encoder(loaded.card.encoder)),
    ):
        for vectors in encoder_vectors(name, encoder, dims["conv"], bench):
            results.add(vectors, bench)
    for vectors in pixel_vectors(counts, min(dims["y"], most), bench):
        results.add(vectors, bench)
    return EvaluationCard(
        protocol=protocol(images, plan),
        data=images.facts,
        rows=results.rows,
        measures=results.measures,
        seconds=round(time.monotonic() - began, 1),
    )


def encoder_vectors(name: str, encoder: Encoder, conv_dim: int, bench: Bench) -> Iterator[Vectors]:
    """The columns of one frozen encoder: conv, fc and y."""
    prepared = prepare(encoder).to(bench.device)
    tell = bench.pace.part(f"encoding ({name})", cost("encode", conv_dim, bench.images, bench.plan))
    every = len(bench.images.train) + len(bench.images.test)
    before = 0
    encoded = []
    for pixels in (bench.images.train, bench.images.test):

        def images_done(_: str, done: int, __: int, before: int = before) -> None:
            tell(before + done, every)

        encoded.append(encode_all(prepared, pixels, bench.preprocessing, bench.device, images_done))
        before += len(pixels)
    train, test = encoded
    for representation in REPRESENTATIONS:
        # Taken out of the dictionaries, so that each is freed before the next is standardised.
        yield Vectors(
            name,
            representation,
            train.pop(representation),
            test.pop(representation),
            is_summary=representation == "y",
        )


def pixel_vectors(counts: set[int], of_summary: int, bench: Bench) -> Iterator[Vectors]:
    """The columns of PCA of the pixels, for each number of components; one is as many as y has."""
    train, test = principal_components(
        bench.images.train, bench.images.test, max(counts), bench.device
    )
    for count in sorted(counts):
        yield Vectors(
            "pixels_pca",
            "pixels",
            train[:, :count].clone(),
            test[:, :count].clone(),
            is_summary=count == of_summary,
            note=f"{count} components",
        )


def dims_of(encoder: Encoder, images: LabelledImages, card: Card) -> dict[str, int]:
    """How many numbers the encoder gives for an image, by representation."""
    encoded = encode(prepare(encoder), images.train[:1], card.preprocessing)
    return {name: getattr(encoded, name).shape[1] for name in REPRESENTATIONS}
