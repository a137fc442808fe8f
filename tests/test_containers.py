"""The container files: linted by hadolint, read by Compose itself, the context installed."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
DRAIN_S = 30  # a container may be killed only after the longest promised shutdown
GPU = ("docker-compose.yml",)
CPU = ("docker-compose.yml", "docker-compose.cpu.yml")


def hadolint(dockerfile: Path, repository: Path) -> subprocess.CompletedProcess[str]:
    command = [BIN / "hadolint", "--config", repository / ".hadolint.yaml", dockerfile]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def compose(folder: Path, files: tuple[str, ...], **variables: str) -> dict[str, Any]:
    """What Compose makes of the files, in a folder without a .env and with these variables only."""
    chosen = [word for name in files for word in ("-f", name)]
    done = subprocess.run(
        [BIN / "docker-compose", *chosen, "config", "--format", "json"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def compose_folder(repository: Path, tmp_path: Path) -> Path:
    for name in CPU:
        shutil.copy(repository / name, tmp_path)
    return tmp_path


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) in order, comments dropped and continued lines joined."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    words = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word[0], word[1]) for word in words]


def allowed_files(repository: Path) -> list[str]:
    """Paths in the build context: of the lines of .dockerignore, the last that matches decides."""
    lines = (repository / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=repository, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("needs a git checkout to tell the project's files from leftovers")
    allowed = []
    for path in done.stdout.splitlines():
        last = [rule for rule in rules if matches(rule.removeprefix("!"), path)][-1]
        if last.startswith("!") and (repository / path).is_file():
            allowed.append(path)
    return allowed


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern of .dockerignore names this file, a folder above it, or, by **/, a part."""
    if pattern.startswith("**/"):
        return any(fnmatch.fnmatch(part, pattern[3:]) for part in path.split("/"))
    return fnmatch.fnmatch(path, pattern) or path.startswith(f"{pattern}/")


# ---- hadolint ----


def test_hadolint_has_nothing_to_say_about_the_dockerfile(repository: Path) -> None:
    done = hadolint(repository / "Dockerfile", repository)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stdout


def test_hadolint_would_have_said_something(repository: Path, tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM ubuntu\nRUN cd /tmp && sudo apt-get install python3\n")
    assert hadolint(bad, repository).returncode != 0


def test_every_ignored_hadolint_rule_has_a_reason(repository: Path) -> None:
    lines = (repository / ".hadolint.yaml").read_text().splitlines()
    rules = [line for line in lines if re.match(r"\s*- [A-Z]{2}\d+", line)]
    assert rules
    assert all(re.search(r"# \w+ \w+", line) for line in rules), rules


# ---- Dockerfile ----


def test_the_image_runs_as_a_numeric_user_under_tini(repository: Path) -> None:
    found = instructions(repository / "Dockerfile")
    assert [arguments for name, arguments in found if name == "USER"] == ["10001:10001"]
    assert json.loads(dict(found)["ENTRYPOINT"]) == ["/usr/bin/tini", "--"]
    assert json.loads(dict(found)["CMD"])[:3] == ["python", "-m", "service"]
    runtime = max(i for i, (name, _) in enumerate(found) if name == "FROM")
    installed = " ".join(arguments for name, arguments in found[runtime:] if name == "RUN").split()
    assert {"tini", "python3"} <= set(installed)
    last_user = max(i for i, (name, _) in enumerate(found) if name == "USER")
    assert not any(name == "RUN" for name, _ in found[last_user:])


def test_the_image_is_built_in_two_stages_from_arguments(repository: Path) -> None:
    found = instructions(repository / "Dockerfile")
    stages = [arguments for name, arguments in found if name == "FROM"]
    assert stages == ["${BUILD_IMAGE} AS build", "${RUNTIME_IMAGE} AS runtime"]
    arguments = [value for name, value in found if name == "ARG"]
    assert "RUNTIME_IMAGE=nvidia/cuda:13.0.1-base-ubuntu24.04" in arguments
    assert 'TORCH_INDEX_URL=""' in arguments
    assert 'EXTRAS=""' in arguments


def test_dependencies_are_installed_before_any_code_is_copied(repository: Path) -> None:
    found = instructions(repository / "Dockerfile")
    installed = next(i for i, (n, a) in enumerate(found) if n == "RUN" and "requirements.txt" in a)
    copied = next(i for i, (n, a) in enumerate(found) if n == "COPY" and a.startswith("models"))
    assert installed < copied
    copies = [a for n, a in found[copied:] if n == "COPY" and a.startswith("--from=build")]
    assert copies == ["--from=build /venv /venv", "--from=build /app /app"]


def test_the_dockerfile_builds_with_old_builders_and_any_python(repository: Path) -> None:
    text = (repository / "Dockerfile").read_text()
    assert "<<" not in text
    assert "--link" not in text
    assert not re.search(r"python3\.\d+", text)


def test_what_the_dockerfile_copies_is_in_the_context_and_no_other_weights(
    repository: Path,
) -> None:
    allowed = allowed_files(repository)
    for name, arguments in instructions(repository / "Dockerfile"):
        if name != "COPY" or arguments.startswith("--from"):
            continue
        for source in arguments.split()[:-1]:
            within = [p for p in allowed if p == source or p.startswith(f"{source}/")]
            assert within, f"COPY {source}: nothing of that name passes .dockerignore"
    weights = [path for path in allowed if path.endswith((".safetensors", ".npy", ".npz"))]
    assert all(path.startswith("checkpoints/dim-cifar10/") for path in weights), weights
    assert not [path for path in allowed if path.startswith((".env", ".git", "tests", "data"))]


def test_the_context_is_enough_to_install_the_application(repository: Path, tmp_path: Path) -> None:
    context, target = tmp_path / "context", tmp_path / "lib"
    for path in allowed_files(repository):
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / path, context / path)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", target, context], check=True, timeout=120)
    for package in ("models", "training", "service"):
        of_package = [path for path in allowed_files(repository) if path.startswith(f"{package}/")]
        assert of_package
        missing = [path for path in of_package if not (target / path).is_file()]
        assert not missing, f"not installed: {missing}; see package-data in pyproject.toml"
    assert {"infomax-serve", "infomax-train"} <= {path.name for path in (target / "bin").iterdir()}


