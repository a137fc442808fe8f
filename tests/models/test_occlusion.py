"""What is hidden from Y, and what never is."""

import pytest
import torch

from models.dim import DeepInfoMax, DimTerms
from models.encoders import build_encoder
from models.occlusion import check_occlusion, draw_blocks, occlude


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


def windows(mask, size):
    """Whether each size x size window is true all over."""
    return mask.unfold(0, size, 1).unfold(1, size, 1).all(-1).all(-1)


@pytest.mark.parametrize(("side", "smallest"), [(32, 10), (28, 14), (32, 1), (9, 4)])
def test_a_block_is_hidden_and_another_stays_visible(side, smallest):
    for hidden in draw_blocks(60, side, smallest, seeded()):
        assert windows(hidden, smallest).any()
        assert windows(~hidden, smallest).any()
        rows, columns = hidden.any(1).nonzero(), hidden.any(0).nonzero()
        height, width = (at.max() - at.min() + 1 for at in (rows, columns))
        assert hidden.sum() == height * width  # one rectangle


def test_blocks_reach_every_pixel_and_every_length():
    hidden = draw_blocks(4000, 12, 3, seeded())
    assert hidden.any(0).all()
    assert (
        set(hidden.any(2).sum(1).tolist()) == set(hidden.any(1).sum(1).tolist()) == {*range(3, 10)}
    )


def test_hidden_pixels_are_grey_and_the_others_untouched():
    images = torch.randn(5, 3, 12, 12)
    before = images.clone()
    given, hidden = occlude(images, 4, seeded()), draw_blocks(5, 12, 4, seeded())
    for image, kept, mask in zip(given, images, hidden, strict=True):
        assert (image[:, mask] == 0).all()
        assert torch.equal(image[:, ~mask], kept[:, ~mask])
    assert torch.equal(images, before)


def test_every_image_has_a_block_of_its_own():
    hidden = draw_blocks(50, 32, 10, seeded())
    assert len(hidden.flatten(1).unique(dim=0)) > 40


@pytest.mark.parametrize("smallest", [-1, 17, 32])
def test_a_block_that_leaves_nothing_visible_is_refused(smallest):
    with pytest.raises(ValueError, match="from 1 to 16"):
        check_occlusion(smallest, 32)


def test_the_block_is_hidden_from_y_and_not_from_the_map():
    encoder = build_encoder("basic28x28", summary_dim=8, image_channels=1, fc_dim=16)
    model = DeepInfoMax(encoder, DimTerms(beta=0.0, gamma=0.0, occlusion=9)).eval()
    images = torch.randn(4, 1, 28, 28)
    hidden = draw_blocks(4, 28, 9, seeded())[:, None]
    inside = torch.where(hidden, images + torch.randn_like(images), images)
    outside = torch.where(hidden, images, images + torch.randn_like(images))
    kept, other, seen = (model.encode(each, seeded()) for each in (images, inside, outside))
    assert torch.equal(kept.y, other.y)
    assert not torch.equal(kept.y, seen.y)
    assert (kept.map != other.map).flatten(1).any(1).all()
    torch.testing.assert_close(kept.map, encoder(images).map)
    torch.testing.assert_close(kept.y, encoder(images.masked_fill(hidden, 0)).y)


def test_batch_normalisation_sees_whole_and_occluded_images_together():
    one, other = (build_encoder("basic28x28", summary_dim=8, image_channels=1) for _ in range(2))
    other.load_state_dict(one.state_dict())
    images = torch.randn(6, 1, 28, 28)
    DeepInfoMax(one, DimTerms(beta=0.0, gamma=0.0, occlusion=9)).encode(images, seeded())
    other(torch.cat((images, occlude(images, 9, seeded()))))
    for name, buffer in one.named_buffers():
        assert torch.equal(buffer, other.get_buffer(name)), name
