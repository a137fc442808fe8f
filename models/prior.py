"""Prior matching: an adversarial game that makes Y look like draws from a prior.

The critic D learns to tell z ~ prior from the encoder's summary; the encoder learns to fool it.
The two are played in alternating steps (arXiv 1808.06670, equation 7): minimised jointly, the
summary collapses to a constant. Everything is on logits.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from models.types import Summaries

PRIORS = ("uniform", "gaussian")

Loss = Float[Tensor, ""]


class PriorCritic(nn.Module):
    """Linear 1000 ReLU, 200 ReLU, 1 logit (arXiv 1808.06670, Table 6)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, 1000), nn.ReLU(), nn.Linear(1000, 200), nn.ReLU(), nn.Linear(200, 1)
        )

    def forward(self, samples: Summaries) -> Float[Tensor, " images"]:
        """Score samples in prior space; high means "drawn from the prior"."""
        logits: Tensor = self.layers(samples)
        return logits.squeeze(1).float()  # 16 bits under autocast; the losses want 32


def to_prior_space(y: Summaries, prior: str) -> Summaries:
    """Where the summary meets the prior: sigmoid(Y) in [0, 1]^D for uniform, Y for gaussian."""
    check_prior(prior)
    return y.sigmoid() if prior == "uniform" else y


def draw_prior(like: Summaries, prior: str, generator: torch.Generator | None = None) -> Summaries:
    """Draw as many samples of U[0, 1]^D or N(0, I) as `like` has rows."""
    check_prior(prior)
    draw = torch.rand if prior == "uniform" else torch.randn
    return draw(like.shape, generator=generator).to(like.device, non_blocking=True)


def critic_loss(critic: PriorCritic, z: Summaries, sample: Summaries, penalty: float) -> Loss:
    """The critic's loss on prior draws and (detached) encoder samples, plus penalty * gradient.

    The penalty is the squared norm of the logit's gradient in its input, averaged over every
    sample of both kinds.
    """
    z, sample = (x.detach().requires_grad_(penalty > 0) for x in (z, sample))
    real, fake = critic(z), critic(sample)
    loss = softplus(-real).mean() + softplus(fake).mean()
    if penalty > 0:
        loss = loss + penalty * squared_gradient(real, z) + penalty * squared_gradient(fake, sample)
    return loss


def encoder_loss(critic: PriorCritic, sample: Summaries) -> Loss:
    """The encoder's non-saturating loss: make the critic call its samples draws of the prior."""
    return softplus(-critic(sample)).mean()


def squared_gradient(logits: Float[Tensor, " images"], samples: Summaries) -> Loss:
    """Mean over samples of the squared norm of d logit / d sample, differentiable."""
    (gradient,) = torch.autograd.grad(logits.sum(), samples, create_graph=True)
    return gradient.square().sum(1).mean()


def check_prior(prior: str) -> None:
    """Raise ValueError for a prior that is not known."""
    if prior not in PRIORS:
        raise ValueError(f"prior must be one of {', '.join(PRIORS)}, not {prior!r}")
