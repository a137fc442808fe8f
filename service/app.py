"""Puts the service together; importing builds nothing, `create_app(settings, engine)` does."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.backend import Backend
from service.engine import Engine
from service.envelope import Endpoint, Envelope, to_answer
from service.errors import BadRequest, InternalError, MethodNotAllowed, NotFound, ServiceError
from service.routes import docs, embed, feature_map, health, info, mi_score
from service.routes.direct import Direct
from service.settings import Settings

ROUTES = (embed.routes, feature_map.routes, mi_score.routes, info.routes, health.routes)

DESCRIPTION = """Embeddings, feature maps and mutual-information scores of images.

Images go in as multipart/form-data (`files`), a raw image/* body, JSON with data URIs or base64, or
a .npy array; answers come as JSON, .npy, plain octets or a picture, as `Accept` asks."""


class Application(FastAPI):
    """FastAPI, with the Envelope around it.

    backend  what serves the requests
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        super().__init__(
            title="infomax",
            version=backend.engine.card.name,
            description=DESCRIPTION,
            lifespan=_lifespan,
            docs_url=None,  # Swagger's page loads a script from another host; ours loads nothing
            redoc_url=None,
            openapi_url=None,
            redirect_slashes=False,
            telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        )
        found = [route for make in ROUTES for route in make(backend)]
        self.router.routes.extend([*found, *docs.routes()])
        self.add_exception_handler(HTTPException, _refuse)
        self.add_exception_handler(RequestValidationError, _refuse)
        self._envelope = Envelope(super().__call__, _table(found), backend)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        serve = self._envelope if scope["type"] == "http" else super().__call__
        await serve(scope, receive, send)


def create_app(settings: Settings, engine: Engine) -> Application:
    """Build the ASGI application around an engine; its lifespan starts and stops the threads."""
    return Application(Backend(settings, engine))


@asynccontextmanager
async def _lifespan(app: Application) -> AsyncIterator[None]:
    await app.backend.start()
    yield
    await app.backend.stop()


def _table(found: Sequence[Direct]) -> dict[tuple[str, str], Endpoint]:
    """(method, path) -> endpoint; HEAD is GET, of which the server sends no body."""
    table = {(route.method, route.path): route.direct for route in found}
    return table | {("HEAD", route.path): route.direct for route in found if route.method == "GET"}


async def _refuse(request: Request, error: Exception) -> Response:
    """Answer the framework's own errors in the one shape."""
    if isinstance(error, HTTPException):
        kinds: dict[int, ServiceError] = {
            404: NotFound("There is nothing here; GET /docs lists the routes."),
            405: MethodNotAllowed("This path exists, but not for this method; see Allow."),
        }
        kind = kinds.get(error.status_code, InternalError("Something went wrong here."))
        allow = (error.headers or {}).get("allow") or (error.headers or {}).get("Allow")
        headers = {"Allow": allow} if allow else {}
    else:
        kind, headers = BadRequest("The request is not what this route expects."), {}
    request.app.backend.metrics.failed(kind.code)
    answer = to_answer(kind, request.scope["exchange"].request_id)
    return Response(answer.body, kind.status, headers, answer.media_type)
