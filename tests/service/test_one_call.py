import logging

import pytest
import torch

from models.card import Preprocessing
from models.encoders import build_encoder
from models.inference import encode, prepare
from service.one_call import one_call
from tests.models.small_encoders import SMALL


def pixels(size: int, images: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(4)
    return torch.randint(0, 256, (images, size, size, 3), dtype=torch.uint8, generator=draw)


@pytest.mark.parametrize("name", SMALL)
def test_one_call_gives_what_the_layers_give_for_any_number_of_images(name, caplog):
    torch.manual_seed(0)
    encoder = prepare(build_encoder(name, **SMALL[name]))
    preprocessing = Preprocessing(size=encoder.image_size)
    with caplog.at_level(logging.WARNING, "infomax.engine"):
        run = one_call(encoder, preprocessing)
    assert not caplog.records  # it really is one call
    with torch.inference_mode():
        for images in (1, 2, 5, 17):
            batch = pixels(encoder.image_size, images)
            for one, other in zip(run(batch), encode(encoder, batch, preprocessing), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_an_encoder_that_asks_how_many_images_there_are_keeps_its_layers(caplog):
    encoder = prepare(build_encoder("basic32x32", fc_dim=8))
    whole = type(encoder).forward

    def forward(images):
        features = whole(encoder, images)
        return features._replace(y=features.y * int(images.shape[0]))

    encoder.forward = forward
    preprocessing = Preprocessing(size=32)
    with caplog.at_level(logging.WARNING, "infomax.engine"):
        run = one_call(encoder, preprocessing)
    assert "gives other numbers" in caplog.text
    batch = pixels(32, 5)
    assert torch.equal(run(batch).y, encode(encoder, batch, preprocessing).y)


def test_an_encoder_that_cannot_be_traced_keeps_its_layers(caplog):
    encoder = prepare(build_encoder("basic32x32", fc_dim=8))
    whole = type(encoder).forward

    def forward(images):
        if torch.jit.is_tracing():
            raise RuntimeError("not to be traced")
        return whole(encoder, images)

    encoder.forward = forward
    preprocessing = Preprocessing(size=32)
    with caplog.at_level(logging.WARNING, "infomax.engine"):
        run = one_call(encoder, preprocessing)
    assert "cannot be one call" in caplog.text
    assert run(pixels(32, 3)).y.shape == (3, 64)
