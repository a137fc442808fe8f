"""Scores of image pairs against loops; the matrix form and the list form agree."""

import math

import pytest
import torch

from models.pairs import directed, jsd_matrix, jsd_pairs


def softplus(t):
    return max(t, 0.0) + math.log1p(math.exp(-abs(t)))


def jsd_by_loop(scores_IIP, a, b):
    """Mean over {(a,a),(b,b)} of log 2 - sp(-T) minus mean over {(a,b),(b,a)} of sp(T) - log 2."""
    own = [math.log(2) - softplus(-t) for i in (a, b) for t in scores_IIP[i][i].tolist()]
    cross = [
        softplus(t) - math.log(2) for i, j in ((a, b), (b, a)) for t in scores_IIP[i][j].tolist()
    ]
    return sum(own) / len(own) - sum(cross) / len(cross)


def as_pairs(scores_IIP, pairs):
    a, b = torch.tensor(pairs).T
    return jsd_pairs(scores_IIP[a, a], scores_IIP[b, b], scores_IIP[a, b], scores_IIP[b, a])


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 4), (5, 5, 1), (6, 6, 9)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_matrix_equals_a_loop_over_pairs(shape, scale):
    scores = scale * torch.randn(shape)
    matrix = jsd_matrix(scores)
    for a in range(len(scores)):
        for b in range(len(scores)):
            expected = jsd_by_loop(scores, a, b)
            assert matrix[a, b].item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("places", [1, 9])
def test_the_list_equals_the_matrix(places):
    scores = 3 * torch.randn(5, 5, places)
    pairs = [(0, 1), (1, 0), (4, 2), (3, 3), (0, 1)]
    listed, matrix = as_pairs(scores, pairs), jsd_matrix(scores)
    for value, (a, b) in zip(listed, pairs, strict=True):
        torch.testing.assert_close(value, matrix[a, b])
        assert value.item() == pytest.approx(jsd_by_loop(scores, a, b), abs=1e-5)


def test_the_order_of_a_pair_does_not_matter():
    scores = 3 * torch.randn(6, 6, 4)
    matrix = jsd_matrix(scores)
    torch.testing.assert_close(matrix, matrix.T)
    torch.testing.assert_close(as_pairs(scores, [(0, 5)]), as_pairs(scores, [(5, 0)]))


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0, 1e4])
def test_the_bound_is_finite_and_at_most_twice_log_2(scale):
    matrix = jsd_matrix(scale * torch.randn(6, 6, 4))
    assert matrix.isfinite().all()
    assert matrix.max() <= 2 * math.log(2) + 1e-6


def test_a_perfect_critic_scores_twice_log_2_and_a_blind_one_0():
    perfect = (200 * torch.eye(3) - 100)[:, :, None].expand(-1, -1, 4)
    off = ~torch.eye(3, dtype=torch.bool)
    assert jsd_matrix(perfect)[off].tolist() == pytest.approx([2 * math.log(2)] * 6)
    assert jsd_matrix(torch.zeros(3, 3, 4)).abs().max() == pytest.approx(0, abs=1e-6)


def test_an_image_is_never_told_apart_from_itself():
    assert (jsd_matrix(10 * torch.randn(8, 8, 4)).diagonal() <= 1e-5).all()


def test_directed_scores_are_means_over_places_of_the_logit_and_of_its_sigmoid():
    scores = 5 * torch.randn(3, 4, 6)
    t, p = directed(scores)
    for a in range(3):
        for b in range(4):
            logits = scores[a, b].tolist()
            assert t[a, b].item() == pytest.approx(sum(logits) / 6, abs=1e-5)
            beliefs = [1 / (1 + math.exp(-logit)) for logit in logits]
            assert p[a, b].item() == pytest.approx(sum(beliefs) / 6, abs=1e-5)


def test_half_precision_scores_are_averaged_in_single_precision():
    scores = (5 * torch.randn(3, 3, 6)).half()
    for half, full in zip(directed(scores), directed(scores.float()), strict=True):
        assert half.dtype is torch.float32
        assert torch.equal(half, full)
    assert torch.equal(jsd_matrix(scores), jsd_matrix(scores.float()))
