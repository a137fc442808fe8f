"""The thread that owns the model: it takes work in, forms batches, runs them and hands answers out.

It alone touches the queue, so there are no locks, and it outlives any batch: should it fall over,
what was running is answered with an error and it goes on. Its heartbeat tells whether it moves.
"""

import heapq
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from service import batches
from service.errors import DeadlineExceeded, Draining, ModelFailed, OutOfMemory, ServiceError
from service.jobs import Arrays, Job, Pixels, Slice, Steps

logger = logging.getLogger("infomax.batcher")

IDLE_BEAT_S = 1.0
GROW_AFTER = 16  # successful batches at a lowered cap before it doubles again
MEMORY_ATTEMPTS = 3  # for an image alone
RATE_WEIGHT = 0.1  # of the newest batch in the measured drain rate
RATE_BATCHES = 8  # measured before the rate is believed: the first passes are slow
TOO_LATE = "The deadline passed before the answer was there; X-Timeout-Ms may set a later one."

Encode = Callable[[Pixels, frozenset[str]], Arrays]
Work = Job | Steps


class Observer(Protocol):
    """Who is told what happens; called from the owner's thread."""

    def batch(self, images: int, seconds: float) -> None:
        """A forward pass over so many images succeeded."""

    def dropped(self, reason: str) -> None:
        """Work was dropped before the model saw it: "expired" or "cancelled"."""


