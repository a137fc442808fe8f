"""A folder of images goes in, a service answers from what was learned: the whole way, for real."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

CLASSES, IMAGES_A_CLASS = 3, 40
SETTINGS = ["epochs=2", "local_units=16", "served_local_units=16", "served_global_units=8"]


def draw_images(folder: Path) -> None:
    """Draw stripes, rings and noise, of mixed sizes, modes and formats, nested in class folders."""
    draw = np.random.default_rng(4)
    for kind in range(CLASSES):
        for number in range(IMAGES_A_CLASS):
            size = int(draw.integers(28, 70))
            rows, columns = np.mgrid[:size, : size + number % 7] * draw.uniform(0.2, 0.6)
            wave = (np.sin(rows), np.sin(np.hypot(rows, columns)), draw.normal(size=rows.shape))
            grey = Image.fromarray(((wave[kind] + 1) * 120).clip(0, 255).astype(np.uint8))
            image = grey.convert(("RGB", "L", "P")[number % 3])
            ending = ("png", "webp", "gif")[number % 3]
            inside = folder / f"kind-{kind}" / f"part-{number % 2}"
            inside.mkdir(parents=True, exist_ok=True)
            image.save(inside / f"{number}.{ending}")


def unpack_tin50(folder: Path, shared_data: Path) -> None:
    """Unpack real 64-pixel JPEGs: three classes of Tiny ImageNet, train only."""
    with zipfile.ZipFile(shared_data / "tin50" / "tin50.zip") as archive:
        names = [name for name in archive.namelist() if "/train/" in name and name[-1] != "/"]
        kinds = sorted({name.split("/")[2] for name in names})[:CLASSES]
        for kind in kinds:
            (folder / kind).mkdir(parents=True)
            for name in [n for n in names if n.split("/")[2] == kind][:IMAGES_A_CLASS]:
                (folder / kind / Path(name).name).write_bytes(archive.read(name))


def damage(folder: Path) -> list[str]:
    """Drop in three damaged images and a text file; return their names."""
    whole = next(path for path in sorted(folder.rglob("*")) if path.is_file()).read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 3])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "noise.webp").write_bytes(np.random.default_rng(0).bytes(500))
    (folder / "notes.txt").write_text("These are the pictures of our last trip.\n")
    return ["cut.png", "empty.jpg", "noise.webp", "notes.txt"]


def training(*words: str) -> str:
    """Run `python -m training` as a user does; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "training", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def served(checkpoint: Path) -> Iterator[httpx.Client]:
    """Run `python -m service serve` on a free port."""
    command = [sys.executable, "-m", "service", "serve", "--checkpoint", str(checkpoint)]
    process = subprocess.Popen(
        [*command, "--port", "0", "--device", "cpu"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        words = (word for line in process.stdout for word in line.split())
        url = next(word for word in words if word.startswith("http://127.0.0.1:"))
        with httpx.Client(base_url=url.rstrip("/"), timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize("source", ["drawn", "tin50"])
def test_a_folder_becomes_a_service_whose_answers_equal_the_exported_embeddings(
    source: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder, run = tmp_path / "pictures", tmp_path / "run"
    if source == "drawn":
        draw_images(folder)
    else:
        unpack_tin50(folder, request.getfixturevalue("shared_data"))
    bad = damage(folder)

    said = training("train", "--data", str(folder), "--out", str(run), "--device", "cpu", *SETTINGS)
    named = training_report(folder) + said
    assert all(name in named for name in bad), named
    checkpoint = run / "checkpoint"
    said = training(
        *("evaluate", "--checkpoint", str(checkpoint), "--data", str(folder)),
        *("--probe-epochs", "2", "--device", "cpu"),
    )
    for word in ("conv", "fc", "random", "pca", "mlp200", "knn"):
        assert word in said.lower()
    card = json.loads((checkpoint / "card.json").read_text())
    assert card["evaluation"]["rows"]
    assert {"local", "global"} == card["critics"].keys()
    out = tmp_path / "embeddings.npy"
    training("embed", "--checkpoint", str(checkpoint), "--data", str(folder), "--out", str(out))
    exported = np.load(out)
    paths = Path(f"{out}.paths.txt").read_text().splitlines()
    assert exported.shape == (len(paths), 64)
    assert not set(bad) & set(paths)

    with served(checkpoint) as client:
        for place in range(0, len(paths), 29):
            body = (folder / paths[place]).read_bytes()
            if body[:3] == b"GIF":
                continue  # trained on, but not among the formats the service takes by default
            answer = client.post("/embed", content=body, headers={"content-type": "image/png"})
            assert answer.status_code == 200, answer.text
            np.testing.assert_allclose(
                answer.json()["embeddings"][0], exported[place], rtol=1e-5, atol=1e-5
            )


def training_report(folder: Path) -> str:
    """Run `check`, which exits with 1 where files cannot be used; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "training", "check", "--data", str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout
