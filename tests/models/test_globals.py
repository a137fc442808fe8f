"""Several globals: each scored on its own, in a contrast of its own; one global changes nothing."""

import pytest
import torch

from models.critics import build_critic
from models.dim import DeepInfoMax, DimTerms
from models.encoders import build_encoder
from models.globals import EachGlobal, as_images, over_globals
from models.negatives import NEGATIVES, all_pairs
from models.objectives import OBJECTIVES
from models.types import Scores

GLOBALS, DIM, IMAGES = 3, 4, 5  # dimensions of one global
MAP = (6, 2, 2)
CRITICS = ["local_dot", "local_concat", "global_dot"]


def a_critic(name):
    """In evaluation mode: batch normalisation would see each global's batch apart in a loop."""
    return build_critic(name, summary_dim=DIM, map_shape=MAP, units=8).eval()


def features():
    return torch.randn(IMAGES, GLOBALS * DIM), torch.randn(IMAGES, *MAP)


def by_loop(critic, negatives, y, feature_map):
    """Each global scored on its own, one after the other."""
    return [NEGATIVES[negatives](critic, part, feature_map, None) for part in y.chunk(GLOBALS, 1)]


@pytest.mark.parametrize("name", CRITICS)
@pytest.mark.parametrize("negatives", ["all", "roll"])
def test_every_global_is_scored_as_if_it_were_the_only_one(name, negatives):
    critic, (y, feature_map) = a_critic(name), features()
    whole = EachGlobal(critic, GLOBALS)
    scores = as_images(NEGATIVES[negatives](whole, y, feature_map, None), GLOBALS)
    for g, alone in enumerate(by_loop(critic, negatives, y, feature_map)):
        torch.testing.assert_close(scores.positive[g::GLOBALS], alone.positive)
        torch.testing.assert_close(scores.negative[g::GLOBALS], alone.negative)


@pytest.mark.parametrize("objective", sorted(set(OBJECTIVES) - {"dv"}))
def test_a_bound_is_the_mean_over_globals(objective):
    critic, (y, feature_map) = a_critic("local_dot"), features()
    bound = OBJECTIVES[objective]
    scores = as_images(all_pairs(EachGlobal(critic, GLOBALS), y, feature_map), GLOBALS)
    alone = torch.stack([bound(each) for each in by_loop(critic, "all", y, feature_map)])
    torch.testing.assert_close(bound(scores), alone.mean())


def test_dv_takes_its_logarithm_over_all_globals_together():
    """The authors' dv raises for a single global; with several it pools, as here."""
    critic, (y, feature_map) = a_critic("local_dot"), features()
    scores = as_images(all_pairs(EachGlobal(critic, GLOBALS), y, feature_map), GLOBALS)
    alone = by_loop(critic, "all", y, feature_map)
    pooled = Scores(*(torch.cat(parts) for parts in zip(*alone, strict=True)))
    torch.testing.assert_close(OBJECTIVES["dv"](scores), OBJECTIVES["dv"](pooled))


def test_shuffled_negatives_never_meet_their_own_image():
    class Names(EachGlobal):
        """Tells which image's summary met which image's map."""

        def embed_summary(self, y_ID):
            return y_ID

        def embed_map(self, map_JCMM):
            return map_JCMM.flatten(2).transpose(1, 2)

        def score_paired(self, y_IU, map_IPU):
            met = y_IU[:, :1] * 100 + map_IPU[:, :, 0]
            return met.repeat(1, self.num_globals)

    name = torch.arange(float(IMAGES))
    y, feature_map = name[:, None].expand(-1, 12), name[:, None, None, None].expand(-1, *MAP)
    critic = Names(a_critic("local_dot"), GLOBALS)
    scores = NEGATIVES["shuffle"](critic, y, feature_map.contiguous(), torch.Generator())
    assert (scores.positive % 100 == scores.positive // 100).all()
    assert (scores.negative % 100 != scores.negative // 100).all()


def a_model(num_globals, critic):
    torch.manual_seed(1)
    encoder = build_encoder("basic28x28", summary_dim=12, image_channels=1, fc_dim=16)
    shapes = {"summary_dim": 12 // num_globals, "map_shape": encoder.map_shape, "units": 8}
    terms = DimTerms(alpha=0.5, beta=1.0, gamma=0.0, num_globals=num_globals)
    return DeepInfoMax(
        encoder,
        terms,
        local_critic=build_critic(critic, **shapes),
        global_critic=build_critic("global_dot", **shapes),
    )


def test_one_global_is_todays_scores_bit_for_bit():
    critic, (y, feature_map) = a_critic("local_dot"), features()
    assert over_globals(critic, 1) is critic
    scores = all_pairs(critic, y[:, :DIM], feature_map)
    assert as_images(scores, 1) is scores
    wrapped = as_images(all_pairs(EachGlobal(critic, 1), y[:, :DIM], feature_map), 1)
    assert all(map(torch.equal, wrapped, scores))


@pytest.mark.parametrize("critic", ["local_dot", "local_concat"])
def test_gradients_reach_the_part_of_y_of_every_global(critic):
    model = a_model(3, critic)
    loss, _, features = model(torch.randn(6, 1, 28, 28))
    (gradient,) = torch.autograd.grad(loss, features.y)
    assert features.y.shape == (6, 12)  # what is served: the globals side by side
    assert (gradient.abs().sum(0) > 0).all()


@pytest.mark.parametrize("number", [0, 5, 13])
def test_globals_that_do_not_divide_y_are_refused(number):
    encoder = build_encoder("basic28x28", summary_dim=12, image_channels=1, fc_dim=16)
    with pytest.raises(ValueError, match=f"must divide summary_dim 12; {number} does not"):
        DeepInfoMax(encoder, DimTerms(beta=0.0, gamma=0.0, num_globals=number))
