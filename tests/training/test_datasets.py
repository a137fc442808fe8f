import gzip
import hashlib
import pickle  # noqa: TID251 - the format in which CIFAR-10 is published
import struct
from pathlib import Path

import numpy as np
import pytest
import torchvision

from models.card import Preprocessing
from training.data import load_images
from training.images import DataError


def load(name: str, root: Path, split="train", **more):
    more.setdefault("preprocessing", Preprocessing(size=32))
    return load_images(name, root=root, split=split, tell=lambda sentence: None, **more)


def write_mnist(root: Path, train: int, test: int) -> dict[str, np.ndarray]:
    """Random digits in MNIST's own file format, as torchvision keeps them."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    drawn = {}
    for split, count in (("train", train), ("t10k", test)):
        drawn[split] = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = struct.pack(">IIII", 2051, count, 28, 28) + drawn[split].tobytes()
        named = struct.pack(">II", 2049, count) + labels.tobytes()
        (folder / f"{split}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(named)
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    return drawn


def write_stl10(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three training, two unlabelled and one test image in STL-10's own file format."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    contents = {
        "train_X.bin": np.repeat([1, 2, 3], 27648),
        "train_y.bin": np.array([1, 2, 10]),
        "unlabeled_X.bin": np.repeat([4, 5], 27648),
        "test_X.bin": np.repeat([6], 27648),
        "test_y.bin": np.array([3]),
    }
    (folder / "class_names.txt").write_text("\n".join(f"class{n}" for n in range(10)))
    for name, values in contents.items():
        (folder / name).write_bytes(values.astype(np.uint8).tobytes())
    for attribute in ("train_list", "test_list"):
        listed = getattr(torchvision.datasets.STL10, attribute)
        summed = [[name, md5(folder / name)] for name, _ in listed]
        monkeypatch.setattr(torchvision.datasets.STL10, attribute, summed)


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Five training batches and a test batch of two images in CIFAR-10's own file format."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
    drawn = [np.random.default_rng(n).integers(0, 256, (2, 3072), np.uint8) for n in range(6)]
    for name, pixels in zip(names, drawn, strict=True):
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [0, 1]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["bird", "cat"]}))
    sums = {name: md5(folder / name) for name in (*names, "batches.meta")}
    published = torchvision.datasets.CIFAR10
    monkeypatch.setattr(published, "train_list", [[name, sums[name]] for name in names[:5]])
    monkeypatch.setattr(published, "test_list", [["test_batch", sums["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
    monkeypatch.setattr(published, "meta", meta)
    return drawn


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


def test_mnist_is_grey_and_28_pixels_as_published(tmp_path: Path):
    drawn = write_mnist(tmp_path, 30, 10)
    grey = Preprocessing(size=28, colour="grey")
    images = load("mnist", tmp_path, preprocessing=grey)
    assert np.array_equal(images.pixels.numpy()[..., 0], drawn["train"])
    assert images.labels.tolist() == [n % 10 for n in range(30)]
    assert len(images.class_names) == 10
    assert len(load("mnist", tmp_path, "test", preprocessing=grey)) == 10
    assert len(load("mnist", tmp_path, "all", preprocessing=grey)) == 40


def test_a_named_set_is_resized_and_coloured_as_the_card_says(tmp_path: Path):
    write_mnist(tmp_path, 4, 2)
    pixels = load("mnist", tmp_path, preprocessing=Preprocessing(size=32)).pixels
    assert pixels.shape == (4, 32, 32, 3)
    assert bool((pixels[..., 0] == pixels[..., 2]).all())


def test_a_named_sets_fingerprint_is_of_the_published_pixels(tmp_path: Path):
    write_mnist(tmp_path / "one", 4, 2)
    write_mnist(tmp_path / "other", 5, 2)
    first = load("mnist", tmp_path / "one").fingerprint
    assert first == load("mnist", tmp_path / "one", preprocessing=Preprocessing(size=8)).fingerprint
    assert first != load("mnist", tmp_path / "other").fingerprint
    assert first != load("mnist", tmp_path / "one", "test").fingerprint


def test_stl10_trains_on_the_unlabelled_images_too_and_is_evaluated_without(tmp_path, monkeypatch):
    write_stl10(tmp_path, monkeypatch)
    train = load("stl10", tmp_path)
    assert train.pixels[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5]
    assert train.labels.tolist() == [0, 1, 9, -1, -1]
    labelled = load("stl10", tmp_path, labelled_only=True)
    assert labelled.labels.tolist() == [0, 1, 9]
    assert load("stl10", tmp_path, "test").labels.tolist() == [2]


def test_a_missing_set_says_where_it_was_looked_for_and_how_to_get_it(tmp_path: Path):
    for name in ("cifar10", "cifar100", "mnist", "stl10"):
        with pytest.raises(DataError, match="--root, or fetch it with --download") as caught:
            load(name, tmp_path)
        assert str(tmp_path) in str(caught.value)


def test_cifar10_comes_byte_for_byte_in_the_published_order(tmp_path, monkeypatch):
    batches = write_cifar10(tmp_path, monkeypatch)
    train, test = load("cifar10", tmp_path), load("cifar10", tmp_path, "test")
    published = np.concatenate(batches).reshape(-1, 3, 32, 32)
    both = np.concatenate([train.pixels.numpy(), test.pixels.numpy()])
    assert np.array_equal(both.transpose(0, 3, 1, 2), published)
    assert train.labels.tolist() == [0, 1] * 5
    assert train.class_names == ["bird", "cat"]


def test_a_damaged_named_set_is_refused(tmp_path, monkeypatch):
    write_cifar10(tmp_path, monkeypatch)
    with (tmp_path / "cifar-10-batches-py" / "test_batch").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="cifar10 is not, or not whole"):
        load("cifar10", tmp_path)
