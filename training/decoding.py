"""Files to pixels, each judged alone: a file that cannot be used is named with its reason."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import UnidentifiedImageError

from models.card import Preprocessing
from models.pixels import PixelError, open_image, to_pixels
from training.images import Progress, Unusable

# Raster formats only. Pillow would hand PostScript to Ghostscript, a program of its own.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
MOST_BYTES = 2**29  # of one file: it is read whole, by each thread one
EMPTY = "empty: it has no bytes"
CHUNK = 256  # files between two reports of progress; bounds what waits in memory

# First bytes of files people take for images, or that lie beside them.
NOT_IMAGES = (
    (b"%PDF", "a PDF document; export its pages as PNG or JPEG"),
    (b"%!PS", "a PostScript drawing; convert it to PNG"),
    (b"PK\x03\x04", "a zip archive; unpack it"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"8BPS", "a Photoshop document; export it as PNG"),
)
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")


@dataclass(frozen=True)
class Decoded:
    """One usable file: its pixels (size, size, channels) and the sha256 of its bytes."""

    path: str
    pixels: UInt8[np.ndarray, "size size channels"]
    digest: bytes


def decode_files(
    root: Path,
    paths: Sequence[str],
    preprocessing: Preprocessing,
    progress: Progress | None = None,
) -> Iterator[Decoded | Unusable]:
    """Decode every file, in the order of `paths`, by as many threads as there are cores.

    The decoders release Python's lock, so threads share the work; at most `CHUNK` decoded images
    wait to be taken.
    """

    def decode(path: str) -> Decoded | Unusable:
        return decode_file(root, path, preprocessing)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for start in range(0, len(paths), CHUNK):
            yield from pool.map(decode, paths[start : start + CHUNK])
            if progress is not None:
                progress("reading images", min(start + CHUNK, len(paths)), len(paths))


def decode_contents(
    records: Iterator[tuple[str, bytes] | Unusable],
    count: int,
    preprocessing: Preprocessing,
    progress: Progress | None = None,
) -> Iterator[Decoded | Unusable]:
    """Decode contents that come with their names, in their order, by all cores."""

    def decode(record: tuple[str, bytes] | Unusable) -> Decoded | Unusable:
        return record if isinstance(record, Unusable) else decode_content(*record, preprocessing)

    done = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        while chunk := list(islice(records, CHUNK)):
            yield from pool.map(decode, chunk)
            done += len(chunk)
            if progress is not None:
                progress("reading images", min(done, count), count)


def decode_file(root: Path, path: str, preprocessing: Preprocessing) -> Decoded | Unusable:
    """One file, wholly decoded; never raises for what is in the file."""
    try:
        content = _read(root / path)
    except _NotUsable as refusal:
        return Unusable(path, str(refusal))
    return decode_content(path, content, preprocessing)


def decode_content(path: str, content: bytes, preprocessing: Preprocessing) -> Decoded | Unusable:
    """What is in a file, wholly decoded; never raises for it."""
    if not content:
        return Unusable(path, EMPTY)
    try:
        with open_image(content, FORMATS) as image:
            pixels = to_pixels(image, preprocessing)
    except PixelError as error:
        if isinstance(error.__cause__, UnidentifiedImageError):
            return Unusable(path, _what_else(content))
        sentence = str(error)
        return Unusable(path, sentence[0].lower() + sentence[1:].rstrip("."))
    return Decoded(path, pixels, hashlib.sha256(content).digest())


class _NotUsable(Exception):
    """The file was refused before it was decoded; the message is the reason."""


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _NotUsable("not a file: a pipe, socket or device")
        if status.st_size > MOST_BYTES:
            raise _NotUsable(f"larger than {MOST_BYTES // 2**20} MiB")
        content = path.read_bytes()
    except PermissionError as error:
        raise _NotUsable("no permission to read it") from error
    except FileNotFoundError as error:
        raise _NotUsable("no longer there") from error
    except OSError as error:
        raise _NotUsable(f"cannot be read: {error.strerror}") from error
    return content


def _what_else(content: bytes) -> str:
    """What a file is that no image format recognises."""
    for magic, what in NOT_IMAGES:
        if content.startswith(magic):
            return what
    if content[4:8] == b"ftyp" and content[8:12] in HEIC_BRANDS:
        return "a HEIC photo; convert it to JPEG"
    if _is_text(content[:1024]):
        return "a text file, not an image"
    return f"not an image in a known format ({', '.join(FORMATS)}), or its header is damaged"


def _is_text(start: bytes) -> bool:
    if b"\0" in start:
        return False
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(start) - 4  # only a letter cut in half at the end
    return True
