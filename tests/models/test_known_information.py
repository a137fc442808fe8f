"""Bounds on pairs of correlated Gaussians, whose divergences are known in closed form.

(x, y) with unit variances and correlation rho: MI = -log(1 - rho^2) / 2, 0.830 nats at rho 0.9.
"""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from models.critics import Critic
from models.negatives import NEGATIVES
from models.objectives import OBJECTIVES, infonce, jsd
from models.types import Scores

RHO = 0.9
MI = 0.830


def draw(rho, count):
    """x as summaries (N, 1), y as maps (N, 1, 1, 1)."""
    x = torch.randn(count, 1)
    y = rho * x + math.sqrt(1 - rho**2) * torch.randn(count, 1)
    return x, y[:, :, None, None]


class DensityRatio(Critic):
    """The critic that knows: log p(x, y) / p(x) p(y)."""

    places = (1, 1)

    def __init__(self, rho):
        super().__init__(rho=rho)
        self.rho = rho

    def score(self, x, y):
        rho, rest = self.rho, 1 - self.rho**2
        return (rho * x * y - rho**2 * (x**2 + y**2) / 2) / rest - math.log(rest) / 2

    def embed_summary(self, y_ID):
        return y_ID

    def embed_map(self, map_JCMM):
        return map_JCMM.flatten(1)[:, None]

    def score_all(self, y_IU, map_JPU):
        return self.score(y_IU, map_JPU.flatten().expand(len(y_IU), -1))[:, :, None]

    def score_paired(self, y_IU, map_IPU):
        return self.score(y_IU, map_IPU[:, 0])


class EluCritic(Critic):
    """A multi-layer perceptron 2 - 100 - 100 - 1 that must learn it."""

    places = (1, 1)

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2, 100), nn.ELU(), nn.Linear(100, 100), nn.ELU(), nn.Linear(100, 1)
        )

    def embed_summary(self, y_ID):
        return y_ID

    def embed_map(self, map_JCMM):
        return map_JCMM.flatten(1)[:, None]

    def score_all(self, y_IU, map_JPU):
        shape = (len(y_IU), len(map_JPU))
        pairs = (y_IU.expand(shape), map_JPU.flatten().expand(shape))
        return self.layers(torch.stack(pairs, -1))

    def score_paired(self, y_IU, map_IPU):
        return self.layers(torch.cat((y_IU, map_IPU[:, 0]), 1))


def learn(objective, negatives, rho, steps, batch):
    """Train a critic on fresh draws, return the bound on other draws."""
    critic = EluCritic()
    optimiser = torch.optim.Adam(critic.parameters(), 2e-3)
    bound, sample = OBJECTIVES[objective], NEGATIVES[negatives]
    for _ in range(steps):
        optimiser.zero_grad()
        (-bound(sample(critic, *draw(rho, batch), None))).backward()
        optimiser.step()
    with torch.no_grad():
        return measure(bound, critic, negatives, rho, batch)


def measure(bound, critic, negatives, rho, batch):
    """The bound on many draws: one large batch of single negatives, or a mean over batches."""
    if negatives == "roll":
        return bound(NEGATIVES["roll"](critic, *draw(rho, 20_000), None)).item()
    repeats = 12_800 // batch
    values = [bound(NEGATIVES["all"](critic, *draw(rho, batch), None)) for _ in range(repeats)]
    return torch.stack(values).mean().item()


@pytest.mark.parametrize(("objective", "offset"), [("dv", 0), ("nwj", 1)])
def test_at_the_density_ratio_the_bounds_on_mi_are_tight(objective, offset):
    scores = NEGATIVES["roll"](DensityRatio(RHO), *draw(RHO, 200_000), None)
    shifted = Scores(scores.positive + offset, scores.negative + offset)  # NWJ: T* = 1 + log ratio
    assert OBJECTIVES[objective](shifted).item() == pytest.approx(MI, abs=0.02)


def test_at_the_density_ratio_infonce_is_mi_or_its_ceiling():
    at_mi = measure(infonce, DensityRatio(RHO), "all", RHO, 128)
    assert at_mi == pytest.approx(MI, abs=0.05)
    rho = 0.99999  # MI 5.4 nats, above log 8
    at_ceiling = measure(infonce, DensityRatio(rho), "all", rho, 8)
    assert math.log(8) - 0.1 < at_ceiling <= math.log(8)


@pytest.mark.parametrize(
    ("objective", "optimum", "divergence"),
    [  # p the joint, q the product of marginals, u = p / q; optimum: log u -> T*
        ("rkl", lambda log_u: log_u, lambda r2: 1 / (1 - r2) - 1 + math.log(1 - r2) / 2),
        (
            "hellinger2",
            lambda log_u: log_u / 2,
            lambda r2: 2 - 2 * (1 - r2) ** 0.25 / (1 - r2 / 4) ** 0.5,
        ),
        ("pearson_x2", lambda log_u: 2 * (log_u.exp() - 1), lambda r2: r2 / (1 - r2)),
    ],
)
def test_the_other_divergences_are_their_closed_forms(objective, optimum, divergence):
    scores = NEGATIVES["roll"](DensityRatio(0.4), *draw(0.4, 200_000), None)
    best = Scores(*map(optimum, scores))
    assert OBJECTIVES[objective](best).item() == pytest.approx(divergence(0.4**2), abs=0.03)


@pytest.mark.parametrize("objective", sorted(set(OBJECTIVES) - {"infonce", "dv"}))
def test_the_known_optimum_cannot_be_bettered_by_a_shift_or_a_scale(objective):
    log_u = NEGATIVES["roll"](DensityRatio(0.5), *draw(0.5, 50_000), None)
    optimum = {
        "nwj": lambda t: 1 + t,
        "hellinger2": lambda t: t / 2,
        "pearson_x2": lambda t: 2 * (t.exp() - 1),
    }.get(objective, lambda t: t)
    best = Scores(*map(optimum, log_u))
    bound = OBJECTIVES[objective](best)
    for scale, shift in ((0.5, 0.0), (1.5, 0.0), (1.0, -0.3), (1.0, 0.3)):
        assert OBJECTIVES[objective](Scores(*(scale * t + shift for t in best))) < bound


@pytest.mark.parametrize(
    ("objective", "negatives", "steps", "batch"),
    [("dv", "roll", 500, 512), ("nwj", "roll", 500, 512), ("infonce", "all", 250, 64)],
)
def test_a_learned_critic_finds_the_mutual_information(objective, negatives, steps, batch):
    learned = learn(objective, negatives, RHO, steps, batch)
    assert learned == pytest.approx(MI, abs=0.1)


def test_a_learned_infonce_critic_reaches_its_ceiling_and_no_more():
    learned = learn("infonce", "roll", 0.9999, 200, 256)  # MI 4.3 nats, K = 2
    assert math.log(2) - 0.1 < learned <= math.log(2)


def test_jsd_is_ordered_with_mutual_information():
    rhos = (0.0, 0.3, 0.6, 0.9, 0.99)
    exact = [measure(jsd, DensityRatio(rho), "roll", rho, 0) for rho in rhos]
    assert exact[0] == pytest.approx(0, abs=1e-6)
    assert all(later > earlier + 0.02 for earlier, later in pairwise(exact))
    assert exact[-1] < 2 * math.log(2)


def test_a_learned_jsd_critic_keeps_that_order():
    learned = [learn("jsd", "roll", rho, 200, 256) for rho in (0.0, 0.6, 0.9, 0.99)]
    assert abs(learned[0]) < 0.03
    assert all(b > a + 0.05 for a, b in pairwise(learned))
