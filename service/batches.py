"""Choosing and cutting batches: which images run together, and how a failed batch is halved."""

import heapq
from collections.abc import Callable, Sequence

import numpy as np

from service.jobs import Job, Pixels, Slice

Entry = tuple[float, int, Job]  # deadline, order of arrival, job


def take(queue: list[Entry], cap: int, wanted: Callable[[Job], bool]) -> list[Slice]:
    """Take the next batch off a heap: the earliest deadlines, equal shares, then filled up.

    Jobs that are not `wanted` any more are dropped; one with images left goes back into the heap.
    """
    chosen: list[Entry] = []
    while queue and len(chosen) < cap:
        entry = heapq.heappop(queue)
        if wanted(entry[2]):
            chosen.append(entry)
    batch = []
    for entry, share in zip(chosen, shares([e[2].waiting for e in chosen], cap), strict=True):
        job = entry[2]
        batch.append(Slice(job, job.taken, job.taken + share))
        job.taken += share
        if job.waiting:
            heapq.heappush(queue, entry)
    return batch


def shares(waiting: Sequence[int], cap: int) -> list[int]:
    """Divide `cap` places among at most `cap` jobs: equally, then what is left in order."""
    if not waiting:
        return []
    equal = cap // len(waiting)
    given = [min(equal, images) for images in waiting]
    left = cap - sum(given)
    for position, images in enumerate(waiting):
        more = min(left, images - given[position])
        given[position] += more
        left -= more
    return given


def halves(batch: Sequence[Slice]) -> tuple[list[Slice], list[Slice]]:
    """Cut a batch of at least two images into two, by images and in order."""
    wanted = count(batch) // 2
    first: list[Slice] = []
    rest = list(batch)
    while wanted:
        part = rest.pop(0)
        if part.images > wanted:
            part, remainder = part.split(wanted)
            rest.insert(0, remainder)
        first.append(part)
        wanted -= part.images
    return first, rest


def count(batch: Sequence[Slice]) -> int:
    """Images in a batch."""
    return sum(part.images for part in batch)


def gather(batch: Sequence[Slice]) -> Pixels:
    """Put the pixels of a batch one after the other."""
    if len(batch) == 1:
        return batch[0].pixels
    return np.concatenate([part.pixels for part in batch])


def heads(batch: Sequence[Slice]) -> frozenset[str]:
    """Every head that some job of the batch wants: one pass serves them all."""
    return frozenset().union(*(part.job.heads for part in batch))
