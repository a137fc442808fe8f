"""The golden images are drawn: eight different ones, the same wherever they are drawn."""

import torch

from models.card import Preprocessing
from models.golden import GOLDEN_IMAGES, draw_golden


def test_the_images_are_the_same_each_time_and_all_different() -> None:
    preprocessing = Preprocessing(size=28, colour="grey")
    torch.manual_seed(1)
    one = draw_golden(preprocessing)
    torch.manual_seed(2)
    assert torch.equal(one, draw_golden(preprocessing))
    assert one.shape == (GOLDEN_IMAGES, 28, 28, 1)
    assert one.dtype == torch.uint8
    assert len({bytes(image.numpy()) for image in one}) == GOLDEN_IMAGES


def test_they_fit_every_preprocessing_and_use_the_range_of_bytes() -> None:
    images = draw_golden(Preprocessing(size=64))
    assert images.shape == (GOLDEN_IMAGES, 64, 64, 3)
    assert images.min() < 40
    assert images.max() > 215
