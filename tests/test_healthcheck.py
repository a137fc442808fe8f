"""The container's health check, as the container runs it, against a server that really answers."""

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A real server on a free port that answers every GET with one status; gives its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/readyz"
            self.send_response(status if known else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing on stderr."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield str(server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def healthcheck(repository: Path, port: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", repository / "deploy" / "healthcheck.py"]
    # A proxy that nobody runs: a question about this container must not be sent to it.
    environment = {"INFOMAX_PORT": port, "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_the_health_check_passes_when_the_service_is_ready(repository: Path) -> None:
    with answering(200) as port:
        done = healthcheck(repository, port)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")


@pytest.mark.parametrize("status", [503, 404, 204])
def test_the_health_check_fails_on_any_other_answer(repository: Path, status: int) -> None:
    with answering(status) as port:
        done = healthcheck(repository, port)
    assert done.returncode == 1
    assert done.stdout.endswith(f"answers {status}\n")


def test_the_health_check_fails_in_words_when_nobody_listens(repository: Path) -> None:
    with socket.socket() as held:  # bound and not listening: no one else can answer there
        held.bind(("127.0.0.1", 0))
        done = healthcheck(repository, str(held.getsockname()[1]))
    assert done.returncode == 1
    assert "does not answer" in done.stdout
    assert "Traceback" not in done.stderr
