"""AMDIM from a folder of images to a served checkpoint: train, evaluate, embed, ask the service."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from service.app import create_app
from service.engine import load_engine
from service.settings import Settings
from training.__main__ import main

SETTINGS = [
    *("method=amdim", "encoder=amdim32", "channels=4", "rkhs=24", "depth=1", "views=amdim"),
    *("clip=15", "batch_size=16", "epochs=2", "calibrate_epochs=1"),
    *("served_local_units=16", "served_global_units=8"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of two classes of drawn pictures, and the checkpoint that the command made of it."""
    folder = tmp_path_factory.mktemp("amdim")
    draw = np.random.default_rng(2)
    for kind in ("flat", "noisy"):
        (folder / "pictures" / kind).mkdir(parents=True)
        for number in range(40):
            picture = np.zeros((32, 32, 3)) + draw.integers(0, 256, 3)
            if kind == "noisy":
                picture = draw.integers(0, 256, (32, 32, 3))
            Image.fromarray(picture.astype(np.uint8)).save(
                folder / "pictures" / kind / f"{number}.png"
            )
    words = ["--data", str(folder / "pictures"), "--out", str(folder / "run"), "--device", "cpu"]
    assert main(["train", *words, *SETTINGS]) == 0
    return folder / "pictures", folder / "run" / "checkpoint"


def npy(pictures: list[Path]) -> bytes:
    body = io.BytesIO()
    np.save(body, np.stack([np.asarray(Image.open(path)) for path in pictures]))
    return body.getvalue()


def test_the_card_says_what_trained_the_encoder(trained: tuple[Path, Path]) -> None:
    card = json.loads((trained[1] / "card.json").read_text())
    assert card["objective"]["method"] == "amdim"
    assert card["objective"]["alpha"] is None
    assert card["objective"]["arguments"]["clip"] == 15.0
    assert card["encoder"]["arguments"]["rkhs"] == 24
    assert set(card["critics"]) == {"local", "global"}


def test_the_service_answers_with_what_embed_exports(trained: tuple[Path, Path]) -> None:
    pictures, checkpoint = trained
    out = checkpoint.parent / "embeddings.npy"
    words = ["--checkpoint", str(checkpoint), "--data", str(pictures), "--out", str(out)]
    assert main(["embed", *words]) == 0
    paths = [pictures / line for line in Path(f"{out}.paths.txt").read_text().splitlines()][:6]
    threads = torch.get_num_threads()
    engine = load_engine(checkpoint, "cpu", threads=1)  # checks the golden outputs
    kind = {"content-type": "application/x-npy"}
    with TestClient(create_app(Settings(decode_threads=1), engine)) as client:

        def ask(route: str) -> dict:
            answer = client.post(route, content=npy(paths), headers=kind)
            assert answer.status_code == 200, answer.text
            return answer.json()

        embedded = ask("/embed")
        assert embedded["dimensions"] == 24
        np.testing.assert_allclose(embedded["embeddings"], np.load(out)[:6], rtol=1e-4, atol=1e-4)
        assert ask("/embed?representation=conv")["dimensions"] == 16 * 9
        assert ask("/feature-map")["shape"] == [16, 7, 7]
        (pair,) = ask("/mi-score?pairs=0-1&map=true")["pairs"]
        assert np.shape(pair["map"]) == np.shape(pair["backward"]["map"]) == (7, 7)
        assert 0 <= pair["p"] <= 1
        assert np.shape(ask("/mi-score?matrix=true&critic=global")["matrix"]["p"]) == (6, 6)
    torch.set_num_threads(threads)


def test_evaluate_puts_it_beside_the_same_network_untrained(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "checkpoint"
    shutil.copytree(trained[1], copied)
    words = ["--checkpoint", str(copied), "--data", str(trained[0]), "--device", "cpu"]
    assert main(["evaluate", *words, "--probe-epochs", "1"]) == 0
    assert "random" in capsys.readouterr().out.lower()
    rows = json.loads((copied / "card.json").read_text())["evaluation"]["rows"]
    assert {"conv", "fc", "y"} <= {
        row["representation"] for row in rows if row["encoder"] == "trained"
    }
