"""An opened image becomes pixels, here and nowhere else, for training and service alike.

The rules, in order: the first frame; every mode shown as 8-bit RGB (16-bit, integer and float
samples are scaled, never clipped; transparency lies on white; ICC profiles are not applied); the
card's resize rule; the EXIF orientation, once; the card's colour. Whatever Pillow cannot turn into
pixels is a `PixelError`, whose sentence carries no exception text and no path: anyone may see it.
"""

import io
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Num, UInt8
from PIL import ExifTags, Image, UnidentifiedImageError

from models.card import Preprocessing


class PixelError(ValueError):
    """An image that cannot be turned into pixels; its text is a sentence fit for its sender."""


def open_image(source: bytes | Path, formats: tuple[str, ...] | None = None) -> Image.Image:
    """Read the header of an image, from bytes or a file; close the result, best with `with`.

    formats  Pillow's names of the formats to try ("JPEG", "PNG", ...), all of them by default.
    Raises PixelError where there is no such image.
    """
    with _judged():
        return Image.open(
            io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats
        )


def to_pixels(
    image: Image.Image, preprocessing: Preprocessing
) -> UInt8[np.ndarray, "size size channels"]:
    """Give the uint8 pixels (size, size, channels) that the encoder's card asks for.

    Raises PixelError. An image that already has the right size and mode is copied unchanged. A
    JPEG far larger than `size`, not decoded yet, is decoded at a fraction of its size, for good.
    """
    with _judged():
        image.draft(None, (_DRAFT_GAP * preprocessing.size,) * 2)  # does nothing but for a JPEG
        plain = _plain(image)
        small = plain.resize(
            (preprocessing.size, preprocessing.size),
            _FILTERS[preprocessing.interpolation],
            box=_RESIZE_BOXES[preprocessing.resize](*plain.size),
        )
        # A centred square and the whole frame both turn onto themselves, so turning the small image
        # is the same as turning the large one, and cheaper.
        upright = _upright(small, _orientation(image))
        coloured = upright.convert("L" if preprocessing.colour == "grey" else "RGB")
        pixels = np.array(coloured, dtype=np.uint8)
        return pixels.reshape(preprocessing.size, preprocessing.size, preprocessing.channels)


def to_rgb(image: Image.Image) -> Image.Image:
    """Give the first frame upright as a new 8-bit RGB image that carries no metadata.

    Raises PixelError.
    """
    with _judged():
        plain = _plain(image)
        result = _upright(plain, _orientation(image)).convert("RGB")  # always a new image
        result.info = {}
        return result


# A JPEG decoded by its own block means to no less than this many times the size asked for gives the
# same pixels within one level (measured on photographs), 3.5 times as fast for 12 megapixels.
_DRAFT_GAP = 8

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

Box = tuple[float, float, float, float]


def _centred_square(width: int, height: int) -> Box:
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _whole(width: int, height: int) -> Box:
    return 0.0, 0.0, float(width), float(height)


_RESIZE_BOXES: dict[str, Callable[[int, int], Box]] = {"crop": _centred_square, "squash": _whole}


def _plain(image: Image.Image) -> Image.Image:
    """Decode the first frame and give it as "L" or "RGB", not yet turned upright."""
    first = getattr(image, "_min_frame", 0)  # a PSD counts its frames from one
    if image.tell() != first:
        image.seek(first)
    image.load()
    if 0 in image.size:
        raise PixelError("The image has no pixels: its width or height is zero.")
    if image.mode.startswith("I;16"):
        return Image.fromarray(_sixteen_bit(image))
    if image.mode in ("I", "F"):
        return Image.fromarray(_scaled(np.asarray(image)))
    if image.mode == "La":
        image = image.convert("LA")  # Pillow has no direct way from premultiplied grey
    if image.has_transparency_data:
        return _on_white(image.convert("RGBA"))
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, "white")
    white.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return white


