"""Deep InfoMax: alpha * global bound + beta * local bound - gamma * prior game.

arXiv 1808.06670, equation 8. The mutual-information terms use Y before any sigmoid; the prior
game is played on Y in prior space (models/prior.py), by steps of its own.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.critics import Critic
from models.encoders import Encoder
from models.method import Method
from models.negatives import NEGATIVES
from models.objectives import OBJECTIVES
from models.prior import (
    PriorCritic,
    check_prior,
    critic_loss,
    draw_prior,
    encoder_loss,
    to_prior_space,
)
from models.registry import look_up
from models.types import Features, Images


@dataclass(frozen=True)
class DimTerms:
    """What the encoder and the critics optimise, and how much each part weighs."""

    objective: str = "jsd"
    negatives: str = "all"
    alpha: float = 0.0  # global bound
    beta: float = 1.0  # local bound
    gamma: float = 0.1  # prior game
    prior: str = "uniform"
    prior_penalty: float = 1.0  # weight of the prior critic's gradient penalty


class DeepInfoMax(Method):
    """An encoder with the critics that train it; a critic whose weight is 0 may be None."""

    def __init__(
        self,
        encoder: Encoder,
        terms: DimTerms,
        *,
        local_critic: Critic | None = None,
        global_critic: Critic | None = None,
        prior_critic: PriorCritic | None = None,
    ) -> None:
        super().__init__()
        needed = {
            "alpha": (terms.alpha, global_critic),
            "beta": (terms.beta, local_critic),
            "gamma": (terms.gamma, prior_critic),
        }
        for name, (weight, critic) in needed.items():
            if weight and critic is None:
                raise ValueError(f"{name} is {weight}, so its critic is needed; give it or set 0")
        self.objective = look_up("objective", OBJECTIVES, terms.objective)
        self.negatives = look_up("negatives", NEGATIVES, terms.negatives)
        check_prior(terms.prior)
        self.terms = terms
        self.encoder = encoder
        self.local_critic, self.global_critic = local_critic, global_critic
        self.prior_critic = prior_critic

    def forward(
        self, *views: Images, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor], Features]:
        """Return the loss to minimise, its parts (bounds in nats) and the features.

        The prior critic takes part but must not be stepped by this loss: see `prior_loss`.
        """
        (images,) = views
        features: Features = self.encoder(images)
        parts: dict[str, Tensor] = {}
        loss = features.y.new_zeros((), dtype=torch.float32)
        weighted = (
            ("global", self.terms.alpha, self.global_critic),
            ("local", self.terms.beta, self.local_critic),
        )
        for name, weight, critic in weighted:
            if critic is not None and weight:
                scores = self.negatives(critic, features.y, features.map, generator, self.shares)
                parts[f"{name}_bound"] = self.objective(scores)
                loss = loss - weight * parts[f"{name}_bound"]
        if self.prior_critic is not None and self.terms.gamma:
            sample = to_prior_space(self.shares.gather(features.y.float()), self.terms.prior)
            parts["prior_encoder_loss"] = encoder_loss(self.prior_critic, sample)
            loss = loss + self.terms.gamma * parts["prior_encoder_loss"]
        return loss, parts, features

    def prior_loss(self, features: Features, generator: torch.Generator | None = None) -> Tensor:
        """The prior critic's own loss for its own step, on the batch's detached summaries."""
        if self.prior_critic is None:
            raise ValueError("this model has no prior critic; set gamma above 0 to play its game")
        y = self.shares.gather(features.y.detach().float())
        sample = to_prior_space(y, self.terms.prior)
        z = draw_prior(sample, self.terms.prior, generator)
        return critic_loss(self.prior_critic, z, sample, self.terms.prior_penalty)
