"""Sheets of pictures: views as trained, neighbours, feature maps, and where two images agree."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from models.critics import Critic
from models.types import FeatureMaps, Summaries
from training.images import NO_LABEL
from training.report.markup import Markup, figure
from training.report.pictures import Cell, colours, image, shades, sheet
from training.report.shown import Shown
from training.report.sources import Sample
from training.views import draw_view

ROWS = 8
VIEWS = 6
NEIGHBOURS = 7
JUDGED = 1_000  # queries whose neighbours are counted
SEED = 5


def chosen_rows(sample: Sample, rows: int = ROWS) -> list[int]:
    """Images to show: one of each class in turn, or the first where there are no classes."""
    if sample.labels is None:
        return list(range(min(rows, sample.held_out)))
    seen: dict[int, int] = {}
    turn = []  # (how many of its class came before, place)
    for place, label in enumerate(sample.labels[: sample.held_out].tolist()):
        turn.append((seen.get(label, 0), place))
        seen[label] = seen.get(label, 0) + 1
    return [place for _, place in sorted(turn)[:rows]]


def views_sheet(sample: Sample, rows: Sequence[int], view: str) -> Markup:
    """Originals with what the encoder saw of them in training."""
    draw = torch.Generator().manual_seed(SEED)
    originals = sample.pixels[list(rows)]
    drawn = [draw_view(view, originals, draw) for _ in range(VIEWS)]
    lines = []
    for number, place in enumerate(rows):
        name = sample.label(place) or f"image {place}"
        first = Cell(image(originals[number], f"{name}, as it is"), sample.label(place))
        lines.append([first, *(Cell(image(each[number], f"{name}, a view")) for each in drawn)])
    return figure(
        sheet(lines, ["original", *["view"] * VIEWS]),
        f"The view “{view}”: {VIEWS} draws for each image. Every training step draws anew."
        if view != "none"
        else "The view “none”: the encoder was trained on the images as they are.",
    )


def nearest(
    y_ID: Summaries, queries: Sequence[int], count: int
) -> Int64[Tensor, "queries neighbours"]:
    """The places of each query's nearest others by cosine, nearest first."""
    unit = normalize(y_ID, dim=1)
    likeness = unit[list(queries)] @ unit.T
    likeness[torch.arange(len(queries)), torch.tensor(queries)] = -torch.inf
    return likeness.topk(min(count, len(unit) - 1), dim=1).indices


def same_class(shown: Shown, count: int) -> tuple[float, float] | None:
    """Share of nearest images that have their query's class, and of queries where most of them do.

    "Most" is the commonest class, ties to the lower number. None where there are no classes.
    """
    sample = shown.sample
    if sample.labels is None:
        return None
    queries = [
        place
        for place, label in enumerate(sample.labels[: sample.held_out].tolist())
        if label != NO_LABEL
    ][:JUDGED]
    if not queries:
        return None
    found = sample.labels[nearest(shown.y, queries, count)]
    truth = sample.labels[queries]
    of_class = (found == truth[:, None]).float().mean()
    return float(of_class), float((found.mode(dim=1).values == truth).float().mean())


def neighbours_sheet(shown: Shown, rows: Sequence[int]) -> Markup:
    """Queries with their nearest images by cosine of Y."""
    sample, neighbours = shown.sample, nearest(shown.y, rows, NEIGHBOURS)
    lines = []
    for query, near in zip(rows, neighbours.tolist(), strict=True):
        name = sample.label(query)
        line = [Cell(image(sample.pixels[query], f"query: {name or query}"), name)]
        for place in near:
            label = sample.label(place)
            picture = image(sample.pixels[place], f"neighbour: {label or place}")
            line.append(Cell(picture, label, good=bool(label) and label == name))
        lines.append(line)
    share = same_class(shown, NEIGHBOURS)
    caption = f"Nearest images by cosine of Y among {len(sample):,}."
    if share is not None:
        of_class, voted = share
        caption += (
            f" Up to {JUDGED:,} queries were counted: {of_class:.0%} of their neighbours have the"
            f" query's class (green; by chance {chance(sample):.0%}), and in {voted:.0%} of the"
            " queries it is the commonest class among the neighbours."
        )
    return figure(sheet(lines, ["query", *["near"] * neighbours.shape[1]]), caption)


