import os
from pathlib import Path

import pytest

from models import atomic
from models.atomic import is_current, open_folder, write_file, write_folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def without_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the kernel for something it refuses, as an old kernel refuses to exchange names."""
    monkeypatch.setattr(atomic, "_RENAME_EXCHANGE", 1 << 20)


def test_a_file_is_written_and_replaced(tmp_path: Path):
    write_file(tmp_path / "a.txt", b"one")
    write_file(tmp_path / "a.txt", b"two")
    assert contents(tmp_path) == {"a.txt": b"two"}


def test_a_leftover_of_a_killed_writer_of_a_file_is_replaced(tmp_path: Path):
    (tmp_path / ".a.txt.new").write_bytes(b"half")
    write_file(tmp_path / "a.txt", b"whole")
    assert contents(tmp_path) == {"a.txt": b"whole"}


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_a_folder_is_written_and_replaced_as_one(tmp_path: Path, monkeypatch, exchange: bool):
    if not exchange:
        without_exchange(monkeypatch)
    folder = tmp_path / "deep" / "er" / "out"
    write_folder(folder, {"a": b"1", "b": b"2"})
    assert contents(folder) == {"a": b"1", "b": b"2"}
    write_folder(folder, {"a": b"3"})
    assert contents(folder) == {"a": b"3", "b": b"2"}
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


def test_this_system_exchanges_folders_in_one_step(tmp_path: Path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not atomic._exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this system or file system cannot exchange names")
    assert (tmp_path / "one" / "other").exists()
    assert (tmp_path / "other" / "one").exists()


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_other_files_of_a_replaced_folder_are_carried_over(
    tmp_path: Path, monkeypatch, exchange: bool
):
    if not exchange:
        without_exchange(monkeypatch)
    folder = tmp_path / "out"
    write_folder(folder, {"a": b"1"})
    (folder / "notes.md").write_text("mine")
    (folder / "sub").mkdir()
    (folder / "sub" / "table.csv").write_text("1,2")
    (folder / "link").symlink_to("notes.md")
    write_folder(folder, {"a": b"2"})
    assert (folder / "notes.md").read_text() == "mine"
    assert (folder / "sub" / "table.csv").read_text() == "1,2"
    assert (folder / "link").readlink() == Path("notes.md")
    assert (folder / "a").read_bytes() == b"2"


def test_a_reader_that_holds_the_folder_open_keeps_the_state_it_opened(tmp_path: Path):
    folder = tmp_path / "out"
    write_folder(folder, {"a": b"1"})
    with open_folder(folder) as held:
        file = os.open("a", os.O_RDONLY, dir_fd=held)
        assert is_current(folder, held)
        write_folder(folder, {"a": b"2"})
        assert not is_current(folder, held)
        assert os.read(file, 10) == b"1"
        os.close(file)


def test_a_reader_finds_the_old_folder_between_two_renames(tmp_path: Path):
    folder = tmp_path / "out"
    write_folder(folder, {"a": b"1"})
    folder.rename(tmp_path / ".out.old")
    with open_folder(folder) as held:
        assert os.stat("a", dir_fd=held).st_size == 1
    write_folder(folder, {"a": b"2"})
    assert contents(folder) == {"a": b"2"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_leftovers_of_killed_writers_are_removed_and_those_of_living_ones_kept(tmp_path: Path):
    for name in (".out.dead.new", ".out.alive.new", ".other.dead.new", "out.new"):
        (tmp_path / name).mkdir()
    with open_folder(tmp_path / ".out.alive.new") as held:
        atomic._lock(held)
        write_folder(tmp_path / "out", {"a": b"1"})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".other.dead.new",
        ".out.alive.new",
        "out",
        "out.new",
    ]


def test_a_symbolic_link_to_the_folder_stays_one(tmp_path: Path):
    write_folder(tmp_path / "real", {"a": b"1"})
    (tmp_path / "link").symlink_to("real")
    write_folder(tmp_path / "link", {"a": b"2"})
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "real") == {"a": b"2"}


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path: Path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(NotADirectoryError):
        write_folder(tmp_path / "out", {"a": b"1"})
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path: Path):
    with pytest.raises(FileNotFoundError), open_folder(tmp_path / "nothing"):
        pass


def test_new_files_have_the_permissions_the_process_gives(tmp_path: Path):
    before = os.umask(0o022)
    try:
        write_folder(tmp_path / "out", {"a": b"1"})
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out" / "a").stat().st_mode & 0o777 == 0o644
