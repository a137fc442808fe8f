"""Deep InfoMax: alpha * global bound + beta * local bound - gamma * prior game.

arXiv 1808.06670, equation 8. The mutual-information terms use Y before any sigmoid; the prior
game is played on Y in prior space (models/prior.py), by steps of its own. Section 4.4 adds tasks
on places: coordinates (models/coordinates.py) and occlusion (models/occlusion.py).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.coordinates import CoordinateHead, RelativeCoordinateHead
from models.critics import Critic
from models.encoders import Encoder
from models.globals import as_images, over_globals
from models.method import Method
from models.mine import NOTHING_AVERAGED, mine, with_gradient_of
from models.negatives import NEGATIVES
from models.objectives import OBJECTIVES
from models.occlusion import check_occlusion, occlude
from models.prior import (
    PriorCritic,
    check_prior,
    critic_loss,
    draw_prior,
    encoder_loss,
    to_prior_space,
)
from models.registry import look_up
from models.types import Features, Images, Scores


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
    coordinates: float = 0.0  # cross-entropy of a place's coordinates
    relative_coordinates: float = 0.0  # cross-entropy of the offset of two places
    occlusion: int = 0  # least side of the block hidden from Y, pixels; 0: nothing is hidden
    num_globals: int = 1  # equal parts of Y that are scored apart
    dv_ema: float = 0.0  # rate of MINE's moving average, with the objective dv; 0: plain dv


class DeepInfoMax(Method):
    """An encoder with the critics and heads that train it; one whose weight is 0 may be None.

    With several globals, the critics are built for one of them (summary_dim / num_globals).
    """

    log_averages: Tensor

    def __init__(
        self,
        encoder: Encoder,
        terms: DimTerms,
        *,
        local_critic: Critic | None = None,
        global_critic: Critic | None = None,
        prior_critic: PriorCritic | None = None,
        coordinate_head: CoordinateHead | None = None,
        relative_coordinate_head: RelativeCoordinateHead | None = None,
    ) -> None:
        super().__init__()
        check_terms(terms, encoder)
        needed = {
            "alpha": (terms.alpha, global_critic),
            "beta": (terms.beta, local_critic),
            "gamma": (terms.gamma, prior_critic),
            "coordinates": (terms.coordinates, coordinate_head),
            "relative_coordinates": (terms.relative_coordinates, relative_coordinate_head),
        }
        for name, (weight, part) in needed.items():
            if weight and part is None:
                what = "head" if name.endswith("coordinates") else "critic"
                raise ValueError(f"{name} is {weight}, so its {what} is needed; give it or set 0")
        self.objective = look_up("objective", OBJECTIVES, terms.objective)
        self.negatives = look_up("negatives", NEGATIVES, terms.negatives)
        check_prior(terms.prior)
        self.terms = terms
        self.encoder = encoder
        self.local_critic = over_globals(local_critic, terms.num_globals)
        self.global_critic = over_globals(global_critic, terms.num_globals)
        self.prior_critic = prior_critic
        self.coordinate_head = coordinate_head
        self.relative_coordinate_head = relative_coordinate_head
        if terms.dv_ema:  # one moving average a bound, logarithms; saved with the weights
            self.register_buffer("log_averages", torch.full((2,), NOTHING_AVERAGED))

    def forward(
        self, *views: Images, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor], Features]:
        """Return the loss to minimise, its parts (bounds in nats) and the features.

        The prior critic takes part but must not be stepped by this loss: see `prior_loss`.
        """
        (images,) = views
        features = self.encode(images, generator)
        parts: dict[str, Tensor] = {}
        loss = features.y.new_zeros((), dtype=torch.float32)
        bounds = (
            ("global", self.terms.alpha, self.global_critic),
            ("local", self.terms.beta, self.local_critic),
        )
        for number, (name, weight, critic) in enumerate(bounds):
            if critic is not None and weight:
                scores = self.negatives(critic, features.y, features.map, generator, self.shares)
                bound = self.bound(as_images(scores, self.terms.num_globals), number)
                parts[f"{name}_bound"] = bound
                loss = loss - weight * bound
        heads = (
            ("coordinates", self.terms.coordinates, self.coordinate_head),
            (
                "relative_coordinates",
                self.terms.relative_coordinates,
                self.relative_coordinate_head,
            ),
        )
        for name, weight, head in heads:
            if head is not None and weight:
                parts[f"{name}_loss"] = head(features.y, features.map, generator, self.shares)
                loss = loss + weight * parts[f"{name}_loss"]
        if self.prior_critic is not None and self.terms.gamma:
            sample = to_prior_space(self.shares.gather(features.y.float()), self.terms.prior)
            parts["prior_encoder_loss"] = encoder_loss(self.prior_critic, sample)
            loss = loss + self.terms.gamma * parts["prior_encoder_loss"]
        return loss, parts, features

    def encode(self, images: Images, generator: torch.Generator | None) -> Features:
        """Encode the images; with occlusion, Y is that of the images with a block hidden.

        Both kinds go through the encoder as one batch, twice as large: batch normalisation sees
        both, so every image is normalised by the same statistics, which are the ones that serve.
        """
        if not self.terms.occlusion:
            features: Features = self.encoder(images)
            return features
        hidden = occlude(images, self.terms.occlusion, generator, self.shares)
        both: Features = self.encoder(torch.cat((images, hidden)))
        count = len(images)
        return Features(both.y[count:], both.map[:count], both.fc[:count], both.conv[:count])

    def bound(self, scores: Scores, number: int) -> Tensor:
        """The objective; with dv_ema its gradient is MINE's, from the moving average `number`."""
        bound = self.objective(scores)
        if not self.terms.dv_ema or not self.training:
            return bound
        surrogate, average = mine(scores, self.log_averages[number], self.terms.dv_ema)
        self.log_averages[number] = average
        return with_gradient_of(bound, surrogate)

    def prior_loss(self, features: Features, generator: torch.Generator | None = None) -> Tensor:
        """The prior critic's own loss for its own step, on the batch's detached summaries."""
        if self.prior_critic is None:
            raise ValueError("this model has no prior critic; set gamma above 0 to play its game")
        y = self.shares.gather(features.y.detach().float())
        sample = to_prior_space(y, self.terms.prior)
        z = draw_prior(sample, self.terms.prior, generator)
        return critic_loss(self.prior_critic, z, sample, self.terms.prior_penalty)


def check_terms(terms: DimTerms, encoder: Encoder) -> None:
    """Raise ValueError for terms that this encoder cannot be trained with."""
    if terms.occlusion:
        check_occlusion(terms.occlusion, encoder.image_size)
    if terms.num_globals < 1 or encoder.summary_dim % terms.num_globals:
        raise ValueError(
            f"num_globals cuts Y into equal parts, so it must divide summary_dim"
            f" {encoder.summary_dim}; {terms.num_globals} does not"
        )
    if terms.dv_ema and terms.objective != "dv":
        raise ValueError(
            f"dv_ema corrects the gradient of objective dv and {terms.objective} has no such bias;"
            ' set objective = "dv" or dv_ema = 0'
        )
