"""Which pairs stand for the product of marginals: a property of what is scored, not of a bound.

Axis letters: see models/types.py. Each function takes a critic, summaries and maps of the same
images (at least two), and gives Scores whose positives are the images' own pairs.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from models.critics import Critic
from models.types import FeatureMaps, Scores, Summaries

Negatives = Callable[[Critic, Summaries, FeatureMaps, torch.Generator | None], Scores]


def all_pairs(
    critic: Critic,
    y_ID: Summaries,
    map_ICMM: FeatureMaps,
    generator: torch.Generator | None = None,  # noqa: ARG001  one signature for all
) -> Scores:
    """Every other image of the batch is a negative (the paper): K = N - 1."""
    check_batch(y_ID)
    return split_diagonal(critic(y_ID, map_ICMM))


def shuffle(
    critic: Critic,
    y_ID: Summaries,
    map_ICMM: FeatureMaps,
    generator: torch.Generator | None = None,
) -> Scores:
    """One negative: each place shuffled on its own across the batch (the authors' 2018 code).

    Every place p is shifted by its own random 1..N-1, so no image ever meets itself. A global
    critic has one place: whole maps are shifted together.
    """
    check_batch(y_ID)
    images, channels, rows, columns = map_ICMM.shape
    places = 1 if critic.places == (1, 1) else rows * columns
    shift_P = torch.randint(1, images, (places,), generator=generator).to(y_ID.device)
    source_IP = (torch.arange(images, device=y_ID.device)[:, None] + shift_P) % images
    source = source_IP[:, None].expand(-1, channels, -1).expand(-1, -1, rows * columns)
    shuffled = map_ICMM.flatten(2).gather(0, source).view_as(map_ICMM)
    return Scores(critic.paired(y_ID, map_ICMM), critic.paired(y_ID, shuffled)[:, None])


def roll(
    critic: Critic,
    y_ID: Summaries,
    map_ICMM: FeatureMaps,
    generator: torch.Generator | None = None,  # noqa: ARG001  one signature for all
) -> Scores:
    """One negative: the next image of the batch (the ports' way)."""
    check_batch(y_ID)
    rolled = map_ICMM.roll(-1, 0)
    return Scores(critic.paired(y_ID, map_ICMM), critic.paired(y_ID, rolled)[:, None])


NEGATIVES: dict[str, Negatives] = {"all": all_pairs, "shuffle": shuffle, "roll": roll}


def split_diagonal(scores_IJP: Float[Tensor, "images images places"]) -> Scores:
    """Split the scores of all pairs into own pairs and others; nothing is masked or subtracted."""
    images = len(scores_IJP)
    positive_IP = scores_IJP.diagonal(dim1=0, dim2=1).T
    # Dropping the first entry of the flattened square and cutting rows of N + 1 puts the diagonal
    # into the last column.
    others = scores_IJP.flatten(0, 1)[1:].unflatten(0, (images - 1, images + 1))[:, :-1]
    return Scores(positive_IP, others.reshape(images, images - 1, -1))


def check_batch(y_ID: Summaries) -> None:
    """Raise ValueError for a batch without any other image."""
    if len(y_ID) < 2:
        raise ValueError("negatives need at least two images in a batch; raise batch_size")
