"""Greedy batching: admission, deadlines and answers, in front of the one owner of the model.

The owner (service.owner) is a dedicated thread, and the forward pass runs in it. Work reaches it
through one C-level queue (decoding threads put it there themselves) and answers leave through one
call into the event loop a batch, not an image. So a request costs one wake-up on the way in and a
share of one on the way out. An asyncio owner with an executor behind it would cost two more
switches a batch and share its thread with parsing and writing, exactly when 32 clients on two cores
keep that thread busy. The owner alone touches the queue and the event loop alone counts admissions:
no locks.

There is no timer: an idle owner runs what is there at once, and while it runs the next batch fills.
A batch takes the earliest deadlines first; when more images wait than fit, each job gets an equal
share before the rest is filled up: a large request does not hold small ones up.

A batch that fails is run again in halves until the guilty image stands alone. A model without
memory halves the largest batch, which grows back after a run of successes.
"""

import asyncio
import logging
import math
import time
from collections.abc import Generator, Sequence
from typing import Any

from service.errors import DeadlineExceeded, Draining, QueueFull, ServiceError
from service.jobs import Arrays, Job, Steps
from service.owner import TOO_LATE, Encode, Observer, Owner

logger = logging.getLogger("infomax.batcher")


class Batcher:
    """The queue in front of a model, as the event loop sees it.

    encode       pixels (images, size, size, channels) and heads -> an array (images, ...) a head;
                 may raise MemoryError (smaller batches are tried) or anything else
    max_batch    images in one call of `encode`
    max_queue    images admitted and not yet answered; above it `admit` raises QueueFull
    max_queue_s  the same in seconds, by the measured drain rate

    All methods but `submit` and `fail` belong to the event loop that `start` ran on.
    """

    def __init__(
        self,
        encode: Encode,
        observer: Observer,
        *,
        max_batch: int = 64,
        max_queue: int = 1024,
        max_queue_s: float = math.inf,
    ) -> None:
        self._owner = Owner(encode, self._deliver, observer, max_batch)
        self._max_queue = max_queue
        self._max_queue_s = max_queue_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending = 0
        self._draining = False
        self._drained = asyncio.Event()

    def start(self) -> None:
        """Start the owner; answers will be delivered on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._owner.start()

    def admit(self, images: int, heads: frozenset[str], deadline: float) -> Job:
        """Reserve places for so many images, before they are decoded; `answer` gives them back.

        deadline  on the monotonic clock, seconds

        Raises DeadlineExceeded, or QueueFull or Draining with the seconds after which to retry.
        """
        if self._draining:
            raise Draining("The service is shutting down; another instance may answer.")
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise DeadlineExceeded(TOO_LATE)
        wait_s = self.wait_s()
        retry_after_s = max(1, math.ceil(wait_s))
        if self._pending + images > self._max_queue or wait_s > self._max_queue_s:
            raise QueueFull("The queue is full.", retry_after_s=retry_after_s)
        if wait_s > left_s:
            sentence = "The queue is longer than this request's deadline allows."
            raise QueueFull(sentence, retry_after_s=retry_after_s)
        self._reserve(images)
        return Job(images, heads, deadline, self._running_loop().create_future(), missing=images)

    async def answer(self, job: Job) -> Arrays:
        """Wait for a job's arrays, at most until its deadline; gives its places back in any case.

        Cancelling the waiting task cancels the job: images that have not reached the model never
        will. Raises ServiceError.
        """
        try:
            arrays: Arrays = await self._by_deadline(job)
        finally:
            self._release(job.images)
        return arrays

    async def run(self, steps: Generator[None, None, Any], deadline: float, images: int = 0) -> Any:
        """Run a computation in the owner's thread, step by step between batches.

        images  places in the queue it holds meanwhile: what it works on takes memory

        Gives the generator's return value; raises ServiceError.
        """
        work = Steps(steps, deadline, self._running_loop().create_future())
        self._reserve(images)
        self._owner.put(work)
        try:
            return await self._by_deadline(work)
        finally:
            self._release(images)

    async def drain(self, seconds: float) -> bool:
        """Refuse new work and wait until what was admitted is answered; False if time ran out."""
        self._draining = True
        if self._pending:
            try:
                await asyncio.wait_for(self._drained.wait(), seconds)
            except TimeoutError:
                return False
        return True

    async def close(self) -> None:
        """Stop the owner; whatever is still queued is refused, so that nobody waits for ever."""
        self._draining = True
        await asyncio.to_thread(self._owner.close)

    @property
    def pending(self) -> int:
        """Images admitted and not yet answered."""
        return self._pending

    @property
    def cap(self) -> int:
        """The largest batch at the moment."""
        return self._owner.cap

    def wait_s(self) -> float:
        """Seconds of work ahead of a new request, by the measured drain rate."""
        return self._pending / self._owner.rate if self._owner.rate else 0.0

    def silent_s(self) -> float:
        """Seconds since the owner's last heartbeat; infinite if its thread is gone."""
        return self._owner.silent_s()

    def submit(self, job: Job) -> None:
        """Queue a job whose pixels are there; from any thread."""
        job.submitted = time.monotonic()
        self._owner.put(job)

    def fail(self, job: Job, error: ServiceError) -> None:
        """Answer a job that will never be submitted; from any thread."""
        job.error = error
        self._deliver([job])

    def _deliver(self, finished: Sequence[Job | Steps]) -> None:
        if finished:
            try:
                self._running_loop().call_soon_threadsafe(_settle, finished)
            except RuntimeError:  # the loop is closed: nobody waits any more
                logger.warning("%d answers came after the event loop had closed", len(finished))

    def _reserve(self, images: int) -> None:
        self._pending += images
        self._drained.clear()

    def _release(self, images: int) -> None:
        self._pending -= images
        if self._pending == 0:
            self._drained.set()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("Batcher.start() comes first.")
        return self._loop

    async def _by_deadline(self, work: Job | Steps) -> Any:
        seconds = work.deadline - time.monotonic()
        timer = self._running_loop().call_later(seconds, _expire, work.answer)
        try:
            return await work.answer
        finally:
            timer.cancel()


def _settle(finished: Sequence[Job | Steps]) -> None:
    """Resolve futures, on the event loop; those already done belong to callers who left."""
    for work in finished:
        if work.answer.done():
            continue
        if work.error is not None:
            work.answer.set_exception(work.error)
        else:
            work.answer.set_result(work.merged() if isinstance(work, Job) else work.value)


def _expire(answer: "asyncio.Future[Any]") -> None:
    if not answer.done():
        answer.set_exception(DeadlineExceeded(TOO_LATE))
