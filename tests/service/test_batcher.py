"""The batcher: greedy, fair, and never silent."""

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batcher import Batcher
from service.errors import (
    DeadlineExceeded,
    Draining,
    ModelFailed,
    OutOfMemory,
    QueueFull,
    ServiceError,
)
from service.jobs import Job
from service.owner import RATE_BATCHES
from tests.fakes import MAGENTA, SIZE, ForgetfulEngine, GuiltyEngine, MeanEngine

Y = frozenset(("y",))
PATIENCE_S = 30.0


class Record:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.drops: list[str] = []

    def batch(self, images: int, seconds: float) -> None:
        self.batches.append(images)

    def dropped(self, reason: str) -> None:
        self.drops.append(reason)


def images(*greys: int) -> np.ndarray:
    """Grey images, (N, SIZE, SIZE, 3)."""
    return np.stack([np.full((SIZE, SIZE, 3), grey, np.uint8) for grey in greys])


def submit(batcher: Batcher, pixels: np.ndarray, timeout_s: float = PATIENCE_S) -> Job:
    job = batcher.admit(len(pixels), Y, time.monotonic() + timeout_s)
    job.pixels = pixels
    batcher.submit(job)
    return job


async def ask(batcher: Batcher, pixels: np.ndarray, timeout_s: float = PATIENCE_S) -> np.ndarray:
    return (await batcher.answer(submit(batcher, pixels, timeout_s)))["y"]


def ask_all(batcher: Batcher, many: Iterable[np.ndarray]) -> list["asyncio.Task[np.ndarray]"]:
    return [asyncio.create_task(ask(batcher, pixels)) for pixels in many]


def with_batcher(
    engine: Any, story: Callable[[Batcher], Awaitable[None]], **options: Any
) -> Record:
    """Run a story on a started batcher and close it after."""
    record = Record()

    async def run() -> None:
        batcher = Batcher(engine.encode, record, **options)
        batcher.start()
        try:
            await asyncio.wait_for(story(batcher), 60)
        finally:
            engine_gate = getattr(engine, "gate", None)
            if engine_gate:
                engine_gate.set()
            await batcher.close()

    asyncio.run(run())
    return record


async def held(engine: MeanEngine, batcher: Batcher) -> "asyncio.Task[np.ndarray]":
    """Close the engine's gate with one black image behind it, so that all that follows queues."""
    engine.gate.clear()
    engine.entered.clear()
    task = asyncio.create_task(ask(batcher, images(0)))
    await asyncio.to_thread(engine.entered.wait)
    return task


def test_an_idle_model_runs_at_once_and_the_next_batch_fills_meanwhile():
    engine = MeanEngine()

    async def story(batcher: Batcher) -> None:
        first = await held(engine, batcher)
        rest = ask_all(batcher, (images(grey) for grey in range(1, 6)))
        await asyncio.sleep(0)
        engine.gate.set()
        await asyncio.gather(first, *rest)

    assert with_batcher(engine, story).batches == [1, 5]


def test_a_batch_is_never_larger_than_the_cap_and_large_requests_are_split():
    engine = MeanEngine()

    async def story(batcher: Batcher) -> None:
        answer = await ask(batcher, images(*range(20)))
        assert np.allclose(answer[:, 0] * 255, range(20), atol=1e-3)

    assert with_batcher(engine, story, max_batch=8).batches == [8, 8, 4]


def test_a_small_request_does_not_wait_for_a_large_one():
    engine = MeanEngine()

    async def story(batcher: Batcher) -> None:
        first = await held(engine, batcher)
        large, small = ask_all(batcher, (images(*range(100, 140)), images(7)))
        await asyncio.sleep(0)
        engine.gate.set()
        await asyncio.gather(first, large, small)
        assert 7 in engine.seen[1]

    with_batcher(engine, story, max_batch=8)


