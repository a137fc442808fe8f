"""AMDIM's two views: what they share, what each has of its own, and its crops."""

import numpy as np
import pytest
import torch

from training.cropping import CROP_AREA, CROP_RATIO, draw_boxes, resized_crop
from training.views import MOVE_CHANCE, SHARED, VIEWS, draw_view, draw_views


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramps(count: int, side: int) -> torch.Tensor:
    """Grey pictures that get brighter from left to right: any view shows which way they look."""
    ramp = torch.linspace(20, 200, side).expand(side, side)
    return ramp[None, :, :, None].expand(count, -1, -1, 3).to(torch.uint8).contiguous()


def looks_left(views: torch.Tensor) -> torch.Tensor:
    """Whether each picture is brighter on its left half, whatever its colours."""
    brightness = views.float().mean(3)
    half = views.shape[2] // 2
    return brightness[:, :, :half].mean((1, 2)) > brightness[:, :, half:].mean((1, 2))


@pytest.mark.parametrize("side", [32, 64])
def test_two_views_are_mirrored_together_and_half_of_the_time(side: int):
    first, second = draw_views("amdim", 2, ramps(200, side), generator())
    assert torch.equal(looks_left(first), looks_left(second))
    assert 70 < int(looks_left(first).sum()) < 130


@pytest.mark.parametrize("side", [32, 64])
def test_two_views_of_an_image_differ_in_place_and_colour(side: int):
    pixels = torch.randint(0, 256, (64, side, side, 3), dtype=torch.uint8)
    first, second = draw_views("amdim", 2, pixels, generator())
    same = (first == second).flatten(1).all(1)
    assert int(same.sum()) <= 4  # a translation and a jitter are left out together now and then
    assert first.shape == second.shape == pixels.shape
    assert first.dtype == torch.uint8


@pytest.mark.parametrize("side", [32, 64])
def test_the_same_generator_state_gives_the_same_two_views(side: int):
    pixels = torch.randint(0, 256, (8, side, side, 3), dtype=torch.uint8)
    before = pixels.clone()
    one, again, other = (draw_views("amdim", 2, pixels, generator(seed)) for seed in (1, 1, 2))
    assert all(map(torch.equal, one, again))
    assert not any(map(torch.equal, one, other))
    assert torch.equal(pixels, before)


def test_one_view_is_the_first_of_several():
    pixels = torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8)
    first, _ = draw_views("amdim", 2, pixels, generator(5))
    assert torch.equal(draw_view("amdim", pixels, generator(5)), first)
    assert set(SHARED) <= set(VIEWS)


def test_views_that_share_nothing_are_drawn_one_after_the_other():
    pixels = torch.randint(0, 256, (8, 9, 9, 3), dtype=torch.uint8)
    draws = generator(2)
    expected = [draw_view("flip_crop", pixels, draws) for _ in range(2)]
    assert all(map(torch.equal, expected, draw_views("flip_crop", 2, pixels, generator(2))))


def test_four_of_five_images_are_moved_by_up_to_four_pixels_with_reflected_borders():
    pixels = torch.randint(0, 256, (300, 12, 12, 3), dtype=torch.uint8)
    seen = draw_view("amdim", pixels, generator())
    shifts = []
    for image, view in zip(pixels.numpy(), seen.numpy(), strict=True):
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
        shifts += [
            (top - 4, left - 4)
            for way in (view, view[:, ::-1])
            for top in range(9)
            for left in range(9)
            if np.array_equal(way, padded[top : top + 12, left : left + 12])
        ]
    # Only images whose colours were left alone (0.2 * 0.75 of them) can be compared like this.
    assert 20 < len(shifts) < 80
    moved = [shift for shift in shifts if shift != (0, 0)]
    assert abs(len(moved) / len(shifts) - MOVE_CHANCE * 80 / 81) < 0.2
    assert max(max(map(abs, shift)) for shift in moved) == 4


def test_windows_keep_to_the_image_the_area_and_the_ratio():
    top, left, tall, wide = draw_boxes(5000, generator()).unbind(1)
    for start, length in ((top, tall), (left, wide)):
        assert start.min() >= 0
        assert (start + length).max() <= 1 + 1e-6
        assert length.max() <= 1
    area, ratio = tall * wide, wide / tall
    assert CROP_AREA[0] - 1e-6 <= area.min() < 0.32
    assert 0.95 < area.max() <= CROP_AREA[1] + 1e-6
    assert CROP_RATIO[0] - 1e-6 <= ratio.min() < 0.75
    assert 1.3 < ratio.max() <= CROP_RATIO[1] + 1e-6
    assert float(left.max()) > 0.3
    assert abs(float((left / (1 - wide)).mean()) - 0.5) < 0.02  # anywhere it fits


def test_a_crop_shows_its_window():
    pixels = ramps(50, 64)
    _, left, _, wide = draw_boxes(50, generator(7)).unbind(1)
    seen = resized_crop(pixels, generator(7)).float()[:, 32, :, 0]
    middles = (torch.arange(64) + 0.5) / 64
    ramp_at = (left[:, None] + wide[:, None] * middles) * 64 - 0.5  # in pixels of the image
    expected = 20 + (200 - 20) * ramp_at.clamp(0, 63) / 63
    assert (seen - expected).abs().max() <= 3  # at the borders bicubic weights see the edge twice


def test_a_whole_window_is_the_image_itself(monkeypatch: pytest.MonkeyPatch):
    whole = torch.tensor([0.0, 0.0, 1.0, 1.0])
    monkeypatch.setattr("training.cropping.draw_boxes", lambda count, _: whole.expand(count, 4))
    pixels = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    assert (resized_crop(pixels, generator()).int() - pixels.int()).abs().max() <= 1
