"""Does an image changed by a view find itself? A judgement of features that needs no labels.

Of the changes that were tried, `flip_crop_colour` puts encoders and baselines into nearly the
order in which labels put them; milder ones flatter any trained encoder (docs/experiments.md).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from models.types import Pixels, Summaries
from training.views import draw_view

VIEW = "flip_crop_colour"
VIEWS_AN_IMAGE = 2
MOST_QUERIES = 1_000
MOST_OTHERS = 1_000  # images beside the queries among which each must find itself
SEED = 41
QUERIES_AT_ONCE = 500

Shares = Float[Tensor, " queries"]


@dataclass(frozen=True)
class Trial:
    """All images of one trial in one tensor: sought ones, others, then views of the sought ones.

    queries   how many are sought: the first of `pixels`
    gallery   how many each must be found among: the first of `pixels`, the sought ones included
    """

    pixels: Pixels
    queries: int
    gallery: int


def make_trial(
    queries: UInt8[Tensor, "queries height width channels"],
    others: UInt8[Tensor, "others height width channels"],
) -> Trial:
    """Draw the images and their views; the same for the same pixels, on the CPU."""
    draw = torch.Generator().manual_seed(SEED)
    sought = chosen(queries, MOST_QUERIES, draw)
    gallery = torch.cat([sought, chosen(others, MOST_OTHERS, draw)])
    views = [draw_view(VIEW, sought, draw) for _ in range(VIEWS_AN_IMAGE)]
    return Trial(torch.cat([gallery, *views]), len(sought), len(gallery))


def chosen(pixels: Pixels, most: int, draw: torch.Generator) -> Pixels:
    """At most so many of the images, at random, on the CPU."""
    return pixels[torch.randperm(len(pixels), generator=draw)[:most].to(pixels.device)].cpu()


def recall(trial: Trial, vectors: Summaries) -> Shares:
    """For each sought image, the share of its views that find it; vectors are of trial.pixels."""
    gallery, views = vectors[: trial.gallery], vectors[trial.gallery :]
    found = [hits(gallery, view) for view in views.split(trial.queries)]
    return torch.stack(found).double().mean(0).cpu()


def hits(
    gallery_ND: Float[Tensor, "gallery dim"], views_QD: Float[Tensor, "queries dim"]
) -> Bool[Tensor, " queries"]:
    """Whether view i is nearer to image i than to any other, by cosine; a tie is no hit."""
    images = normalize(gallery_ND, dim=1)
    found = []
    for start in range(0, len(views_QD), QUERIES_AT_ONCE):
        likeness = normalize(views_QD[start : start + QUERIES_AT_ONCE], dim=1) @ images.T
        rows = torch.arange(len(likeness), device=likeness.device)
        own = likeness[rows, start + rows]
        likeness[rows, start + rows] = -torch.inf
        found.append(own > likeness.amax(dim=1))
    return torch.cat(found)


def clearly_above(ours: Shares, theirs: Shares) -> bool:
    """Whether the mean difference over the same images is above twice its standard error."""
    difference = ours - theirs
    error = difference.std(correction=0) / len(difference) ** 0.5
    return float(difference.mean()) > max(0.0, 2 * float(error))
