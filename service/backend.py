"""The service behind its routes: engine, batcher, decoding threads, and the way up and down."""

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Generator, Mapping

import numpy as np

from service.batcher import Batcher
from service.decoding import DecodePool
from service.engine import Engine, Floats
from service.errors import Draining, NotReady, ServiceError
from service.exchange import Exchange
from service.images import decode
from service.metrics import Metrics
from service.reading import Upload, read_upload
from service.settings import Settings

logger = logging.getLogger("infomax.service")

WARM_UP_S = 300.0  # the most that measuring at start may take


class Backend:
    """One engine being served.

    version   the checkpoint's identity, in every answer's X-Model-Version
    draining  whether new work is refused, because the service is shutting down
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings = settings
        self.engine = engine
        self.limits = settings.limits
        self.version = engine.card.identity
        self.metrics = Metrics()
        self.batcher = Batcher(
            engine.encode,
            self.metrics,
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
            max_queue_s=settings.max_queue_s,
        )
        self.decoder = DecodePool(
            settings.decode_threads,
            functools.partial(decode, preprocessing=engine.card.preprocessing, limits=self.limits),
            self.batcher.submit,
            self.batcher.fail,
        )
        self._started = False
        self.draining = False
        self.metrics.watch("infomax_queue_images", "Admitted, not answered.", lambda: self.pending)
        self.metrics.watch("infomax_batch_cap", "Largest batch now.", lambda: self.batcher.cap)
        self.metrics.watch("infomax_ready", "1 if ready, else 0.", lambda: not self.unready())

    @property
    def pending(self) -> int:
        """Images accepted and not answered yet."""
        return self.batcher.pending

    async def start(self) -> None:
        """Start the threads and warm the engine up; ready when this returns."""
        self.batcher.start()
        self.decoder.start()
        warm_up = _once(self.engine.warm_up, self.settings.max_batch)
        await self.batcher.run(warm_up, time.monotonic() + WARM_UP_S)
        self._started = True

    def begin_drain(self) -> None:
        """Refuse new work from now on; what was accepted is still answered."""
        self.draining = True

    async def stop(self) -> None:
        """Answer what was accepted, then stop every thread."""
        self.begin_drain()
        if not await self.batcher.drain(self.settings.drain_s):
            logger.warning("%d images were not answered in time", self.batcher.pending)
        await asyncio.to_thread(self.decoder.close)
        await self.batcher.close()

    def unready(self) -> ServiceError | None:
        """Say why this service should get no requests, or None."""
        return self._closed() or self.stalled()

    def stalled(self) -> ServiceError | None:
        """Say why this service should be restarted, or None."""
        if self.batcher.silent_s() > self.settings.stall_s or not self.decoder.alive():
            return NotReady("The model has stopped answering.", retry_after_s=30)
        return None

    def _closed(self) -> ServiceError | None:
        if self.draining:
            return Draining("The service is shutting down; another instance may answer.")
        if not self._started:
            return NotReady("The service is starting.", retry_after_s=5)
        return None

    async def read(self, exchange: Exchange, fields: tuple[str, ...]) -> Upload:
        """Read a request's images; refuses all if the service takes no new work."""
        upload = await read_upload(exchange, self.limits, fields, self.settings.body_timeout_s)
        if error := self._closed():  # only now: who is still sending would not hear the answer
            raise error
        return upload

    def deadline(self, exchange: Exchange) -> float:
        """Give a request's deadline, on the monotonic clock."""
        return exchange.deadline(self.settings.timeout_ms, self.settings.max_timeout_ms)

    async def encode(
        self, exchange: Exchange, upload: Upload, heads: frozenset[str]
    ) -> Mapping[str, Floats]:
        """Decode and encode a request's images: head -> (images, ...). Raises ServiceError."""
        sources = upload.sources
        job = self.batcher.admit(len(sources), heads, self.deadline(exchange))
        exchange.job = job
        exchange.watch()
        if self._are_pixels(upload):
            job.pixels = np.array(upload.block, order="C")
            self.batcher.submit(job)
        else:
            self.decoder.put(job, sources)
        return await self.batcher.answer(job)

    def _are_pixels(self, upload: Upload) -> bool:
        """Tell whether an uploaded array is what the model takes, with nothing left to decode."""
        wanted = self.engine.card.preprocessing
        size = (wanted.size, wanted.size, wanted.channels)
        return upload.block is not None and upload.block.shape[1:] == size


def _once(function: Callable[[int], None], argument: int) -> Generator[None, None, None]:
    """Make a computation that gives way once, and then is done."""
    yield
    function(argument)
