"""GET /livez, /readyz, /metrics: for orchestrators and Prometheus."""

from service import metrics
from service.backend import Backend
from service.exchange import Answer, Exchange
from service.routes.direct import BINARY, Direct, errors
from service.schemas import Health


def routes(backend: Backend) -> list[Direct]:
    """The three routes."""

    async def livez(_: Exchange) -> Answer:
        """200 while the model's thread moves; 503 means this process should be restarted."""
        if error := backend.stalled():
            raise error
        return Answer(b'{"status":"alive"}')

    async def readyz(_: Exchange) -> Answer:
        """200 while requests are welcome; 503 while starting, stalled or shutting down."""
        if error := backend.unready():
            raise error
        return Answer(b'{"status":"ready"}')

    async def metrics_text(_: Exchange) -> Answer:
        """Counters and durations in Prometheus' text format."""
        return Answer(backend.metrics.text(), metrics.CONTENT_TYPE)

    health = {200: {"model": Health, "description": "Yes."}}
    text = {200: {"description": "Metrics.", "content": {"text/plain": {"schema": BINARY}}}}
    tags = ["operation"]
    return [
        Direct("/livez", livez, "GET", summary="Alive?", tags=tags, responses=health | errors(503)),
        Direct(
            "/readyz", readyz, "GET", summary="Ready?", tags=tags, responses=health | errors(503)
        ),
        Direct("/metrics", metrics_text, "GET", summary="Metrics", tags=tags, responses=text),
    ]
