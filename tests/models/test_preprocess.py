import pytest
import torch

from models.card import Preprocessing
from models.preprocess import normalise


def random_pixels(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(size=8),
        Preprocessing(size=8, colour="grey"),
        Preprocessing(size=8, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ],
)
def test_normalising_equals_a_loop_over_every_pixel(preprocessing: Preprocessing):
    pixels = random_pixels(2, 3, 4, preprocessing.channels)
    images = normalise(pixels, preprocessing)
    assert images.shape == (2, preprocessing.channels, 3, 4)
    assert images.dtype == torch.float32
    for n, h, w, c in torch.cartesian_prod(*map(torch.arange, pixels.shape)).tolist():
        value = pixels[n, h, w, c].item() / 255
        expected = (value - preprocessing.mean[c]) / preprocessing.std[c]
        assert images[n, c, h, w].item() == pytest.approx(expected, abs=1e-6)


def test_the_default_puts_pixels_between_minus_one_and_one():
    pixels = torch.tensor([0, 255], dtype=torch.uint8).repeat(3, 1).T.reshape(2, 1, 1, 3)
    assert normalise(pixels, Preprocessing(size=1))[:, 0, 0, 0].tolist() == [-1.0, 1.0]


def test_the_result_is_channels_last():
    images = normalise(random_pixels(4, 8, 8, 3), Preprocessing(size=8))
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_the_pixels_are_left_alone():
    pixels = random_pixels(2, 8, 8, 3)
    before = pixels.clone()
    normalise(pixels, Preprocessing(size=8))
    assert torch.equal(pixels, before)


def test_a_first_call_in_inference_mode_does_not_bind_training():
    preprocessing = Preprocessing(size=4, mean=(0.1, 0.2, 0.3))
    with torch.inference_mode():
        normalise(random_pixels(1, 4, 4, 3), preprocessing)
    images = normalise(random_pixels(1, 4, 4, 3), preprocessing)
    weight = torch.ones(3, 1, 1, requires_grad=True)
    (images * weight).sum().backward()
    assert weight.grad is not None


def test_pixels_of_other_channels_are_refused():
    with pytest.raises(ValueError, match="asks for 1 channels"):
        normalise(random_pixels(1, 4, 4, 3), Preprocessing(size=4, colour="grey"))
