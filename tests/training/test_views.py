import numpy as np
import pytest
import torch

from training.views import GREY_CHANCE, JITTER_CHANCE, LUMA, RGB_TO_YIQ, VIEWS, draw_view


def images(count: int = 16, side: int = 9, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, side, side, channels), dtype=torch.uint8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_is_as_large_as_the_image_and_follows_the_generator(name: str, channels: int):
    pixels = images(channels=channels)
    before = pixels.clone()
    first = draw_view(name, pixels, generator(1))
    assert first.shape == pixels.shape
    assert first.dtype == torch.uint8
    assert torch.equal(first, draw_view(name, pixels, generator(1)))
    assert torch.equal(pixels, before)
    if name != "none":
        assert not torch.equal(first, draw_view(name, pixels, generator(2)))


def test_none_is_the_image_itself():
    pixels = images()
    assert torch.equal(draw_view("none", pixels, generator()), pixels)


def test_an_unknown_view_lists_the_known_ones():
    with pytest.raises(ValueError, match="flip_crop_colour"):
        draw_view("flop", images(), generator())


def test_flip_mirrors_each_image_on_its_own():
    pixels = images(200)
    seen = draw_view("flip", pixels, generator())
    mirrored = [
        bool((view == image.flip(1)).all()) for view, image in zip(seen, pixels, strict=True)
    ]
    kept = [bool((view == image).all()) for view, image in zip(seen, pixels, strict=True)]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True))
    assert 70 < sum(mirrored) < 130


def test_flip_crop_moves_by_up_to_four_pixels_with_reflected_borders():
    pixels = images(120, side=11)  # of 9 pixels, a shift of 4 leaves a mirror image of itself
    seen = draw_view("flip_crop", pixels, generator())
    found = set()
    for image, view in zip(pixels.numpy(), seen.numpy(), strict=True):
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
        places = {
            (mirrored, top, left)
            for mirrored, shown in ((False, view), (True, view[:, ::-1]))
            for top in range(9)
            for left in range(9)
            if np.array_equal(shown, padded[top : top + 11, left : left + 11])
        }
        assert len(places) == 1
        found |= places
    assert {top for _, top, _ in found} == set(range(9)) == {left for _, _, left in found}
    assert {mirrored for mirrored, _, _ in found} == {False, True}


@pytest.mark.parametrize("side", [1, 2, 3])
def test_images_smaller_than_the_shift_are_cropped_too(side: int):
    pixels = images(8, side=side)
    assert draw_view("flip_crop", pixels, generator()).shape == pixels.shape


def test_colour_change_equals_one_step_after_another_on_one_pixel_at_a_time():
    pixels = images(40, side=5)
    moved = draw_view("flip_crop", pixels, generator(3)).numpy().astype(np.float64)
    seen = draw_view("flip_crop_colour", pixels, generator(3)).numpy()
    draws = generator(3)
    draw_view("flip_crop", pixels, draws)  # leaves the generator where the colours begin
    brightness, contrast, saturation = (0.6 + 0.8 * torch.rand(40, generator=draws) for _ in "bcs")
    turn = -0.2 + 0.4 * torch.rand(40, generator=draws)
    jittered = torch.rand(40, generator=draws) < JITTER_CHANCE
    grey = torch.rand(40, generator=draws) < GREY_CHANCE
    assert jittered.any()
    assert not jittered.all()
    assert grey.any()
    for n, image in enumerate(moved):
        changed = image
        if jittered[n]:
            bright = image * float(brightness[n])
            middle = (bright @ LUMA).mean()
            contrasted = float(contrast[n]) * bright + (1 - float(contrast[n])) * middle
            luma = (contrasted @ LUMA)[..., None]
            saturated = float(saturation[n]) * contrasted + (1 - float(saturation[n])) * luma
            changed = turned(saturated, 2 * np.pi * float(turn[n]))
        if grey[n]:
            changed = np.repeat((changed @ LUMA)[..., None], 3, axis=-1)
        expected = np.clip(np.round(changed), 0, 255)
        assert np.abs(seen[n] - expected).max() <= 1


def turned(image: np.ndarray, angle: float) -> np.ndarray:
    to_yiq = np.asarray(RGB_TO_YIQ)
    y, i, q = np.moveaxis(image @ to_yiq.T, -1, 0)
    chroma = (i + 1j * q) * np.exp(1j * angle)
    return np.stack([y, chroma.real, chroma.imag], axis=-1) @ np.linalg.inv(to_yiq).T


def test_grey_images_change_in_brightness_and_contrast():
    pixels = images(64, channels=1)
    seen = draw_view("flip_crop_colour", pixels, generator())
    moved = draw_view("flip_crop", pixels, generator())
    changed = (seen != moved).flatten(1).any(dim=1)
    assert 35 < int(changed.sum()) < 64
