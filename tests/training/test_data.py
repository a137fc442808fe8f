import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.card import Preprocessing
from models.pixels import to_pixels
from tests.training.picture_folder import draw, two_classes
from training.data import ImageSet, load_images, plan_memory
from training.images import DataError

SMALL = Preprocessing(size=8)


def load(folder: Path, split="all", preprocessing: Preprocessing = SMALL, **more) -> ImageSet:
    more.setdefault("tell", lambda sentence: None)
    return load_images(str(folder), preprocessing=preprocessing, split=split, **more)


def test_images_of_all_sizes_and_modes_come_as_the_service_sees_them(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 4), dtype=np.uint8)
    rgba = Image.fromarray(noise)
    saved = {
        "alpha.png": rgba,
        "bilevel.png": rgba.convert("1"),
        "cmyk.jpg": rgba.convert("CMYK"),
        "deep.png": Image.fromarray(noise[..., 0].astype(np.uint16) * 257),
        "grey.jpg": rgba.convert("L"),
        "nested/a/b/photo.webp": rgba.convert("RGB").resize((300, 200)),
        "palette.gif": rgba.convert("RGB").quantize(16),
        "tiny.bmp": rgba.convert("RGB").resize((1, 1)),
    }
    for name, image in saved.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / name)
    images = load(tmp_path)
    assert images.paths == sorted(saved)
    assert images.skipped == 0
    for path, pixels in zip(images.paths, images.pixels.numpy(), strict=True):
        with Image.open(tmp_path / path) as opened:
            assert np.array_equal(pixels, to_pixels(opened, SMALL)), path


def test_grey_preprocessing_gives_one_channel(tmp_path: Path):
    draw(tmp_path / "1.png")
    grey = Preprocessing(size=8, colour="grey")
    assert load(tmp_path, preprocessing=grey).pixels.shape == (1, 8, 8, 1)


def test_what_cannot_be_used_is_named_and_the_rest_is_used(tmp_path: Path):
    whole = draw(tmp_path / "good.png", (40, 40)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.jpg").write_text("not a picture\n")
    (tmp_path / "README").write_text("read me\n")
    (tmp_path / "gone.png").symlink_to("nothing.png")
    told: list[str] = []
    images = load(tmp_path, tell=told.append)
    assert images.paths == ["good.png"]
    reasons = {each.path: each.reason for each in images.unusable}
    assert set(reasons) == {"cut.png", "empty.jpg", "notes.jpg", "README", "gone.png"}
    assert images.skipped == 5
    assert "truncated" in reasons["cut.png"]
    assert "no bytes" in reasons["empty.jpg"]
    assert "text file" in reasons["notes.jpg"]
    assert "text file" in reasons["README"]
    for path, reason in reasons.items():
        assert any(path in line and reason in line for line in told)


def test_memory_is_told_before_any_file_is_named(tmp_path: Path):
    draw(tmp_path / "1.png")
    (tmp_path / "bad.png").touch()
    told: list[str] = []
    load(tmp_path, tell=told.append)
    assert told[0].startswith("Memory: 2 images of 8 x 8 x 3 bytes")
    assert told[1].startswith("Skipped bad.png")


def test_images_that_do_not_fit_are_refused_before_any_is_decoded(tmp_path: Path, monkeypatch):
    (tmp_path / "would_be_named.png").touch()
    monkeypatch.setattr("training.memory.available_bytes", lambda: 1000)
    told: list[str] = []
    with pytest.raises(DataError, match="smaller image size"):
        load(tmp_path, tell=told.append)
    assert len(told) == 1


def test_the_plan_counts_every_byte():
    plan = plan_memory(1000, Preprocessing(size=64), available=2**40)
    assert plan.bytes_needed == 1000 * 64 * 64 * 3
    assert plan.fits
    plan.require()


def test_progress_reaches_the_end(tmp_path: Path):
    two_classes(tmp_path, 3)
    seen: list[tuple[str, int, int]] = []
    load(tmp_path, progress=lambda *step: seen.append(step))
    assert seen[-1] == ("reading images", 6, 6)


def test_a_folder_with_nothing_usable_says_so(tmp_path: Path):
    with pytest.raises(DataError, match="no files"):
        load(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"None of the 1 files .* notes\.txt: a text file"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["cifar11", "a" * 300, "zero\0byte"])
def test_an_unknown_name_lists_the_named_sets(name: str):
    with pytest.raises(DataError, match="cifar10, cifar100, mnist, stl10"):
        load(Path(name))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_a_file_without_permission_is_named(tmp_path: Path):
    draw(tmp_path / "open.png")
    draw(tmp_path / "shut.png").chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)
    os.seteuid(65534)
    try:
        images = load(tmp_path)
    finally:
        os.seteuid(0)
    assert images.paths == ["open.png"]
    reasons = {each.path: each.reason for each in images.unusable}
    assert reasons["shut.png"] == "no permission to read it"
    assert "folder cannot be read" in reasons["closed"]


