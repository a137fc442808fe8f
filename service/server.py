"""uvicorn, with a door that closes in order: readiness first, then the socket, then the threads."""

import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from service.app import Application
from service.backend import Backend
from service.settings import Settings

logger = logging.getLogger("infomax.server")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
BACKLOG = 2048


class ServerError(Exception):
    """The server cannot listen where it was told to; the text is a sentence for the operator."""


class DrainingServer(uvicorn.Server):
    """A uvicorn server that ends by itself, with exit code 0, after SIGTERM or SIGINT.

    On the first signal readiness turns 503 and new work is refused; after `drain_grace_s` (none
    for SIGINT, from a terminal) the socket closes, what was accepted is answered, and the lifespan
    ends. A second signal ends at once.
    """

    def __init__(
        self, config: uvicorn.Config, backend: Backend, announce: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._backend = backend
        self._announce = announce
        self._closes_at: float | None = None
        self._said_so = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving, and do not raise them again afterwards as uvicorn does."""
        before = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        """Begin to drain; a second signal stops waiting."""
        if self._closes_at is not None:
            self.should_exit = self.force_exit = True
            return
        self._backend.begin_drain()
        grace_s = 0.0 if sig == signal.SIGINT else self._backend.settings.drain_grace_s
        self._closes_at = time.monotonic() + grace_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then say so."""
        await super().startup(sockets)
        if self.started:
            self._announce()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: close the door once the grace is over."""
        if self._closes_at is not None:
            if not self._said_so:  # not in handle_exit: it may have interrupted another log line
                self._said_so = True
                logger.info("draining: %d images are not answered yet", self._backend.pending)
            self.should_exit |= time.monotonic() >= self._closes_at
        return await super().on_tick(counter)


def open_socket(host: str, port: int) -> socket.socket:
    """Take the address without listening yet. Raises ServerError if it is not to be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ServerError(f"Cannot listen on {host}: {error.strerror}.") from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        opened.close()
        raise ServerError(
            f"Cannot listen on {host} port {port}: {error.strerror}. Choose another with --port."
        ) from error
    return opened


def run(
    app: Application, settings: Settings, opened: socket.socket, announce: Callable[[], None]
) -> int:
    """Serve until told to stop; give the exit code."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        backlog=BACKLOG,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=round(settings.drain_s),
    )
    server = DrainingServer(config, app.backend, announce)
    server.run(sockets=[opened])
    return 0
