"""What is measured beside the accuracies, each on one column of vectors as they are."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from models.card import EvaluationMeasure
from models.preprocess import normalise
from models.types import Images
from training.evaluation.bench import Bench, Vectors
from training.evaluation.decoder import reconstruction
from training.evaluation.duplicates import find_duplicates
from training.evaluation.mine import information_in_y
from training.evaluation.ndm import neural_dependency
from training.evaluation.plan import SUMMARY_PARTS
from training.evaluation.retrieval import retrieve

Numbers = dict[str, float]  # by the name of the measure
Tell = Callable[[int, int], None]
NATS = ("mine", "ndm", "ndm_sigmoid")


def measures(vectors: Vectors, bench: Bench) -> Iterator[EvaluationMeasure]:
    """Each measure of the plan that these vectors can be asked for. Leaves them as they are."""
    for part in bench.plan.parts:
        if part in MEASURES and (vectors.is_summary or part not in SUMMARY_PARTS):
            numbers = MEASURES[part](vectors, bench, vectors.begin(part, bench))
            for name, value in numbers.items():
                yield EvaluationMeasure(
                    encoder=vectors.encoder,
                    representation=vectors.representation,
                    measure=name,
                    value=value,
                    unit="nats" if name in NATS else "",
                    note=vectors.note,
                )


def _mine(vectors: Vectors, bench: Bench, tell: Tell) -> Numbers:
    def prepare(pixels: Tensor) -> Images:
        return normalise(pixels.to(bench.device), bench.preprocessing)

    train = bench.images.train, vectors.train
    test = bench.images.test, vectors.test
    return {"mine": information_in_y(train, test, prepare, bench.plan.fit, tell)}


def _ndm(vectors: Vectors, bench: Bench, tell: Tell) -> Numbers:
    """Before the sigmoid and after it; components of pixels never see one."""
    fit = bench.plan.fit
    if vectors.encoder == "pixels_pca":
        return {"ndm": neural_dependency(vectors.train, vectors.test, fit, tell)}
    before = neural_dependency(vectors.train, vectors.test, fit, lambda n, of: tell(n, 2 * of))
    after = neural_dependency(
        vectors.train.sigmoid(), vectors.test.sigmoid(), fit, lambda n, of: tell(of + n, 2 * of)
    )
    return {"ndm": before, "ndm_sigmoid": after}


def _ms_ssim(vectors: Vectors, bench: Bench, tell: Tell) -> Numbers:
    train = bench.images.train, vectors.train
    test = bench.images.test, vectors.test
    return {"ms_ssim": reconstruction(train, test, bench.plan.fit, tell)}


def _duplicates(vectors: Vectors, bench: Bench, tell: Tell) -> Numbers:
    assert bench.plan.pairs is not None  # noqa: S101  the plan has this part with its pairs alone
    found = find_duplicates(vectors.train, vectors.test, bench.plan.pairs, tell)
    return {
        "duplicates_ap": found.average_precision,
        **{
            f"duplicates_recall_at_precision_{least:g}": recall
            for least, recall in found.recall_at.items()
        },
        "duplicates_best_f1_threshold": found.threshold,
        "duplicates_best_f1_precision": found.precision,
        "duplicates_best_f1_recall": found.recall,
    }


def _class_retrieval(vectors: Vectors, bench: Bench, tell: Tell) -> Numbers:
    found = retrieve(vectors.test, bench.plan.groups["class_retrieval"].numbers, tell)
    return {"class_recall_at_1": found.recall_at_1, "class_map": found.mean_average_precision}


def _group_retrieval(vectors: Vectors, bench: Bench, tell: Tell) -> Numbers:
    every = torch.cat([vectors.train, vectors.test])
    found = retrieve(every, bench.plan.groups["group_retrieval"].numbers, tell)
    return {"group_recall_at_1": found.recall_at_1, "group_map": found.mean_average_precision}


MEASURES: dict[str, Callable[[Vectors, Bench, Tell], Numbers]] = {
    "duplicates": _duplicates,
    "class_retrieval": _class_retrieval,
    "group_retrieval": _group_retrieval,
    "mine": _mine,
    "ndm": _ndm,
    "ms_ssim": _ms_ssim,
}
