"""Where a step's images come from: rows of the set in, pixels on the device out."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol, runtime_checkable

import torch

from models.types import Pixels
from training.draws import Rows


@runtime_checkable  # the shape checker of the tests looks at arguments
class Source(Protocol):
    """A set of images, all of one size, that can be asked for any rows."""

    def __len__(self) -> int:
        """Count the images of the set."""

    def batches(self, rows: Iterable[Rows]) -> Generator[Pixels]:
        """The pixels (rows, H, W, C) uint8 of each batch, in order, on the device.

        May read ahead in `rows`; closing the generator ends whatever works for it.
        """


class Resident:
    """The whole set as one tensor on the device."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        """Count the images of the set."""
        return len(self.pixels)

    def batches(self, rows: Iterable[Rows]) -> Generator[Pixels]:
        """Gather each batch on the device; only its row numbers travel there."""
        device = self.pixels.device
        for chosen in rows:
            asked = chosen.pin_memory() if device.type == "cuda" else chosen
            yield self.pixels.index_select(0, asked.to(device, non_blocking=True))


class Streamed:
    """A set in a file that is mapped into memory: threads read a few batches ahead of the step."""

    READERS, BATCHES_AHEAD = 4, 8

    def __init__(self, pixels: Pixels, device: torch.device) -> None:
        self.pixels, self.device = pixels, device

    def __len__(self) -> int:
        """Count the images of the set."""
        return len(self.pixels)

    def batches(self, rows: Iterable[Rows]) -> Generator[Pixels]:
        """Gather batches on the host, each by one thread, and send them on in their order."""
        coming = iter(rows)
        waiting: deque[Future[Pixels]] = deque()
        with ThreadPoolExecutor(self.READERS, "read ahead") as pool:
            try:
                for chosen in islice(coming, self.BATCHES_AHEAD):
                    waiting.append(pool.submit(self._gather, chosen))
                while waiting:
                    batch = waiting.popleft().result()
                    for chosen in islice(coming, 1):
                        waiting.append(pool.submit(self._gather, chosen))
                    yield batch.to(self.device, non_blocking=True)
            finally:
                for each in waiting:
                    each.cancel()

    def _gather(self, rows: Rows) -> Pixels:
        # numpy's take, not torch's: it leaves the threads of the step alone.
        batch = torch.from_numpy(self.pixels.numpy().take(rows.numpy(), axis=0))
        return batch.pin_memory() if self.device.type == "cuda" else batch
