"""Measures of health against plain loops, and what they say of encoders that are really broken."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from training.health import alignment, ceiling, measure, rankme, uniformity


def unit(rows: list[list[float]]) -> list[list[float]]:
    return [[value / math.hypot(*row) for value in row] for row in rows]


def squared(a: list[float], b: list[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def test_rankme_is_exp_of_the_entropy_of_the_singular_values() -> None:
    y = torch.randn(20, 6)
    values = np.linalg.svd(y.numpy().astype(float), compute_uv=False)
    shares = [value / sum(values) for value in values]
    assert rankme(y) == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)), rel=1e-4)


@pytest.mark.parametrize("directions", [1, 3, 8])
def test_rankme_counts_equal_directions(directions: int) -> None:
    y = torch.zeros(40, 8)
    for row in range(40):
        y[row, row % directions] = 1.0
    assert rankme(y) == pytest.approx(directions, rel=1e-2 if 40 % directions == 0 else 0.02)


def test_uniformity_equals_a_loop_over_pairs_on_the_sphere() -> None:
    y = torch.randn(12, 5)
    rows = unit(y.tolist())
    potentials = [
        math.exp(-2 * squared(rows[i], rows[j])) for i in range(12) for j in range(i + 1, 12)
    ]
    assert uniformity(y) == pytest.approx(math.log(sum(potentials) / len(potentials)), rel=1e-5)


def test_alignment_equals_a_loop_over_images() -> None:
    first, second = torch.randn(9, 4), torch.randn(9, 4)
    pairs = list(zip(unit(first.tolist()), unit(second.tolist()), strict=True))
    wanted = sum(squared(a, b) for a, b in pairs) / 9
    assert alignment(first, second) == pytest.approx(wanted, rel=1e-5)
    assert alignment(first, 3 * first) == pytest.approx(0, abs=1e-9)


def test_a_dimension_that_never_changes_is_dead_and_one_that_does_is_not() -> None:
    y = torch.randn(64, 4)
    y[:, 1] = 2.5
    health = measure(7, y)
    assert health.dead_share == 0.25
    spread = [y[:, d].double().std(correction=0) for d in range(4)]
    root_mean_square = math.sqrt(sum(v * v for row in y.tolist() for v in row) / y.numel())
    assert health.spread == pytest.approx(float(sum(spread)) / 4 / root_mean_square, rel=1e-5)
    assert (health.step, health.images, health.alignment) == (7, 64, None)


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_health_does_not_depend_on_the_scale_of_features(factor: float) -> None:
    y, view = torch.randn(50, 6) + 1, torch.randn(50, 6) + 1
    one, other = measure(1, y, view), measure(1, y * factor, view * factor)
    for name in ("rankme", "spread", "dead_share", "uniformity", "alignment"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-4), name


def test_features_that_are_not_finite_give_numbers_that_are_none() -> None:
    y: Tensor = torch.ones(3, 2)
    y[1, 0] = math.inf
    assert math.isnan(measure(1, y).rankme)


def test_the_ceilings_are_log_k_and_two_log_two() -> None:
    assert ceiling("infonce", 127, 64) == pytest.approx(math.log(8129))
    assert ceiling("jsd", 127, 64) == pytest.approx(2 * math.log(2))
    assert ceiling("dv", 127, 64) is None