def test_the_build_installs_the_core_and_the_extras_that_were_named(repository: Path) -> None:
    def run(*extras: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "deploy/requirements.py", *extras]
        return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)

    core, more = run("").stdout.split(), run("parquet,tracking").stdout.split()
    assert any(line.startswith("torch>=") for line in core)
    assert not any(line.startswith("pyarrow") for line in core)
    assert any(line.startswith("pyarrow") for line in more)
    assert any(line.startswith("tensorboard") for line in more)
    assert any(line.startswith("tensorboard") for line in run("dev").stdout.split())
    unknown = run("parqet")
    assert unknown.returncode == 2
    assert "parquet" in unknown.stderr


# ---- Compose ----


@pytest.mark.parametrize("files", [GPU, CPU], ids=["gpu", "cpu"])
def test_compose_gives_the_service_no_more_than_it_needs(
    compose_folder: Path, files: tuple[str, ...]
) -> None:
    service = compose(compose_folder, files)["services"]["service"]
    assert [port["host_ip"] for port in service["ports"]] == ["127.0.0.1"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [mount.split(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
    assert service["pids_limit"] > 0
    assert "privileged" not in service
    assert "cap_add" not in service


@pytest.mark.parametrize("files", [GPU, CPU], ids=["gpu", "cpu"])
def test_compose_lets_the_service_drain_before_it_is_killed(
    compose_folder: Path, files: tuple[str, ...]
) -> None:
    service = compose(compose_folder, files)["services"]["service"]
    grace = re.fullmatch(r"(?:(\d+)m)?(\d+)s", service["stop_grace_period"])
    assert grace
    assert int(grace[1] or 0) * 60 + int(grace[2]) > DRAIN_S


@pytest.mark.parametrize("files", [GPU, CPU], ids=["gpu", "cpu"])
def test_compose_and_dockerfile_ask_the_same_health_check(
    repository: Path, compose_folder: Path, files: tuple[str, ...]
) -> None:
    check = compose(compose_folder, files)["services"]["service"]["healthcheck"]
    in_image = dict(instructions(repository / "Dockerfile"))["HEALTHCHECK"]
    options, command = in_image.split("CMD", 1)
    assert check["test"] == ["CMD", *json.loads(command)]
    assert f"--interval={check['interval']}" in options
    assert f"--timeout={check['timeout']}" in options


@pytest.mark.parametrize("files", [GPU, CPU], ids=["gpu", "cpu"])
def test_compose_mounts_runs_read_only_and_keeps_what_the_service_writes(
    compose_folder: Path, files: tuple[str, ...]
) -> None:
    configured = compose(compose_folder, files)
    mounts = {mount["target"]: mount for mount in configured["services"]["service"]["volumes"]}
    assert mounts["/app/runs"]["read_only"] is True
    assert mounts["/app/runs"]["source"] == str(compose_folder / "runs")
    assert mounts["/data"]["type"] == "volume"
    assert "data" in configured["volumes"]


def test_compose_reserves_a_gpu_and_the_override_takes_it_back(compose_folder: Path) -> None:
    def devices(service: dict[str, Any]) -> list[dict[str, Any]]:
        return service["deploy"]["resources"]["reservations"].get("devices", [])

    gpu = compose(compose_folder, GPU)["services"]["service"]
    assert devices(gpu) == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    assert gpu["environment"]["INFOMAX_DEVICE"] == "cuda"
    cpu = compose(compose_folder, CPU)["services"]["service"]
    assert devices(cpu) == []
    assert cpu["environment"]["INFOMAX_DEVICE"] == "cpu"
    assert "cuda" not in cpu["build"]["args"]["RUNTIME_IMAGE"]
    assert cpu["image"] != gpu["image"]


def test_compose_passes_on_settings_but_not_the_address_of_the_host(compose_folder: Path) -> None:
    (compose_folder / ".env").write_text(
        "INFOMAX_PORT=9000\nINFOMAX_HOST=127.0.0.1\nINFOMAX_MAX_BATCH=16\nEXTRAS=parquet\n"
        "TORCH_INDEX_URL=https://packages.example/cpu\n"
    )
    service = compose(compose_folder, CPU)["services"]["service"]
    assert service["ports"][0]["published"] == "9000"
    assert service["ports"][0]["target"] == 8000
    assert service["environment"]["INFOMAX_PORT"] == "8000"
    assert service["environment"]["INFOMAX_HOST"] == "0.0.0.0"
    assert service["environment"]["INFOMAX_MAX_BATCH"] == "16"
    assert service["build"]["args"]["EXTRAS"] == "parquet"
    assert service["build"]["args"]["TORCH_INDEX_URL"] == "https://packages.example/cpu"
