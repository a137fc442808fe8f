"""A batch may lie in equal shares over processes; this is all that methods know of it.

What compares images gathers them first. What is drawn for images is drawn for the whole batch, and
each process keeps what belongs to its own: an image's view is the same in one process and in eight.
"""

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor


class Shares:
    """All of a batch in this process; training/distributed.py has the form for many processes.

    A loss made of what these functions give is the loss of the whole batch, in every process.
    """

    def gather(self, share: Tensor) -> Tensor:
        """The batch, first axis images, of which this process holds `share`; with gradient."""
        return share

    def own(self, batch: Tensor) -> Tensor:
        """The rows of a batch that belong to this process."""
        return batch

    def mean(self, value: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """The mean over the batch of what is a mean over this process's share; with gradient."""
        return self.gather(value[None]).mean()


WHOLE = Shares()


class ShareOfDraws(torch.Generator):
    """Like another generator, for the images that lie in one of `world` equal shares of a batch."""

    rank: int
    world: int

    @classmethod
    def of(cls, generator: Generator, rank: int, world: int) -> "ShareOfDraws":
        """Start as `generator` started; what it has drawn since does not count."""
        share = cls(generator.device)
        share.manual_seed(generator.initial_seed())
        share.rank, share.world = rank, world
        return share


def uniform(count: int, generator: Generator) -> Float[Tensor, " images"]:
    """One number in [0, 1) for each of `count` images, on the generator's device."""
    whole = batch_of(count, generator)
    drawn = torch.rand(whole, generator=generator, device=generator.device)
    return own_draws(drawn, generator)


def integers(count: int, low: int, high: int, generator: Generator) -> Int64[Tensor, " images"]:
    """One of low, ..., high - 1 for each of `count` images, on the generator's device."""
    size = (batch_of(count, generator),)
    drawn = torch.randint(low, high, size, generator=generator, device=generator.device)
    return own_draws(drawn, generator)


def batch_of(count: int, generator: Generator | None) -> int:
    """Images of the batch to draw for, where this process has `count` of them."""
    return count * generator.world if isinstance(generator, ShareOfDraws) else count


def own_draws(drawn: Tensor, generator: Generator | None, axis: int = 0) -> Tensor:
    """What was drawn for this process's images, of draws for the batch along `axis`."""
    if not isinstance(generator, ShareOfDraws):
        return drawn
    return drawn.chunk(generator.world, axis)[generator.rank]
