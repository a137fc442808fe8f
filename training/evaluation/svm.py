"""A linear support vector machine on frozen features, one class against the rest.

For each class: minimise strength / 2 |w|^2 + mean max(0, 1 - s (w.x + b))^2, with s = 1 for images
of the class and -1 for the rest; the largest w.x + b is the answer. This is the squared hinge of
the usual libraries (their C is 1 / (strength * images)), with a bias that is not shrunk. It is
convex and has one solution, which L-BFGS finds to the tolerance below, so a seed cannot stand for
luck in the optimiser. It draws which tenth of the training images is set aside to choose the
strength, and the machine is trained on the other nine tenths: the spread over seeds is that of the
sample and of that choice. The paper does not say how its SVM was tuned.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from training.evaluation.features import LabelledFeatures

SEEDS = 5
STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3)  # of the shrinking, from strong to weak
SET_ASIDE = 0.1
MOST_ITERATIONS = 200
TOLERANCE = 1e-5  # of the largest component of the gradient

Weights = Float[Tensor, "dim_and_bias classes"]  # the last row is the bias


def svm_accuracies(
    data: LabelledFeatures,
    progress: Callable[[int, int], None] | None = None,
    seeds: int = SEEDS,
) -> list[float]:
    """Top-1 on all test features for each seed, with the strength chosen on images set aside.

    Features are to be standardised. Strengths are tried from strong to weak, until the accuracy on
    the images set aside falls. `progress` gets machines tried and their number.
    """
    roots = [root_for(data.train, strength) for strength in STRENGTHS]
    accuracies = []
    for seed in range(seeds):
        held = _set_aside(len(data.train), seed).to(data.train.device)
        features, labels = data.train[held], data.train_labels[held]
        weights = best = data.train.new_zeros(data.train.shape[1] + 1, data.classes)
        signs = 2 * F.one_hot(data.train_labels, data.classes).to(data.train) - 1
        highest = -1.0
        for tried, (strength, root) in enumerate(zip(STRENGTHS, roots, strict=True)):
            if progress is not None:
                progress(seed * len(STRENGTHS) + tried, seeds * len(STRENGTHS))
            weights = svm(data.train, signs, strength, ~held, weights, root)
            accuracy = _top1(weights, features, labels)
            if accuracy < highest:
                break
            if accuracy > highest:
                best, highest = weights, accuracy
        accuracies.append(_top1(best, data.test, data.test_labels))
    if progress is not None:
        progress(seeds * len(STRENGTHS), seeds * len(STRENGTHS))
    return accuracies


def svm(
    features: Float[Tensor, "images dim"],
    signs: Float[Tensor, "images classes"],
    strength: float,
    used: Bool[Tensor, " images"],
    start: Weights,
    root: Float[Tensor, "dim dim"],
) -> Weights:
    """The weights that minimise the sum above over the images in `used`.

    signs  1 where the image is of the class, else -1
    start  where the search begins; it has no bearing on where it ends
    root   from `root_for`: the search is for z with w = root^-T z, in which the sum is about as
           steep in every direction, and a few dozen steps do what hundreds would
    The features are neither copied nor changed.
    """
    share = (used / used.sum())[:, None].to(features)
    steps = (root.T @ start[:-1]).requires_grad_()
    bias = start[-1].clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [steps, bias],
        max_iter=MOST_ITERATIONS,
        tolerance_grad=TOLERANCE,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        weights = torch.linalg.solve_triangular(root.T, steps, upper=True)
        hinge = (1 - signs * (features @ weights + bias)).clamp_min(0)
        loss = strength / 2 * weights.square().sum() + (share * hinge.square()).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        weights = torch.linalg.solve_triangular(root.T, steps, upper=True)
        return torch.cat([weights, bias[None]])


def root_for(features: Float[Tensor, "images dim"], strength: float) -> Float[Tensor, "dim dim"]:
    """The lower Cholesky root of the features' mean square plus the shrinking."""
    square = features.T @ features / len(features)
    square.diagonal().add_(strength)
    return torch.linalg.cholesky(square)


def _set_aside(count: int, seed: int) -> Bool[Tensor, " images"]:
    """Which images choose the strength: a tenth, at least one."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    held = torch.zeros(count, dtype=torch.bool)
    held[order[: max(1, round(SET_ASIDE * count))]] = True
    return held


def _top1(
    weights: Weights,
    features: Float[Tensor, "images dim"],
    labels: Int64[Tensor, " images"],
) -> float:
    answers = (features @ weights[:-1] + weights[-1]).argmax(dim=1)
    return int((answers == labels).sum()) / len(labels)
