"""The threads that decode: from a request's uploaded images to one block of pixels.

Requests take turns image by image, so that a request with many or large images does not hold up the
small ones behind it. The thread that decodes a request's last image hands the job straight to the
batcher: the event loop is not woken in between.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from service.errors import ImageUndecodable, InternalError, OutOfMemory, ServiceError
from service.images import Source
from service.jobs import Job

logger = logging.getLogger("infomax.decoding")

Decode = Callable[[Source], NDArray[np.uint8]]


class Decoding:
    """A job in the decoding threads; `following` is the index of the next image to decode."""

    __slots__ = ("following", "job", "missing", "pixels", "sources", "started")

    def __init__(self, job: Job, sources: Sequence[Source]) -> None:
        self.job = job
        self.sources = sources
        self.pixels: list[NDArray[np.uint8] | None] = [None] * len(sources)
        self.following = 0
        self.missing = len(sources)
        self.started = time.monotonic()


class DecodePool:
    """So many threads; each image is decoded alone, and a bad one fails its own request alone.

    decode  one image -> pixels (size, size, channels), or ServiceError
    submit  takes a job whose pixels are there      fail  takes a job and its error
    """

    def __init__(
        self,
        threads: int,
        decode: Decode,
        submit: Callable[[Job], None],
        fail: Callable[[Job, ServiceError], None],
    ) -> None:
        self._decode = decode
        self._submit = submit
        self._fail = fail
        self._queue: SimpleQueue[Decoding | None] = SimpleQueue()
        self._counting = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, name=f"decode-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def put(self, job: Job, sources: Sequence[Source]) -> None:
        """Decode a job's images, one a source, then submit it."""
        self._queue.put(Decoding(job, sources))

    def close(self) -> None:
        """Stop the threads after the images they are at."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def alive(self) -> bool:
        """Tell whether every thread is there."""
        return all(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (decoding := self._queue.get()) is not None:
            if decoding.job.dead() or decoding.job.deadline <= time.monotonic():
                continue  # its future resolves at its deadline, or has done so
            index = decoding.following
            decoding.following += 1
            if decoding.following < len(decoding.sources):
                self._queue.put(decoding)
            self._decode_one(decoding, index)

    def _decode_one(self, decoding: Decoding, index: int) -> None:
        try:
            decoding.pixels[index] = self._decode(decoding.sources[index])
        except ServiceError as error:
            self._refuse(decoding, error, index)
        except MemoryError:
            self._refuse(decoding, OutOfMemory("There is no memory to decode this image."), index)
        except Exception:
            logger.exception("an image failed in a way that nobody foresaw")
            self._refuse(decoding, InternalError("Decoding failed; the log says why."), index)
        except BaseException:
            self._refuse(decoding, ImageUndecodable("The image cannot be decoded."), index)
            raise
        else:
            self._count(decoding)

    def _refuse(self, decoding: Decoding, error: ServiceError, index: int) -> None:
        error.index = index
        self._fail(decoding.job, error)

    def _count(self, decoding: Decoding) -> None:
        with self._counting:
            decoding.missing -= 1
            last = decoding.missing == 0
        if last and not decoding.job.dead():
            decoding.job.pixels = _block(decoding.pixels)
            decoding.job.decode_s = time.monotonic() - decoding.started
            self._submit(decoding.job)


def _block(pixels: Sequence[NDArray[np.uint8] | None]) -> NDArray[np.uint8]:
    """(images, size, size, channels)."""
    arrays = [one for one in pixels if one is not None]
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
