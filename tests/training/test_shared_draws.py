"""What is drawn for a share of a batch is what would be drawn for those images of the whole."""

import pytest
import torch

from models.shares import WHOLE
from training.draws import seeded
from training.shared_draws import ShareOfDraws, integers, uniform
from training.views import VIEWS, draw_views

WORLD, IMAGES = 3, 12


def generators(seed=7):
    """One for the whole batch, one for each share, all from one seed."""
    shares = [ShareOfDraws.of(seeded(seed, "views", 5), rank, WORLD) for rank in range(WORLD)]
    return seeded(seed, "views", 5), shares


@pytest.mark.parametrize("side", [12, 64])
@pytest.mark.parametrize("name", sorted(VIEWS))
def test_the_views_of_shares_are_the_rows_of_the_batchs_views(name, side):
    pixels = torch.randint(0, 256, (IMAGES, side, side, 3), dtype=torch.uint8)
    whole, shares = generators()
    expected = draw_views(name, 2, pixels, whole)
    found = [
        draw_views(name, 2, own, each)
        for own, each in zip(pixels.chunk(WORLD), shares, strict=True)
    ]
    for number, view in enumerate(expected):
        assert torch.equal(view, torch.cat([views[number] for views in found]))


def test_numbers_of_shares_are_the_rows_of_the_batchs():
    count = IMAGES // WORLD
    whole, shares = generators()
    numbers = [uniform(IMAGES, whole), integers(IMAGES, 0, 1000, whole)]
    found = [(uniform(count, each), integers(count, 0, 1000, each)) for each in shares]
    for number, expected in enumerate(numbers):
        assert torch.equal(expected, torch.cat([drawn[number] for drawn in found]))


def test_what_is_drawn_for_the_batch_as_one_is_the_same_for_every_share():
    whole, shares = generators()
    expected = torch.randperm(50, generator=whole)
    assert all(torch.equal(expected, torch.randperm(50, generator=each)) for each in shares)


def test_in_one_process_the_share_is_the_batch():
    batch = torch.randn(4, 3)
    assert WHOLE.gather(batch) is batch
    assert WHOLE.own(batch) is batch
    assert WHOLE.mean(batch.sum()) == batch.sum()