# --------------------------------------------------------------------------------- fingerprint


def test_the_fingerprint_is_of_names_and_bytes_alone(tmp_path: Path):
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    first = load(tmp_path).fingerprint
    assert first == load(tmp_path, preprocessing=Preprocessing(size=4)).fingerprint
    (tmp_path / "broken.png").touch()  # skipped, so not a part of what was loaded
    assert first == load(tmp_path).fingerprint
    (tmp_path / "b.png").rename(tmp_path / "c.png")
    renamed = load(tmp_path).fingerprint
    draw(tmp_path / "c.png")
    redrawn = load(tmp_path).fingerprint
    assert len({first, renamed, redrawn}) == 3


# -------------------------------------------------------------------------------------- labels


def test_classes_are_the_first_folders_and_splits_share_no_image(tmp_path: Path):
    two_classes(tmp_path, 20)
    train, test = load(tmp_path, "train"), load(tmp_path, "test")
    assert train.class_names == ["dark", "light"]
    assert not set(train.paths) & set(test.paths)
    assert len(train) + len(test) == 40
    for path, label in zip(train.paths, train.labels.tolist(), strict=True):
        assert path.startswith(train.class_names[label])


def test_training_on_a_split_folder_reads_train_alone(tmp_path: Path):
    two_classes(tmp_path, 2, "train")
    two_classes(tmp_path, 1, "val")
    draw(tmp_path / "stray.png")
    told: list[str] = []
    train = load(tmp_path, "train", tell=told.append)
    assert len(train) == 4
    assert train.class_names == ["dark", "light"]
    assert "stray.png" in told[-1]
    assert len(load(tmp_path, "test")) == 2
    everything = load(tmp_path, "all")
    assert len(everything) == 7
    assert everything.labels is None


def test_only_labelled_leaves_out_what_lies_beside_the_classes(tmp_path: Path):
    two_classes(tmp_path / "data", 10)
    for number in range(10):
        draw(tmp_path / "data" / f"loose{number}.png")
    everything = load(tmp_path / "data", "train")
    labelled = load(tmp_path / "data", "train", labelled_only=True)
    assert -1 in everything.labels.tolist()
    assert len(labelled) == len(labelled.paths) == sum(label >= 0 for label in everything.labels)
    assert not any("loose" in path for path in labelled.paths)


def test_no_classes_say_which_layout_is_needed(tmp_path: Path):
    for number in range(9):
        draw(tmp_path / f"{number}.png")
    with pytest.raises(DataError, match=r"FOLDER/cat/1\.jpg"):
        load(tmp_path, "train", labelled_only=True)


def test_files_that_only_look_like_images_are_told_apart(tmp_path: Path):
    kinds = {
        "a.pdf": (b"%PDF-1.7 ...", "PDF"),
        "b.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        "c.png": (b"PK\x03\x04....", "zip archive"),
        "d.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        "e.png": (b"\0\x01\x02\x03" * 9, "not an image in a known format"),
        "f.txt": ("ä".encode() * 600, "text file"),
        "g.txt": (b"x" + "ä".encode() * 600, "text file"),  # a letter cut in half at byte 1024
    }
    for name, (content, _) in kinds.items():
        (tmp_path / name).write_bytes(content)
    draw(tmp_path / "z.png")
    reasons = {each.path: each.reason for each in load(tmp_path).unusable}
    for name, (_, word) in kinds.items():
        assert word in reasons[name]
