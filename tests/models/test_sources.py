"""The errors in the sources this project was born from, in networks and in the prior game.

Every check passes with our code and fails with the wrong form, which is written out here. Errors
in the bounds are in test_sources_of_bounds.py. That the prior game is played in turns and not
minimised jointly is in test_prior.py; what concerns evaluation (official test split, `eval()`,
every test image) is in the tests of evaluation.
"""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, softplus

from models.classifier import DenseClassifier, PaperProbe
from models.critics import CRITICS, build_critic
from models.dim import DeepInfoMax, DimTerms
from models.encoders import build_encoder
from models.negatives import NEGATIVES, split_diagonal
from models.objectives import jsd
from models.prior import PriorCritic, critic_loss, squared_gradient
from models.types import Scores


def holds(check, *arguments):
    """Whether a check passes."""
    try:
        check(*arguments)
    except AssertionError:
        return False
    return True


# --------------------------------------------------------------------- what the prior is matched to


def on_maps(encoder, features):
    """Wrong: an adversary that compares feature maps of different images (the same post)."""
    critic = PriorCritic(features.map[0].numel())
    maps = features.map.flatten(1)
    return softplus(-critic(maps)).mean() + softplus(critic(maps.roll(1, 0))).mean()


def on_the_summary(encoder, features):
    critic = PriorCritic(encoder.summary_dim)
    model = DeepInfoMax(encoder, DimTerms(beta=0.0, gamma=1.0), prior_critic=critic)
    _, parts, _ = model(torch.randn(4, 1, 28, 28))
    return parts["prior_encoder_loss"]


def check_the_prior_shapes_the_summary(term):
    encoder = build_encoder("basic28x28", summary_dim=3, image_channels=1, fc_dim=8)
    term(encoder, encoder(torch.randn(4, 1, 28, 28))).backward()
    assert encoder.to_y.weight.grad is not None
    assert encoder.to_y.weight.grad.abs().sum() > 0


def test_prior_matching_is_about_the_summary_not_about_maps():
    assert holds(check_the_prior_shapes_the_summary, on_the_summary)
    assert not holds(check_the_prior_shapes_the_summary, on_maps)


# ------------------------------------------------------------------ the local critic's convolutions


class Unchained(nn.Module):
    """Wrong: the second and third convolution take the input again (the TensorFlow post)."""

    places = (1, 1)

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 32), nn.Linear(2, 32)
        self.third = nn.Linear(2, 1)

    def forward(self, y, maps):
        both = torch.cat((y, maps.flatten(1)), 1)
        _ = self.first(both).relu()
        _ = self.second(both).relu()
        return self.third(both)

    paired = forward


def check_learns_that_signs_agree(critic):
    """y and c are signs; jointly y = c, apart they agree half the time: an exclusive or."""
    optimiser = torch.optim.Adam(critic.parameters(), 1e-2)
    for _ in range(150):
        y = torch.randint(0, 2, (64, 1)) * 2.0 - 1
        apart = torch.randint(0, 2, (64, 1)) * 2.0 - 1
        positive = critic.paired(y, y[:, :, None, None])
        negative = critic.paired(y, apart[:, :, None, None])
        bound = jsd(Scores(positive, negative[:, None]))
        optimiser.zero_grad()
        (-bound).backward()
        optimiser.step()
    signs = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    others = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    scores = critic.paired(signs, others[:, :, None, None])
    final = jsd(Scores(scores[[0, 3]], scores[:, None]))
    assert final > 0.4  # the optimum is 0.4315 nats: T = log 2 where signs agree, else -inf


def test_the_local_critics_convolutions_are_chained():
    ours = build_critic("local_concat", summary_dim=1, map_shape=(1, 1, 1), units=32)
    assert holds(check_learns_that_signs_agree, ours)
    assert not holds(check_learns_that_signs_agree, Unchained())


# -------------------------------------------------------------------------- the critic's last layer


def check_learns_to_score_below_0(name, last_layer):
    critic = build_critic(name, summary_dim=4, map_shape=(3, 5, 5), units=16)
    optimiser = torch.optim.Adam(critic.parameters(), 1e-2)
    y, maps = torch.randn(8, 4), torch.randn(8, 3, 5, 5).relu()
    for _ in range(40):
        scores = last_layer(critic(y, maps))
        optimiser.zero_grad()
        scores.mean().backward()
        optimiser.step()
    assert scores.mean() < -1


def check_can_leave_half_of_jsd(last_layer):
    raw = torch.full((4, 1), 20.0)
    bound = jsd(Scores(last_layer(raw), last_layer(-raw)[:, None]))
    assert bound > 1.38  # of 2 log 2 = 1.386


