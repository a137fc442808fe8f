"""Puts the service together; importing builds nothing, `create_app(settings, engine)` does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.backend import Backend
from service.engine import Engine
from service.envelope import Envelope, to_answer
from service.errors import BadRequest, InternalError, MethodNotAllowed, NotFound, ServiceError
from service.routes import docs, embed, feature_map, health, info, mi_score
from service.settings import Settings

DESCRIPTION = """Embeddings, feature maps and mutual-information scores of images.

Images go in as multipart/form-data (`files`), a raw image/* body, JSON with data URIs or base64, or
a .npy array; answers come as JSON, .npy, plain octets or a picture, as `Accept` asks."""


def create_app(settings: Settings, engine: Engine) -> FastAPI:
    """Build the ASGI application around an engine; its lifespan starts and stops the threads.

    The Backend is at `app.state.backend`.
    """
    backend = Backend(settings, engine)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await backend.start()
        yield
        await backend.stop()

    app = FastAPI(
        title="infomax",
        version=engine.card.name,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # Swagger's page loads a script from another host; routes.docs loads nothing
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.backend = backend
    for module in (embed, feature_map, mi_score, info, health):
        app.router.routes.extend(module.routes(backend))
    app.router.routes.extend(docs.routes())
    app.add_middleware(Envelope, backend=backend)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse)
    return app


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
    request.app.state.backend.metrics.failed(kind.code)
    answer = to_answer(kind, request.scope["exchange"].request_id)
    return Response(answer.body, kind.status, headers, answer.media_type)
