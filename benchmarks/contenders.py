"""Who is compared: how each is started, what is sent to it, where its embedding stands."""

import base64
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.images import ImageFile

BOUNDARY = "a-boundary-that-no-image-holds"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
JSON = "application/json"


@dataclass(frozen=True)
class Contender:
    """A server to measure.

    words  its command line, without checkpoint and port     read  an answer -> the embedding
    """

    name: str
    words: Sequence[str]
    path: str
    content_type: str
    body: Callable[[ImageFile], bytes]
    read: Callable[[Any], list[float]]
    how: str

    def command(self, checkpoint: Path, port: int) -> list[str]:
        """The whole command line."""
        given = ["--checkpoint", str(checkpoint.resolve()), "--port", str(port)]
        return [sys.executable, "-m", *self.words, *given]


@dataclass(frozen=True)
class LitserveSetting:
    """What litserve's documentation offers for throughput; the batch's window in seconds."""

    max_batch_size: int
    batch_timeout: float
    workers: int
    form: bool = False

    def __str__(self) -> str:
        sent = "a form" if self.form else "base64 in JSON"
        return (
            f"max_batch_size={self.max_batch_size}, batch_timeout={self.batch_timeout:g},"
            f" workers_per_device={self.workers}, {sent}"
        )


def ours() -> Contender:
    """The service, with the settings everybody gets."""
    return Contender(
        "ours",
        ("service", "serve", "--device", "cpu"),
        "/embed",
        FORM,
        lambda image: form("files", image),
        lambda answer: answer["embeddings"][0],
        "`python -m service serve`, every setting at its default (it measures at start how many"
        " threads are fastest); multipart in, JSON out",
    )


def naive() -> Contender:
    """The usual FastAPI endpoint."""
    return Contender(
        "naive",
        ("benchmarks.rivals.naive",),
        "/embed",
        FORM,
        lambda image: form("file", image),
        lambda answer: answer,
        "benchmarks/rivals/naive.py under uvicorn with uvloop and httptools, one process, torch's"
        " default threads; the same multipart in, JSON out",
    )


def litserve(setting: LitserveSetting) -> Contender:
    """A litserve server with this setting."""
    given = {
        "--max-batch-size": setting.max_batch_size,
        "--batch-timeout": setting.batch_timeout,
        "--workers": setting.workers,
    }
    return Contender(
        "litserve",
        ("benchmarks.rivals.litserve_app", *(f"{key}={value}" for key, value in given.items())),
        "/predict",
        FORM if setting.form else JSON,
        (lambda image: form("file", image)) if setting.form else as_json,
        lambda answer: answer["embedding"],
        f"benchmarks/rivals/litserve_app.py, {setting} in, JSON out; fast_queue=True as documented"
        " for more than 100 requests/s (in 0.2.19 it does not reach the transport); one HTTP"
        " process a worker (its default), torch's threads divided by the workers",
    )


def litserve_settings(cores: int) -> list[LitserveSetting]:
    """Settings worth trying: one worker, or one a core, as the documentation says for CPUs."""
    settings = [
        LitserveSetting(32, 0.005, 1),
        LitserveSetting(32, 0.005, cores),
        LitserveSetting(max(4, 32 // cores), 0.01, cores),
        LitserveSetting(32, 0.0, 1),
    ]
    return list(dict.fromkeys(settings))


def form(field: str, image: ImageFile) -> bytes:
    """One file as multipart/form-data, the way curl writes it."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{image.name}"'
        f"\r\nContent-Type: {image.media_type}\r\n\r\n"
    )
    return head.encode() + image.content + f"\r\n--{BOUNDARY}--\r\n".encode()


def as_json(image: ImageFile) -> bytes:
    """The body that litserve's documentation sends."""
    return json.dumps({"image_data": base64.b64encode(image.content).decode()}).encode()
