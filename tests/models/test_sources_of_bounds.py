"""The errors in the sources this project was born from, in the bounds.

Every check passes with our code and fails with the wrong form, which is written out here; see
test_sources.py for networks and the prior game.
"""

import math

import pytest
import torch
from torch.nn.functional import softplus

from models.critics import build_critic
from models.negatives import all_pairs, split_diagonal
from models.objectives import OBJECTIVES, dv, gan, infonce, jsd, pearson_x2
from models.types import Scores


def holds(check, *arguments):
    """Whether a check passes."""
    try:
        check(*arguments)
    except AssertionError:
        return False
    return True


# -------------------------------------------------------------- the sign of the negatives' softplus


def flipped_softplus(scores):
    """Wrong: Em = -softplus(-T_fake) (a summary post); the loss is Em - Ej."""
    return -softplus(-scores.positive).mean() + softplus(-scores.negative).mean()


def check_hard_negatives_are_pushed_down(bound):
    negative = torch.full((4, 3, 1), 10.0, requires_grad=True)
    bound(Scores(torch.zeros(4, 1), negative)).backward()
    assert negative.grad.sum() < -0.9


def check_is_bounded_above(bound):
    assert bound(Scores(torch.full((4, 1), 50.0), torch.full((4, 3, 1), -50.0))) < 1.39


@pytest.mark.parametrize("check", [check_hard_negatives_are_pushed_down, check_is_bounded_above])
def test_the_negatives_softplus_has_its_sign(check):
    assert holds(check, jsd)
    assert holds(check, gan)
    assert not holds(check, flipped_softplus)


# ------------------------------------------------------------------------ no logarithm of a sigmoid


def log_sigmoid(scores):
    """Wrong: the logarithm of a sigmoid (the PyTorch port)."""
    positive, negative = scores
    return positive.sigmoid().log().mean() + (1 - negative.sigmoid()).log().mean()


def check_is_right_far_from_chance(bound):
    for t in (20.0, 100.0):
        scores = Scores(torch.full((4, 1), -t), torch.full((4, 3, 1), t))
        assert bound(scores).item() == pytest.approx(-2 * t, rel=1e-5)


def test_nothing_takes_the_logarithm_of_a_sigmoid():
    assert holds(check_is_right_far_from_chance, gan)
    assert holds(check_is_right_far_from_chance, lambda scores: jsd(scores) - 2 * math.log(2))
    assert not holds(check_is_right_far_from_chance, log_sigmoid)


@pytest.mark.parametrize("objective", OBJECTIVES.values())
@pytest.mark.parametrize("t", [20.0, 100.0, -20.0, -100.0])
def test_every_objective_is_finite_at_20_and_100(objective, t):
    assert objective(Scores(torch.full((4, 1), t), torch.full((4, 3, 1), t))).isfinite()


# ---------------------------------------------------------------------------------- InfoNCE's log K


def without_log_k(scores):
    """Wrong: the negated cross-entropy, taken for a bound on mutual information."""
    return infonce(scores) - math.log(1 + scores.negative[0].numel())


def check_is_the_mutual_information(bound):
    """Correlated Gaussians, rho 0.9, scored by the exact density ratio: 0.830 nats."""
    rho, rest = 0.9, 1 - 0.9**2
    values = []
    for _ in range(50):
        x, noise = torch.randn(2, 128)
        y = rho * x + math.sqrt(rest) * noise
        squares = rho**2 * (x[:, None] ** 2 + y**2)
        log_ratio = (rho * x[:, None] * y - squares / 2) / rest - math.log(rest) / 2
        values.append(bound(split_diagonal(log_ratio[:, :, None])))
    assert torch.stack(values).mean().item() == pytest.approx(0.830, abs=0.1)


def test_infonce_bounds_mutual_information_only_with_its_log_k():
    assert holds(check_is_the_mutual_information, infonce)
    assert not holds(check_is_the_mutual_information, without_log_k)


# ------------------------------------------------------------------ Donsker-Varadhan, single global


def authors_dv(scores_IJP):
    """Wrong: masks of two axes against scores of four (places, globals), edited in place."""
    scores = scores_IJP.clone()[..., None]
    own = torch.eye(len(scores))
    others = 1 - own
    positive = (scores.mean(2) * own).sum() / own.sum()
    scores -= 100 * (1 - others)
    top = scores.max()
    negative = (others * (scores - top).exp()).sum().log() + top - others.sum().log()
    return positive - negative


def check_takes_one_global(bound, places):
    scores = torch.randn(6, 6, places)
    try:
        value = bound(scores).item()
    except RuntimeError as error:
        raise AssertionError("refuses scores of a single global") from error
    positive = [scores[i, i, p].item() for i in range(6) for p in range(places)]
    negative = [
        scores[i, j, p].item() for i in range(6) for j in range(6) for p in range(places) if i != j
    ]
    log_mean = math.log(sum(map(math.exp, negative)) / len(negative))
    assert value == pytest.approx(sum(positive) / len(positive) - log_mean, abs=1e-5)


@pytest.mark.parametrize("places", [1, 6, 9])
def test_donsker_varadhan_takes_a_single_global(places):
    assert holds(check_takes_one_global, lambda scores: dv(split_diagonal(scores)), places)
    assert not holds(check_takes_one_global, authors_dv, places)


# --------------------------------------------------------------------------------------- self pairs


def self_pairs_at_minus_10(scores_IJP):
    """Wrong: self pairs are set to -10 and stay in the denominator (the authors' code)."""
    own = torch.eye(len(scores_IJP))[:, :, None]
    rivals = ((1 - own) * scores_IJP - 10 * own).flatten(1).logsumexp(1)
    positive = scores_IJP.diagonal(dim1=0, dim2=1).T
    log_k = math.log(1 + (len(scores_IJP) - 1) * scores_IJP.shape[2])
    return (positive - torch.logaddexp(positive, rivals[:, None])).mean() + log_k


def check_scores_that_tell_nothing_bound_nothing(bound):
    for level in (0.0, -5.0, -40.0):
        assert bound(torch.full((6, 6, 4), level)).item() == pytest.approx(0, abs=1e-5)


def test_self_pairs_leave_the_denominator_exactly():
    check = check_scores_that_tell_nothing_bound_nothing
    assert holds(check, lambda scores: infonce(split_diagonal(scores)))
    assert not holds(check, self_pairs_at_minus_10)


def test_all_pairs_leave_no_trace_of_self_pairs_in_the_negatives():
    critic = build_critic("local_dot", summary_dim=4, map_shape=(3, 5, 5), units=16).eval()
    y, maps = torch.randn(6, 4), torch.rand(6, 3, 5, 5)
    every, negative = critic(y, maps), all_pairs(critic, y, maps).negative
    own = torch.eye(6, dtype=torch.bool)[:, :, None].expand_as(every)
    assert torch.equal(every[~own].sort().values, negative.flatten().sort().values)


# ----------------------------------------------------------------------------- Pearson's divergence


def squared_positive(scores):
    """Wrong: the authors' chi-squared, whose positive term grows with the square of T."""
    positive, negative = scores
    return positive.square().mean() + ((negative.abs() + 1).square() / 2).mean()


def check_no_critic_invents_a_divergence(bound):
    """The same scores on both sides: no critic may find joint and marginals different."""
    scores = 10 * torch.randn(50, 4)
    assert bound(Scores(scores, scores[:, None])) <= 0


def test_pearsons_divergence_is_bounded():
    assert holds(check_no_critic_invents_a_divergence, pearson_x2)
    assert not holds(check_no_critic_invents_a_divergence, squared_positive)
