"""A batch may lie in equal shares over processes; this is all that methods know of it.

What compares images gathers them first. What is drawn for images is drawn for the whole batch, and
each process keeps what belongs to its own, so that they see the same in one process and in eight.
"""

from jaxtyping import Float
from torch import Tensor


class Shares:
    """All of a batch in this process; training/distributed.py has the form for many processes.

    A loss made of what these functions give is the loss of the whole batch, in every process.
    """

    world = 1  # shares of a batch

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
