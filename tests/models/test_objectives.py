"""Every objective against a loop in plain Python, by hand, at its extremes."""

import math

import pytest
import torch

from models.objectives import LARGEST_EXPONENT, OBJECTIVES, bounded_exp, infonce, jsd
from models.types import Scores

NAMES = sorted(OBJECTIVES)
SHAPES = [(2, 1, 1), (3, 2, 4), (5, 4, 1), (4, 3, 9)]  # images, negatives, places
EXPONENTIAL = ["hellinger2", "nwj", "rkl"]


def softplus(t):
    return max(t, 0.0) + math.log1p(math.exp(-abs(t)))


POSITIVE = {
    "jsd": lambda t: math.log(2) - softplus(-t),
    "gan": lambda t: -softplus(-t),
    "nwj": lambda t: t,
    "rkl": lambda t: -math.exp(-t),
    "hellinger2": lambda t: 1 - math.exp(-t),
    "pearson_x2": lambda t: t,
    "dv": lambda t: t,
}
NEGATIVE = {
    "jsd": lambda t: softplus(t) - math.log(2),
    "gan": softplus,
    "nwj": lambda t: math.exp(t - 1),
    "rkl": lambda t: t - 1,
    "hellinger2": lambda t: math.exp(t) - 1,
    "pearson_x2": lambda t: t * t / 4 + t,
}


def by_loop(name, scores):
    """The bound as a loop over Python floats; InfoNCE and DV as their definitions read."""
    positive_IP, negative_IKP = scores.positive.tolist(), scores.negative.tolist()
    positives = [t for row in positive_IP for t in row]
    negatives = [t for image in negative_IKP for row in image for t in row]
    if name == "infonce":
        terms = []
        for own, others in zip(positive_IP, negative_IKP, strict=True):
            rivals = [math.exp(t) for row in others for t in row]
            terms += [math.log(math.exp(t) / (math.exp(t) + sum(rivals))) for t in own]
        return sum(terms) / len(terms) + math.log(1 + len(rivals))
    if name == "dv":
        return sum(positives) / len(positives) - math.log(
            sum(math.exp(t) for t in negatives) / len(negatives)
        )
    return sum(map(POSITIVE[name], positives)) / len(positives) - sum(
        map(NEGATIVE[name], negatives)
    ) / len(negatives)


def random_scores(images, negatives, places, scale=2.0):
    return Scores(
        scale * torch.randn(images, places), scale * torch.randn(images, negatives, places)
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_each_bound_equals_a_loop_in_plain_python(name, shape):
    for scale in (0.1, 2.0, 5.0):
        scores = random_scores(*shape, scale)
        expected = by_loop(name, scores)
        assert OBJECTIVES[name](scores).item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [  # every positive 2, every negative -1, three negatives an image, one place
        ("jsd", 2 * 0.693147 - 0.126928 - 0.313262),
        ("gan", -0.126928 - 0.313262),
        ("infonce", 2 - 2.139206 + 1.386294),  # e^2 + 3/e = 8.492694; K = 4
        ("dv", 3.0),
        ("nwj", 2 - 0.135335),
        ("rkl", 2 - 0.135335),
        ("hellinger2", (1 - 0.135335) - (0.367879 - 1)),
        ("pearson_x2", 2 - (0.25 - 1)),
    ],
)
def test_each_bound_has_its_value_by_hand(name, value):
    scores = Scores(torch.full((4, 1), 2.0), torch.full((4, 3, 1), -1.0))
    assert OBJECTIVES[name](scores).item() == pytest.approx(value, abs=2e-6)


@pytest.mark.parametrize(
    ("name", "constant", "value"),
    [  # the constant critic that is best at chance
        ("jsd", 0.0, 0.0),
        ("gan", 0.0, -2 * math.log(2)),
        ("infonce", 7.0, 0.0),
        ("dv", 7.0, 0.0),
        ("nwj", 1.0, 0.0),
        ("rkl", 0.0, 0.0),
        ("hellinger2", 0.0, 0.0),
        ("pearson_x2", 0.0, 0.0),
    ],
)
def test_a_critic_that_tells_nothing_scores_chance(name, constant, value):
    scores = Scores(torch.full((3, 4), constant), torch.full((3, 2, 4), constant))
    assert OBJECTIVES[name](scores).item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("positive", [-1e4, 1e4])
