"""Classification by the nearest training images: nothing is trained, so nothing can be tuned.

The weighted vote of Wu et al. (1805.01978): cosine similarity, k = 20 here, each neighbour with
weight exp(similarity / 0.07).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from training.evaluation.features import LabelledFeatures

NEIGHBOURS = 20
TEMPERATURE = 0.07
QUERIES_AT_ONCE = 500  # times the training images is the largest matrix in memory


def knn_accuracy(
    data: LabelledFeatures, progress: Callable[[int, int], None] | None = None
) -> float:
    """Top-1 over all test images, by weighted vote of the nearest training images.

    `progress` gets test images done and their number.
    """
    lengths = data.train.norm(dim=1).clamp_min(1e-12)
    right = done = 0
    for queries, truth in zip(
        data.test.split(QUERIES_AT_ONCE), data.test_labels.split(QUERIES_AT_ONCE), strict=True
    ):
        similarities = (F.normalize(queries, dim=1) @ data.train.T).div_(lengths)
        votes = _votes(similarities, data)
        right += int((votes.argmax(dim=1) == truth).sum())
        done += len(queries)
        if progress is not None:
            progress(done, len(data.test))
    return right / len(data.test)


def _votes(
    similarities: Float[Tensor, "queries train"], data: LabelledFeatures
) -> Float[Tensor, "queries classes"]:
    nearest, places = similarities.topk(min(NEIGHBOURS, similarities.shape[1]), dim=1)
    votes = torch.zeros(len(similarities), data.classes, device=similarities.device)
    return votes.scatter_add_(1, data.train_labels[places], (nearest / TEMPERATURE).exp())
