"""NumPy's .npy format, both ways: uint8 images come in, vectors and maps go out. Never a pickle."""

import io
from math import prod
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from service.errors import MalformedBody

MAX_HEADER_BYTES = 4096
READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_images(body: bytes) -> NDArray[np.uint8]:
    """Read uint8 images (N, H, W, 3) without copying them.

    The header is read as data, never executed, and must account for every byte of the body. Raises
    MalformedBody.
    """
    shape, fortran_order, dtype, offset = _read_header(body)
    if dtype != np.uint8:
        raise MalformedBody("The array must be uint8; convert it with array.astype('uint8').")
    if len(shape) != 4 or shape[3] != 3 or min(shape) < 1:
        raise MalformedBody("The array must have the shape (N, height, width, 3), without zeros.")
    if prod(shape) != len(body) - offset:
        raise MalformedBody("The array's header and the length of the body do not agree.")
    pixels = np.frombuffer(body, np.uint8, offset=offset)
    if fortran_order:
        return pixels.reshape(shape[::-1]).transpose()
    return pixels.reshape(shape)


def write(array: NDArray[Any]) -> bytes:
    """Give an array as the bytes of a .npy file."""
    buffer = io.BytesIO()
    npy.write_array(buffer, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _read_header(body: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    stream = io.BytesIO(body[: MAX_HEADER_BYTES + 12])
    try:
        read = READERS[npy.read_magic(stream)]
        shape, fortran_order, dtype = read(stream, max_header_size=MAX_HEADER_BYTES)
    except Exception as error:  # the header is a stranger's Python literal: it raises anything
        raise MalformedBody("The body is not a .npy array; numpy.save writes one.") from error
    return shape, fortran_order, dtype, stream.tell()