def chance(sample: Sample) -> float:
    """Share of pairs of different images that have one class."""
    if sample.labels is None:
        return 0.0
    counts = torch.unique(sample.labels, return_counts=True)[1].double()
    return float((counts * (counts - 1)).sum() / (len(sample) * (len(sample) - 1)))


def feature_sheet(shown: Shown, rows: Sequence[int]) -> Markup:
    """Images with the norm of their feature map and its three principal components."""
    sample, maps = shown.sample, shown.maps(rows)
    norms = maps.norm(dim=1)
    components = principal_colours(maps)
    line_of: dict[str, list[Cell]] = {"image": [], "norm": [], "components": []}
    for number, place in enumerate(rows):
        name = sample.label(place)
        line_of["image"].append(Cell(image(sample.pixels[place], name or f"image {place}"), name))
        low, high = float(norms[number].min()), float(norms[number].max())
        line_of["norm"].append(Cell(shades(norms[number], f"norm of {name}", low, high)))
        line_of["components"].append(Cell(colours(components[number], f"components of {name}")))
    side = maps.shape[-1]
    return figure(
        sheet(list(line_of.values())),
        f"The feature map, {maps.shape[1]} channels at {side} x {side} places. Second row: its norm"
        " at each place, dark to bright for each image. Third row: its three main directions over"
        " all images shown as red, green and blue: one colour, one kind of feature.",
    )


def principal_colours(maps_ICMM: FeatureMaps) -> Float[Tensor, "images 3 side side"]:
    """The first three principal components of all places, each stretched to [0, 1]."""
    rows = maps_ICMM.permute(0, 2, 3, 1).flatten(0, 2).double()
    _, _, directions = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    found = (rows - rows.mean(0)) @ directions[:3].T
    low, high = found.quantile(0.01, dim=0), found.quantile(0.99, dim=0)
    stretched = ((found - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    side = maps_ICMM.shape[-1]
    return stretched.unflatten(0, (len(maps_ICMM), side, side)).permute(0, 3, 1, 2).float()


def agreement_sheet(shown: Shown, rows: Sequence[int], critic: Critic) -> Markup:
    """Where the local critic finds an image's summary: in itself, its neighbour, another image."""
    sample = shown.sample
    lines = []
    for place, near, far in zip(
        rows,
        nearest(shown.y, rows, 1)[:, 0].tolist(),
        farthest(shown.y, rows).tolist(),
        strict=True,
    ):
        name = sample.label(place)
        line = [Cell(image(sample.pixels[place], name or f"image {place}"), name)]
        for other in (place, near, far):
            if other != place:
                label = sample.label(other)
                line.append(Cell(image(sample.pixels[other], label or f"image {other}"), label))
            p = belief(critic, shown.y[place], shown.maps([other])[0])
            mean = f"p {float(p.mean()):.2f}"
            line.append(Cell(shades(p, f"{mean}, place by place", 0.0, 1.0), mean))
        lines.append(line)
    return figure(
        sheet(lines, ["image", "in itself", "nearest", "agree", "farthest", "agree"]),
        "The local critic's belief p that the first image's summary and a place of the other image"
        " belong to one image: dark is 0, bright 1, and the number is the mean. In itself it should"
        " be bright. In the nearest image, bright places are where the two agree; in the farthest"
        " there should be none.",
    )


def farthest(y_ID: Summaries, queries: Sequence[int]) -> Int64[Tensor, " queries"]:
    """The place of each query's least similar image by cosine."""
    unit = normalize(y_ID, dim=1)
    return (unit[list(queries)] @ unit.T).argmin(dim=1)


@torch.inference_mode()
def belief(
    critic: Critic, y_D: Float[Tensor, " dim"], map_CMM: Float[Tensor, "channels side side"]
) -> Float[Tensor, "rows columns"]:
    """P of one image's summary at every place of another's map."""
    scores = critic.paired(y_D[None], map_CMM[None])
    return scores[0].sigmoid().unflatten(0, critic.places).cpu()
