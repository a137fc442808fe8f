"""The shipped checkpoint keeps its promises: its card's figures, and scores that mean something."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from models.card import Card
from models.checkpoint import load_checkpoint, read_card
from service.app import create_app
from service.engine import load_engine
from service.settings import Settings

MIB = 2**20
PAIRS = 200


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    """The folder of the default checkpoint."""
    return repository / "checkpoints" / "dim-cifar10"


@pytest.fixture(scope="module")
def card(folder: Path) -> Card:
    """Its card."""
    return read_card(folder)


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    """The service on it."""
    with TestClient(create_app(Settings(), load_engine(folder, "cpu", threads=1))) as opened:
        yield opened


def accuracy(card: Card, encoder: str, representation: str, probe: str) -> float:
    """Look one cell of the card's evaluation up."""
    assert card.evaluation is not None
    asked = (encoder, representation, probe)
    cells = [r for r in card.evaluation.rows if (r.encoder, r.representation, r.probe) == asked]
    assert len(cells) == 1, asked
    return cells[0].accuracy


def test_it_is_small_and_gives_its_golden_outputs(folder: Path) -> None:
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 16 * MIB
    checkpoint = load_checkpoint(folder)
    assert checkpoint.encoder.map_shape == (128, 8, 8)
    assert checkpoint.critics.keys() == {"local", "global"}


def test_its_card_shows_what_was_asked_of_it(card: Card) -> None:
    assert card.evaluation is not None
    assert card.evaluation.data.test == 10_000
    for representation, least in {"conv": 0.72, "fc": 0.68, "y": 0.63}.items():
        trained = accuracy(card, "trained", representation, "mlp200")
        assert trained >= least
        assert trained > accuracy(card, "random", representation, "mlp200") + 0.05
    for representation in ("fc", "y"):
        assert accuracy(card, "trained", representation, "knn") > 0.55
    for critic in card.critics.values():
        assert critic.calibration is not None
        assert critic.calibration.ece <= 0.05
        assert critic.calibration.auc >= 0.95
        assert critic.calibration.pairs == 20_000


def test_an_image_or_its_mirror_image_scores_above_another_image(
    client: TestClient, shared_data: Path
) -> None:
    strips = [
        np.asarray(Image.open(file).convert("RGB")).reshape(-1, 32, 32, 3)
        for file in sorted((shared_data / "cifar10-mini").glob("test_*.webp"))
    ]
    images = np.concatenate(strips)
    draw = np.random.default_rng(17).permutation(len(images))
    chosen, others = images[draw[:PAIRS]], images[draw[PAIRS : 2 * PAIRS]]
    same, mirrored, other = [], [], []
    for image, another in zip(chosen, others, strict=True):
        body = io.BytesIO()
        np.save(body, np.stack([image, image[:, ::-1], another]))
        answer = client.post(
            "/mi-score?pairs=0-0,0-1,0-2&map=true",
            content=body.getvalue(),
            headers={"content-type": "application/x-npy"},
        )
        assert answer.status_code == 200, answer.text
        pairs = json.loads(answer.content)["pairs"]
        assert np.shape(pairs[0]["map"]) == (8, 8)
        for kept, pair in zip((same, mirrored, other), pairs, strict=True):
            kept.append(pair["p"])
    above_same = float(np.mean(np.array(same) > np.array(other)))
    above_mirrored = float(np.mean(np.array(mirrored) > np.array(other)))
    area = float(np.mean(np.array(same + mirrored)[:, None] > np.array(other)))
    print(f"itself {above_same:.3f}, mirrored {above_mirrored:.3f}, AUC {area:.4f}")
    assert min(above_same, above_mirrored) >= 0.95
    assert area >= 0.95
