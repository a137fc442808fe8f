"""The command line and the real server, as a process of its own."""

import http.client
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from service.__main__ import example, main
from service.settings import Settings, SettingsError, read_settings
from tests.fakes import noise, picture
from tests.service.test_forms import npy

START_S = 120.0
Start = Callable[..., tuple[subprocess.Popen, str, str]]


@pytest.fixture
def start(checkpoint: Path, repository: Path, tmp_path: Path) -> Iterator[Start]:
    """Start `python -m service serve` on a free port: (process, address, what it printed)."""
    started: list[subprocess.Popen] = []

    def serve(**settings: object) -> tuple[subprocess.Popen, str, str]:
        environment = {f"INFOMAX_{name.upper()}": str(value) for name, value in settings.items()}
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "service", "serve", "--port", "0", "--device", "cpu"],
                env={**os.environ, "INFOMAX_CHECKPOINT": str(checkpoint), **environment},
                cwd=repository,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        started.append(process)
        printed = ""
        for line in process.stdout:
            printed += line
            if line.startswith("curl"):
                break
        assert "curl" in printed, (tmp_path / "log").read_text()
        return process, re.search(r"http://([\d.:]+)", printed)[1], printed

    yield serve
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def post(address: str, body: bytes, kind: str = "image/png", path: str = "/embed") -> tuple:
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def status_of(address: str, path: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_printed_line_works_as_it_stands_and_sigterm_ends_with_0(start: Start):
    process, address, printed = start(drain_grace_s=0, threads=1)
    line = next(line for line in printed.splitlines() if line.startswith("curl"))
    if shutil.which("curl"):
        answer = subprocess.run(line, shell=True, capture_output=True, check=True).stdout
    else:
        body = re.search(r"-d '(.*)'", line)[1].encode()
        answer = post(address, body, "application/json")[1]
    assert np.shape(json.loads(answer)["embeddings"]) == (1, 64)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_sigterm_under_load_turns_readiness_first_and_answers_everybody(start: Start):
    process, address, _ = start(drain_grace_s=2, threads=1, max_queue_s=1000)
    outcomes: Counter[object] = Counter()
    codes = set()
    block = npy(noise(64, 32))

    def ask(body: bytes, kind: str) -> None:
        while True:
            try:
                status, answer = post(address, body, kind)
            except ConnectionRefusedError:
                return  # the door is closed
            except (OSError, http.client.HTTPException) as error:
                status, answer = repr(error), b"{}"
            outcomes[status] += 1
            if status != 200:
                codes.add(json.loads(answer).get("error", {}).get("code"))
                return

    work = [(block, "application/x-npy")] * 6 + [(picture(size=32), "image/png")] * 12
    clients = [threading.Thread(target=ask, args=one) for one in work]
    for client in clients:
        client.start()
    while outcomes[200] < 30:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    while status_of(address, "/readyz") != 503:
        time.sleep(0.01)
    assert process.poll() is None
    assert status_of(address, "/livez") == 200
    for client in clients:
        client.join(60)
    assert process.wait(60) == 0
    assert time.monotonic() - sent < 30, "the promise to orchestrators, not a measurement"
    assert set(outcomes) == {200, 503}
    assert codes == {"draining"}


def test_interrupting_from_a_terminal_does_not_wait_for_a_grace(start: Start):
    process, address, _ = start(drain_grace_s=600, threads=1)
    assert status_of(address, "/readyz") == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def test_the_log_names_requests_and_never_their_content(start: Start, tmp_path: Path):
    process, address, _ = start(access_log="true", drain_grace_s=0, threads=1)
    post(address, b"canary-bytes")
    post(address, picture(size=32))
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    log = (tmp_path / "log").read_text()
    assert re.search(r"route=/embed status=422 ms=[\d.]+ images=1 id=[0-9a-f]{16}", log)
    assert "route=/embed status=200" in log
    assert "canary" not in log


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys) -> Iterator[Callable[..., tuple[int, str]]]:
    """Run the command line here: (exit code, standard error)."""
    monkeypatch.setenv("OMP_WAIT_POLICY", os.environ.get("OMP_WAIT_POLICY", "passive"))
    loggers = [logging.getLogger(name) for name in ("infomax", "uvicorn", "asyncio")]
    before = [(one, one.handlers[:], one.level, one.propagate) for one in loggers]

    def run(*arguments: str) -> tuple[int, str]:
        return main(["serve", *arguments]), capsys.readouterr().err

    yield run
    for one, handlers, level, propagate in before:
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)
    logging.getLogger("infomax.access").setLevel(logging.NOTSET)


def one_sentence(text: str) -> bool:
    return text.startswith("infomax: ") and text.count("\n") == 1 and text.endswith(".\n")


def test_a_missing_checkpoint_is_one_sentence_and_exit_2(command, tmp_path: Path):
    code, said = command("--checkpoint", str(tmp_path / "nowhere"), "--port", "0")
    assert code == 2
    assert "nowhere" in said
    assert one_sentence(said)


def test_a_damaged_checkpoint_is_one_sentence_and_exit_2(command, checkpoint, tmp_path: Path):
    damaged = shutil.copytree(checkpoint, tmp_path / "damaged")
    weights = bytearray((damaged / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (damaged / "weights.safetensors").write_bytes(weights)
    code, said = command("--checkpoint", str(damaged), "--port", "0")
    assert code == 2
    assert "weights.safetensors" in said
    assert one_sentence(said)


def test_a_port_in_use_is_one_sentence_and_exit_2(command, checkpoint: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = command("--checkpoint", str(checkpoint), "--port", port)
    assert code == 2
    assert f"port {port}" in said
    assert one_sentence(said)


def test_an_address_that_is_not_ours_is_one_sentence_and_exit_2(command, checkpoint: Path):
    code, said = command("--checkpoint", str(checkpoint), "--host", "203.0.113.7", "--port", "0")
    assert code == 2
    assert one_sentence(said)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INFOMAX_PORT", "70000"),
        ("INFOMAX_PORT", "tcp://10.0.0.1:8000"),
        ("INFOMAX_DEVICE", "tpu"),
        ("INFOMAX_DECODE_THREADS", "0"),
        ("INFOMAX_DRAIN_S", "nan"),
        ("INFOMAX_MAX_QUEUE", "10"),
    ],
)
def test_a_bad_setting_is_named(command, monkeypatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    code, said = command()
    assert code == 2
    assert name.removeprefix("INFOMAX_").lower() in said.lower()
    assert one_sentence(said)


def test_flags_override_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INFOMAX_PORT", "9000")
    monkeypatch.setenv("INFOMAX_HOST", "0.0.0.0")
    settings = read_settings(port=9001, host=None)
    assert (settings.port, settings.host) == (9001, "0.0.0.0")
    with pytest.raises(SettingsError, match="--port"):
        read_settings(port=-1)


def test_the_default_checkpoint_is_the_shipped_one(monkeypatch, tmp_path: Path):
    shipped = tmp_path / "checkpoints" / "dim-cifar10"
    shipped.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert Settings().checkpoint.resolve() == shipped


def test_the_example_is_a_picture_every_model_can_read():
    line = example("http://127.0.0.1:8000")
    assert line.startswith("curl -s http://127.0.0.1:8000/embed ")
    assert len(line) < 300


def test_a_command_is_required(capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