@pytest.mark.parametrize("negative", [-1e4, 1e4])
@pytest.mark.parametrize("name", NAMES)
def test_extreme_scores_give_finite_bounds_and_gradients(name, positive, negative):
    scores = Scores(torch.full((4, 9), positive), torch.full((4, 3, 9), negative))
    for tensor in scores:
        tensor.requires_grad_()
    bound = OBJECTIVES[name](scores)
    bound.backward()
    assert bound.isfinite()
    for tensor in scores:
        assert tensor.grad.isfinite().all()
        assert tensor.grad.square().isfinite().all()  # what Adam keeps


@pytest.mark.parametrize("name", NAMES)
def test_badly_wrong_scores_still_get_a_gradient_the_right_way(name):
    scores = Scores(torch.full((4, 9), -1e4), torch.full((4, 3, 9), 1e4))
    for tensor in scores:
        tensor.requires_grad_()
    OBJECTIVES[name](scores).backward()
    assert (scores.positive.grad > 0).all()
    assert (scores.negative.grad < 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_better_told_apart_is_a_larger_bound(name):
    scores = random_scores(4, 3, 9, scale=0.5)
    bound = OBJECTIVES[name](scores)
    assert OBJECTIVES[name](Scores(scores.positive + 0.1, scores.negative)) > bound
    assert OBJECTIVES[name](Scores(scores.positive, scores.negative - 0.1)) > bound


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_scores_are_computed_in_single_precision(name):
    scores = random_scores(4, 3, 9)
    for dtype in (torch.bfloat16, torch.float16):
        half = Scores(scores.positive.to(dtype), scores.negative.to(dtype))
        bound = OBJECTIVES[name](half)
        assert bound.dtype is torch.float32
        assert bound == OBJECTIVES[name](Scores(half.positive.float(), half.negative.float()))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_edited_in_place(name):
    scores = random_scores(4, 3, 9, scale=20.0)
    before = Scores(scores.positive.clone(), scores.negative.clone())
    OBJECTIVES[name](scores)
    for tensor, copy in zip(scores, before, strict=True):
        assert torch.equal(tensor, copy)
        assert tensor._version == 0


@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0, 1e4])
@pytest.mark.parametrize("shape", SHAPES)
def test_infonce_stays_below_log_k_and_jsd_below_twice_log_2(shape, scale):
    _, negatives, places = shape
    for _ in range(5):
        scores = random_scores(*shape, scale)
        assert infonce(scores) <= math.log(1 + negatives * places) + 1e-6
        assert jsd(scores) <= 2 * math.log(2) + 1e-6
    perfect = Scores(torch.full((3, 4), 1e4), torch.full((3, 2, 4), -1e4))
    assert infonce(perfect).item() == pytest.approx(math.log(9))
    assert jsd(perfect).item() == pytest.approx(2 * math.log(2))


def test_gan_is_jsd_without_its_shift():
    scores = random_scores(4, 3, 9)
    difference = OBJECTIVES["gan"](scores) - jsd(scores)
    assert difference.item() == pytest.approx(-2 * math.log(2), abs=1e-6)


def test_infonce_does_not_see_a_shift_per_summary_but_jsd_does():
    scores = random_scores(4, 3, 9)
    shift_I = torch.tensor([-5.0, 0.0, 3.0, 40.0])
    shifted = Scores(scores.positive + shift_I[:, None], scores.negative + shift_I[:, None, None])
    assert infonce(shifted).item() == pytest.approx(infonce(scores).item(), abs=1e-5)
    assert abs(jsd(shifted) - jsd(scores)) > 1


@pytest.mark.parametrize("name", EXPONENTIAL)
def test_exponentials_are_exact_where_they_fit(name):
    scores = random_scores(4, 3, 9, scale=6.0)
    assert max(t.abs().max() for t in scores) < LARGEST_EXPONENT
    assert OBJECTIVES[name](scores).item() == pytest.approx(by_loop(name, scores), rel=1e-5)


def test_the_bounded_exponential_is_its_own_tangent_beyond_the_limit():
    x = torch.tensor([-1e4, -1.0, 0.0, LARGEST_EXPONENT, LARGEST_EXPONENT + 2], requires_grad=True)
    value = bounded_exp(x)
    value.sum().backward()
    top = math.exp(LARGEST_EXPONENT)
    assert value.tolist() == pytest.approx([0.0, math.exp(-1), 1.0, top, 3 * top], rel=1e-5)
    assert x.grad.tolist() == pytest.approx([0.0, math.exp(-1), 1.0, top, top], rel=1e-5)
