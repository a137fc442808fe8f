"""Which pairs are scored, shown by a critic whose score spells out whom it met."""

import pytest
import torch

from models.critics import Critic, build_critic
from models.negatives import NEGATIVES, all_pairs, roll, shuffle, split_diagonal

SCHEMES = sorted(NEGATIVES)
IMAGES, CHANNELS, SIDE = 7, 2, 4


class Witness(Critic):
    """Scores 100 * (image of the summary) + (image of the place), place by place."""

    def __init__(self, places=(SIDE, SIDE)):
        super().__init__()
        self.places = places

    def embed_summary(self, y_ID):
        units = CHANNELS if self.places == (SIDE, SIDE) else CHANNELS * SIDE * SIDE
        return 100 * y_ID[:, :1].expand(-1, units)

    def embed_map(self, map_JCMM):
        places = map_JCMM.flatten(2).transpose(1, 2)
        if self.places == (1, 1):
            return places.flatten(1)[:, None]
        return places

    def score_all(self, y_IU, map_JPU):
        return y_IU[:, :1, None] + self.seen(map_JPU)

    def score_paired(self, y_IU, map_IPU):
        return y_IU[:, :1] + self.seen(map_IPU)

    def seen(self, map_JPU):
        number_JP = map_JPU[..., 0]
        apart = map_JPU.reshape(*number_JP.shape, -1, CHANNELS) - number_JP[..., None, None]
        assert (apart == torch.tensor([0, 0.5])).all(), "channels or places of a map were separated"
        return number_JP


def numbered(images=IMAGES):
    """Summaries and maps that carry their image's number."""
    number = torch.arange(images, dtype=torch.float32)
    maps = number[:, None, None, None].expand(-1, CHANNELS, SIDE, SIDE).clone()
    maps[:, 1] += 0.5
    return number[:, None].expand(-1, 3), maps


def met(scores):
    """(I, K, P) numbers of the images whose places each summary met as negatives."""
    images = len(scores.negative)
    return (scores.negative - 100 * torch.arange(images)[:, None, None]).round().long()


@pytest.mark.parametrize("places", [(SIDE, SIDE), (1, 1)])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_positives_are_an_image_with_itself_and_negatives_never_are(scheme, places):
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        scores = NEGATIVES[scheme](Witness(places), *numbered(), generator)
        itself = torch.arange(IMAGES)
        assert (scores.positive == 101 * itself[:, None]).all()
        assert (met(scores) != itself[:, None, None]).all()


@pytest.mark.parametrize(("scheme", "count"), [("all", IMAGES - 1), ("shuffle", 1), ("roll", 1)])
@pytest.mark.parametrize("places", [(SIDE, SIDE), (1, 1)])
def test_each_scheme_scores_its_number_of_negatives(scheme, count, places):
    scores = NEGATIVES[scheme](Witness(places), *numbered(), None)
    num_places = places[0] * places[1]
    assert scores.positive.shape == (IMAGES, num_places)
    assert scores.negative.shape == (IMAGES, count, num_places)


@pytest.mark.parametrize("shape", [(2, 2, 1), (3, 3, 4), (6, 6, 5)])
def test_splitting_the_diagonal_equals_a_loop(shape):
    scores = torch.randn(shape)
    positive, negative = split_diagonal(scores)
    for i in range(len(scores)):
        assert torch.equal(positive[i], scores[i, i])
        others = [scores[i, j] for j in range(len(scores)) if j != i]
        assert torch.equal(negative[i], torch.stack(others))


def test_all_meets_every_other_image_at_every_place():
    seen = met(all_pairs(Witness(), *numbered()))
    for i in range(IMAGES):
        for p in range(SIDE * SIDE):
            assert seen[i, :, p].tolist() == [j for j in range(IMAGES) if j != i]


def test_roll_meets_the_next_image():
    seen = met(roll(Witness(), *numbered()))
    expected = (torch.arange(IMAGES) + 1) % IMAGES
    assert (seen == expected[:, None, None]).all()


def test_shuffle_keeps_what_stands_at_each_place():
    seen_IP = met(shuffle(Witness(), *numbered()))[:, 0]
    assert torch.equal(seen_IP.sort(0).values, torch.arange(IMAGES)[:, None].expand_as(seen_IP))


def test_shuffle_draws_each_place_on_its_own_for_a_local_critic():
    seen_IP = met(shuffle(Witness(), *numbered()))[:, 0]
    assert len({tuple(column) for column in seen_IP.T.tolist()}) > 1


def test_shuffle_reaches_every_other_image():
    partners = set()
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        partners |= set(met(shuffle(Witness((1, 1)), *numbered(), generator))[0].flatten().tolist())
    assert partners == set(range(1, IMAGES))


def test_shuffle_takes_maps_in_channels_last_memory():
    y, maps = numbered()
    plain = shuffle(Witness(), y, maps, torch.Generator().manual_seed(3))
    last = maps.to(memory_format=torch.channels_last)
    again = shuffle(Witness(), y, last, torch.Generator().manual_seed(3))
    assert torch.equal(plain.negative, again.negative)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_generator_makes_negatives_reproducible_whatever_else_is_drawn(scheme):
    first = NEGATIVES[scheme](Witness(), *numbered(), torch.Generator().manual_seed(5))
    torch.rand(10)
    second = NEGATIVES[scheme](Witness(), *numbered(), torch.Generator().manual_seed(5))
    assert torch.equal(first.negative, second.negative)
    before = torch.get_rng_state()
    NEGATIVES[scheme](Witness(), *numbered(), torch.Generator().manual_seed(5))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_batch_of_one_is_refused_with_the_remedy(scheme):
    with pytest.raises(ValueError, match=r"at least two images.*raise batch_size"):
        NEGATIVES[scheme](Witness(), *numbered(1), None)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_batch_of_two_meets_the_other_one(scheme):
    seen = met(NEGATIVES[scheme](Witness(), *numbered(2), None))
    assert (seen[0] == 1).all()
    assert (seen[1] == 0).all()


@pytest.mark.parametrize("name", ["local_dot", "global_dot", "local_concat", "global_concat"])
def test_roll_and_shuffle_scores_are_found_among_all_pairs(name):
    critic = build_critic(name, summary_dim=3, map_shape=[2, 4, 4], units=8).eval()
    y, maps = torch.randn(5, 3), torch.randn(5, 2, 4, 4)
    every = critic(y, maps)
    rolled = roll(critic, y, maps).negative[:, 0]
    for i in range(5):
        torch.testing.assert_close(rolled[i], every[i, (i + 1) % 5])
    shuffled = shuffle(critic, y, maps).negative[:, 0]
    distance_IJP = (shuffled[:, None] - every).abs()
    assert distance_IJP.amin(1).max() < 1e-5
