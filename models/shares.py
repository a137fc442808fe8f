"""A batch may lie in equal shares over processes; what compares images gathers them first."""

from torch import Tensor


class Shares:
    """All of a batch in this process; training/distributed.py has the form for many processes.

    A loss made of gathered tensors is the loss of the whole batch, the same in every process.
    """

    def gather(self, share: Tensor) -> Tensor:
        """The batch, first axis images, of which this process holds `share`; with gradient."""
        return share

    def own(self, batch: Tensor) -> Tensor:
        """The rows of a batch that belong to this process."""
        return batch


WHOLE = Shares()
