"""Apps around small engines, a real checkpoint of an untrained encoder, and pictures to send."""

import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.app import create_app
from service.engine import Engine
from service.settings import Settings
from tests.fakes import SIZE, MeanEngine

Colour = tuple[int, int, int]
Serve = Callable[..., TestClient]


@pytest.fixture
def engine() -> MeanEngine:
    """An engine whose answers are known by head."""
    return MeanEngine()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve an engine, with settings by keyword, until the end of the test."""
    opened: list[TestClient] = []

    def start(engine: Engine, **settings: object) -> TestClient:
        app = create_app(Settings(**{"decode_threads": 2, **settings}), engine)
        client = TestClient(app, raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        return client

    yield start
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve: Serve, engine: MeanEngine) -> TestClient:
    """A served MeanEngine with the settings everybody gets."""
    return serve(engine)


def picture(colour: Colour = (255, 0, 0), size: int = SIZE, form: str = "PNG") -> bytes:
    """A picture of one colour, encoded."""
    return encoded(Image.new("RGB", (size, size), colour), form)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """An image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def mean(colour: Colour) -> list[float]:
    """What MeanEngine answers for a picture of one colour."""
    return [channel / 255 for channel in colour]


def noise(number: int, size: int = SIZE, seed: int = 0) -> np.ndarray:
    """Random pixels (number, size, size, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (number, size, size, 3), np.uint8)
