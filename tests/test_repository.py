"""Facts about the tree that could break without anybody noticing."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PACKAGES = ("models", "training", "service")
LARGEST_BYTES = 1_500_000
LARGEST_CHECKPOINT_BYTES = 16_000_000
PICKLING = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def tracked(repository: Path) -> list[str]:
    """Files git knows and that exist."""
    done = subprocess.run(
        ["git", "ls-files"], cwd=repository, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("needs a git checkout to tell the project's files from leftovers")
    return [path for path in done.stdout.splitlines() if (repository / path).is_file()]


def sources(repository: Path) -> list[Path]:
    return [path for package in PACKAGES for path in sorted((repository / package).rglob("*.py"))]


def project(repository: Path) -> dict[str, object]:
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


# ---- README and the tree ----


def readme_tree(repository: Path) -> set[str]:
    """Paths named in README's tree: two spaces of indentation a level, the name comes first."""
    text = (repository / "README.md").read_text()
    block = re.search(r"## The tree\n.*?```\n(.*?)```", text, re.DOTALL)
    assert block, "README.md has no section 'The tree' with a code block"
    named: set[str] = set()
    folders: list[str] = []
    for line in block[1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0].rstrip("/")
        folders[depth:] = [name]
        named.add("/".join(folders))
    return named


def test_the_readme_names_every_top_level_entry_and_no_other(repository: Path) -> None:
    there = {path.split("/")[0] for path in tracked(repository)}
    named = {path.split("/")[0] for path in readme_tree(repository)}
    assert named == there, f"not in README: {there - named}; only there: {named - there}"


def test_the_readme_has_a_line_for_every_module_of_the_three_packages(repository: Path) -> None:
    modules = {
        path
        for path in tracked(repository)
        if path.startswith(PACKAGES) and path.endswith(".py") and not path.endswith("__init__.py")
    }
    named = {path for path in readme_tree(repository) if path.endswith(".py")}
    named = {path for path in named if path.startswith(PACKAGES)}
    assert named == modules, f"not in README: {modules - named}; only there: {named - modules}"


def test_every_link_of_the_documents_leads_somewhere(repository: Path) -> None:
    for document in [path for path in tracked(repository) if path.endswith(".md")]:
        text = (repository / document).read_text()
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if not target.startswith(("http://", "https://", "mailto:")):
                where = (repository / document).parent / target
                assert where.exists(), f"{document} links to {target}, which is not there"


