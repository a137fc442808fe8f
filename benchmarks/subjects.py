"""A contender at work: started, proved right, then put under load."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import Contender
from benchmarks.failures import BenchmarkError
from benchmarks.images import ImageFile
from benchmarks.load import Measured, press
from benchmarks.processes import Server, free_port, running

CLIENT_TIMEOUT_S = 10.0
SETTLE_S = 0.5  # between resuming a server and its load
WARM_UP_CLIENTS, WARM_UP_S = 32, 2
CLOSE = 1e-4  # to the in-process embedding, relative to its largest number


@dataclass(frozen=True)
class Trial:
    """What every contender is given.

    expected  the right embeddings (images, D)
    scratch   a folder for request bodies and the servers' logs
    """

    checkpoint: Path
    images: Sequence[ImageFile]
    expected: NDArray[np.float32]
    scratch: Path


class Subject:
    """A running server, paused unless it is its turn."""

    def __init__(self, contender: Contender, server: Server, url: str, bodies: Sequence[Path]):
        self.contender = contender
        self._server = server
        self._url = url
        self._bodies = bodies

    def check(self, expected: NDArray[np.float32]) -> None:
        """Ask for each image once; BenchmarkError where an embedding is not the in-process one."""
        for body, wanted in zip(self._bodies, expected, strict=True):
            answer = self._ask(body)
            if answer.status_code != httpx.codes.OK:
                raise BenchmarkError(
                    f"{self.contender.name} answered {answer.status_code} instead of 200:"
                    f" {answer.text[:300]}"
                )
            given = np.asarray(self.contender.read(answer.json()), np.float32)
            allowed = CLOSE * np.abs(wanted).max(initial=1.0)
            if given.shape != wanted.shape or np.abs(given - wanted).max() > allowed:
                raise BenchmarkError(
                    f"{self.contender.name} gives another embedding for {body.name} than the model"
                    " in this process; nothing is measured until it is right"
                )

    def measure(self, clients: int, seconds: int) -> Measured:
        """One turn under load; BenchmarkError where nothing was answered."""
        run = self.turn(clients, seconds)
        if not run.requests_per_s:
            name = self.contender.name
            raise BenchmarkError(f"{name} answered none of {clients} clients in {seconds} s")
        return run

    def turn(self, clients: int, seconds: int) -> Measured:
        """Resume, load, pause."""
        self._server.resume()
        try:
            time.sleep(SETTLE_S)
            self._ask(self._bodies[0])
            return press(self._url, self.contender.content_type, self._bodies, clients, seconds)
        finally:
            self._server.pause()

    def answers(self) -> bool:
        """Whether it answers yet."""
        try:
            return self._ask(self._bodies[0]).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _ask(self, body: Path) -> httpx.Response:
        return httpx.post(
            self._url,
            content=body.read_bytes(),
            headers={"Content-Type": self.contender.content_type},
            timeout=CLIENT_TIMEOUT_S,
            trust_env=False,  # a proxy has no business between us and 127.0.0.1
        )


@contextmanager
def at_work(contender: Contender, trial: Trial) -> Iterator[Subject]:
    """Start a contender, check all its answers, warm it up, pause it; stop it at the end.

    Raises BenchmarkError where it does not start or answers wrongly.
    """
    folder = trial.scratch / contender.name
    folder.mkdir(parents=True, exist_ok=True)
    bodies = []
    for image in trial.images:
        bodies.append(folder / f"{image.name}.body")
        bodies[-1].write_bytes(contender.body(image))
    port = free_port()
    words = contender.command(trial.checkpoint, port)
    with running(contender.name, words, folder / "log.txt") as server:
        url = f"http://127.0.0.1:{port}{contender.path}"
        subject = Subject(contender, server, url, bodies)
        server.wait_until(subject.answers)
        subject.check(trial.expected)
        subject.turn(WARM_UP_CLIENTS, WARM_UP_S)
        yield subject
