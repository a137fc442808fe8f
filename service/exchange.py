"""One request and its answer: its id, its clock, its headers, and the job the model does for it."""

import asyncio
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from service.errors import BadHeader, BodyTimeout, BodyTooLarge
from service.jobs import Job
from service.limits import CLOSE, Limits

WATCH_AFTER_S = 0.02
ID_PATTERN = re.compile(rb"[A-Za-z0-9._-]{1,64}")

Headers = tuple[tuple[bytes, bytes], ...]


class ClientGone(Exception):
    """The caller has closed the connection; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: its body, how it is to be read, and what else the headers say."""

    body: bytes
    media_type: str = "application/json"
    status: int = 200
    headers: Headers = field(default=())


class Exchange:
    """A request on its way to an answer.

    request_id  the caller's X-Request-ID if it is a plain word, else one of ours
    started     monotonic clock, seconds
    job         what the model did for it, once there is one; its durations become headers
    status      of the answer, 0 until it has started
    route       the path of the route that serves it, for metrics; "other" for unknown paths
    left        whether the caller closed the connection before that
    """

    __slots__ = (
        "_slow",
        "_timer",
        "_unread",
        "_watcher",
        "headers",
        "job",
        "left",
        "query",
        "receive",
        "request_id",
        "route",
        "scope",
        "started",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.started = time.monotonic()
        self.scope = scope
        self.receive = receive
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])
        self.query: bytes = scope["query_string"]
        self.request_id = _request_id(self.headers.get(b"x-request-id", b""))
        self.job: Job | None = None
        self.status = 0
        self.route = "other"
        self.left = False
        self._unread = True  # whether some of the body is still to come
        self._slow = False
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def deadline(self, default_ms: int, max_ms: int) -> float:
        """Give the deadline on the monotonic clock, from X-Timeout-Ms or the default.

        Raises BadHeader.
        """
        asked = self.headers.get(b"x-timeout-ms")
        if asked is None:
            return self.started + default_ms / 1000
        if not asked.isdigit() or len(asked) > 9 or not 1 <= int(asked) <= max_ms:
            raise BadHeader(f"X-Timeout-Ms must be a whole number from 1 to {max_ms}.")
        return self.started + int(asked) / 1000

    async def read_body(self, limits: Limits, timeout_s: float) -> bytes:
        """Read the body, counting its bytes before and while they come.

        Raises BodyTooLarge, BodyTimeout, or ClientGone.
        """
        length = self.headers.get(b"content-length", b"0")
        task = asyncio.current_task()
        timer = asyncio.get_running_loop().call_later(timeout_s, self._give_up, task)
        try:
            return await self._heard_out(limits, int(length) if length.isdigit() else 0)
        except asyncio.CancelledError:
            if not self._slow:
                raise
            raise BodyTimeout("The body came too slowly.", headers=CLOSE) from None
        finally:
            timer.cancel()

    async def _heard_out(self, limits: Limits, announced: int) -> bytes:
        """Read the body; one that is too large is read on for a while, and dropped.

        A client that is still sending would not hear the refusal. One that asks first, with
        Expect: 100-continue, is told at once.
        """
        try:
            limits.check_body(announced)
            return await self._whole_body(limits)
        except BodyTooLarge:
            left = 0 if b"expect" in self.headers else limits.body_bytes
            while self._unread and left > 0:
                left -= len(await self._chunk())
            raise

    async def _whole_body(self, limits: Limits) -> bytes:
        chunks, num_bytes = [], 0
        while self._unread:
            chunk = await self._chunk()
            num_bytes += len(chunk)
            limits.check_body(num_bytes)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _chunk(self) -> bytes:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._unread = message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    def _give_up(self, task: "asyncio.Task[Any] | None") -> None:
        if task is not None:
            self._slow = True
            task.cancel()

    def watch(self) -> None:
        """Cancel the current task should the caller leave; the body has been read before.

        Most answers are there before a watcher is worth its task, so it starts a little later: in a
        queue long enough to matter, every request has one.
        """
        task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(
            WATCH_AFTER_S, self._start_watching, task
        )

    def unwatch(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def _start_watching(self, task: "asyncio.Task[Any] | None") -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._cancel_when_gone(task))

    async def _cancel_when_gone(self, task: "asyncio.Task[Any] | None") -> None:
        message = await self.receive()
        if message["type"] == "http.disconnect" and task is not None and not self.status:
            self.left = True
            task.cancel()

    def server_timing(self) -> bytes:
        """Give the four durations in milliseconds, as the Server-Timing header has them."""
        total = (time.monotonic() - self.started) * 1e3
        if self.job is None:
            return b"total;dur=%.2f" % total
        durations = (
            self.job.decode_s * 1e3,
            self.job.queue_s * 1e3,
            self.job.forward_s * 1e3,
            total,
        )
        return b"decode;dur=%.2f, queue;dur=%.2f, forward;dur=%.2f, total;dur=%.2f" % durations


def _request_id(asked: bytes) -> str:
    if ID_PATTERN.fullmatch(asked):
        return asked.decode()
    return f"{random.getrandbits(64):016x}"  # os.urandom would give the interpreter lock away


async def send_answer(send: Send, answer: Answer, headers: Headers = ()) -> None:
    """Send an answer as ASGI messages, with further headers."""
    start = [
        (b"content-type", answer.media_type.encode()),
        (b"content-length", b"%d" % len(answer.body)),
        *answer.headers,
        *headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": start})
    await send({"type": "http.response.body", "body": answer.body})
