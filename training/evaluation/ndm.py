"""NDM, the neural dependency measure: how far the dimensions of Y are from independent, in nats.

KL(p(y) || prod_k p(y_k)), the total correlation of Y (arXiv 1808.06670, section 4.1). A draw of the
product is made by shuffling each dimension on its own along the batch. The critic is the prior's,
1000 - 200 - 1; it learns with f-GAN's KL (`nwj`) and is reported with Donsker-Varadhan, on test
images. 0 is independence; a critic that finds less than there is reports less.

Total correlation does not change when each dimension is mapped on its own by an invertible map, so
before and after the sigmoid it is the same number: two estimates that differ show the estimator's
error. Each dimension is standardised first, for the same reason without effect on the truth; the
paper's critic saw sigmoid(Y) as it was, and found less.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from models.objectives import dv, nwj
from models.prior import PriorCritic
from models.types import Scores, Summaries
from training.evaluation.fitting import SEED, FitSettings, fit, set_aside

SHUFFLES = 10  # product draws of every image when the bound is taken


def neural_dependency(
    train: Float[Tensor, "train dim"],
    test: Float[Tensor, "test dim"],
    settings: FitSettings,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Total correlation of the dimensions as found by the critic, on `test`, in nats."""
    device = train.device
    deviation, mean = torch.std_mean(train, dim=0, correction=0)
    y, test_y = ((part - mean) / deviation.clamp_min(1e-6) for part in (train, test))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SEED)
        critic = PriorCritic(y.shape[1]).to(device)
        rows, held = set_aside(len(y))

        def loss(batch: Tensor) -> Tensor:
            joint = y[batch.to(device)]
            return -nwj(_scores(critic, joint, shuffled(joint)))

        def goodness() -> float:
            return _bound(critic, y[held.to(device)])

        fit(critic, rows, loss, goodness, settings, progress)
        with torch.inference_mode():
            return _bound(critic, test_y)


def shuffled(y: Summaries, generator: torch.Generator | None = None) -> Summaries:
    """A draw from the product of marginals: every dimension permuted on its own over the images."""
    keys = torch.rand(y.shape, generator=generator).to(y.device)
    return y.gather(0, keys.argsort(dim=0))


def _bound(critic: PriorCritic, y: Summaries) -> float:
    """Donsker-Varadhan on these images, their shuffles drawn with a fixed seed."""
    generator = torch.Generator().manual_seed(SEED)
    product = torch.cat([shuffled(y, generator) for _ in range(SHUFFLES)])
    return float(dv(_scores(critic, y, product)))


def _scores(
    critic: PriorCritic,
    joint: Float[Tensor, "images dim"],
    product: Float[Tensor, "draws dim"],
) -> Scores:
    """As the objectives take them: one place, and the product's draws shared out to the images."""
    negative: Float[Tensor, " draws"] = critic(product)
    return Scores(critic(joint)[:, None], negative.reshape(len(joint), -1, 1))
