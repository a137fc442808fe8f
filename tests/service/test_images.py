"""One stranger's image: judged alone, header first."""

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from models.card import Preprocessing
from models.pixels import to_pixels
from service.errors import (
    ImageBytesTooLarge,
    ImageTooLarge,
    ImageUndecodable,
    MalformedBody,
    ServiceError,
    TooManyFrames,
    UnsupportedFormat,
)
from service.images import decode, from_base64
from service.limits import Limits
from tests.fakes import encoded, noise, picture

CARD = Preprocessing(size=16)
LIMITS = Limits()


def photo(width: int = 40, height: int = 24) -> Image.Image:
    return Image.fromarray(noise(1, 40)[0][:height, :width])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_accepted_formats_give_the_pixels_that_training_saw(form: str):
    data = encoded(photo(), form)
    with Image.open(io.BytesIO(data)) as image:
        assert (decode(data, CARD, LIMITS) == to_pixels(image, CARD)).all()


def test_base64_data_uris_and_arrays_give_the_same_pixels():
    data = encoded(photo())
    text = base64.b64encode(data).decode()
    expected = decode(data, CARD, LIMITS)
    wrapped = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    for source in (text, text.rstrip("="), wrapped, f"data:image/png;base64,{text}"):
        assert (decode(source, CARD, LIMITS) == expected).all()
    assert (decode(np.asarray(photo()), CARD, LIMITS) == expected).all()
    assert (decode(memoryview(data), CARD, LIMITS) == expected).all()


def test_a_jpeg_with_further_pictures_behind_it_counts_as_a_jpeg():
    data = encoded(photo(), "MPO", save_all=True, append_images=[photo()])
    assert decode(data, CARD, LIMITS).shape == (16, 16, 3)


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "ICO", "PPM"])
def test_other_formats_are_named_and_refused(form: str):
    with pytest.raises(UnsupportedFormat, match="send JPEG, PNG or WebP"):
        decode(encoded(photo(), form), CARD, LIMITS)


@pytest.mark.parametrize(
    "data", [b"", b"not an image", encoded(photo())[:60], encoded(photo(), "JPEG")[:200]]
)
def test_damaged_images_are_undecodable(data: bytes):
    with pytest.raises(ImageUndecodable):
        decode(data, CARD, LIMITS)


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and has next to nothing behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"0" * 99))


@pytest.mark.parametrize("size", [(9000, 9000), (50_000_001, 1), (100_000, 100_000)])
def test_pixel_bombs_are_refused_by_their_header(size: tuple[int, int]):
    with pytest.raises(ImageTooLarge):
        decode(png_header(*size), CARD, LIMITS)


def test_bytes_pixels_and_frames_have_bounds():
    with pytest.raises(ImageBytesTooLarge, match="100 bytes"):
        decode(picture(size=99), CARD, Limits(image_bytes=100))
    with pytest.raises(ImageBytesTooLarge):
        decode("A" * 1000, CARD, Limits(image_bytes=100))
    with pytest.raises(ImageTooLarge):
        decode(picture(size=20), CARD, Limits(image_pixels=399))
    with pytest.raises(ImageTooLarge):
        decode(np.zeros((20, 20, 3), np.uint8), CARD, Limits(image_pixels=399))
    film = encoded(photo(), "WEBP", save_all=True, append_images=[photo().rotate(180)] * 3)
    with pytest.raises(TooManyFrames):
        decode(film, CARD, Limits(image_frames=1))


@pytest.mark.parametrize(
    "text", ["", "%%%", "data:image/png,plain", "data:image/png;base64", "é" * 8, "AAAA=AAA"]
)
def test_what_is_no_base64_is_malformed_or_no_image(text: str):
    with pytest.raises((MalformedBody, ImageUndecodable)):
        decode(text, CARD, LIMITS)


def test_base64_is_measured_before_it_is_decoded():
    limits = Limits(image_bytes=3)
    assert from_base64("AAAA", limits) == b"\0\0\0"
    with pytest.raises(ImageBytesTooLarge):
        from_base64("AAAAAAAA", limits)


def test_no_sentence_holds_what_pillow_said():
    for data in (b"", b"junk", png_header(9000, 9000), encoded(photo())[:60]):
        with pytest.raises(ServiceError) as refused:
            decode(data, CARD, LIMITS)
        assert "BytesIO" not in refused.value.message
        assert "PIL" not in refused.value.message
