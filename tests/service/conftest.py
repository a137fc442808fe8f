"""Apps around small engines, and a real checkpoint of an untrained encoder."""

from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.engine import Engine
from service.settings import Settings
from tests.fakes import MeanEngine

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
