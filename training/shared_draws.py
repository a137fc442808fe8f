"""Draws for the images of a batch, one an image, that do not depend on how the batch is shared.

Whatever changes images at random draws here: where the batch lies in shares over processes, each
draws for all of it and keeps its own rows. Only numbers are drawn for the whole batch; images are
changed by the process that has them.
"""

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor


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


def batch_of(count: int, generator: Generator) -> int:
    """Images of the batch to draw for, where this process has `count` of them."""
    return count * generator.world if isinstance(generator, ShareOfDraws) else count


def own_draws(drawn: Tensor, generator: Generator, axis: int = 0) -> Tensor:
    """What was drawn for this process's images, of draws for the batch along `axis`."""
    if not isinstance(generator, ShareOfDraws):
        return drawn
    return drawn.chunk(generator.world, axis)[generator.rank]
