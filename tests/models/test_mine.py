"""MINE's moving average: its gradient beside a loop, its bias beside plain DV's, a known MI."""

import math

import pytest
import torch
from torch import nn

from models.critics import build_critic
from models.dim import DeepInfoMax, DimTerms
from models.encoders import build_encoder
from models.mine import NOTHING_AVERAGED, mine, with_gradient_of
from models.objectives import dv
from models.types import Scores

RATE = 0.1
NOTHING = torch.tensor(NOTHING_AVERAGED)


def scores_of(positive, negative):
    return Scores(positive[:, None], negative[:, None, None])


def test_the_gradient_and_the_average_are_those_of_a_loop():
    average, log_average = None, NOTHING
    for _ in range(4):
        positive, negative = torch.randn(6), torch.randn(6)
        leaves = [each.clone().requires_grad_(True) for each in (positive, negative)]
        surrogate, log_average = mine(scores_of(*leaves), log_average, RATE)
        surrogate.backward()
        exponentials = [math.exp(t) for t in negative.tolist()]
        mean = sum(exponentials) / len(exponentials)
        average = mean if average is None else (1 - RATE) * average + RATE * mean
        assert log_average.item() == pytest.approx(math.log(average), abs=1e-5)
        assert leaves[0].grad.tolist() == pytest.approx([1 / 6] * 6)
        expected = [-each / 6 / average for each in exponentials]
        assert leaves[1].grad.tolist() == pytest.approx(expected, rel=1e-4)


def test_the_first_batch_has_plain_dvs_gradient():
    leaves = [torch.randn(8, requires_grad=True) for _ in range(2)]
    plain = torch.autograd.grad(dv(scores_of(*leaves)), leaves)
    first = torch.autograd.grad(mine(scores_of(*leaves), NOTHING, RATE)[0], leaves)
    for one, other in zip(plain, first, strict=True):
        torch.testing.assert_close(one, other)


def test_scores_far_beyond_the_exponent_of_fp32_stay_finite():
    negative = torch.tensor([500.0, -500.0], requires_grad=True)
    log_average = NOTHING
    for shift in (0.0, 300.0, -300.0):
        surrogate, log_average = mine(scores_of(negative, negative + shift), log_average, RATE)
        (gradient,) = torch.autograd.grad(surrogate, negative)
        assert gradient.isfinite().all()
        assert surrogate.isfinite()
        assert log_average.isfinite()
    assert log_average == pytest.approx(800 + math.log(0.5 * RATE * (1 - RATE)), abs=1e-3)


def test_the_minibatch_gradient_is_less_biased_than_plain_dvs():
    """T = theta a, negatives with a in {0, 4} and e^4 rare: batches of 4 mostly miss it."""
    theta = torch.tensor(1.0, requires_grad=True)
    draw = torch.Generator().manual_seed(0)
    a = 4.0 * (torch.rand(400, 4, generator=draw) < 0.1)
    exact = -4 * 0.1 * math.exp(4) / (0.9 + 0.1 * math.exp(4))
    log_average, plain, corrected = torch.tensor(0.9 + 0.1 * math.exp(4)).log(), [], []
    for batch in a:
        plain += torch.autograd.grad(dv(scores_of(torch.zeros(4), theta * batch)), theta)
        surrogate, log_average = mine(scores_of(torch.zeros(4), theta * batch), log_average, 0.01)
        corrected += torch.autograd.grad(surrogate, theta)
    bias_of_plain, bias = (abs(torch.stack(g).mean() - exact) for g in (plain, corrected))
    assert bias_of_plain > 0.8
    assert bias < 0.3 * bias_of_plain


def test_a_learned_critic_finds_the_information_of_correlated_gaussians():
    rho, mi = 0.9, 0.830
    critic = nn.Sequential(nn.Linear(2, 100), nn.ELU(), nn.Linear(100, 100), nn.ELU())
    critic.append(nn.Linear(100, 1))
    optimiser = torch.optim.Adam(critic.parameters(), 2e-3)

    def scores(count):
        x = torch.randn(count)
        y = rho * x + math.sqrt(1 - rho**2) * torch.randn(count)
        joint, product = (critic(torch.stack((x, other), 1)) for other in (y, y.roll(1)))
        return Scores(joint, product[:, None])

    log_average = NOTHING
    for step in range(600):
        optimiser.param_groups[0]["lr"] = 4e-3 * (1 - step / 600)
        surrogate, log_average = mine(scores(512), log_average, 0.05)
        optimiser.zero_grad()
        (-surrogate).backward()
        optimiser.step()
    with torch.no_grad():
        assert dv(scores(100_000)).item() == pytest.approx(mi, abs=0.05)


def a_model(**terms):
    encoder = build_encoder("basic28x28", summary_dim=8, image_channels=1, fc_dim=16)
    shapes = {"summary_dim": 8, "map_shape": encoder.map_shape, "units": 8}
    return DeepInfoMax(
        encoder,
        DimTerms(objective="dv", alpha=1.0, gamma=0.0, **terms),
        local_critic=build_critic("local_dot", **shapes),
        global_critic=build_critic("global_dot", **shapes),
    )


def test_dim_reports_plain_dv_and_keeps_one_average_a_bound():
    model, images = a_model(dv_ema=RATE), torch.randn(6, 1, 28, 28)
    assert (model.log_averages == NOTHING_AVERAGED).all()
    averages = []
    for _ in range(2):
        loss, parts, _ = model(images)
        assert loss.item() == pytest.approx(-sum(part.item() for part in parts.values()), abs=1e-5)
        averages.append(model.log_averages.clone())
    assert averages[0].isfinite().all()
    assert averages[0][0] != averages[0][1]
    model.eval()(images)
    assert torch.equal(model.log_averages, averages[1])  # evaluation moves nothing
    assert "log_averages" in model.state_dict()  # what a resumed run goes on from


def test_the_bound_keeps_its_value_and_takes_the_surrogates_gradient():
    t = torch.tensor(2.0, requires_grad=True)
    given = with_gradient_of(t**2, 5 * t)
    assert given == 4
    assert torch.autograd.grad(given, t)[0] == 5


def test_an_average_for_another_objective_is_refused():
    encoder = build_encoder("basic28x28", summary_dim=8, image_channels=1, fc_dim=16)
    with pytest.raises(ValueError, match="jsd has no such bias"):
        DeepInfoMax(encoder, DimTerms(beta=0.0, gamma=0.0, objective="jsd", dv_ema=0.1))
