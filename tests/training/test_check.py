import argparse
import os
from pathlib import Path

import pytest

from tests.training.picture_folder import draw, two_classes
from training.check import add_arguments, check_files, check_folder, run
from training.images import DataError


def check(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(words))


def damaged(folder: Path) -> Path:
    """Two classes of images with four files that cannot be used."""
    two_classes(folder, 10)
    whole = draw(folder / "dark" / "cut.png", (40, 40))
    whole.write_bytes(whole.read_bytes()[:700])
    (folder / "dark" / "empty.png").touch()
    (folder / "light" / "noise.jpg").write_bytes(os.urandom(300) + b"\0")
    (folder / "light" / "notes.txt").write_text("these are the light ones")
    return folder


def test_every_file_is_judged_and_the_order_is_kept(tmp_path: Path):
    damaged(tmp_path)
    names = ["light/notes.txt", "dark/000.png", "dark/empty.png", "dark/001.png"]
    report = check_files(tmp_path, names)
    assert report.usable == ("dark/000.png", "dark/001.png")
    assert [each.path for each in report.unusable] == ["light/notes.txt", "dark/empty.png"]


def test_more_files_than_are_read_at_once_are_all_judged(tmp_path: Path):
    for number in range(600):
        (tmp_path / f"{number:03d}.png").touch()
    draw(tmp_path / "300.png")
    steps: list[int] = []
    names = sorted(file.name for file in tmp_path.iterdir())
    report = check_files(tmp_path, names, lambda what, done, total: steps.append(done))
    assert report.usable == ("300.png",)
    assert [each.path for each in report.unusable] == [n for n in names if n != "300.png"]
    assert steps == sorted(steps)
    assert steps[-1] == 600


def test_check_names_each_unusable_file_with_its_reason(tmp_path: Path, capsys):
    assert check("--data", str(damaged(tmp_path))) == 1
    lines = capsys.readouterr().out.splitlines()
    named = [line for line in lines if line.startswith("Skipped")]
    assert len(named) == 4
    for name in ("dark/cut.png", "dark/empty.png", "light/noise.jpg", "light/notes.txt"):
        assert any(line.startswith(f"Skipped {name}: ") for line in named)
    assert any("20 images can be used, 4 files cannot" in line for line in lines)
    assert any("2 classes" in line for line in lines)


def test_check_of_whole_images_succeeds(tmp_path: Path, capsys):
    assert check("--data", str(two_classes(tmp_path, 10))) == 0
    assert "Skipped" not in capsys.readouterr().out


def test_check_reads_both_splits_and_names_what_lies_beside_them(tmp_path: Path):
    two_classes(tmp_path, 2, "train")
    two_classes(tmp_path, 1, "val")
    (tmp_path / "val" / "dark" / "bad.png").touch()
    (tmp_path / "classes.txt").touch()
    told: list[str] = []
    report = check_folder(tmp_path, tell=told.append)
    assert len(report.usable) == 6
    assert [each.path for each in report.unusable] == ["val/dark/bad.png"]
    assert any("classes.txt" in line for line in told)


def test_a_broken_link_is_named_once(tmp_path: Path):
    draw(tmp_path / "1.png")
    draw(tmp_path / "2.png")
    draw(tmp_path / "3.png")
    (tmp_path / "gone.png").symlink_to("nothing")
    told: list[str] = []
    report = check_folder(tmp_path, tell=told.append)
    assert [each.path for each in report.unusable] == ["gone.png"]
    assert sum("gone.png" in line for line in told) == 1


def test_nothing_usable_is_an_error(tmp_path: Path, capsys):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"notes\.txt: a text file"):
        check_folder(tmp_path, tell=lambda sentence: None)
    assert check("--data", str(tmp_path)) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_missing_named_set_is_an_error(tmp_path: Path, capsys):
    assert check("--data", "cifar10", "--root", str(tmp_path)) == 2
    assert "--download" in capsys.readouterr().err
