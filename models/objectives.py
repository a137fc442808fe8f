"""Bounds on mutual information and f-divergences, in nats, as pure functions of scores.

Larger is better; a loss is the negated bound. Positive scores are draws from the joint, negative
scores from the product of marginals (models/types.py). Everything is computed in fp32.

Sources: f-GAN (arXiv 1606.00709, Table 6), MINE (1801.04062), InfoNCE (1807.03748), Deep InfoMax
(1808.06670, equations 4 to 6).
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from models.types import Scores

LOG_2 = math.log(2.0)
# e^30 is 1e13: its square, which Adam keeps, still fits fp32, and no useful critic goes there.
LARGEST_EXPONENT = 30.0

Bound = Float[Tensor, ""]
Objective = Callable[[Scores], Bound]


def jsd(scores: Scores) -> Bound:
    """Jensen-Shannon bound: at most 2 log 2, 0 at chance; it bounds 2 * JSD, not MI."""
    positive, negative = in_fp32(scores)
    return (LOG_2 - softplus(-positive)).mean() - (softplus(negative) - LOG_2).mean()


def gan(scores: Scores) -> Bound:
    """The GAN value: jsd without its shift of 2 log 2, so it is never above 0."""
    positive, negative = in_fp32(scores)
    return -softplus(-positive).mean() - softplus(negative).mean()


def infonce(scores: Scores) -> Bound:
    """InfoNCE with log K: a bound on mutual information, at most log K.

    Each positive T_ip competes with the scores of image i's summary at every place of its
    negatives; its own other places are left out. K = 1 + negatives * places.
    """
    positive_IP, negative_IKP = in_fp32(scores)
    negative_I = negative_IKP.flatten(1).logsumexp(1)
    log_k = math.log(1 + negative_IKP[0].numel())
    return (positive_IP - torch.logaddexp(positive_IP, negative_I[:, None])).mean() + log_k


def dv(scores: Scores) -> Bound:
    """Donsker-Varadhan (MINE): a bound on KL, hence on mutual information.

    The gradient of its minibatch form is biased (MINE, section 3.2).
    """
    positive, negative = in_fp32(scores)
    return positive.mean() - (negative.flatten().logsumexp(0) - math.log(negative.numel()))


def nwj(scores: Scores) -> Bound:
    """Nguyen-Wainwright-Jordan (f-GAN's KL); e^x is straight above LARGEST_EXPONENT."""
    positive, negative = in_fp32(scores)
    return positive.mean() - bounded_exp(negative - 1).mean()


def rkl(scores: Scores) -> Bound:
    """Reverse KL; e^x is straight above LARGEST_EXPONENT."""
    positive, negative = in_fp32(scores)
    return -bounded_exp(-positive).mean() - (negative - 1).mean()


def hellinger2(scores: Scores) -> Bound:
    """Squared Hellinger distance; e^x is straight above LARGEST_EXPONENT."""
    positive, negative = in_fp32(scores)
    return (1 - bounded_exp(-positive)).mean() - (bounded_exp(negative) - 1).mean()


def pearson_x2(scores: Scores) -> Bound:
    """Pearson chi-squared: positive T, negative T^2 / 4 + T."""
    positive, negative = in_fp32(scores)
    return positive.mean() - (negative.square() / 4 + negative).mean()


OBJECTIVES: dict[str, Objective] = {
    "jsd": jsd,
    "infonce": infonce,
    "dv": dv,
    "nwj": nwj,
    "rkl": rkl,
    "hellinger2": hellinger2,
    "pearson_x2": pearson_x2,
    "gan": gan,
}


def in_fp32(scores: Scores) -> Scores:
    """Scores in fp32: log-sum-exp and exp in 16 bits lose what the bound is made of."""
    return Scores(scores.positive.float(), scores.negative.float())


def bounded_exp(exponent: Tensor) -> Tensor:
    """e^x up to LARGEST_EXPONENT, its tangent there beyond: finite, and never without gradient.

    A plain clamp would leave the worst scores without gradient, and the bound free to run away.
    """
    bounded = exponent.clamp(max=LARGEST_EXPONENT)
    return bounded.exp() * (1 + (exponent - bounded))
