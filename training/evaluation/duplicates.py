"""Near-duplicates between test and training images: found by a threshold on cosine similarity.

The truth is a CSV file of pairs judged by hand, as those of ciFAIR (Barz and Denzler, 1902.00423):
columns TestID, TrainID (row numbers in the set's published order) and Judgment: 0 exact, 1 the same
shot processed differently, 2 very similar; 3, different, is no duplicate. A pair is found where its
similarity is at least the threshold, among all test x training pairs. Precision counts found pairs
that are listed. ciFAIR lists one training image for a test image, so a second copy in the training
set counts as wrong: precision is a lower bound.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from training.images import DataError

COLUMNS = ("TestID", "TrainID", "Judgment")
MOST_DIFFERENT = 2  # the last judgement that still is a duplicate
PRECISIONS = (0.5, 0.9)  # at which recall is reported
QUERIES_AT_ONCE = 100

Pairs = Int64[Tensor, "pairs 2"]


@dataclass(frozen=True)
class Duplicates:
    """What a threshold finds.

    average_precision  area under precision over recall, as a sum over the steps of recall
    recall_at          highest recall of all thresholds with that precision or more; 0 without one
    threshold          the cosine with the best F1, with the precision and recall it gives
    """

    average_precision: float
    recall_at: dict[float, float]
    threshold: float
    precision: float
    recall: float


def find_duplicates(
    train: Float[Tensor, "train dim"],
    test: Float[Tensor, "test dim"],
    pairs: Pairs,
    progress: Callable[[int, int], None] | None = None,
) -> Duplicates:
    """Precision and recall over all thresholds; `pairs` are (test, train) row numbers."""
    lengths = train.norm(dim=1).clamp_min(1e-12)
    listed = pairs.to(train.device)
    true = _similarities(train, lengths, test, listed)
    thresholds = true.unique()  # ascending; between two of them only precision can change
    wrong = torch.zeros(len(thresholds) + 1, dtype=torch.int64, device=train.device)
    for start in range(0, len(test), QUERIES_AT_ONCE):
        queries = F.normalize(test[start : start + QUERIES_AT_ONCE], dim=1)
        similarities = (queries @ train.T).div_(lengths)
        here = listed[(listed[:, 0] >= start) & (listed[:, 0] < start + len(queries))]
        similarities[here[:, 0] - start, here[:, 1]] = -2.0  # below every cosine: counted in `true`
        reached = torch.bucketize(similarities.flatten(), thresholds, right=True, out_int32=True)
        wrong += reached.bincount(minlength=len(wrong))
        if progress is not None:
            progress(start + len(queries), len(test))
    return _summary(true, thresholds, wrong)


def _similarities(
    train: Float[Tensor, "train dim"],
    lengths: Float[Tensor, " train"],
    test: Float[Tensor, "test dim"],
    pairs: Pairs,
) -> Float[Tensor, " pairs"]:
    """Cosines of the listed pairs."""
    queries = F.normalize(test[pairs[:, 0]], dim=1)
    return (queries * train[pairs[:, 1]]).sum(dim=1) / lengths[pairs[:, 1]]


def _summary(
    true: Float[Tensor, " pairs"],
    thresholds: Float[Tensor, " thresholds"],
    wrong: Int64[Tensor, " bins"],
) -> Duplicates:
    """`wrong[k]` pairs that are not listed have k thresholds at or below them."""
    found = (true >= thresholds[:, None]).sum(dim=1)
    others = wrong[1:].flip(0).cumsum(0).flip(0)
    recall = (found / len(true)).double()
    precision = found.double() / (found + others)
    steps = recall - torch.cat([recall[1:], recall.new_zeros(1)])
    best = int((2 * precision * recall / (precision + recall)).argmax())
    return Duplicates(
        average_precision=float((steps * precision).sum()),
        recall_at={
            least: float(torch.where(precision >= least, recall, 0.0).max()) for least in PRECISIONS
        },
        threshold=float(thresholds[best]),
        precision=float(precision[best]),
        recall=float(recall[best]),
    )


def read_pairs(file: Path, test: int, train: int) -> Pairs:
    """The judged pairs of near-duplicates, as (test, train) row numbers of sets of that size.

    Raises DataError where the file cannot be read or names rows that are not there.
    """
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            table = csv.DictReader(lines)
            rows = [tuple(int(row[name]) for name in COLUMNS) for row in table]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(
            f"{file} cannot be read as a list of duplicates ({error}). It must be a CSV file with "
            f"whole numbers in columns {', '.join(COLUMNS)}."
        ) from error
    pairs = [(one, other) for one, other, judgement in rows if judgement <= MOST_DIFFERENT]
    if not pairs:
        raise DataError(f"{file} lists no duplicates (Judgment at most {MOST_DIFFERENT}).")
    if not all(0 <= one < test and 0 <= other < train for one, other in pairs):
        raise DataError(
            f"{file} names images beyond the {test:,} test and {train:,} training images; "
            "it belongs to another data set."
        )
    return torch.tensor(sorted(set(pairs)))
