"""What the training loop asks of a way to learn: views of each image in, a loss to minimise out."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from models.encoders import Encoder
from models.prior import PriorCritic
from models.shares import WHOLE, Shares
from models.types import Features, Images


class Method(nn.Module):
    """An encoder with the critics that train it; the loop knows no method but this.

    `num_views` views of each image are drawn a step, each given to `forward` as one batch of
    normalised images. A method with a prior critic plays its game in steps of its own.

    Where many processes train together, each gives `forward` its share of the batch and sets
    `shares`; the loss is that of the whole batch all the same.
    """

    num_views: ClassVar[int] = 1
    encoder: Encoder
    prior_critic: PriorCritic | None
    shares: Shares = WHOLE

    def forward(
        self, *views: Images, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor], Features]:
        """Return the loss to minimise, its parts (bounds in nats) and the first view's features."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def prior_loss(self, features: Features, generator: torch.Generator | None = None) -> Tensor:
        """Return the prior critic's own loss; ValueError for a method that has no such critic."""
        raise NotImplementedError(f"{type(self).__name__} does not define prior_loss")

    def bound_parameters(self) -> list[nn.Parameter]:
        """Every parameter but the prior critic's: what the loss of `forward` may step."""
        apart = {id(p) for p in self.prior_critic.parameters()} if self.prior_critic else set()
        return [p for p in self.parameters() if id(p) not in apart]
