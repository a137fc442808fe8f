import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from models.inference import encode, prepare
from tests.models.toy_checkpoint import Trained, trained
from tests.training.picture_folder import draw, two_classes
from training.embed import REPRESENTATIONS, WRITERS, add_arguments, embed, run
from training.images import DataError

ABOUT = {"infomax.model": "none"}


@pytest.fixture
def made(tmp_path: Path) -> Trained:
    made = trained()
    made.save(tmp_path / "checkpoint")
    return made


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return two_classes(tmp_path / "pictures", 3)


def silent(tmp_path: Path, pictures: Path, out: str, representation: str = "y", **more) -> int:
    more.setdefault("tell", lambda sentence: None)
    return embed(tmp_path / "checkpoint", str(pictures), tmp_path / out, representation, **more)


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(words))


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_vectors_are_what_one_pass_gives_for_each_image(
    tmp_path: Path, made: Trained, pictures: Path, representation: str
):
    assert silent(tmp_path, pictures, "v.npy", representation) == 6
    vectors = np.load(tmp_path / "v.npy")
    names = (tmp_path / "v.npy.paths.txt").read_text().splitlines()
    assert vectors.dtype == np.float32
    assert names == [f"{kind}/{n:03d}.png" for kind in ("dark", "light") for n in range(3)]
    encoder = prepare(made.encoder)
    for name, vector in zip(names, vectors, strict=True):
        pixels = load_one(pictures / name)
        features = encode(encoder, pixels, made.card.preprocessing)
        chosen = {**features._asdict(), "y_sigmoid": features.y.sigmoid()}[representation]
        assert np.allclose(vector, chosen[0].numpy(), rtol=1e-5, atol=1e-6)


def load_one(file: Path) -> torch.Tensor:
    from PIL import Image

    with Image.open(file) as image:
        return torch.from_numpy(np.array(image.convert("L")))[None, :, :, None]


def test_parquet_holds_the_same_vectors_with_their_paths(tmp_path, made, pictures):
    silent(tmp_path, pictures, "v.npy")
    silent(tmp_path, pictures, "v.parquet")
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.column_names == ["path", "embedding"]
    assert table.schema.field("embedding").type.list_size == 4
    assert str(table.schema.field("embedding").type.value_type) == "float"
    vectors = np.stack(table["embedding"].to_numpy())
    assert np.array_equal(vectors, np.load(tmp_path / "v.npy"))
    assert table["path"].to_pylist() == (tmp_path / "v.npy.paths.txt").read_text().splitlines()
    assert table.schema.metadata[b"infomax.representation"] == b"y"


def test_only_the_split_asked_for_is_embedded(tmp_path, made):
    pictures = tmp_path / "pictures"
    two_classes(pictures, 2, "train")
    two_classes(pictures, 1, "test")
    assert silent(tmp_path, pictures, "all.npy") == 6
    assert silent(tmp_path, pictures, "test.npy", split="test") == 2
    assert "test/dark/000.png" in (tmp_path / "test.npy.paths.txt").read_text()


def test_a_path_takes_one_line_whatever_its_bytes(tmp_path, made):
    file = draw(tmp_path / "pictures" / "plain.png")
    file.rename(os.fsdecode(os.fsencode(file.parent) + b"/two\nlines\xe9.png"))
    silent(tmp_path, tmp_path / "pictures", "v.npy")
    assert (tmp_path / "v.npy.paths.txt").read_text() == "two\\nlines\\xe9.png\n"


@pytest.mark.parametrize("ending", WRITERS)
def test_a_failure_on_the_way_leaves_the_old_file(tmp_path: Path, ending: str):
    def breaks() -> Iterator[np.ndarray]:
        yield np.ones((2, 3), np.float32)
        raise KeyboardInterrupt

    out = tmp_path / f"v{ending}"
    WRITERS[ending](out, ["a", "b"], iter([np.zeros((2, 3), np.float32)]), ABOUT)
    before = out.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        WRITERS[ending](out, ["a", "b", "c"], breaks(), ABOUT)
    assert out.read_bytes() == before
    assert not [file for file in tmp_path.iterdir() if file.name.endswith(".tmp")]


@pytest.mark.parametrize("ending", WRITERS)
def test_batches_are_written_one_after_the_other(tmp_path: Path, ending: str):
    rows = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    out = tmp_path / f"v{ending}"
    WRITERS[ending](out, list("abcdefg"), iter([rows[:3], rows[3:6], rows[6:]]), ABOUT)
    read = (
        np.load(out) if ending == ".npy" else np.stack(pq.read_table(out)["embedding"].to_numpy())
    )
    assert np.array_equal(read, rows)


def test_parquet_without_pyarrow_says_how_to_install_it(tmp_path, made, pictures, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install infomax\[parquet\]"):
        silent(tmp_path, pictures, "v.parquet")


def test_an_unknown_ending_lists_the_known_ones(tmp_path, made, pictures):
    with pytest.raises(ValueError, match=r"\.npy, \.parquet"):
        silent(tmp_path, pictures, "v.csv")


def test_a_missing_folder_for_the_file_is_told_before_any_work(tmp_path, made):
    with pytest.raises(DataError, match="create it first"):
        silent(tmp_path, tmp_path / "nowhere", "missing/v.npy")


def test_the_command_writes_the_file_and_tells_how_many(tmp_path, made, pictures, capsys):
    out = tmp_path / "v.npy"
    words = ["--checkpoint", str(tmp_path / "checkpoint"), "--data", str(pictures)]
    assert command(*words, "--out", str(out), "--representation", "fc", "--device", "cpu") == 0
    assert np.load(out).shape == (6, 8)
    assert "Wrote 6 vectors (fc)" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["checkpoint", "pictures"])
def test_the_command_says_what_is_missing(tmp_path, made, pictures, capsys, missing: str):
    where = {"checkpoint": str(tmp_path / "checkpoint"), "pictures": str(pictures)}
    where[missing] = str(tmp_path / "nothing")
    words = ["--checkpoint", where["checkpoint"], "--data", where["pictures"]]
    assert command(*words, "--out", str(tmp_path / "v.npy"), "--device", "cpu") == 2
    assert "nothing" in capsys.readouterr().err
    assert not (tmp_path / "v.npy").exists()
