"""Bytes of a request -> uploads: the four input forms, under one roof.

multipart/form-data   repeated `files` (and `a`, `b` where a route compares); the rest are options
image/*               one image, as it is
application/json      {"images": [...]}, data URIs or base64; further keys are options
application/x-npy     uint8 images (N, height, width, 3)

Nothing here touches a pixel: what is returned are sources for the decoding threads.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
from numpy.typing import NDArray

from service import arrays, multipart
from service.errors import BadRequest, MalformedBody, UnsupportedEncoding, UnsupportedMediaType
from service.exchange import Exchange
from service.images import Source
from service.limits import Limits

INLINE_BYTES = 65_536  # smaller bodies are parsed on the event loop: it takes less than a hop
ACCEPTED = "multipart/form-data, image/*, application/json or application/x-npy"


@dataclass(frozen=True, slots=True)
class Upload:
    """What a request brought: images by field, and the options in its body.

    fields   field -> images; "images" is the plain one, "a" and "b" are compared
    block    the images of a .npy body as one array (N, height, width, 3), else None
    """

    fields: dict[str, list[Source]]
    options: dict[str, object] = field(default_factory=dict)
    block: NDArray[np.uint8] | None = None

    @property
    def sources(self) -> list[Source]:
        """Every image: the plain ones, then a, then b."""
        return [source for name in ("images", "a", "b") for source in self.fields.get(name, ())]


@dataclass(frozen=True, slots=True)
class Raw:
    """A whole body, with all it takes to understand it; `fields` are those the route knows."""

    body: bytes
    content_type: str
    limits: Limits
    fields: Sequence[str]


async def read_upload(
    exchange: Exchange, limits: Limits, fields: Sequence[str], timeout_s: float
) -> Upload:
    """Read the body and take it apart; `fields` are those the route knows.

    Raises ServiceError.
    """
    encoding = exchange.headers.get(b"content-encoding", b"identity")
    if encoding.lower() != b"identity":
        raise UnsupportedEncoding("Send the body as it is, without Content-Encoding.")
    content_type = exchange.headers.get(b"content-type", b"").decode("latin-1")
    parse = _parser(content_type)  # refuses a wrong type before the body is read
    body = await exchange.read_body(limits, timeout_s)
    raw = Raw(body, content_type, limits, fields)
    upload = parse(raw) if len(body) <= INLINE_BYTES else await asyncio.to_thread(parse, raw)
    images = len(upload.sources)
    limits.check_images(images)
    if not images:
        raise BadRequest(f"There is no image in the request; send {ACCEPTED}.")
    return upload


def _parser(content_type: str) -> Callable[[Raw], Upload]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("image/"):
        return _one_image
    try:
        return PARSERS[kind]
    except KeyError:
        hint = ""
        if kind == "application/x-www-form-urlencoded":
            hint = " (with curl: -F files=@picture.jpg)"
        raise UnsupportedMediaType(f"The body must be {ACCEPTED}{hint}.") from None


def _one_image(raw: Raw) -> Upload:
    return Upload({"images": [raw.body]})


def _npy(raw: Raw) -> Upload:
    block = arrays.read_images(raw.body)
    raw.limits.check_images(len(block))
    return Upload({"images": list(block)}, block=block)


def _multipart(raw: Raw) -> Upload:
    boundary = multipart.boundary_of(raw.content_type)
    parts = multipart.split_parts(raw.body, boundary, raw.limits.images)
    files: dict[str, list[Source]] = {}
    options: dict[str, object] = {}
    names = ["files" if name == "images" else name for name in raw.fields]
    for part in parts:
        if not part.is_file:
            if part.name in options:
                raise MalformedBody(f"The option {part.name[:40]} is given twice.")
            options[part.name] = _text(part)
        elif part.name in names:
            files.setdefault("images" if part.name == "files" else part.name, []).append(
                part.content
            )
        else:
            raise MalformedBody(f"Files belong into the field {' or '.join(names)}.")
    return Upload(files, options)


def _text(part: multipart.Part) -> str:
    try:
        return bytes(part.content).decode()
    except UnicodeDecodeError:
        raise MalformedBody(
            f"The part {part.name[:40]} is not text; a file needs a filename in its part."
        ) from None


def _json(raw: Raw) -> Upload:
    try:
        document = orjson.loads(raw.body)
    except orjson.JSONDecodeError:
        raise MalformedBody("The body is not JSON.") from None
    if not isinstance(document, dict):
        raise MalformedBody('The body must be a JSON object, such as {"images": ["<base64>"]}.')
    images: dict[str, list[Source]] = {}
    for name in raw.fields:
        listed = document.pop(name, [])
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise MalformedBody(f"{name} must be a list of data URIs or base64 strings.")
        images[name] = listed
    return Upload(images, document)


PARSERS = {"multipart/form-data": _multipart, "application/json": _json, "application/x-npy": _npy}
