"""Where a step's images come from: rows of the set in, pixels on the device out."""

from collections.abc import Generator, Iterable
from typing import Protocol, runtime_checkable

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
