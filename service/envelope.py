"""What every answer has in common: id, timing, model version, one error shape, one line in the log.

Pure ASGI around everything: it adds headers as an answer starts, turns every error into JSON, and
counts. Text of an unforeseen exception goes to the log, under the request's id, and nowhere else.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.backend import Backend
from service.errors import Draining, InternalError, ServiceError
from service.exchange import Answer, ClientGone, Exchange, Headers, send_answer
from service.limits import CLOSE

logger = logging.getLogger("infomax.request")
access = logging.getLogger("infomax.access")

Endpoint = Callable[[Exchange], Awaitable[Answer]]

CLIENT_GONE = 499  # never sent: it stands in metrics and logs for a caller who left


class Envelope:
    """The outermost ASGI application.

    framework  serves what is not in `direct`: the documentation, and paths nobody knows
    direct     (method, path) -> endpoint; called without the framework's middleware in between,
               which costs a small request a tenth of its time on the event loop
    """

    def __init__(
        self,
        framework: ASGIApp,
        direct: Mapping[tuple[str, str], Endpoint],
        backend: Backend,
    ) -> None:
        self._framework = framework
        self._direct = direct
        self._backend = backend
        self._model = (b"x-model-version", backend.version.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        exchange = Exchange(scope, receive)
        try:
            await self._serve(exchange, send)
        except ServiceError as error:
            await self._refuse(exchange, error, send)
        except ClientGone:
            exchange.status = CLIENT_GONE
        except asyncio.CancelledError:
            if exchange.left:
                exchange.status = CLIENT_GONE
            else:  # the server is going down and gives up on us
                late = Draining("The service shut down before the answer was there.")
                await self._refuse(exchange, late, send)
        except Exception:
            logger.exception("request failed id=%s", exchange.request_id)
            if exchange.status:
                raise  # half an answer: only closing the connection is honest
            fault = InternalError("Something went wrong here; the log knows it by the request id.")
            await self._refuse(exchange, fault, send)
        finally:
            exchange.unwatch()
            self._record(exchange)

    async def _serve(self, exchange: Exchange, send: Send) -> None:
        scope = exchange.scope
        endpoint = self._direct.get((scope["method"], scope["path"]))
        if endpoint is not None:
            exchange.route = scope["path"]
            await self._send(exchange, await endpoint(exchange), send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers(exchange)]
            await send(message)

        scope["exchange"] = exchange
        await self._framework(scope, exchange.receive, send_with_headers)
        exchange.route = getattr(scope.get("route"), "path", exchange.route)

    async def _send(self, exchange: Exchange, answer: Answer, send: Send) -> None:
        exchange.status = answer.status
        await send_answer(send, answer, self._headers(exchange))

    async def _refuse(self, exchange: Exchange, error: ServiceError, send: Send) -> None:
        if exchange.status:
            raise error  # half an answer: only closing the connection is honest
        self._backend.metrics.failed(error.code)
        await self._send(exchange, to_answer(error, exchange.request_id), send)

    def _headers(self, exchange: Exchange) -> Headers:
        headers: Headers = (
            (b"x-request-id", exchange.request_id.encode()),
            (b"server-timing", exchange.server_timing()),
            self._model,
        )
        if exchange.job is not None and exchange.job.batch:
            headers = (*headers, (b"x-batch-size", b"%d" % exchange.job.batch))
        return headers + CLOSE if self._backend.draining else headers

    def _record(self, exchange: Exchange) -> None:
        seconds = time.monotonic() - exchange.started
        self._backend.metrics.answered(exchange.route, exchange.status, seconds, exchange.job)
        if access.isEnabledFor(logging.INFO):
            access.info(
                "method=%s route=%s status=%d ms=%.1f images=%d id=%s",
                exchange.scope["method"],
                exchange.route,
                exchange.status,
                seconds * 1e3,
                exchange.job.images if exchange.job else 0,
                exchange.request_id,
            )


def to_answer(error: ServiceError, request_id: str) -> Answer:
    """Give an error as the one JSON shape, with the headers it asks for."""
    headers = error.headers
    if error.retry_after_s is not None:
        headers = (*headers, (b"retry-after", b"%d" % error.retry_after_s))
    body = orjson.dumps(error.body(request_id))
    return Answer(body, status=error.status, headers=headers)
