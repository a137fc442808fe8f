import os
import socket
from pathlib import Path

import pytest

from tests.training.picture_folder import draw
from training.folder import choose_part, class_labels, scan, shown
from training.images import DataError


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def reasons(root: Path) -> dict[str, str]:
    return {problem.path: problem.reason for problem in scan(root).problems}


def test_files_at_any_depth_are_listed_in_the_order_of_their_bytes(tmp_path: Path):
    touch(tmp_path, "b/2.png", "a/x/y/z/deep.png", "B.png", "a.png", "é.png", "b/10.png")
    assert scan(tmp_path).files == (
        "B.png",
        "a.png",
        "a/x/y/z/deep.png",
        "b/10.png",
        "b/2.png",
        "é.png",
    )


def test_hidden_files_and_folders_are_passed_over_in_silence(tmp_path: Path):
    touch(tmp_path, ".DS_Store", ".thumbnails/1.png", "a/.hidden.png", "a/1.png")
    listing = scan(tmp_path)
    assert listing.files == ("a/1.png",)
    assert listing.problems == ()


def test_links_to_files_and_folders_are_followed(tmp_path: Path):
    touch(tmp_path, "elsewhere/photos/1.png", "data/own.png")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere" / "photos")
    (tmp_path / "data" / "one.png").symlink_to("../elsewhere/photos/1.png")
    assert scan(tmp_path / "data").files == ("linked/1.png", "one.png", "own.png")


def test_a_folder_with_two_names_is_read_once_under_its_real_one(tmp_path: Path):
    touch(tmp_path, "z/1.png")
    (tmp_path / "a").symlink_to("z")
    (tmp_path / "b").symlink_to("z")
    assert scan(tmp_path).files == ("z/1.png",)


def test_links_in_a_circle_end(tmp_path: Path):
    touch(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "to_b").symlink_to("../b")
    (tmp_path / "b" / "to_a").symlink_to("../a")
    (tmp_path / "b" / "here").symlink_to(".")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b" / "above").symlink_to(tmp_path.parent)
    assert scan(tmp_path).files == ("a/1.png", "b/2.png")
    found = reasons(tmp_path)
    assert set(found) == {"a/up", "b/above"}
    assert all("loop" in reason for reason in found.values())


def test_links_that_lead_nowhere_are_named(tmp_path: Path):
    (tmp_path / "gone.png").symlink_to("nothing.png")
    (tmp_path / "self.png").symlink_to("self.png")
    found = reasons(tmp_path)
    assert "does not exist" in found["gone.png"]
    assert "back to itself" in found["self.png"]


def test_pipes_and_sockets_are_named_and_never_opened(tmp_path: Path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("pipe.png")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.png")
        found = reasons(tmp_path)
    assert set(found) == {"pipe.png", "socket.png", "link.png"}
    assert all("pipe, socket or device" in reason for reason in found.values())


def test_names_that_are_not_utf8_are_listed_and_shown_with_escapes(tmp_path: Path):
    file = draw(tmp_path / "plain.png")
    file.rename(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")))
    (name,) = scan(tmp_path).files
    assert shown(name) == "caf\\xe9.png"


@pytest.mark.parametrize(
    ("name", "line"), [("a\nb", "a\\nb"), ("\x1b[31mred", "\\x1b[31mred"), ("ü/日本 1", "ü/日本 1")]
)
def test_a_shown_path_is_one_printable_line(name: str, line: str):
    assert shown(name) == line


def test_what_is_no_folder_is_refused_with_the_remedy(tmp_path: Path):
    (tmp_path / "images.zip").touch()
    with pytest.raises(DataError, match="unpack an archive"):
        scan(tmp_path / "images.zip")
    with pytest.raises(DataError, match="Check the path"):
        scan(tmp_path / "nowhere")


# ------------------------------------------------------------------------------------- splits


def test_a_folder_with_train_and_test_is_split_that_way(tmp_path: Path):
    touch(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png", "val/a/4.png", "notes.txt")
    listing = scan(tmp_path)
    train, test = choose_part(listing, "train"), choose_part(listing, "test")
    assert train.files == ("train/a/1.png", "train/b/2.png")
    assert test.files == ("test/a/3.png",)
    assert train.beside == ("notes.txt",)
    assert (train.classes_under, test.classes_under) == ("train", "test")
    assert len(choose_part(listing, "all").files) == 5


def test_val_serves_where_there_is_no_test(tmp_path: Path):
    touch(tmp_path, "train/1.png", "val/2.png")
    assert choose_part(scan(tmp_path), "test").files == ("val/2.png",)


def test_problems_belong_to_the_split_they_lie_in(tmp_path: Path):
    touch(tmp_path, "train/1.png", "test/2.png", "training/3.png")
    for folder in ("train", "test", "training"):
        (tmp_path / folder / "broken.png").symlink_to("nothing")
    part = choose_part(scan(tmp_path), "train")
    assert [problem.path for problem in part.problems] == ["train/broken.png"]


def test_any_other_folder_holds_a_fifth_out(tmp_path: Path):
    listing = scan(touch(tmp_path, *(f"{n}.png" for n in range(1000))))
    train = set(choose_part(listing, "train").files)
    test = set(choose_part(listing, "test").files)
    assert not train & test
    assert train | test == set(listing.files)
    assert 150 < len(test) < 250


def test_new_files_move_no_old_one_to_the_other_side(tmp_path: Path):
    before = choose_part(scan(touch(tmp_path, *(f"{n}.png" for n in range(100)))), "test").files
    after = choose_part(scan(touch(tmp_path, *(f"new{n}.png" for n in range(99)))), "test").files
    assert set(before) == {path for path in after if not path.startswith("new")}


# ------------------------------------------------------------------------------------- classes


def test_the_first_folder_is_the_class():
    labels, names = class_labels(["cat/x/1.png", "dog/2.png", "cat/3.png", "loose.png"])
    assert names == ["cat", "dog"]
    assert labels.tolist() == [0, 1, 0, -1]


def test_classes_are_looked_for_below_the_split():
    labels, names = class_labels(["train/a/1.png", "train/b/2.png"], "train")
    assert names == ["a", "b"]
    assert labels.tolist() == [0, 1]


@pytest.mark.parametrize("paths", [["1.png", "2.png"], ["only/1.png", "only/2.png"]])
def test_fewer_than_two_folders_are_no_classes(paths: list[str]):
    assert class_labels(paths) == (None, None)