class Owner:
    """The thread, its queue, and what it has measured.

    encode     see service.batcher.Batcher
    deliver    is given work that is finished or has an error; called from this thread
    max_batch  images in one call of `encode`
    """

    def __init__(
        self,
        encode: Encode,
        deliver: Callable[[Sequence[Work]], None],
        observer: Observer,
        max_batch: int,
    ) -> None:
        self.cap = max_batch
        self.rate = 0.0  # images a second; 0 while too few batches were measured
        self._images, self._seconds, self._batches = 0.0, 0.0, 0  # newest batches weigh most
        self._beat = time.monotonic()
        self._inbox: SimpleQueue[Work | None] = SimpleQueue()
        self._encode = encode
        self._deliver = deliver
        self._observer = observer
        self._max_batch = max_batch
        self._successes = 0
        self._order = itertools.count()
        self._jobs: list[batches.Entry] = []
        self._steps: list[tuple[float, int, Steps]] = []
        self._running: list[Work] = []
        self._closing = False
        self._thread = threading.Thread(target=self._supervise, name="model", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, work: Work) -> None:
        """Queue work; from any thread."""
        self._inbox.put(work)

    def close(self) -> None:
        """Stop after the current batch; what is still queued is refused. Blocks until then."""
        if self._thread.is_alive():
            self._inbox.put(None)
            self._thread.join()

    def silent_s(self) -> float:
        """Seconds since the last heartbeat; infinite if the thread is gone."""
        return time.monotonic() - self._beat if self._thread.is_alive() else math.inf

    # ------------------------------------------------------------------------ in the thread

    def _supervise(self) -> None:
        while not self._closing:
            try:
                self._work()
            except BaseException:
                logger.exception("the owner of the queue fell over and starts again")
                for work in self._running:
                    self._fail(work, ModelFailed("The model failed."))
        for work in self._queued():
            self._fail(work, Draining("The service has shut down."))

    def _work(self) -> None:
        while not self._closing:
            self._beat = time.monotonic()
            self._collect()
            batch = batches.take(self._jobs, self.cap, self._wanted)
            self._running = [part.job for part in batch]
            self._run(batch)
            self._running = []
            self._step()

    def _collect(self) -> None:
        """Take in all that has come; sleep only if there is nothing to do."""
        try:
            if not self._jobs and not self._steps:
                self._sort_in(self._inbox.get(timeout=IDLE_BEAT_S))
            while True:
                self._sort_in(self._inbox.get_nowait())
        except Empty:
            pass

    def _sort_in(self, work: Work | None) -> None:
        if isinstance(work, Job):
            heapq.heappush(self._jobs, (work.deadline, next(self._order), work))
        elif isinstance(work, Steps):
            heapq.heappush(self._steps, (work.deadline, next(self._order), work))
        else:
            self._closing = True

    def _wanted(self, work: Work) -> bool:
        """Tell whether somebody still waits for this work; count it as dropped otherwise."""
        if work.error is not None:  # answered, and counted, already
            return False
        if work.deadline <= time.monotonic():
            self._observer.dropped("expired")
            self._fail(work, DeadlineExceeded(TOO_LATE))
            return False
        if work.answer.done():
            self._observer.dropped("cancelled")
            return False
        return True

    def _run(self, batch: Sequence[Slice], attempt: int = 1) -> None:
        """Run a batch, in halves if it fails, and deliver what is finished."""
        batch = [part for part in batch if not part.job.dead()]
        if not batch:
            return
        if batches.count(batch) > self.cap:  # it has shrunk since this batch was formed
            self._run_halves(batch)
            return
        started = self._beat = time.monotonic()
        try:
            arrays = self._encode(batches.gather(batch), batches.heads(batch))
        except MemoryError:
            self._without_memory(batch, attempt)
        except Exception as error:  # noqa: BLE001  whatever the model raises, it is the image's fault
            self._with_a_guilty_image(batch, error)
        else:
            self._hand_out(batch, arrays, time.monotonic() - started)

    def _run_halves(self, batch: Sequence[Slice]) -> None:
        for half in batches.halves(batch):
            self._run(half)

    def _without_memory(self, batch: Sequence[Slice], attempt: int) -> None:
        images = batches.count(batch)
        self.cap, self._successes = max(1, min(self.cap, images // 2)), 0
        logger.warning("out of memory at %d images; the largest batch is now %d", images, self.cap)
        if images > 1:
            self._run_halves(batch)
        elif attempt < MEMORY_ATTEMPTS:
            self._run(batch, attempt + 1)
        else:
            part = batch[0]
            sentence = "The model has no memory for this image."
            self._fail(part.job, OutOfMemory(sentence, index=part.start))

    def _with_a_guilty_image(self, batch: Sequence[Slice], error: Exception) -> None:
        if batches.count(batch) > 1:
            self._run_halves(batch)
        else:
            logger.error("the model failed on one image", exc_info=error)
            part = batch[0]
            sentence = "The model failed on this image."
            self._fail(part.job, ModelFailed(sentence, index=part.start))

    def _hand_out(self, batch: Sequence[Slice], arrays: Arrays, seconds: float) -> None:
        images = batches.count(batch)
        self._measure(images, seconds)
        finished, row = [], 0
        for part in batch:
            job = part.job
            job.parts.append({head: arrays[head][row : row + part.images] for head in job.heads})
            job.forward_s += seconds
            job.batch = max(job.batch, images)
            job.missing -= part.images
            row += part.images
            if job.missing == 0:
                job.queue_s = max(0.0, time.monotonic() - job.submitted - job.forward_s)
                finished.append(job)
        self._deliver(finished)

    def _measure(self, images: int, seconds: float) -> None:
        self._observer.batch(images, seconds)
        self._images += images - RATE_WEIGHT * self._images
        self._seconds += max(seconds, 1e-6) - RATE_WEIGHT * self._seconds
        self._batches += 1
        if self._batches >= RATE_BATCHES:
            self.rate = self._images / self._seconds
        self._successes += 1
        if self.cap < self._max_batch and self._successes >= GROW_AFTER:
            self.cap, self._successes = min(self._max_batch, self.cap * 2), 0

    def _step(self) -> None:
        """Advance the most urgent computation by one step."""
        if not self._steps:
            return
        entry = heapq.heappop(self._steps)
        work = entry[2]
        if not self._wanted(work):
            work.steps.close()
            return
        self._running = [work]
        try:
            next(work.steps)
            heapq.heappush(self._steps, entry)
        except StopIteration as end:
            work.value = end.value
            self._deliver([work])
        except MemoryError:
            self._fail(work, OutOfMemory("The model has no memory for so many pairs."))
        except Exception:
            logger.exception("a computation in the model's thread failed")
            self._fail(work, ModelFailed("The model failed on these images."))
        self._running = []

    def _fail(self, work: Work, error: ServiceError) -> None:
        work.error = error
        self._deliver([work])

    def _queued(self) -> list[Work]:
        """Everything that still waits, when the owner goes."""
        waiting: list[Work] = [entry[2] for entry in self._jobs]
        waiting += [entry[2] for entry in self._steps]
        while not self._inbox.empty():
            work = self._inbox.get_nowait()
            waiting += [work] if work is not None else []
        return waiting
