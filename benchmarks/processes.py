"""Servers as child processes: started, awaited, paused while others work, always stopped."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.failures import BenchmarkError
from benchmarks.machine import REPOSITORY

START_WITHIN_S = 120.0
STOP_WITHIN_S = 15.0
GONE_WITHIN_S = 3.0
POLL_S = 0.1
LOG_CHARACTERS = 2000  # of a failed server's log, shown in the error


class Server:
    """A process group of its own, so that signals reach workers too.

    It is measured with default settings: the caller's INFOMAX_* variables are left out.
    """

    def __init__(self, name: str, words: Sequence[str], log: Path) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                words,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={key: value for key, value in os.environ.items() if key[:8] != "INFOMAX_"},
            )

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until it is ready; BenchmarkError, with its log's end, if it ends or takes long."""
        gives_up = time.monotonic() + START_WITHIN_S
        while not ready():
            if self._process.poll() is not None:
                raise BenchmarkError(f"{self.name} ended while starting:\n{self.log()}")
            if time.monotonic() > gives_up:
                raise BenchmarkError(
                    f"{self.name} was not ready within {START_WITHIN_S:.0f} s:\n{self.log()}"
                )
            time.sleep(POLL_S)

    def log(self) -> str:
        """The end of what it printed."""
        return self._log.read_text(errors="replace")[-LOG_CHARACTERS:].strip() or "(no output)"

    def pause(self) -> None:
        """Stop it in its tracks: polling queues would take time from the one that is measured."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the whole group: asked first, killed if it does not."""
        self._signal(signal.SIGTERM)
        self.resume()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_WITHIN_S)
        self._signal(signal.SIGKILL)  # also what outlived the first process
        self._process.wait()
        gives_up = time.monotonic() + GONE_WITHIN_S
        while self._signal(0) and time.monotonic() < gives_up:
            time.sleep(POLL_S)  # what is torn down takes time from what is measured next

    def _signal(self, number: int) -> bool:
        """Send a signal to the group; False where there is no group any more."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True


@contextmanager
def running(name: str, words: Sequence[str], log: Path) -> Iterator[Server]:
    """A server that is stopped at the end, whatever happens."""
    server = Server(name, words, log)
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