def test_the_earliest_deadline_runs_first():
    engine = MeanEngine()

    async def story(batcher: Batcher) -> None:
        first = await held(engine, batcher)
        tasks = [
            asyncio.create_task(ask(batcher, images(grey), timeout_s))
            for grey, timeout_s in ((1, 30.0), (2, 10.0), (3, 20.0))
        ]
        await asyncio.sleep(0)
        engine.gate.set()
        await asyncio.gather(first, *tasks)

    with_batcher(engine, story, max_batch=1)
    assert engine.seen == [[0], [2], [3], [1]]


def test_only_the_heads_asked_for_are_given():
    engine = MeanEngine()

    async def story(batcher: Batcher) -> None:
        first = await held(engine, batcher)
        jobs = []
        for heads in (("y",), ("map", "fc")):
            job = batcher.admit(1, frozenset(heads), time.monotonic() + PATIENCE_S)
            job.pixels = images(5)
            batcher.submit(job)
            jobs.append(asyncio.create_task(batcher.answer(job)))
        engine.gate.set()
        await first
        assert [sorted(await job) for job in jobs] == [["y"], ["fc", "map"]]

    assert with_batcher(engine, story).batches == [1, 2]


def test_cancelled_requests_never_reach_the_model():
    engine = MeanEngine()

    async def story(batcher: Batcher) -> None:
        first = await held(engine, batcher)
        tasks = ask_all(batcher, (images(grey % 200 + 1) for grey in range(1000)))
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert batcher.pending == 1
        engine.gate.set()
        await first
        await ask(batcher, images(255))

    record = with_batcher(engine, story)
    assert engine.seen == [[0], [255]]
    assert record.drops == ["cancelled"] * 1000


def test_expired_requests_never_reach_the_model():
    engine = MeanEngine()

    async def story(batcher: Batcher) -> None:
        first = await held(engine, batcher)
        tasks = [
            asyncio.create_task(ask(batcher, images(grey % 200 + 1), 0.05)) for grey in range(1000)
        ]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {DeadlineExceeded}
        engine.gate.set()
        await first
        await ask(batcher, images(255))

    record = with_batcher(engine, story)
    assert engine.seen == [[0], [255]]
    assert record.drops == ["expired"] * 1000


def test_a_full_queue_refuses_with_whole_seconds_to_wait():
    engine = MeanEngine()

    async def story(batcher: Batcher) -> None:
        first = await held(engine, batcher)
        second = submit(batcher, images(1, 2, 3))
        with pytest.raises(QueueFull) as refused:
            batcher.admit(1, Y, time.monotonic() + PATIENCE_S)
        assert refused.value.status == 503
        assert isinstance(refused.value.retry_after_s, int)
        assert refused.value.retry_after_s >= 1
        engine.gate.set()
        await asyncio.gather(first, batcher.answer(second))
        assert batcher.pending == 0
        await ask(batcher, images(9))

    with_batcher(engine, story, max_queue=4)


async def measured(batcher: Batcher) -> None:
    """Run as many batches as it takes for the drain rate to be known."""
    for number in range(RATE_BATCHES):
        await ask(batcher, images(number))


def test_a_slow_first_pass_fills_no_queue():
    """A cold model takes long once; nobody is refused for what one pass says of the rate."""
    engine = MeanEngine()
    passes = []

    def cold(pixels, heads):
        time.sleep(0 if passes else 0.2)
        passes.append(len(pixels))
        return MeanEngine.encode(engine, pixels, heads)

    async def story(batcher: Batcher) -> None:
        await ask(batcher, images(1))
        await asyncio.gather(*ask_all(batcher, [images(number) for number in range(100)]))

    with_batcher(type("Cold", (), {"encode": staticmethod(cold)}), story, max_queue_s=0.5)


def test_a_queue_longer_than_the_deadline_refuses_at_once():
    engine = MeanEngine()

    def slow(pixels, heads):
        time.sleep(0.05 * len(pixels))
        return MeanEngine.encode(engine, pixels, heads)

    async def story(batcher: Batcher) -> None:
        await measured(batcher)
        waiting = submit(batcher, images(*range(40)))
        with pytest.raises(QueueFull, match="deadline"):  # 40 images at 20 a second take longer
            batcher.admit(1, Y, time.monotonic() + 0.5)
        with pytest.raises(DeadlineExceeded):
            batcher.admit(1, Y, time.monotonic() - 1)
        await batcher.answer(waiting)

    with_batcher(type("Slow", (), {"encode": staticmethod(slow)}), story)