def test_the_changelog_has_a_place_for_the_next_change(repository: Path) -> None:
    headings = re.findall(r"^## (.*)$", (repository / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", line) for line in headings[1:])


def test_decisions_are_numbered_without_gaps_and_short(repository: Path) -> None:
    records = sorted((repository / "docs" / "adr").glob("*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        assert len(path.read_text().splitlines()) <= 40, f"{path.name} is longer than 40 lines"


def test_the_licence_is_the_one_the_metadata_names(repository: Path) -> None:
    assert project(repository)["license"] == "Apache-2.0"
    text = (repository / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


# ---- what is in the tree, and what is not ----


def test_no_package_imports_a_pickle(repository: Path) -> None:
    for path in sources(repository):
        for node in ast.walk(ast.parse(path.read_text(), path.name)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found = {name.split(".")[0] for name in names} & PICKLING
            assert not found, f"{path.relative_to(repository)}:{node.lineno} imports {found}"


def test_no_package_loads_or_saves_with_torch_but_one_that_runs_no_code(repository: Path) -> None:
    calls = [
        (path.relative_to(repository).as_posix(), node)
        for path in sources(repository)
        for node in ast.walk(ast.parse(path.read_text(), path.name))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("torch", "load"), ("torch", "save")}
    ]
    assert [path for path, _ in calls] == ["training/interchange/foreign_files.py"], calls
    assert calls[0][1].attr == "load"
    text = (repository / calls[0][0]).read_text().splitlines()[calls[0][1].lineno - 1]
    assert "weights_only=True" in text


def test_nothing_large_is_tracked_but_the_shipped_checkpoint(repository: Path) -> None:
    sizes = {path: (repository / path).stat().st_size for path in tracked(repository)}
    shipped = {path: size for path, size in sizes.items() if path.startswith("checkpoints/")}
    assert {path.split("/")[1] for path in shipped} <= {"dim-cifar10"}
    assert sum(shipped.values()) <= LARGEST_CHECKPOINT_BYTES
    large = {path for path, size in sizes.items() if size > LARGEST_BYTES}
    assert large <= set(shipped), large - set(shipped)


def test_no_folder_of_tests_is_a_package(repository: Path) -> None:
    # tests/models/__init__.py would be imported as `models` and hide the real one
    assert not list((repository / "tests").rglob("__init__.py"))


def test_every_recipe_is_a_configuration(repository: Path) -> None:
    from training.config import read_config

    recipes = sorted((repository / "configs").rglob("*.toml"))
    assert recipes
    for recipe in recipes:
        read_config(recipe, [])


def test_the_example_images_are_what_their_program_draws(repository: Path, tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    program = repository / "examples" / "make_images.py"
    subprocess.run([sys.executable, program, tmp_path], check=True, timeout=60)
    for name in ("images/ship.png", "images/car.jpg"):
        with Image.open(tmp_path / name) as drawn, Image.open(program.parent / name) as shipped:
            difference = np.asarray(drawn.convert("RGB"), int) - np.asarray(shipped.convert("RGB"))
        assert np.abs(difference).max() <= 8, name  # libjpeg may round otherwise elsewhere
    shipped_array = np.load(program.parent / "images.npy")
    assert shipped_array.shape == (2, 32, 32, 3)
    assert shipped_array.dtype == np.uint8


# ---- settings, scripts, pins ----


def test_every_setting_stands_in_the_example_with_its_default(repository: Path) -> None:
    from service.settings import Settings

    text = (repository / ".env.example").read_text()
    example = dict(re.findall(r"^#(INFOMAX_[A-Z_]+)=(.*)$", text, re.MULTILINE))
    del example["INFOMAX_RUNS"]  # read by Compose
    fields = {f"INFOMAX_{name.upper()}": field for name, field in Settings.model_fields.items()}
    assert example.keys() == fields.keys(), example.keys() ^ fields.keys()
    values = {name.removeprefix("INFOMAX_").lower(): value for name, value in example.items()}
    read = Settings.model_validate(values, strict=False)
    for name, field in Settings.model_fields.items():
        if field.default_factory is None:
            assert getattr(read, name) == field.default, f"{name} differs from its default"


def test_the_console_scripts_exist(repository: Path) -> None:
    for target in project(repository)["scripts"].values():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_every_requirement_has_one_pin_that_satisfies_it(repository: Path) -> None:
    lines = (repository / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions = {pin.name.lower().replace("_", "-"): str(pin.specifier) for pin in pins}
    assert len(versions) == len(pins), "a package is pinned twice"
    assert all(re.fullmatch(r"==[\w.]+", version) for version in versions.values())
    extras = project(repository)["optional-dependencies"].values()
    wanted = [*project(repository)["dependencies"], *(line for extra in extras for line in extra)]
    for requirement in map(Requirement, wanted):
        if requirement.name != "infomax":
            pinned = versions[requirement.name].removeprefix("==")
            assert requirement.specifier.contains(pinned), f"{requirement} but pinned {pinned}"


# ---- what keeps the code honest is switched on ----


def test_shapes_are_checked_while_tests_run() -> None:
    import torch
    from jaxtyping import TypeCheckError

    from models.pairs import jsd_matrix

    with pytest.raises(TypeCheckError):
        jsd_matrix(torch.zeros(2, 3, 4))  # not as many maps as summaries


@pytest.mark.parametrize("module", ["service.batcher", "service.images", "service.errors"])
def test_the_path_before_the_model_starts_without_torch_and_web(
    repository: Path, module: str
) -> None:
    program = (
        f"import sys, {module}; print(*{{'torch', 'fastapi', 'starlette'}} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_the_commit_hooks_are_local_and_call_make(repository: Path) -> None:
    import yaml
    from pre_commit.clientlib import load_config

    load_config(str(repository / ".pre-commit-config.yaml"))
    configured = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())
    assert [source["repo"] for source in configured["repos"]] == ["local"]
    hooks = configured["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert [hook["entry"] for hook in hooks][-1] == "make check"


def test_ci_calls_make_check(repository: Path) -> None:
    script = repository / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    lines = script.read_text().splitlines()
    assert "set -euo pipefail" in lines
    assert "make check" in lines
