import pytest
import torch

from training.evaluation.decoder import Decoder, reconstruction
from training.evaluation.fitting import FitSettings
from training.evaluation.similarity import ms_ssim

FAST = FitSettings(steps=40, batch_size=32, learning_rate=2e-3)


def squares(count):
    """8 x 8 images with one bright quarter, and the code of the quarter."""
    corner = torch.randint(0, 4, (count,))
    pixels = torch.full((count, 8, 8, 1), 30, dtype=torch.uint8)
    for image, where in zip(pixels, corner.tolist(), strict=True):
        row, column = 4 * (where // 2), 4 * (where % 2)
        image[row : row + 4, column : column + 4] = 220
    return pixels, torch.eye(4)[corner]


def test_what_y_says_is_drawn_and_what_it_does_not_say_is_not():
    (train, codes), (test, test_codes) = squares(160), squares(60)
    told = reconstruction((train, codes), (test, test_codes), FAST)
    noise, test_noise = torch.randn(160, 4), torch.randn(60, 4)
    untold = reconstruction((train, noise), (test, test_noise), FAST)
    assert told > 0.9
    assert untold < told - 0.3


def test_the_figure_is_the_mean_over_all_test_images(monkeypatch):
    monkeypatch.setattr("training.evaluation.decoder.ROWS_AT_ONCE", 7)
    monkeypatch.setattr(
        "training.evaluation.decoder.ms_ssim", lambda drawn, truth: truth.mean((1, 2, 3))
    )
    (train, codes), (test, test_codes) = squares(20), squares(17)
    test[:, 0, 0] = torch.arange(17, dtype=torch.uint8)[:, None]
    found = reconstruction((train, codes), (test, test_codes), FitSettings(steps=1))
    assert found == pytest.approx(test.float().mean().item() / 255, abs=1e-6)


@pytest.mark.parametrize("side", [1, 3, 8, 28, 32, 33, 96])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_decoder_draws_images_of_any_size_with_values_from_0_to_1(side, channels):
    drawn = Decoder(5, channels, side)(10 * torch.randn(2, 5))
    assert drawn.shape == (2, channels, side, side)
    assert bool(((drawn >= 0) & (drawn <= 1)).all())
    assert bool((ms_ssim(drawn, drawn) > 0.99).all())
