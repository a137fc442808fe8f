"""Numbers -> bytes of an answer: JSON, .npy, plain octets with X-Shape and X-Dtype, or a picture.

Everything here is a pure function. Large answers are written row by row, so that the thread that
writes one lets others run in between.
"""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service import arrays
from service.accept import JSON, NPY, OCTETS
from service.errors import BadOption
from service.exchange import Answer, Headers

ROW_NUMBERS = 16_384  # an array larger than this is written row by row
INLINE_NUMBERS = (
    32_768  # answers up to here are written on the event loop: it takes less than a hop
)

Array = NDArray[Any]


def to_json(document: Mapping[str, object], name: str, array: Array | list[Any]) -> Answer:
    """Give a JSON object with one large member at its end."""
    head = orjson.dumps(document)[:-1]
    comma = b"," if document else b""
    return Answer(b"".join((head, comma, b'"', name.encode(), b'":', _write(array), b"}")))


def to_binary(media_type: str, array: Array, headers: Headers = ()) -> Answer:
    """Give an array as .npy or as little-endian octets."""
    array = np.ascontiguousarray(array)
    shape = ",".join(map(str, array.shape)).encode()
    described = ((b"x-shape", shape), (b"x-dtype", array.dtype.name.encode()), *headers)
    body = arrays.write(array) if media_type == NPY else array.tobytes()
    return Answer(body, media_type, headers=described)


def base64_rows(array: Array) -> list[str]:
    """Each row as base64 of its little-endian float32 numbers."""
    rows = np.ascontiguousarray(array, dtype="<f4")
    return [base64.b64encode(row.tobytes()).decode() for row in rows]


def refuse_encoding(media_type: str, encoding: str) -> None:
    """Raise BadOption where base64 was asked for outside of JSON."""
    if encoding == "base64" and media_type != JSON:
        raise BadOption(
            f"encoding=base64 belongs to {JSON}; {NPY} and {OCTETS} are binary already."
        )


def to_int8(vectors: Array) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round each vector to int8 by a scale of its own: vector is about numbers x scale."""
    largest = np.abs(vectors).max(axis=1)
    scales = (np.where(largest > 0, largest, 1.0) / 127).astype(np.float32)
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales


def to_ubinary(vectors: Array, threshold: float) -> NDArray[np.uint8]:
    """One bit a dimension, set above the threshold; eight to a byte, the first is the highest."""
    return np.packbits(vectors > threshold, axis=1)


def normalized(vectors: Array) -> Array:
    """Scale each vector to length 1; zero stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)


def sigmoid(values: Array) -> Array:
    """The logistic function, without overflow."""
    return np.exp(-np.logaddexp(np.float32(0), -values))


def _write(array: Array | list[Any]) -> bytes:
    if isinstance(array, list):
        return orjson.dumps(array)
    if array.size > ROW_NUMBERS and array.ndim > 1:
        return b"[" + b",".join(_write(row) for row in array) + b"]"
    return orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
