"""The embedding in two dimensions, coloured by class where there are classes."""

import torch
from jaxtyping import Float
from torch import Tensor

from models.types import Summaries
from training.images import NO_LABEL
from training.report.charts import LINE_COLOURS, Line, scatter
from training.report.markup import Markup, figure
from training.report.shown import Shown
from training.report.sources import Sample

MOST_POINTS = 1_500
FEW_POINTS = 50  # under which UMAP has too little to lay out
Plane = Float[Tensor, "images 2"]


def principal_plane(y_ID: Summaries) -> tuple[Plane, float]:
    """Y on its first two principal components, and the share of variance they hold."""
    centred = y_ID.double() - y_ID.double().mean(0)
    _, values, directions = torch.linalg.svd(centred, full_matrices=False)
    energy = values.square()
    share = float(energy[:2].sum() / energy.sum().clamp_min(1e-12))
    found = centred @ directions[:2].T
    if found.shape[1] < 2:  # Y has one dimension
        found = torch.cat([found, torch.zeros_like(found)], dim=1)
    return found.float(), share


def neighbour_plane(y_ID: Summaries) -> Plane | None:
    """Y laid out by UMAP (arXiv 1802.03426), or None where the `umap` extra is not installed."""
    try:
        from umap import UMAP
    except ImportError:
        return None
    layout = UMAP(n_neighbors=15, metric="cosine", random_state=0, n_jobs=1)
    return torch.from_numpy(layout.fit_transform(y_ID.numpy())).float()


def plane_figures(shown: Shown) -> list[Markup]:
    """The embedding as points: by PCA, and by UMAP where it is installed."""
    found = [plane_figure(shown)]
    laid_out = neighbour_plane(shown.y[:MOST_POINTS]) if len(shown.sample) > FEW_POINTS else None
    if laid_out is not None:
        points = scatter(groups(laid_out, shown.sample), "the embedding laid out by UMAP")
        caption = (
            f"The same {len(laid_out):,} images laid out by UMAP: neighbours in Y lie near each"
            " other. Distances between clusters and their sizes mean nothing."
        )
        found.append(figure(points, caption))
    return found


def plane_figure(shown: Shown) -> Markup:
    """Every image of the sample as a point, by PCA."""
    plane, share = principal_plane(shown.y)
    drawn = plane[:MOST_POINTS]
    return figure(
        scatter(groups(drawn, shown.sample), "the embedding on its two main directions"),
        f"Y of {len(drawn):,} images on its two main directions (PCA), which hold"
        f" {share:.0%} of its variance: classes that overlap here may still lie apart in the rest.",
    )


def groups(plane: Plane, sample: Sample) -> list[Line]:
    """Points by class; beyond as many as there are colours, the smaller classes are one group."""
    if sample.labels is None:
        return [Line("images", pairs(plane))]
    drawn = sample.labels[: len(plane)]
    labels = drawn.tolist()
    counts = {label: labels.count(label) for label in set(labels) - {NO_LABEL}}
    largest = sorted(counts, key=lambda label: -counts[label])
    room = LINE_COLOURS if len(largest) <= LINE_COLOURS else LINE_COLOURS - 1
    own = sorted(largest[:room])
    found = [
        Line(sample.class_names[label], pairs(plane[sample.labels[: len(plane)] == label]))
        for label in own
    ]
    rest = [place for place, label in enumerate(labels) if label not in own]
    return [*found, Line("others", pairs(plane[rest]))] if rest else found


def pairs(plane: Plane) -> list[tuple[float, float]]:
    """Rows as pairs of numbers."""
    return [(float(x), float(y)) for x, y in plane.tolist()]
