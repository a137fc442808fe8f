"""The Makefile as a user meets it: what it lists, what it would run, what it refuses.

`make -n` prints what would be run. Each test has a folder of its own, never the checkout's `.venv`.
"""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

TARGETS = {"setup", "serve", "train", "test", "check", "lint", "types", "layers", "bench", "clean"}

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def checkout(repository: Path, tmp_path: Path) -> Path:
    """A folder with the files that make looks at, and an environment that was set up after them."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(repository / name, tmp_path)
    environment = tmp_path / ".venv"
    environment.mkdir()
    for stamp in ("pyvenv.cfg", ".torch-index", ".core", ".dev"):
        (environment / stamp).touch()
    return tmp_path


def make(folder: Path, *words: str, expected: int = 0) -> str:
    """What make prints, both streams, in the order of events."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        ["make", *words],
        cwd=folder,
        env=kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == expected, done.stdout
    return done.stdout


def age(path: Path, seconds: float) -> None:
    """Make a file look as if it was written that long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_plain_make_lists_every_target_in_one_line_each(checkout: Path) -> None:
    listed = re.findall(r"^  make (\w+) +(\S.*)$", make(checkout), re.MULTILINE)
    assert {name for name, _ in listed} >= TARGETS
    phony = re.search(r"^\.PHONY: (help .*)$", (checkout / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert [name for name, _ in listed] == phony[1].split()


def test_check_is_lint_types_layers_and_test(checkout: Path) -> None:
    printed = make(checkout, "-n", "check")
    tools = ["ruff check", "ruff format --check", "mypy", "lint-imports", "-m pytest"]
    places = [printed.index(tool) for tool in tools]
    assert places == sorted(places)


def test_a_second_run_installs_nothing(checkout: Path) -> None:
    for target in ("serve", "test", "setup"):
        assert "pip install" not in make(checkout, "-n", target)


def test_a_changed_pin_installs_again(checkout: Path) -> None:
    for stamp in ("pyvenv.cfg", ".torch-index", ".core", ".dev"):
        age(checkout / ".venv" / stamp, seconds=60)
    age(checkout / "pyproject.toml", seconds=120)
    assert "--editable '.'" in make(checkout, "-n", "serve")
    assert "--editable '.[dev]'" in make(checkout, "-n", "test")


def test_serve_alone_installs_the_core_and_test_alone_the_tools(checkout: Path) -> None:
    for stamp in (".core", ".dev"):
        (checkout / ".venv" / stamp).unlink()
    serve = make(checkout, "-n", "serve")
    assert "--constraint constraints.txt" in serve
    assert "--editable '.'" in serve
    assert "dev" not in serve
    assert serve.rstrip().endswith("-m service serve")
    assert "--editable '.[dev]'" in make(checkout, "-n", "test")


def test_a_fresh_clone_makes_its_environment_first(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    printed = make(checkout, "-n", "serve")
    assert printed.index("-m venv .venv") < printed.index("pip install")


def test_torch_comes_from_the_index_that_was_asked_for_and_only_torch(checkout: Path) -> None:
    url = "TORCH_INDEX_URL=https://packages.example/cpu"
    printed = make(checkout, "-n", "serve", url)
    first, rest = printed.split("--editable", 1)
    assert "--no-deps --upgrade torch torchvision" in first
    assert "https://packages.example/cpu" in first
    assert "--index-url" not in rest
    # asked for again, or not at all, it is remembered and nothing is installed
    (checkout / ".venv" / ".torch-index").write_text("https://packages.example/cpu\n")
    for stamp in (".core", ".dev"):
        (checkout / ".venv" / stamp).touch()
    assert "pip install" not in make(checkout, "-n", "serve", url)
    assert "pip install" not in make(checkout, "-n", "serve")


def test_an_old_python_is_refused_in_a_sentence(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    old = checkout / "python3.9"
    old.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi\n')
    old.chmod(0o755)
    printed = make(checkout, "serve", f"PYTHON={old}", expected=2)
    assert "needs Python 3.11 or newer" in printed
    assert "Python 3.9.2" in printed
    assert "make PYTHON=python3.12 serve" in printed
    assert not (checkout / ".venv").exists()


def test_a_python_without_venv_is_explained_and_leaves_nothing_behind(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    bare = checkout / "python3"  # as Debian's without python3-venv: begins, then stops
    bare.write_text(
        '#!/bin/sh\n[ "$1" = -m ] || exit 0\nmkdir "$3" && touch "$3/pyvenv.cfg"\nexit 1\n'
    )
    bare.chmod(0o755)
    assert "apt-get install python3-venv" in make(checkout, "serve", f"PYTHON={bare}", expected=2)
    assert not (checkout / ".venv").exists()


def test_settings_of_a_dotenv_file_reach_the_service(checkout: Path) -> None:
    assert "dotenv" not in make(checkout, "-n", "serve")
    (checkout / ".env").write_text("INFOMAX_PORT=9000\n")
    assert "dotenv run --no-override .venv/bin/python -m service" in make(checkout, "-n", "serve")


def test_clean_removes_what_was_installed_and_nothing_a_user_made(checkout: Path) -> None:
    kept = [checkout / "runs" / "mine" / "log.jsonl", checkout / "checkpoints" / "x" / "card.json"]
    left = [checkout / ".cache" / "mypy" / "x", checkout / "service" / "__pycache__" / "x.pyc"]
    for path in kept + left:
        path.parent.mkdir(parents=True)
        path.touch()
    make(checkout, "clean")
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in left)
    assert not (checkout / ".venv").exists()