@pytest.mark.parametrize("name", sorted(CRITICS))
def test_a_critics_last_layer_is_linear(name):
    assert holds(check_learns_to_score_below_0, name, nn.Identity())
    assert not holds(check_learns_to_score_below_0, name, nn.ReLU())  # wrong: the same post


def test_a_relu_on_the_last_layer_costs_half_of_the_bound():
    assert holds(check_can_leave_half_of_jsd, nn.Identity())
    assert not holds(check_can_leave_half_of_jsd, nn.ReLU())


# ------------------------------------------------------------------- gradient through the negatives


def stopped(critic, y, maps, generator=None):
    """Wrong: stop_gradient on the negatives' map (the same post)."""
    own = split_diagonal(critic(y, maps)).positive
    return Scores(own, split_diagonal(critic(y, maps.detach())).negative)


def check_negatives_teach_the_map(scheme):
    critic = build_critic("local_dot", summary_dim=4, map_shape=(3, 5, 5), units=16)
    maps = torch.rand(6, 3, 5, 5, requires_grad=True)
    weights = torch.randn(6, 1, 25)
    negative = scheme(critic, torch.randn(6, 4), maps, None).negative
    if negative.requires_grad:
        (negative * weights).sum().backward()
    assert maps.grad is not None
    assert (maps.grad.flatten(1).abs().sum(1) > 0).all()


@pytest.mark.parametrize("scheme", NEGATIVES.values())
def test_no_gradient_is_stopped_on_the_negatives_map(scheme):
    assert holds(check_negatives_teach_the_map, scheme)
    assert not holds(check_negatives_teach_the_map, stopped)


# ------------------------------------------------------------------------ the prior critic's logits


def sigmoid_and_log(critic, z, sample, penalty):
    """Wrong: the prior critic's sigmoid, then its logarithm (the PyTorch port)."""
    return -critic(z).sigmoid().log().mean() - (1 - critic(sample).sigmoid()).log().mean()


def check_a_sure_prior_critic_has_a_finite_loss(loss):
    critic = PriorCritic(4)
    critic.layers[-1].bias.data.fill_(30.0)
    value = loss(critic, torch.rand(6, 4), torch.rand(6, 4), 0.0)
    assert value.item() == pytest.approx(30, abs=1)


def test_the_prior_critic_is_judged_on_logits():
    assert holds(check_a_sure_prior_critic_has_a_finite_loss, critic_loss)
    assert not holds(check_a_sure_prior_critic_has_a_finite_loss, sigmoid_and_log)


# -------------------------------------------------------------------------- the classifier's logits


def check_learns_ten_points_by_heart(classifier):
    points, labels = torch.randn(40, 8), torch.arange(40) % 10
    optimiser = torch.optim.Adam(classifier.parameters(), 1e-2)
    for _ in range(200):
        loss = cross_entropy(classifier(points), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 1.2  # after a softmax no answer costs less than log(1 + 9 / e) = 1.461


@pytest.mark.parametrize("kind", [DenseClassifier, PaperProbe])
def test_classifiers_give_logits_to_the_cross_entropy(kind):
    assert holds(check_learns_ten_points_by_heart, kind(8, 10))
    softmax_first = nn.Sequential(kind(8, 10), nn.Softmax(1))  # wrong: the port's softmax
    assert not holds(check_learns_ten_points_by_heart, softmax_first)


# ----------------------------------------------------------------------------- the gradient penalty


def of_the_last_sample(critic, samples):
    """Wrong: `network(*input)[-1]` is the last sample (the authors' code)."""
    (gradient,) = torch.autograd.grad(critic(samples)[-1], samples, create_graph=True)
    return gradient.square().sum(1).mean()


def check_the_penalty_is_a_mean_over_samples(penalty):
    critic, samples = PriorCritic(4), torch.rand(64, 4, requires_grad=True)
    total = 0.0
    for row in samples.detach():
        one = row[None].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(one).sum(), one)
        total += sum(g * g for g in gradient[0].tolist())
    assert penalty(critic, samples).item() == pytest.approx(total / 64, rel=1e-4)


def test_the_gradient_penalty_sees_every_sample():
    check = check_the_penalty_is_a_mean_over_samples
    assert holds(check, lambda critic, samples: squared_gradient(critic(samples), samples))
    assert not holds(check, of_the_last_sample)


def test_the_critics_loss_penalises_prior_draws_and_summaries_alike():
    critic, z, sample = PriorCritic(4), torch.rand(6, 4), torch.rand(6, 4)
    added = critic_loss(critic, z, sample, 1.0) - critic_loss(critic, z, sample, 0.0)
    both = [squared_gradient(critic(x), x) for x in (z.requires_grad_(), sample.requires_grad_())]
    assert added.item() == pytest.approx(sum(both).item(), rel=1e-3)
