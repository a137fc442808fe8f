import math

import numpy as np
import pytest
import torch

from training.evaluation.similarity import enlarged, ms_ssim

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def window():
    weights = [
        [math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / 4.5) for j in range(11)] for i in range(11)
    ]
    return np.array(weights) / np.sum(weights)


def slow_terms(one, other):
    """Mean SSIM and mean contrast over every whole window of two grey images, one at a time."""
    weights = window()
    ssim, contrast = [], []
    for row in range(one.shape[0] - 10):
        for column in range(one.shape[1] - 10):
            a = one[row : row + 11, column : column + 11]
            b = other[row : row + 11, column : column + 11]
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            variance_a = (weights * (a - mean_a) ** 2).sum()
            variance_b = (weights * (b - mean_b) ** 2).sum()
            covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
            structure = (2 * covariance + 0.03**2) / (variance_a + variance_b + 0.03**2)
            light = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
            contrast.append(structure)
            ssim.append(structure * light)
    return np.mean(ssim), np.mean(contrast)


def slow_ms_ssim(one, other):
    result = 1.0
    for scale, weight in enumerate(WEIGHTS):
        ssim, contrast = slow_terms(one, other)
        result *= max(0.0, ssim if scale == 4 else contrast) ** weight
        one, other = (
            x[: len(x) // 2 * 2, : x.shape[1] // 2 * 2]
            .reshape(len(x) // 2, 2, x.shape[1] // 2, 2)
            .mean((1, 3))
            for x in (one, other)
        )
    return result


def smooth_noise(*shape):
    return torch.nn.functional.interpolate(
        torch.rand(*shape[:2], 22, 23), shape[2:], mode="bicubic"
    )


def test_ms_ssim_is_that_of_a_loop_nobody_could_get_wrong():
    one = smooth_noise(1, 1, 176, 181).clamp(0, 1)
    other = (one + 0.1 * torch.randn_like(one)).clamp(0, 1)
    expected = slow_ms_ssim(one[0, 0].double().numpy(), other[0, 0].double().numpy())
    assert 0.2 < expected < 0.97
    assert ms_ssim(one, other).item() == pytest.approx(expected, abs=1e-4)


def test_an_image_is_wholly_similar_to_itself_and_the_less_the_more_noise():
    images = torch.rand(3, 3, 32, 32)
    assert torch.allclose(ms_ssim(images, images), torch.ones(3), atol=1e-5)
    noise = torch.randn_like(images)
    scores = [ms_ssim(images, (images + s * noise).clamp(0, 1)).mean() for s in (0.05, 0.2, 0.8)]
    assert 1 > scores[0] > scores[1] > scores[2] >= 0


def test_flat_images_differ_in_luminance_alone_with_a_data_range_of_one():
    dark, bright = torch.full((1, 1, 180, 180), 0.2), torch.full((1, 1, 180, 180), 0.6)
    luminance = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ms_ssim(dark, bright).item() == pytest.approx(luminance**0.1333, abs=1e-3)


def test_the_opposite_of_an_image_is_not_similar_at_all():
    images = smooth_noise(2, 3, 176, 176).clamp(0, 1)
    assert torch.equal(ms_ssim(images, 1 - images), torch.zeros(2))


def test_channels_count_alike():
    one = torch.rand(2, 3, 32, 32)
    other = one.clone()
    other[:, 1] = torch.rand(2, 32, 32)
    alone = ms_ssim(one[:, 1:2], other[:, 1:2])
    assert torch.allclose(ms_ssim(one, other), (2 + alone) / 3, atol=1e-5)


def test_small_images_are_enlarged_until_the_window_fits_five_times():
    assert enlarged(torch.rand(1, 3, 32, 48)).shape == (1, 3, 176, 264)
    large = torch.rand(1, 1, 176, 200)
    assert enlarged(large) is large
