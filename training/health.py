"""Is an encoder healthy? Measured without labels, from what it makes of a sample of images.

Pure functions of features; training/diagnosis.py says what they mean. Axis letters: I images,
D dimensions of the summary.
"""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from models.objectives import LOG_2
from models.types import Summaries

DEAD_BELOW = 0.01  # of the features' root mean square: a dimension that moves less says nothing


@dataclass(frozen=True)
class Health:
    """The state of an encoder after `step` steps, on `images` images; bounds in nats.

    rankme       effective number of directions of Y (at most its dimensions)
    spread       mean deviation of a dimension, in units of the features' root mean square
    dead_share   share of dimensions that hardly change from image to image
    uniformity   log of the mean Gaussian potential of pairs on the sphere; lower is more even
    alignment    mean squared distance of two views of one image on the sphere; None without views
    bounds       by name, on the sample, in eval()
    """

    step: int
    images: int
    rankme: float
    spread: float
    dead_share: float
    uniformity: float
    alignment: float | None = None
    bounds: dict[str, float] = field(default_factory=dict)


def rankme(y_ID: Summaries) -> float:
    """Effective rank: exp of the entropy of the singular values (RankMe, arXiv 2210.02885).

    From 1 (one direction) to the number of dimensions. Features are taken as they are, not
    centred: a constant encoder has rank 1.
    """
    values = torch.linalg.svdvals(y_ID.double())
    share = values / values.sum().clamp_min(1e-12) + 1e-7  # the paper's epsilon
    return float((-(share * share.log()).sum()).exp())


def relative_deviations(y_ID: Summaries) -> Float[Tensor, " dim"]:
    """Each dimension's standard deviation, in units of the features' root mean square."""
    y = y_ID.double()
    scale = y.square().mean().sqrt().clamp_min(1e-12)
    return y.std(0, correction=0) / scale


def uniformity(y_ID: Summaries) -> float:
    """Log mean exp(-2 |a - b|^2) over pairs of images on the unit sphere (arXiv 2005.10242).

    0 for a constant encoder; about -4 where points lie evenly on a sphere of many dimensions.
    """
    distances = torch.pdist(normalize(y_ID.double(), dim=1))
    return float(distances.square().mul(-2).exp().mean().log())


def alignment(first_ID: Summaries, second_ID: Summaries) -> float:
    """Mean squared distance of two views of an image on the unit sphere (arXiv 2005.10242)."""
    apart = normalize(first_ID.double(), dim=1) - normalize(second_ID.double(), dim=1)
    return float(apart.square().sum(1).mean())


def measure(step: int, y_ID: Summaries, view_ID: Summaries | None = None) -> Health:
    """All of the above on the CPU; numbers are not-a-number where features are not finite."""
    y_ID = y_ID.detach().float().cpu()
    if not bool(y_ID.isfinite().all()):
        nan = math.nan
        return Health(step, len(y_ID), nan, nan, nan, nan)
    deviations = relative_deviations(y_ID)
    return Health(
        step=step,
        images=len(y_ID),
        rankme=rankme(y_ID),
        spread=float(deviations.mean()),
        dead_share=float((deviations < DEAD_BELOW).double().mean()),
        uniformity=uniformity(y_ID),
        alignment=None if view_ID is None else alignment(y_ID, view_ID.detach().float().cpu()),
    )


def ceiling(objective: str, negatives: int, places: int) -> float | None:
    """The most a bound can say, in nats: log K for infonce; None where there is no limit."""
    if objective == "infonce":
        return math.log(1 + negatives * places)
    return {"jsd": 2 * LOG_2, "gan": 0.0, "hellinger2": 2.0}.get(objective)


def chance(objective: str) -> float:
    """What a critic that knows nothing reaches, in nats."""
    return -2 * LOG_2 if objective == "gan" else 0.0
