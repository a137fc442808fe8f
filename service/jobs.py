"""What waits in the batcher's queue: the images of one request, or steps of a longer computation.

Both are answered through an asyncio future, which is resolved exactly once. Work whose future is
done (answered, cancelled by its caller, past its deadline) is dead, and never reaches the model.
"""

import asyncio
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (images, size, size, channels)
Arrays = Mapping[str, NDArray[np.float32]]  # head -> (images, ...)


@dataclass(eq=False, slots=True)
class Job:
    """The images of one request and the heads wanted of them.

    deadline  on the monotonic clock, seconds
    pixels    (images, size, size, channels), there once decoded
    taken     images already given to a batch; the others still wait
    batch     images of the largest batch this job was part of

    The durations are seconds: `queue_s` from decoded to answered less `forward_s`, the time spent
    in batches that held an image of this job.
    """

    images: int
    heads: frozenset[str]
    deadline: float
    answer: "asyncio.Future[Arrays]"
    pixels: Pixels | None = None
    submitted: float = 0.0
    taken: int = 0
    parts: list[Arrays] = field(default_factory=list)
    missing: int = 0
    error: Exception | None = None
    batch: int = 0
    decode_s: float = 0.0
    queue_s: float = 0.0
    forward_s: float = 0.0

    @property
    def waiting(self) -> int:
        """Images not yet given to a batch."""
        return self.images - self.taken

    def dead(self) -> bool:
        """Tell whether nobody waits for this job any more."""
        return self.error is not None or self.answer.done()

    def merged(self) -> Arrays:
        """Join the parts that came from different batches, in the order of the images."""
        if len(self.parts) == 1:
            return self.parts[0]
        return {head: np.concatenate([part[head] for part in self.parts]) for head in self.heads}


@dataclass(slots=True)
class Slice:
    """Consecutive images of one job, as they stand in one batch."""

    job: Job
    start: int
    stop: int

    @property
    def images(self) -> int:
        """How many images."""
        return self.stop - self.start

    @property
    def pixels(self) -> Pixels:
        """(images, size, size, channels)."""
        assert self.job.pixels is not None, "a job is queued once its pixels are decoded"  # noqa: S101
        return self.job.pixels[self.start : self.stop]

    def split(self, images: int) -> tuple["Slice", "Slice"]:
        """Cut after so many images."""
        middle = self.start + images
        return Slice(self.job, self.start, middle), Slice(self.job, middle, self.stop)


@dataclass(eq=False, slots=True)
class Steps:
    """A computation in the model's thread that gives way to batches each time it yields."""

    steps: Generator[None, None, Any]
    deadline: float
    answer: "asyncio.Future[Any]"
    value: Any = None
    error: Exception | None = None

    def dead(self) -> bool:
        """Tell whether nobody waits for this computation any more."""
        return self.answer.done()
