"""MINE's corrected gradient of the Donsker-Varadhan bound (arXiv 1801.04062, section 3.2).

A minibatch's gradient of log mean e^T divides by the minibatch's own mean of e^T, which is random:
the gradient is biased, the more so the fewer negatives there are. MINE divides by a moving average
over steps. The average is kept as a logarithm: e^T itself leaves fp32 at T = 88.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from models.objectives import Bound, in_fp32
from models.types import Scores

LogAverage = Float[Tensor, ""]
NOTHING_AVERAGED = -math.inf  # the logarithm of an average of nothing yet


def mine(scores: Scores, log_average: LogAverage, rate: float) -> tuple[Bound, LogAverage]:
    """MINE's surrogate, whose gradient is the corrected one, and the new log moving average.

    surrogate = mean T+ - mean e^T- / average, with average <- (1 - rate) average + rate mean e^T-.
    The first batch is its own average. The surrogate's value is no bound: report `dv`.
    """
    positive, negative = in_fp32(scores)
    log_mean = negative.flatten().logsumexp(0) - math.log(negative.numel())
    now = log_mean.detach()
    moved = torch.logaddexp(log_average + math.log1p(-rate), now + math.log(rate))
    average = torch.where(log_average.isneginf(), now, moved)
    return positive.mean() - (log_mean - average).exp(), average


def with_gradient_of(bound: Bound, surrogate: Bound) -> Bound:
    """The bound's value with the surrogate's gradient."""
    return bound.detach() + (surrogate - surrogate.detach())
