"""One evaluation: labelled images -> frozen features -> probes and neighbours -> a table."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from models.card import Card, EvaluationCard, EvaluationRow
from models.checkpoint import load_checkpoint
from models.encoders import Encoder
from models.inference import prepare
from training.evaluation.baselines import COMPONENTS, principal_components, random_encoder
from training.evaluation.features import REPRESENTATIONS, LabelledFeatures, encode_all
from training.evaluation.images import LabelledImages, load_labelled
from training.evaluation.knn import NEIGHBOURS, TEMPERATURE, knn_accuracy
from training.evaluation.probes import (
    BATCH,
    PROBES,
    ProbeSettings,
    probe_accuracy,
    settings_for,
)
from training.images import Progress, Tell

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Bench:
    """What all cells of the table share: images, how probes are trained, where, and who watches."""

    images: LabelledImages
    settings: ProbeSettings
    device: torch.device
    progress: Progress | None


def evaluate(
    checkpoint: Path,
    data: str,
    *,
    root: Path | None = None,
    download: bool = False,
    probe_epochs: int | None = None,
    probe_batch: int = BATCH,
    device: torch.device = CPU,
    progress: Progress | None = None,
    tell: Tell = print,
) -> EvaluationCard:
    """Probe the checkpoint's encoder and the baselines on `data`; the checkpoint is not changed.

    `probe_epochs` is chosen by the number of images where it is not given.
    Raises DataError where the images have no classes, CheckpointError for a bad checkpoint.
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
    settings = settings_for(len(images.train), probe_epochs, probe_batch)
    bench = Bench(images, settings, device, progress)
    rows = [
        *encoder_rows("trained", loaded.encoder, loaded.card, bench),
        *encoder_rows("random", random_encoder(loaded.card.encoder), loaded.card, bench),
        *pixel_rows({COMPONENTS, loaded.encoder.summary_dim}, bench),
    ]
    return EvaluationCard(
        protocol=protocol(bench),
        data=images.facts,
        rows=rows,
        seconds=round(time.monotonic() - began, 1),
    )


def encoder_rows(name: str, encoder: Encoder, card: Card, bench: Bench) -> list[EvaluationRow]:
    """The rows of one frozen encoder: conv, fc and y, each by every probe and by neighbours."""
    prepared = prepare(encoder).to(bench.device)
    train, test = (
        encode_all(
            prepared,
            pixels,
            card.preprocessing,
            bench.device,
            bench.progress,
            f"encoding ({name}, {split})",
        )
        for split, pixels in (("train", bench.images.train), ("test", bench.images.test))
    )
    rows: list[EvaluationRow] = []
    for representation in REPRESENTATIONS:
        # Taken out of the dictionaries, so that each is freed before the next is standardised.
        vectors = train.pop(representation), test.pop(representation)
        rows += cells(name, representation, *vectors, bench)
    return rows


def pixel_rows(component_counts: set[int], bench: Bench) -> list[EvaluationRow]:
    """The rows of PCA of the pixels, for each number of components."""
    vectors = principal_components(
        bench.images.train, bench.images.test, max(component_counts), bench.device
    )
    rows: list[EvaluationRow] = []
    for count in sorted({min(count, vectors[0].shape[1]) for count in component_counts}):
        train, test = (part[:, :count].clone() for part in vectors)
        rows += cells("pixels_pca", "pixels", train, test, bench, f"{count} components")
    return rows


def cells(
    encoder: str,
    representation: str,
    train: Float[Tensor, "train dim"],
    test: Float[Tensor, "test dim"],
    bench: Bench,
    note: str = "",
) -> Iterator[EvaluationRow]:
    """One row a probe, and one for nearest neighbours. Changes the features in place."""
    data = LabelledFeatures(
        train=train,
        train_labels=bench.images.train_labels.to(bench.device),
        test=test,
        test_labels=bench.images.test_labels.to(bench.device),
        classes=len(bench.images.class_names),
    )

    def row(probe: str, accuracy: float) -> EvaluationRow:
        return EvaluationRow(
            encoder=encoder,
            representation=representation,
            probe=probe,
            accuracy=accuracy,
            note=note,
        )

    neighbours = knn_accuracy(data)  # of the features as they are, so before they are standardised
    standardised = data.standardised()
    for probe in PROBES:
        what = f"{probe} on {representation} ({encoder})"

        def tell(done: int, total: int, what: str = what) -> None:
            if bench.progress is not None:
                bench.progress(what, done, total)

        yield row(probe, probe_accuracy(probe, standardised, bench.settings, tell))
    yield row("knn", neighbours)


def protocol(bench: Bench) -> str:
    """All that must be known to repeat the table or to compare it with another."""
    settings, images = bench.settings, bench.images
    first, second = settings.drops
    return " ".join(
        (
            f"Top-1 accuracy on all {len(images.test):,} test images ({images.test_origin})",
            f"after training on {len(images.train):,} ({images.train_origin}); labels are used",
            "by the probes and the vote of neighbours alone. The encoder is frozen, in eval();",
            "conv, fc and y (before any sigmoid) are computed once, without augmentation.",
            "mlp200: Linear to 200, Dropout 0.1, BatchNorm, ReLU, Linear (Deep InfoMax, arXiv",
            "1808.06670); linear: one Linear; both on features standardised by the training",
            f"images' mean and deviation, cross-entropy, Adam at {settings.learning_rate:.2g},",
            f"batch {settings.batch_size}, {settings.epochs} epochs, rate x0.1 after {first} and",
            f"{second}; the mean over the last {settings.counted} epochs is reported (the paper:",
            "1e-4, batch 64, 150 epochs, x0.1 after 50 and 100, mean of the last 100).",
            f"knn: weighted vote of {NEIGHBOURS} training images by cosine similarity,",
            f"temperature {TEMPERATURE}, features as they are.",
            "random: the same architecture with new random weights.",
            "pixels_pca: principal components of the training images' pixels,",
            f"{COMPONENTS} and as many as y has.",
        )
    )
