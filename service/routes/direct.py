"""A route that FastAPI documents and this file runs, and the words its documentation is made of."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from service.accept import JSON, NPY, OCTETS, PNG
from service.exchange import Answer, Exchange, send_answer
from service.options import Options
from service.schemas import ErrorAnswer

Endpoint = Callable[[Exchange], Awaitable[Answer]]
Document = dict[str, Any]

BINARY: Document = {"type": "string", "format": "binary"}
IMAGE_LIST: Document = {
    "type": "array",
    "items": {"type": "string"},
    "description": "Data URIs (data:image/png;base64,...) or plain base64.",
}

ERRORS = {
    400: "Malformed body, unknown option or bad value.",
    406: "None of the forms in Accept is offered here.",
    408: "The body came too slowly.",
    413: "Too many bytes, images or pairs.",
    415: "A content type or an image format that is not accepted.",
    422: "An image that cannot be decoded, or has too many pixels or frames; `index` says which.",
    500: "The model failed on this image; the others of its batch were answered.",
    503: "The queue is full, or the service is starting or shutting down; see Retry-After.",
    504: "The deadline of X-Timeout-Ms passed.",
}


class Direct(APIRoute):
    """A documented route whose endpoint takes the Exchange and gives an Answer.

    FastAPI sees its documentation only: no dependencies are solved, no response model is built, and
    a vector goes from the model to bytes without passing through a Python list.
    """

    def __init__(self, path: str, endpoint: Endpoint, method: str, **documentation: Any) -> None:
        async def documented() -> None:
            """Stand in for the endpoint, whose argument is not a parameter of the API."""

        documented.__name__ = endpoint.__name__
        super().__init__(
            path,
            documented,
            methods=[method],
            operation_id=endpoint.__name__,
            description=endpoint.__doc__,
            **documentation,
        )
        self.method = method
        self.direct = endpoint  # what service.envelope calls, without the framework in between

        async def run(scope: Scope, _receive: Receive, send: Send) -> None:
            await send_answer(send, await endpoint(scope["exchange"]))

        self.app = run  # for an app mounted below another path, which the framework has to route


def errors(*statuses: int) -> dict[int | str, Document]:
    """Describe the errors of a route, all of one shape."""
    return {status: {"model": ErrorAnswer, "description": ERRORS[status]} for status in statuses}


def takes_images(options: type[Options], compares: bool = False) -> Document:
    """Describe the parameters and the four request bodies of a route that takes images."""
    known = option_schemas(options)
    fields = ("files", "a", "b") if compares else ("files",)
    files = {name: {"type": "array", "items": BINARY} for name in fields}
    lists = dict.fromkeys(("images", *fields[1:]), IMAGE_LIST)
    return {
        "parameters": [
            *(
                {"name": name, "in": "query", "schema": schema, "description": meaning}
                for name, (schema, meaning) in known.items()
            ),
            *HEADERS,
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": {"type": "object", "properties": files}},
                "image/*": {"schema": BINARY},
                JSON: {
                    "schema": {
                        "type": "object",
                        "properties": {
                            **lists,
                            **{name: schema for name, (schema, _) in known.items()},
                        },
                        "additionalProperties": False,
                    }
                },
                NPY: {"schema": {**BINARY, "description": "uint8 (N, height, width, 3)."}},
            },
        },
    }


def answers(model: type[Any], meaning: str, pictures: bool = False) -> dict[int | str, Document]:
    """Describe a 200 in every form it can take."""
    forms: Sequence[str] = (NPY, OCTETS, PNG) if pictures else (NPY, OCTETS)
    content = {form: {"schema": BINARY} for form in forms}
    return {
        200: {
            "model": model,
            "description": meaning,
            "content": content,
            "headers": {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in ANSWER_HEADERS.items()
            },
        }
    }


def option_schemas(options: type[Options]) -> dict[str, tuple[Document, str]]:
    """Give each option's schema and meaning, from the model that reads it."""
    properties = options.model_json_schema()["properties"]
    found = {}
    for name, schema in properties.items():
        kept = {key: schema[key] for key in ("type", "enum", "default") if key in schema}
        if name == "pairs":
            pair = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
            kept = {"oneOf": [{"type": "array", "items": pair}, {"type": "string"}]}
        found[name] = (kept, schema.get("description", ""))
    return found


HEADERS: list[Document] = [
    {
        "name": "X-Timeout-Ms",
        "in": "header",
        "schema": {"type": "integer", "minimum": 1},
        "description": "Milliseconds after which the answer is no longer wanted: 504.",
    },
    {
        "name": "X-Request-ID",
        "in": "header",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "description": "Comes back in the answer and stands in the log; made up if left out.",
    },
]

ANSWER_HEADERS = {
    "X-Request-ID": "The request's id, as in errors and the log.",
    "X-Model-Version": "The checkpoint's identity.",
    "X-Batch-Size": "Images of the largest batch that held one of this request's.",
    "Server-Timing": "decode, queue, forward and total, in milliseconds.",
}
