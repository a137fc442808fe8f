"""One stranger's image becomes pixels, or the sentence why not: judged alone, header before pixels.

It runs in a decoding thread, never on the event loop. Formats are an allow-list; dimensions and
frames are checked from the header, so that a pixel bomb costs no more than its header. The pixels
themselves are made by models.pixels, the same code that made the training set's.
"""

import base64
import binascii
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.card import Preprocessing
from models.pixels import PixelError, open_image, to_pixels
from service.errors import (
    ImageTooLarge,
    ImageUndecodable,
    MalformedBody,
    TooManyFrames,
    UnsupportedFormat,
)
from service.limits import Limits

FORMATS = ("JPEG", "PNG", "WEBP")
OPENED_AS = {"MPO": "JPEG"}  # a JPEG with further pictures behind it, as phones write them

# bytes of an image file, its base64 or data URI, or pixels (height, width, 3)
Source = bytes | memoryview | str | NDArray[np.uint8]


def decode(source: Source, preprocessing: Preprocessing, limits: Limits) -> NDArray[np.uint8]:
    """Give the pixels (size, size, channels) the model takes.

    Raises ServiceError: 400 for bad base64, 413 for too many bytes, 415 for a format that is not
    accepted, 422 for what cannot be decoded or has too many pixels or frames.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, preprocessing, limits)
    if isinstance(source, str):
        source = from_base64(source, limits)
    limits.check_image_bytes(len(source))
    return _from_file(bytes(source), preprocessing, limits)


def from_base64(text: str, limits: Limits) -> bytes:
    """Read a data URI or plain base64; line breaks and missing padding are forgiven."""
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise MalformedBody("A data URI must read data:image/...;base64,<base64>.")
    limits.check_image_bytes(len(text) * 3 // 4 - 2)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        tidy = "".join(text.split()).rstrip("=")
    try:
        return base64.b64decode(tidy + "=" * (-len(tidy) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedBody("An image must be a data URI or base64; this is neither.") from None


def _from_file(data: bytes, preprocessing: Preprocessing, limits: Limits) -> NDArray[np.uint8]:
    if not data:
        raise ImageUndecodable("The image is empty.")
    try:
        image = open_image(data, FORMATS)
    except PixelError as error:
        raise _not_opened(data, error, limits) from error
    with image:
        _check_header(image, limits)
        try:
            return to_pixels(image, preprocessing)
        except PixelError as error:
            raise ImageUndecodable(str(error)) from error


def _check_header(image: Image.Image, limits: Limits) -> None:
    if OPENED_AS.get(image.format or "", image.format) not in FORMATS:
        raise _unsupported(image.format or "This kind of")
    _check_size(image.width, image.height, limits)
    frames = getattr(image, "n_frames", 1)
    if frames > limits.image_frames:
        raise TooManyFrames(f"The image has {frames} frames; {limits.image_frames} are allowed.")


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.image_pixels:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels; {limits.image_pixels} are allowed."
        )


def _from_array(
    pixels: NDArray[np.uint8], preprocessing: Preprocessing, limits: Limits
) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    _check_size(width, height, limits)
    try:
        return to_pixels(Image.fromarray(np.ascontiguousarray(pixels)), preprocessing)
    except PixelError as error:
        raise ImageUndecodable(str(error)) from error


def _not_opened(
    data: bytes, error: PixelError, limits: Limits
) -> ImageTooLarge | ImageUndecodable | UnsupportedFormat:
    if isinstance(error.__cause__, Image.DecompressionBombError):
        sentence = f"The image declares more than {limits.image_pixels} pixels."
        return ImageTooLarge(sentence)
    for name, offset, signature in SIGNATURES:
        if data.startswith(signature, offset):
            return _unsupported(name)
    return ImageUndecodable("The data is not a whole JPEG, PNG or WebP image.")


def _unsupported(name: str) -> UnsupportedFormat:
    return UnsupportedFormat(f"{name} images are not accepted; send JPEG, PNG or WebP.")


# Formats people do send, told apart from garbage so that the answer can name them.
SIGNATURES: Sequence[tuple[str, int, bytes]] = (
    ("GIF", 0, b"GIF8"),
    ("BMP", 0, b"BM"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("HEIC or AVIF", 4, b"ftyp"),
    ("JPEG 2000", 0, b"\0\0\0\x0cjP  "),
    ("JPEG 2000", 0, b"\xff\x4f\xff\x51"),
    ("JPEG XL", 0, b"\xff\x0a"),
    ("JPEG XL", 0, b"\0\0\0\x0cJXL "),
    ("PSD", 0, b"8BPS"),
    ("ICO", 0, b"\0\0\x01\0"),
    ("PDF", 0, b"%PDF"),
    ("SVG", 0, b"<svg"),
    ("SVG", 0, b"<?xml"),
    ("PNM", 0, b"P5"),
    ("PNM", 0, b"P6"),
)