def test_a_queue_of_too_many_seconds_is_full():
    engine = MeanEngine()

    async def story(batcher: Batcher) -> None:
        await measured(batcher)
        first = await held(engine, batcher)
        with pytest.raises(QueueFull):
            batcher.admit(1, Y, time.monotonic() + PATIENCE_S)
        engine.gate.set()
        await first

    with_batcher(engine, story, max_queue_s=1e-9)


def test_a_guilty_image_fails_alone():
    engine = GuiltyEngine()
    guilty = np.full((1, SIZE, SIZE, 3), MAGENTA, np.uint8)

    async def story(batcher: Batcher) -> None:
        first = await held(engine, batcher)
        many = [guilty if number == 13 else images(number) for number in range(32)]
        tasks = ask_all(batcher, many)
        await asyncio.sleep(0)
        engine.gate.set()
        await first
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(outcomes[13], ModelFailed)
        assert outcomes[13].index == 0
        for number in set(range(32)) - {13}:
            assert outcomes[number][0, 0] * 255 == pytest.approx(number, abs=1e-3)

    with_batcher(engine, story)


def test_a_guilty_image_names_its_place_in_its_request():
    engine = GuiltyEngine()
    pixels = images(1, 2, 3, 4, 5)
    pixels[3] = MAGENTA

    async def story(batcher: Batcher) -> None:
        with pytest.raises(ModelFailed) as failure:
            await ask(batcher, pixels)
        assert failure.value.index == 3

    with_batcher(engine, story)


def test_too_little_memory_halves_the_batch_and_it_grows_back():
    engine = ForgetfulEngine(room=3)

    async def story(batcher: Batcher) -> None:
        answer = await ask(batcher, images(*range(16)))
        assert np.allclose(answer[:, 0] * 255, range(16), atol=1e-3)
        assert batcher.cap == 2
        engine.room = 1000
        for _ in range(64):
            await ask(batcher, images(1))
        assert batcher.cap == 16

    with_batcher(engine, story, max_batch=16)
    assert engine.tried[:11] == [16, 8, 4, *[2] * 8]


def test_an_image_that_fits_into_no_memory_is_refused_alone():
    async def story(batcher: Batcher) -> None:
        with pytest.raises(OutOfMemory) as failure:
            await ask(batcher, images(1))
        assert failure.value.retry_after_s

    with_batcher(ForgetfulEngine(room=0), story)


def test_an_owner_that_falls_over_answers_and_goes_on():
    engine = MeanEngine()
    falls = [True]

    def fall_once(pixels, heads):
        if falls.pop() if falls else False:
            raise SystemExit
        return engine.encode(pixels, heads)

    async def story(batcher: Batcher) -> None:
        with pytest.raises(ModelFailed):
            await ask(batcher, images(1, 2))
        assert (await ask(batcher, images(51)))[0, 0] == pytest.approx(0.2)
        assert batcher.silent_s() < math.inf

    with_batcher(type("Falling", (), {"encode": staticmethod(fall_once)}), story)


def test_computations_give_way_to_batches():
    engine = MeanEngine()
    order: list[str] = []

    def steps() -> Generator[None, None, str]:
        for _ in range(3):
            order.append(f"{threading.current_thread().name} after {len(engine.seen)}")
            yield
        return "done"

    async def story(batcher: Batcher) -> None:
        first = await held(engine, batcher)
        computing = asyncio.create_task(batcher.run(steps(), time.monotonic() + PATIENCE_S))
        rest = ask_all(batcher, [images(1), images(2)])
        await asyncio.sleep(0)
        engine.gate.set()
        assert await computing == "done"
        await asyncio.gather(first, *rest)

    with_batcher(engine, story, max_batch=1)
    assert order == ["model after 2", "model after 3", "model after 3"]


