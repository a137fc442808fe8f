"""The prior game: alternating play matches the prior, joint minimisation collapses."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from models.dim import DeepInfoMax, DimTerms
from models.encoders import Encoder
from models.prior import (
    PRIORS,
    PriorCritic,
    critic_loss,
    draw_prior,
    encoder_loss,
    to_prior_space,
)
from models.types import Features

STD_OF_UNIFORM = 1 / math.sqrt(12)
STEPS = 250


class ToyEncoder(Encoder):
    """A perceptron from 4 x 4 images of noise to four numbers."""

    def __init__(self):
        super().__init__()
        self.summary_dim = 4
        self.to_fc = nn.Sequential(nn.Flatten(), nn.Linear(16, 64), nn.ReLU())
        self.to_y = nn.Linear(64, 4)

    def forward(self, images):
        fc = self.to_fc(images)
        return Features(y=self.to_y(fc), map=images, fc=fc, conv=fc)


def noise(images):
    return torch.randn(images, 1, 4, 4)


def adam(parameters):
    return torch.optim.Adam(parameters, 3e-3, betas=(0.5, 0.999))


def play_in_turns(prior):
    """The game as the training loop plays it; return an encoder's samples in prior space."""
    terms = DimTerms(alpha=0.0, beta=0.0, gamma=1.0, prior=prior, prior_penalty=0.3)
    model = DeepInfoMax(ToyEncoder(), terms, prior_critic=PriorCritic(4))
    encoder_step, critic_step = (
        adam(model.bound_parameters()),
        adam(model.prior_critic.parameters()),
    )
    for _ in range(STEPS):
        loss, _, features = model(noise(64))
        encoder_step.zero_grad()
        loss.backward()
        encoder_step.step()

        loss = model.prior_loss(features)
        critic_step.zero_grad()
        loss.backward()
        critic_step.step()
    with torch.no_grad():
        return to_prior_space(model.encoder(noise(2000)).y, prior)


def minimise_jointly(prior):
    """The wrong form: encoder and critic both minimise the critic's loss, so the encoder helps."""
    encoder, critic = ToyEncoder(), PriorCritic(4)
    step = adam([*encoder.parameters(), *critic.parameters()])
    for _ in range(STEPS):
        sample = to_prior_space(encoder(noise(64)).y, prior)
        z = draw_prior(sample, prior)
        loss = softplus(-critic(z)).mean() + softplus(critic(sample)).mean()
        step.zero_grad()
        loss.backward()
        step.step()
    with torch.no_grad():
        return to_prior_space(encoder(noise(2000)).y, prior)


def check_spread_is_uniform(sample):
    """Every dimension's standard deviation is within 20 % of U[0, 1]'s."""
    for std in sample.std(0):
        assert std.item() == pytest.approx(STD_OF_UNIFORM, rel=0.2)


def test_playing_in_turns_spreads_the_summary_as_the_uniform_prior_is():
    sample = play_in_turns("uniform")
    check_spread_is_uniform(sample)
    assert (sample.mean(0) - 0.5).abs().max() < 0.12
    quartiles = sample.quantile(torch.tensor([0.25, 0.5, 0.75]), dim=0).mean(1)
    assert quartiles.tolist() == pytest.approx([0.25, 0.5, 0.75], abs=0.08)


def test_minimising_jointly_collapses_the_summary():
    sample = minimise_jointly("uniform")
    assert sample.std(0).mean() < 0.05
    with pytest.raises(AssertionError):
        check_spread_is_uniform(sample)


def test_playing_in_turns_matches_the_gaussian_prior():
    sample = play_in_turns("gaussian")
    assert (sample.std(0) - 1).abs().max() < 0.2
    assert sample.mean(0).abs().max() < 0.4


def test_the_critic_is_1000_200_1_and_gives_logits():
    critic = PriorCritic(64)
    parameters = sum(p.numel() for p in critic.parameters())
    assert parameters == (64 * 1000 + 1000) + (1000 * 200 + 200) + (200 + 1)
    logits = critic(torch.randn(50, 64) * 30)
    assert logits.shape == (50,)
    assert logits.min() < 0 < logits.max()


def test_prior_space_is_the_sigmoid_for_uniform_and_y_itself_for_gaussian():
    y = torch.randn(5, 3)
    assert torch.equal(to_prior_space(y, "uniform"), y.sigmoid())
    assert torch.equal(to_prior_space(y, "gaussian"), y)


@pytest.mark.parametrize(
    ("prior", "mean", "std"), [("uniform", 0.5, STD_OF_UNIFORM), ("gaussian", 0, 1)]
)
def test_draws_follow_the_prior_and_the_generator(prior, mean, std):
    like = torch.zeros(5000, 4)
    draws = draw_prior(like, prior, torch.Generator().manual_seed(1))
    assert draws.shape == like.shape
    assert draws.mean(0).tolist() == pytest.approx([mean] * 4, abs=0.06)
    assert draws.std(0).tolist() == pytest.approx([std] * 4, rel=0.06)
    assert torch.equal(draws, draw_prior(like, prior, torch.Generator().manual_seed(1)))
    if prior == "uniform":
        assert draws.min() >= 0
        assert draws.max() <= 1


def test_an_unknown_prior_is_refused_with_the_known_ones():
    for call in (to_prior_space, draw_prior):
        with pytest.raises(
            ValueError, match="prior must be one of uniform, gaussian, not 'cauchy'"
        ):
            call(torch.zeros(2, 2), "cauchy")
    assert PRIORS == ("uniform", "gaussian")


def test_the_losses_are_cross_entropy_and_its_non_saturating_answer():
    critic = PriorCritic(3)
    z, sample = torch.rand(6, 3), torch.rand(6, 3)
    real, fake = critic(z).tolist(), critic(sample).tolist()
    called_right = [math.log1p(math.exp(-t)) for t in real], [math.log1p(math.exp(t)) for t in fake]
    expected = sum(map(sum, called_right)) / 6
    assert critic_loss(critic, z, sample, 0.0).item() == pytest.approx(expected, rel=1e-5)
    fooled = sum(math.log1p(math.exp(-t)) for t in fake) / 6
    assert encoder_loss(critic, sample).item() == pytest.approx(fooled, rel=1e-5)


def test_the_gradient_penalty_is_weighted_and_trains_the_critic():
    critic = PriorCritic(3)
    z, sample = torch.rand(6, 3), torch.rand(6, 3)
    plain, once, thrice = (critic_loss(critic, z, sample, weight) for weight in (0.0, 1.0, 3.0))
    assert once > plain
    assert (thrice - plain).item() == pytest.approx(3 * (once - plain).item(), rel=1e-4)
    (once - plain).backward()
    assert critic.layers[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_the_critics_step_never_reaches_the_encoder(penalty):
    encoder, critic = ToyEncoder(), PriorCritic(4)
    sample = to_prior_space(encoder(noise(6)).y, "uniform")
    critic_loss(critic, draw_prior(sample, "uniform"), sample, penalty).backward()
    assert all(p.grad is None for p in encoder.parameters())
    assert all(p.grad is not None for p in critic.parameters())


def test_the_encoders_step_reaches_the_encoder():
    encoder, critic = ToyEncoder(), PriorCritic(4)
    encoder_loss(critic, to_prior_space(encoder(noise(6)).y, "uniform")).backward()
    assert all(p.grad.abs().sum() > 0 for p in encoder.parameters())
