"""Shards and streaming give the images of a folder: the same ones, in the same order."""

import io
import shutil
import tarfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from models.card import Preprocessing
from tests.training.picture_folder import draw
from training.data import load_images
from training.images import DataError, ImageSet

SMALL = Preprocessing(size=8)


def load(data: str, **more) -> ImageSet:
    told: list[str] = []
    return load_images(data, preprocessing=SMALL, split="all", tell=told.append, **more)


def pictures(folder: Path, count: int = 9) -> list[Path]:
    return [draw(folder / f"{number:02d}.png") for number in range(count)]


def pack(archive: Path, files: list[Path], extra: dict[str, bytes] | None = None) -> Path:
    """A WebDataset tar: each image with its label beside it."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w") as tar:
        for file in files:
            tar.add(file, file.name)
            label = tarfile.TarInfo(file.with_suffix(".cls").name)
            label.size = 1
            tar.addfile(label, io.BytesIO(b"7"))
        for name, content in (extra or {}).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return archive


def test_tar_shards_give_the_images_of_the_folder_in_its_order(tmp_path: Path) -> None:
    files = pictures(tmp_path / "images")
    pack(tmp_path / "tars" / "b-1.tar", files[5:])
    pack(tmp_path / "tars" / "a-0.tar", files[:5])
    (tmp_path / "tars" / "README.txt").write_text("nine noisy squares")
    folder, shards = load(str(tmp_path / "images")), load(str(tmp_path / "tars"))
    assert torch.equal(folder.pixels, shards.pixels)
    assert shards.paths is not None
    assert shards.paths[:2] == ["a-0.tar/00.png", "a-0.tar/01.png"]
    assert shards.skipped == 0
    assert len(load(str(tmp_path / "tars" / "a-*.tar"))) == 5
    assert len(load(str(tmp_path / "tars" / "b-1.tar"))) == 4


@pytest.mark.parametrize("nested", [False, True])
def test_parquet_gives_the_images_of_the_folder(tmp_path: Path, nested: bool) -> None:
    contents = [file.read_bytes() for file in pictures(tmp_path / "images")]
    column = [{"bytes": content, "path": None} for content in contents] if nested else contents
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if nested else pa.binary()
    table = pa.table({"label": list(range(9)), "image": pa.array(column, kind)})
    (tmp_path / "rows").mkdir()
    parquet.write_table(table, tmp_path / "rows" / "0.parquet", row_group_size=4)
    shards = load(str(tmp_path / "rows"))
    assert torch.equal(load(str(tmp_path / "images")).pixels, shards.pixels)
    assert shards.paths is not None
    assert shards.paths[-1] == "0.parquet/8"


def test_a_url_is_read_through_fsspec(tmp_path: Path) -> None:
    files = pictures(tmp_path / "images")
    memory = fsspec.filesystem("memory")
    memory.pipe("/toys/one.tar", pack(tmp_path / "one.tar", files).read_bytes())
    try:
        expected = load(str(tmp_path / "images")).pixels
        assert torch.equal(load("memory://toys/*.tar").pixels, expected)
        assert torch.equal(load("memory://toys").pixels, expected)
        assert torch.equal(load(f"file://{tmp_path}/images").pixels, expected)
        with pytest.raises(DataError, match=r"no \.tar or \.parquet files"):
            load("memory://nowhere/*.tar")
    finally:
        memory.rm("/toys", recursive=True)


def test_a_damaged_image_and_a_damaged_shard_are_named_and_the_rest_is_used(
    tmp_path: Path,
) -> None:
    files = pictures(tmp_path / "images")
    shards = tmp_path / "tars"
    pack(shards / "0.tar", files[:4], {"cut.png": files[0].read_bytes()[:300], "empty.jpg": b""})
    whole = pack(shards / "1.tar", files[4:]).read_bytes()
    (shards / "1.tar").write_bytes(whole[: len(whole) // 4])
    (shards / "2.tar").write_bytes(b"no archive at all")
    images = load(str(shards))
    assert torch.equal(images.pixels[:4], load(str(tmp_path / "images")).pixels[:4])
    reasons = {each.path: each.reason for each in images.unusable}
    assert "truncated" in reasons["0.tar/cut.png"]
    assert "empty" in reasons["0.tar/empty.jpg"]
    assert "damaged" in reasons["1.tar"]
    assert "damaged" in reasons["2.tar"]


def test_a_parquet_file_without_images_lists_its_columns(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"age": [3], "name": ["Ada"]}), tmp_path / "people.parquet")
    with pytest.raises(DataError, match="age, name"):
        load(str(tmp_path / "people.parquet"))


def test_streamed_pixels_are_the_resident_ones_and_are_decoded_once(tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    (tmp_path / "images" / "04.png").write_bytes(b"damaged")
    data, store = str(tmp_path / "images"), tmp_path / "store"
    resident, streamed = load(data), load(data, store=store, stream=True)
    assert (resident.streamed, streamed.streamed) == (False, True)
    assert torch.equal(resident.pixels, streamed.pixels)
    assert resident.fingerprint == streamed.fingerprint
    assert resident.paths == streamed.paths
    again, told = [], []
    decoded = (store / "all" / "pixels.u8").stat().st_ino
    again = load_images(
        data, preprocessing=SMALL, split="all", tell=told.append, store=store, stream=True
    )
    assert (store / "all" / "pixels.u8").stat().st_ino == decoded
    assert any("decoded before" in sentence for sentence in told)
    assert torch.equal(again.pixels, resident.pixels)
    assert again.unusable == resident.unusable
    assert again.fingerprint == resident.fingerprint


@pytest.mark.parametrize("change", ["a file", "the pixels cut", "the description", "another size"])
def test_stored_pixels_are_not_used_for_another_set(tmp_path: Path, change: str) -> None:
    pictures(tmp_path / "images")
    data, store = str(tmp_path / "images"), tmp_path / "store"
    load(data, store=store, stream=True)
    preprocessing = SMALL
    if change == "a file":
        draw(tmp_path / "images" / "04.png", (20, 20))
    if change == "the pixels cut":
        with (store / "all" / "pixels.u8").open("r+b") as file:
            file.truncate(100)
    if change == "the description":
        (store / "all" / "pixels.json").write_bytes(b"{")
    if change == "another size":
        preprocessing = Preprocessing(size=9)
    told: list[str] = []
    again = load_images(
        data, preprocessing=preprocessing, split="all", tell=told.append, store=store, stream=True
    )
    assert not any("decoded before" in sentence for sentence in told)
    expected = load_images(data, preprocessing=preprocessing, split="all", tell=told.append)
    assert torch.equal(again.pixels, expected.pixels)


def test_a_set_that_does_not_fit_on_the_disk_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch
) -> None:
    pictures(tmp_path / "images")
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(DataError, match="Free some space"):
        load(str(tmp_path / "images"), store=tmp_path / "store", stream=True)
