"""Choosing and cutting batches."""

import heapq
import math
from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service import batches
from service.jobs import Job, Slice


def job(images: int, deadline: float = math.inf) -> Job:
    pixels = np.arange(images, dtype=np.uint8).reshape(images, 1, 1, 1)
    return Job(images, frozenset(("y",)), deadline, SimpleNamespace(), pixels=pixels)


def queue(*jobs: Job) -> list[batches.Entry]:
    entries = [(one.deadline, number, one) for number, one in enumerate(jobs)]
    heapq.heapify(entries)
    return entries


def wanted(_: Job) -> bool:
    return True


def test_the_earliest_deadline_comes_first_and_equals_come_in_order_of_arrival():
    late, soon, also_soon = job(1, 9.0), job(1, 1.0), job(1, 1.0)
    batch = batches.take(queue(late, soon, also_soon), 2, wanted)
    assert [part.job for part in batch] == [soon, also_soon]


def test_a_large_job_leaves_room_for_small_ones():
    large, small = job(100, 1.0), job(2, 2.0)
    waiting = queue(large, small)
    batch = batches.take(waiting, 8, wanted)
    assert [(part.job, part.images) for part in batch] == [(large, 6), (small, 2)]
    assert batches.take(waiting, 8, wanted)[0].start == 6


def test_what_nobody_wants_is_dropped():
    left, waits = job(3), job(1)
    assert [part.job for part in batches.take(queue(left, waits), 8, lambda one: one is waits)] == [
        waits
    ]


@given(st.lists(st.integers(1, 300), min_size=1, max_size=20), st.integers(20, 256))
def test_shares_fill_the_batch_and_give_everybody_something(waiting: list[int], cap: int):
    given_out = batches.shares(waiting, cap)
    assert sum(given_out) == min(cap, sum(waiting))
    assert all(1 <= share <= images for share, images in zip(given_out, waiting, strict=True))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 64))
def test_every_image_runs_once_and_in_order(sizes: list[int], cap: int):
    jobs = [job(size) for size in sizes]
    waiting = queue(*jobs)
    ran: dict[int, list[int]] = {id(one): [] for one in jobs}
    while batch := batches.take(waiting, cap, wanted):
        assert 1 <= batches.count(batch) <= cap
        for part in batch:
            ran[id(part.job)] += range(part.start, part.stop)
    assert all(ran[id(one)] == list(range(one.images)) for one in jobs)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12).filter(lambda sizes: sum(sizes) > 1))
def test_halves_hold_the_same_images_in_the_same_order(sizes: list[int]):
    batch = [Slice(job(size), 0, size) for size in sizes]
    first, second = batches.halves(batch)
    assert abs(batches.count(first) - batches.count(second)) <= 1
    assert (batches.gather([*first, *second]) == batches.gather(batch)).all()
