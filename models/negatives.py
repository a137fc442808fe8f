"""Which pairs stand for the product of marginals: a property of what is scored, not of a bound.

Axis letters: see models/types.py. Each function takes a critic, summaries and maps of the same
images, and gives the Scores of the whole batch (at least two images), whose positives are the
images' own pairs. Where the batch lies in shares over processes, embeddings travel instead of maps.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from models.critics import Critic
from models.shares import WHOLE, Shares
from models.types import FeatureMaps, Scores, Summaries

Negatives = Callable[[Critic, Summaries, FeatureMaps, torch.Generator | None, Shares], Scores]


def all_pairs(
    critic: Critic,
    y_ID: Summaries,
    map_ICMM: FeatureMaps,
    generator: torch.Generator | None = None,  # noqa: ARG001  one signature for all
    shares: Shares = WHOLE,
) -> Scores:
    """Every other image of the batch is a negative (the paper): K = N - 1."""
    y_IU = shares.gather(critic.embed_summary(y_ID))
    map_JPU = shares.gather(critic.embed_map(map_ICMM))
    check_batch(y_IU)
    return split_diagonal(critic.score_all(y_IU, map_JPU))


def shuffle(
    critic: Critic,
    y_ID: Summaries,
    map_ICMM: FeatureMaps,
    generator: torch.Generator | None = None,
    shares: Shares = WHOLE,
) -> Scores:
    """One negative: each place shuffled on its own across the batch (the authors' 2018 code).

    Every place p is shifted by its own random 1..N-1, so no image ever meets itself. A global
    critic has one place: whole maps are shifted together.
    """
    y_IU, map_IPU = critic.embed_summary(y_ID), critic.embed_map(map_ICMM)
    whole_JPU = shares.gather(map_IPU)
    images, places, _ = whole_JPU.shape
    check_batch(whole_JPU)
    shift_P = torch.randint(1, images, (places,), generator=generator).to(
        y_ID.device, non_blocking=True
    )
    return moved_scores(critic, y_IU, map_IPU, whole_JPU, shift_P, shares)


def roll(
    critic: Critic,
    y_ID: Summaries,
    map_ICMM: FeatureMaps,
    generator: torch.Generator | None = None,  # noqa: ARG001  one signature for all
    shares: Shares = WHOLE,
) -> Scores:
    """One negative: the next image of the batch (the ports' way)."""
    y_IU, map_IPU = critic.embed_summary(y_ID), critic.embed_map(map_ICMM)
    whole_JPU = shares.gather(map_IPU)
    check_batch(whole_JPU)
    next_P = torch.ones(whole_JPU.shape[1], dtype=torch.int64, device=y_ID.device)
    return moved_scores(critic, y_IU, map_IPU, whole_JPU, next_P, shares)


NEGATIVES: dict[str, Negatives] = {"all": all_pairs, "shuffle": shuffle, "roll": roll}


def moved_scores(
    critic: Critic,
    y_IU: Float[Tensor, "images width"],
    map_IPU: Float[Tensor, "images places units"],
    whole_JPU: Float[Tensor, "batch places units"],
    shift_P: Int64[Tensor, " places"],
    shares: Shares,
) -> Scores:
    """Score each summary against its own map and, at place p, against the image shift_P[p] on."""
    images = torch.arange(len(whole_JPU), device=whole_JPU.device)
    source_IP = shares.own((images[:, None] + shift_P) % len(whole_JPU))
    moved_IPU = whole_JPU.gather(0, source_IP[..., None].expand_as(map_IPU))
    positive_IP = shares.gather(critic.score_paired(y_IU, map_IPU))
    negative_IP = shares.gather(critic.score_paired(y_IU, moved_IPU))
    return Scores(positive_IP, negative_IP[:, None])


def split_diagonal(scores_IJP: Float[Tensor, "images images places"]) -> Scores:
    """Split the scores of all pairs into own pairs and others; nothing is masked or subtracted."""
    images = len(scores_IJP)
    positive_IP = scores_IJP.diagonal(dim1=0, dim2=1).T
    # Dropping the first entry of the flattened square and cutting rows of N + 1 puts the diagonal
    # into the last column.
    others = scores_IJP.flatten(0, 1)[1:].unflatten(0, (images - 1, images + 1))[:, :-1]
    return Scores(positive_IP, others.reshape(images, images - 1, -1))


def check_batch(batch: Tensor) -> None:
    """Raise ValueError for a batch (first axis images) without any other image."""
    if len(batch) < 2:
        raise ValueError("negatives need at least two images in a batch; raise batch_size")
