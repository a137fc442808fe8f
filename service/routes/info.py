"""GET /info: what is loaded, and how good it is."""

import orjson

from service.backend import Backend
from service.exchange import Answer, Exchange
from service.images import FORMATS
from service.routes.direct import Direct
from service.schemas import Info


def routes(backend: Backend) -> list[Direct]:
    """The route."""

    async def info(_: Exchange) -> Answer:
        """Tell what is loaded: the checkpoint's card, the shapes of its answers, and the limits."""
        return Answer(orjson.dumps(describe(backend)))

    responses = {200: {"model": Info, "description": "What is loaded."}}
    return [
        Direct(
            "/info", info, "GET", summary="What is loaded", tags=["operation"], responses=responses
        )
    ]


def describe(backend: Backend) -> dict[str, object]:
    """Give the facts a caller needs, and none about the machine's files."""
    engine, settings = backend.engine, backend.settings
    card = engine.card.model_dump(mode="json")
    shown = (
        "name",
        "created",
        "encoder",
        "critics",
        "preprocessing",
        "objective",
        "data",
        "origin",
        "evaluation",
    )
    return {
        "model": engine.card.name,
        "version": backend.version,
        "representations": {
            name: engine.shapes[head][0]
            for name, head in (("y", "y"), ("y_sigmoid", "y"), ("fc", "fc"), ("conv", "conv"))
        },
        "feature_map": list(engine.shapes["map"]),
        "critics": {role: {"map": [critic.side] * 2} for role, critic in engine.critics.items()},
        "device": engine.device,
        "threads": engine.threads,
        "formats": FORMATS,
        "limits": {
            "body_bytes": settings.max_body_bytes,
            "images": settings.max_images,
            "image_bytes": settings.max_image_bytes,
            "image_pixels": settings.max_image_pixels,
            "image_frames": settings.max_image_frames,
            "pairs": settings.max_pairs,
            "timeout_ms": settings.max_timeout_ms,
        },
        "card": {name: card[name] for name in shown},
    }
