"""MINE and NDM on cases whose information is known in closed form."""

import math

import pytest
import torch

from models.mine import NOTHING_AVERAGED, mine
from models.objectives import dv
from training.evaluation.fitting import FitSettings
from training.evaluation.mine import PairCritic, dv_of_all_pairs, information_in_y, shrunk, split
from training.evaluation.ndm import neural_dependency, shuffled

FAST = FitSettings(steps=100, batch_size=128, learning_rate=1e-3)
LONGER = FitSettings(steps=200, batch_size=128, learning_rate=2e-3)


def as_images(pixels):
    return pixels.permute(0, 3, 1, 2).float() / 255


# ---------------------------------------------------------------------------------------- MINE


def patterns(count, kinds=8):
    """Images of one of `kinds` patterns with noise, and which."""
    shapes = torch.randint(40, 216, (kinds, 6, 6, 1), generator=torch.Generator().manual_seed(3))
    kind = torch.randint(0, kinds, (count,))
    noise = torch.randint(-30, 31, (count, 6, 6, 1))
    return (shapes[kind] + noise).clamp(0, 255).to(torch.uint8), kind


def test_information_is_the_entropy_of_what_image_and_y_have_in_common():
    # Y knows the pattern and nothing else; the image shows it: I(X; Y) = log 8
    pixels, kind = patterns(4_000)
    y = torch.randn(8, 5)[kind] + 0.02 * torch.randn(4_000, 5)
    train, test = (pixels[:3000], y[:3000]), (pixels[3000:], y[3000:])
    found = information_in_y(train, test, as_images, LONGER)
    assert found == pytest.approx(math.log(8), abs=0.12)


def test_there_is_no_information_in_a_y_of_other_images():
    pixels, kind = patterns(1_500)
    y = torch.randn(8, 5)[kind[torch.randperm(1_500)]]
    train, test = (pixels[:1000], y[:1000]), (pixels[1000:], y[1000:])
    assert abs(information_in_y(train, test, as_images, FAST)) < 0.05


def test_the_bound_over_all_pairs_is_that_of_a_loop(monkeypatch):
    monkeypatch.setattr("training.evaluation.mine.ROWS_AT_ONCE", 4)
    critic = PairCritic(channels=1, side=6, summary_dim=3)
    pixels, y = patterns(11)[0], 5 * torch.randn(11, 3)
    with torch.no_grad():
        found = dv_of_all_pairs(critic, as_images, pixels, y)
        joint, product = [], []
        for i in range(11):
            for j in range(11):
                score = critic(as_images(pixels[j : j + 1]), y[i : i + 1]).item()
                (joint if i == j else product).append(score)
        expected = sum(joint) / 11 - math.log(sum(map(math.exp, product)) / 110)
        scores = critic(as_images(pixels), y)
    assert found == pytest.approx(expected, abs=1e-5)
    assert found == pytest.approx(float(dv(split(scores))), abs=1e-5)


def test_the_joint_is_the_diagonal_and_the_rest_the_product():
    scores = split(torch.arange(9.0).reshape(3, 3))
    assert scores.positive.flatten().tolist() == [0, 4, 8]
    assert scores.negative.flatten().tolist() == [1, 2, 3, 5, 6, 7]
    assert scores.negative.shape == (3, 2, 1)


def test_the_critic_learns_by_the_gradient_with_a_moving_average_below():
    scores = torch.randn(5, 5)
    log_average, average = torch.tensor(NOTHING_AVERAGED), None
    for step in range(3):
        given = (scores + 0.5 * step).requires_grad_()
        surrogate, log_average = mine(split(given), log_average, rate=0.1)
        (gradient,) = torch.autograd.grad(surrogate, given)
        values = given.tolist()
        mean = sum(math.exp(values[i][j]) for i in range(5) for j in range(5) if i != j) / 20
        average = mean if average is None else 0.9 * average + 0.1 * mean
        assert log_average.exp().item() == pytest.approx(average, rel=1e-5)
        for i in range(5):
            for j in range(5):
                expected = 1 / 5 if i == j else -math.exp(values[i][j]) / 20 / average
                assert gradient[i, j].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 32), (3, 5), (1, 1)])
def test_the_critic_takes_images_of_any_size(channels, side):
    critic = PairCritic(channels, side, summary_dim=4)
    assert critic(torch.rand(3, channels, side, side), torch.rand(2, 4)).shape == (2, 3)


def test_large_images_are_averaged_down_for_the_critic():
    images = torch.rand(2, 3, 64, 64)
    small = shrunk(images)
    assert torch.allclose(small[:, :, 0, 0], images[:, :, :2, :2].mean((2, 3)))
    assert small.shape == (2, 3, 32, 32)
    assert shrunk(small) is small


# ----------------------------------------------------------------------------------------- NDM


def equicorrelated(count, rho, dim=4):
    """Gaussians, each pair with that correlation."""
    shared, own = torch.randn(count, 1), torch.randn(count, dim)
    return math.sqrt(rho) * shared + math.sqrt(1 - rho) * own


def test_dependence_of_equicorrelated_gaussians_is_the_closed_form():
    rho, dim = 0.5, 4
    truth = -0.5 * math.log((1 - rho) ** (dim - 1) * (1 + (dim - 1) * rho))  # 0.58 nats
    y = equicorrelated(10_000, rho, dim)
    moved = 30 * y + 10  # place and scale of a dimension do not matter
    found = neural_dependency(moved[:8000], moved[8000:], FAST)
    assert found == pytest.approx(truth, abs=0.08)
    through_sigmoid = neural_dependency(y[:8000].sigmoid(), y[8000:].sigmoid(), FAST)
    assert through_sigmoid == pytest.approx(truth, abs=0.1)


def test_independent_dimensions_have_no_dependence():
    y = torch.randn(4_000, 4)
    assert abs(neural_dependency(y[:3000], y[3000:], FAST)) < 0.04


def test_a_shuffle_keeps_each_dimension_and_breaks_what_binds_them():
    y = equicorrelated(2_000, 0.9)
    mixed = shuffled(y)
    assert torch.equal(mixed.sort(dim=0).values, y.sort(dim=0).values)
    between = torch.corrcoef(mixed.T) - torch.eye(4)
    assert between.abs().max() < 0.1


def test_estimates_take_no_random_number_and_repeat():
    y = equicorrelated(300, 0.5)
    short = FitSettings(steps=5)
    torch.manual_seed(1)
    first, after = neural_dependency(y[:200], y[200:], short), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    assert neural_dependency(y[:200], y[200:], short) == first
