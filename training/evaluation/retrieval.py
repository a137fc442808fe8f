"""Retrieval: whether the images most similar to a query are those of its own group.

Every image with a group is a query against all others; itself is left out. Images of the same group
are relevant. recall@1 is the share of queries whose most similar other image is relevant; mAP the
mean over queries of average precision, the mean of the precision at each relevant image's rank.
Similarity is cosine. Among equals the relevant ones come last, so that an encoder that gives all
images one vector gets nothing for the order of the files. A query alone in its group is not asked.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from training.images import DataError

MOST_QUERIES = 10_000
QUERIES_AT_ONCE = 500
NO_GROUP = -1
SEED = 0


@dataclass(frozen=True)
class Retrieval:
    """recall@1 and mAP as shares, over how many queries."""

    recall_at_1: float
    mean_average_precision: float
    queries: int


@dataclass(frozen=True)
class Groups:
    """A group number for each image, NO_GROUP for those that take no part; and what a group is."""

    numbers: Int64[Tensor, " images"]
    description: str


def retrieve(
    features: Float[Tensor, "images dim"],
    groups: Int64[Tensor, " images"],
    progress: Callable[[int, int], None] | None = None,
) -> Retrieval:
    """Both figures; of more than 10,000 queries as many are drawn with a fixed seed.

    Raises DataError where no two images share a group.
    """
    keep = groups != NO_GROUP
    gallery = features if bool(keep.all()) else features[keep.to(features.device)]
    lengths = gallery.norm(dim=1).clamp_min(1e-12)
    queries = queries_of(groups[keep])
    group = groups[keep].to(features.device)
    recall = precision = 0.0
    done = 0
    for part in queries.to(features.device).split(QUERIES_AT_ONCE):
        similarities = (F.normalize(gallery[part], dim=1) @ gallery.T).div_(lengths)
        for query, row in zip(part.tolist(), similarities, strict=True):
            relevant = group == group[query]
            others = ~relevant
            relevant[query] = False
            first, average = rank(row, relevant, others)
            recall, precision = recall + first, precision + average
        done += len(part)
        if progress is not None:
            progress(done, len(queries))
    return Retrieval(recall / len(queries), precision / len(queries), len(queries))


def queries_of(groups: Int64[Tensor, " images"]) -> Int64[Tensor, " queries"]:
    """The images that share their group with another, at most 10,000 of them.

    Raises DataError where there are none.
    """
    _, member, sizes = groups.unique(return_inverse=True, return_counts=True)
    shared = (sizes[member] > 1).nonzero().flatten()
    if len(shared) == 0:
        raise DataError(
            "retrieval needs groups of at least two images, and no two images share one. "
            "Check the folders, or the columns named with --group-by."
        )
    if len(shared) > MOST_QUERIES:
        order = torch.randperm(len(shared), generator=torch.Generator().manual_seed(SEED))
        shared = shared[order[:MOST_QUERIES]]
    return shared


def rank(
    similarities: Float[Tensor, " images"],
    relevant: Bool[Tensor, " images"],
    others: Bool[Tensor, " images"],
) -> tuple[bool, float]:
    """Of one query: whether a relevant image is first, and the average precision."""
    good = similarities[relevant].sort(descending=True).values
    bad = similarities[others].sort().values
    before = len(bad) - torch.searchsorted(bad, good)  # as similar or more, so placed before it
    place = torch.arange(1, len(good) + 1, device=good.device)
    return bool(before[0] == 0), float((place / (place + before)).mean())


def class_groups(labels: Int64[Tensor, " images"]) -> Groups:
    """The classes as groups."""
    return Groups(labels, "test images of the same class")


def read_groups(file: Path, columns: Sequence[str], paths: Sequence[str]) -> Groups:
    """The group of each of `paths`, by a CSV file: first column the path, `columns` the group.

    Paths are relative to the data folder and may lack their suffix. Several columns together make
    one group; a row with an empty one has none. Raises DataError where the file or a column is not
    there, or no image is listed.
    """
    names = _names(file, columns)
    found = [_name_of(path, names) for path in paths]
    order = {name: number for number, name in enumerate(sorted({n for n in found if n}))}
    if not order:
        raise DataError(
            f"{file} lists none of the {len(paths):,} images. Its first column must hold paths "
            f"relative to the data folder, such as {paths[0]}."
        )
    numbers = torch.tensor([order[name] if name else NO_GROUP for name in found])
    return Groups(numbers, f"images with the same {', '.join(columns)} in {file.name}")


def _names(file: Path, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Path to group, for the rows where every column has something in it."""
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            table = csv.DictReader(lines)
            header = list(table.fieldnames or [])
            missing = [name for name in columns if name not in header]
            if missing:
                raise DataError(
                    f"{file} has no column {', '.join(missing)}; it has {', '.join(header)}. "
                    "Name some of these with --group-by."
                )
            rows = [(row[header[0]], tuple(row[name] or "" for name in columns)) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as a CSV file: {error}. Check --groups.") from error
    return {path: group for path, group in rows if path and all(group)}


def _name_of(path: str, names: dict[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    return names.get(path) or names.get(str(PurePosixPath(path).with_suffix("")))
