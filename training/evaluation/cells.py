"""The table's rows: top-1 accuracy of probes and neighbours on one column of vectors."""

import statistics
from collections.abc import Callable, Iterator

from models.card import EvaluationRow
from training.evaluation.bench import Bench, Vectors
from training.evaluation.features import LabelledFeatures
from training.evaluation.knn import knn_accuracy
from training.evaluation.probes import ProbeSettings, probe_accuracy
from training.evaluation.svm import svm_accuracies

ROWS = ("mlp200", "linear", "svm", "knn")  # in the order in which the table shows them

Tell = Callable[[int, int], None]


def cells(vectors: Vectors, bench: Bench) -> list[EvaluationRow]:
    """One row for each probe of the plan. Changes the vectors in place."""
    taken = {part: _row(part, found, vectors) for part, found in _accuracies(vectors, bench)}
    return [taken[part] for part in ROWS if part in taken]


def _accuracies(vectors: Vectors, bench: Bench) -> Iterator[tuple[str, list[float]]]:
    """Each probe's accuracies over its seeds: first those of the vectors as they are."""
    plan = bench.plan
    data = LabelledFeatures(
        train=vectors.train,
        train_labels=bench.images.train_labels.to(bench.device),
        test=vectors.test,
        test_labels=bench.images.test_labels.to(bench.device),
        classes=len(bench.images.class_names),
    )
    letter = plan.to_the_letter and vectors.encoder != "pixels_pca"  # the paper had no PCA
    if "knn" in plan.parts:
        yield "knn", [knn_accuracy(data, vectors.begin("knn", bench))]
    if letter:
        yield "mlp200", _by_seed("mlp200", data, plan.mlp200, plan.seeds, vectors, bench)
    data.standardised()
    if not letter:
        yield "mlp200", _by_seed("mlp200", data, plan.mlp200, plan.seeds, vectors, bench)
    if "linear" in plan.parts:
        yield "linear", _by_seed("linear", data, plan.linear, plan.seeds, vectors, bench)
    if "svm" in plan.parts:
        yield "svm", svm_accuracies(data, vectors.begin("svm", bench))


def _by_seed(
    probe: str,
    data: LabelledFeatures,
    settings: ProbeSettings,
    seeds: int,
    vectors: Vectors,
    bench: Bench,
) -> list[float]:
    tell = vectors.begin(probe, bench)
    found = []
    for seed in range(seeds):

        def epochs_done(done: int, total: int, seed: int = seed) -> None:
            tell(seed * total + done, seeds * total)

        found.append(probe_accuracy(probe, data, settings, epochs_done, seed))
    return found


def _row(probe: str, accuracies: list[float], vectors: Vectors) -> EvaluationRow:
    several = len(accuracies) > 1
    return EvaluationRow(
        encoder=vectors.encoder,
        representation=vectors.representation,
        probe=probe,
        accuracy=statistics.fmean(accuracies),
        note=vectors.note,
        seeds=len(accuracies),
        spread=statistics.stdev(accuracies) if several else None,
    )
