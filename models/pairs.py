"""Mutual-information scores of image pairs, from a critic's scores.

A JSD critic's logit is log p(joint) / p(product of marginals), so sigmoid(T) is its belief that
a summary and a map come from one image. Axis letters: see models/types.py.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from models.objectives import LOG_2


class Directed(NamedTuple):
    """Scores of summaries (rows) against maps (columns): mean logit and mean sigmoid."""

    t: Float[Tensor, "summaries maps"]
    p: Float[Tensor, "summaries maps"]


def directed(scores_IJP: Float[Tensor, "summaries maps places"]) -> Directed:
    """Average over places: t is the mean logit, p the mean of sigmoid(T)."""
    scores = scores_IJP.float()
    return Directed(scores.mean(2), scores.sigmoid().mean(2))


def jsd_matrix(scores_IIP: Float[Tensor, "images images places"]) -> Float[Tensor, "images images"]:
    """The pair's Jensen-Shannon bound in nats for every pair of images (symmetric).

    Mean over {(a, a), (b, b)} of log 2 - sp(-T) minus mean over {(a, b), (b, a)} of
    sp(T) - log 2: at most 2 log 2; higher means easier to tell apart; an image with itself
    scores at most 0.
    """
    scores = scores_IIP.float()
    own_I = (LOG_2 - softplus(-scores)).mean(2).diagonal()
    other_II = (softplus(scores) - LOG_2).mean(2)
    return (own_I[:, None] + own_I - other_II - other_II.T) / 2


def jsd_pairs(
    aa_QP: Float[Tensor, "pairs places"],
    bb_QP: Float[Tensor, "pairs places"],
    ab_QP: Float[Tensor, "pairs places"],
    ba_QP: Float[Tensor, "pairs places"],
) -> Float[Tensor, " pairs"]:
    """The same bound for a list of pairs: scores of both images with themselves and crosswise."""
    own_QP = 2 * LOG_2 - softplus(-aa_QP.float()) - softplus(-bb_QP.float())
    other_QP = softplus(ab_QP.float()) + softplus(ba_QP.float()) - 2 * LOG_2
    return (own_QP - other_QP).mean(1) / 2