def _sixteen_bit(image: Image.Image) -> UInt8[np.ndarray, "height width"]:
    """Scale 0..65535 to 0..255; a sample equal to the file's transparent value is white."""
    samples = np.asarray(image)
    levels = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        levels[samples == transparent] = 255
    return levels


# Where integer and float samples conventionally end; the smallest that holds all samples is meant.
_RANGES = {"i": (255.0, 65535.0), "f": (1.0, 255.0, 65535.0)}
_SAMPLES_A_STEP = 1 << 20


def _scaled(samples: Num[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Scale integer or float samples of unknown range to 0..255.

    Samples within a conventional range are scaled by it; others are stretched from their least to
    their greatest. NaN is black, and infinities are the ends of the range.
    """
    low, high = _sample_range(samples)
    gain = 255.0 / (high - low)
    levels = np.empty(samples.shape, np.uint8)
    rows = max(1, _SAMPLES_A_STEP // samples.shape[1])
    for start in range(0, len(samples), rows):  # bounds the memory of the float64 copies
        part = (samples[start : start + rows].astype(np.float64) - low) * gain
        part = np.nan_to_num(part, nan=0.0, posinf=255.0, neginf=0.0)
        levels[start : start + rows] = np.clip(part, 0.0, 255.0).round()
    return levels


def _sample_range(samples: Num[np.ndarray, "height width"]) -> tuple[float, float]:
    finite = np.isfinite(samples)
    if not finite.any():
        return 0.0, 1.0
    bounds = np.iinfo(samples.dtype) if samples.dtype.kind == "i" else np.finfo(samples.dtype)
    low = float(samples.min(where=finite, initial=bounds.max))
    high = float(samples.max(where=finite, initial=bounds.min))
    for top in _RANGES[samples.dtype.kind]:
        if low >= 0 and high <= top:
            return 0.0, top
    return low, high if high > low else low + 1.0


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _orientation(image: Image.Image) -> object:
    """Read the EXIF orientation of a loaded image; unreadable metadata means upright."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - broken metadata raises almost anything, and the pixels are whole
        return None


def _upright(image: Image.Image, orientation: object) -> Image.Image:
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


@contextmanager
def _judged() -> Iterator[None]:
    """Turn every failure into a PixelError and keep Pillow's warnings to ourselves."""
    try:
        with _quiet_pillow:
            yield
    except PixelError:
        raise
    except Exception as error:  # OSError, SyntaxError, struct.error, zlib.error and many more
        raise PixelError(_reason(error)) from error


def _reason(error: Exception) -> str:
    for kind, sentence in _REASONS.items():
        if isinstance(error, kind):
            return sentence
    if isinstance(error, OSError) and error.errno is not None:
        return f"The file cannot be read: {os.strerror(error.errno)}."
    if "truncated" in str(error).lower():
        return "The image is truncated: its data ends early."
    return "The image data is damaged or of a kind that cannot be decoded."


_REASONS: dict[type[Exception], str] = {
    UnidentifiedImageError: "The data is not an image of a known format.",
    Image.DecompressionBombError: "The image declares more pixels than may be decoded.",
    MemoryError: "The image does not fit into memory.",
}


_PILLOW = r"PIL(\.|$)"
_PILLOW_FILTER = ("ignore", None, Warning, re.compile(_PILLOW), 0)


class _QuietPillow:
    """Ignores the warnings that Pillow's modules raise, while any thread is inside.

    `warnings.catch_warnings` restores a saved list and so is not safe in a pool of decoding
    threads; this adds one entry, counts who is inside and takes only that entry away.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if _PILLOW_FILTER not in warnings.filters:
                warnings.filterwarnings("ignore", module=_PILLOW)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and _PILLOW_FILTER in warnings.filters:
                warnings.filters.remove(_PILLOW_FILTER)  # type: ignore[attr-defined]  # a list


_quiet_pillow = _QuietPillow()
