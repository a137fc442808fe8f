"""Apps around small engines, and a real checkpoint of an untrained encoder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from starlette.testclient import TestClient

from models.card import Card, Component, CriticCard, Preprocessing
from models.checkpoint import save_checkpoint
from models.critics import build_critic
from models.encoders import build_encoder
from service.app import create_app
from service.engine import Engine, TorchEngine, load_engine
from service.settings import Settings
from tests.fakes import CARD, MeanEngine

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


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an untrained basic32x32 with a local and a global critic.

    Its batch statistics are those of noise, so that different images have different embeddings.
    """
    torch.manual_seed(7)
    encoder = build_encoder("basic32x32")
    with torch.no_grad():
        for _ in range(3):
            encoder(torch.randn(32, 3, 32, 32))
    shape = {"summary_dim": encoder.summary_dim, "map_shape": list(encoder.map_shape)}
    critics = {
        "local": build_critic("local_dot", **shape, units=64, scale="sqrt_units"),
        "global": build_critic("global_concat", **shape, units=32),
    }
    names = {"local": "local_dot", "global": "global_concat"}
    card = Card(
        **{
            **dict(CARD),
            "name": "untrained",
            "encoder": Component(name="basic32x32", arguments=dict(encoder.arguments)),
            "critics": {
                role: CriticCard(name=names[role], arguments=critic.arguments)
                for role, critic in critics.items()
            },
            "preprocessing": Preprocessing(size=32),
            "files": {},
        }
    )
    folder = tmp_path_factory.mktemp("service") / "untrained"
    networks = [encoder.eval(), *(critic.eval() for critic in critics.values())]
    images = torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8)
    save_checkpoint(folder, card, networks[0], critics, images)
    return folder


@pytest.fixture(scope="session")
def torch_engine(checkpoint: Path) -> Iterator[TorchEngine]:
    """The engine of that checkpoint, on the CPU with one thread."""
    threads = torch.get_num_threads()
    yield load_engine(checkpoint, "cpu", threads=1)
    torch.set_num_threads(threads)