def test_a_computation_holds_its_places_in_the_queue():
    def steps() -> Generator[None, None, None]:
        yield

    async def story(batcher: Batcher) -> None:
        computing = asyncio.create_task(batcher.run(steps(), time.monotonic() + PATIENCE_S, 3))
        await asyncio.sleep(0)
        assert batcher.pending == 3
        assert await batcher.drain(PATIENCE_S)
        assert computing.done()
        assert batcher.pending == 0

    with_batcher(MeanEngine(), story)


def test_a_failing_computation_fails_alone():
    def failing() -> Generator[None, None, None]:
        yield
        raise RuntimeError("secret")

    async def story(batcher: Batcher) -> None:
        with pytest.raises(ModelFailed) as failure:
            await batcher.run(failing(), time.monotonic() + PATIENCE_S)
        assert "secret" not in str(failure.value)
        await ask(batcher, images(1))

    with_batcher(MeanEngine(), story)


def test_draining_refuses_new_work_and_answers_the_old():
    engine = MeanEngine()

    async def story(batcher: Batcher) -> None:
        first = await held(engine, batcher)
        draining = asyncio.create_task(batcher.drain(PATIENCE_S))
        await asyncio.sleep(0)
        with pytest.raises(Draining):
            batcher.admit(1, Y, time.monotonic() + PATIENCE_S)
        assert not draining.done()
        engine.gate.set()
        assert (await first).shape == (1, 3)
        assert await draining

    with_batcher(engine, story)


def test_draining_gives_up_after_its_time_and_closing_answers_everybody():
    engine = MeanEngine()

    async def story(batcher: Batcher) -> None:
        first = await held(engine, batcher)
        queued = ask_all(batcher, [images(1), images(2)])
        await asyncio.sleep(0)
        assert not await batcher.drain(0.01)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.05)  # the order to close stands behind the queued work
        engine.gate.set()
        await closing
        outcomes = await asyncio.gather(first, *queued, return_exceptions=True)
        assert all(isinstance(one, (np.ndarray, Draining)) for one in outcomes)

    with_batcher(engine, story, max_batch=1)


def test_a_stalled_owner_has_no_heartbeat():
    engine = MeanEngine()

    async def story(batcher: Batcher) -> None:
        first = await held(engine, batcher)
        before = batcher.silent_s()
        await asyncio.sleep(0.05)
        assert batcher.silent_s() >= before + 0.04
        engine.gate.set()
        await first

    record = with_batcher(engine, story)
    assert record.batches == [1]


def test_an_owner_that_never_started_is_infinitely_silent():
    async def story() -> float:
        return Batcher(MeanEngine().encode, Record()).silent_s()

    assert asyncio.run(story()) == math.inf


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.sampled_from(("ask", "cancel", "expire", "guilty"))),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 16),
)
def test_whatever_happens_everybody_gets_their_own_answer(requests, cap):
    engine = GuiltyEngine()

    async def story(batcher: Batcher) -> None:
        first = await held(engine, batcher)
        tasks, expected = [], []
        for number, (size, kind) in enumerate(requests):
            pixels = images(*((number * 12 + place) % 251 for place in range(size)))
            expected.append(pixels[:, 0, 0, 0].copy())
            if kind == "guilty":
                pixels[-1] = MAGENTA
            timeout_s = 0.001 if kind == "expire" else PATIENCE_S
            tasks.append(asyncio.create_task(ask(batcher, pixels, timeout_s)))
        await asyncio.sleep(0)
        for task, (_, kind) in zip(tasks, requests, strict=True):
            if kind == "cancel":
                task.cancel()
        await asyncio.sleep(0.002)
        engine.gate.set()
        await first
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        kinds = {"cancel": asyncio.CancelledError, "guilty": ModelFailed, "expire": ServiceError}
        for outcome, greys, (_, kind) in zip(outcomes, expected, requests, strict=True):
            if kind == "ask":
                assert np.allclose(outcome[:, 0] * 255, greys, atol=1e-3)
            else:
                assert isinstance(outcome, kinds[kind])
        assert batcher.pending == 0

    with_batcher(engine, story, max_batch=cap)
