"""GET /docs and /openapi.json: the reference, on one page that loads nothing from anywhere."""

import html
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

Document = dict[str, Any]

SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}


def routes() -> list[BaseRoute]:
    """The two routes; they describe whatever app they are part of."""

    async def docs(request: Request) -> Response:
        page = write_page(_openapi(request.app))
        return Response(page, media_type="text/html; charset=utf-8", headers=SECURITY)

    async def openapi(request: Request) -> Response:
        return Response(orjson.dumps(_openapi(request.app)), media_type="application/json")

    return [Route("/docs", docs), Route("/openapi.json", openapi)]


def _openapi(app: FastAPI) -> Document:
    return app.openapi()  # made once, then kept by FastAPI


def write_page(openapi: Document) -> str:
    """Write the reference as one HTML page, from the OpenAPI document."""
    info = openapi["info"]
    body = [f"<h1>{_text(info['title'])}</h1>", f"<p>{_text(info['description'])}</p>"]
    body.append('<p>Machine-readable: <a href="openapi.json">openapi.json</a></p>')
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            body += _operation(path, method, operation)
    body.append("<h2>Shapes of JSON answers</h2>")
    for name, schema in openapi.get("components", {}).get("schemas", {}).items():
        body += _schema(name, schema)
    return PAGE.replace("<!--title-->", _text(info["title"])).replace(
        "<!--body-->", "\n".join(body)
    )


def _operation(path: str, method: str, operation: Document) -> Iterator[str]:
    yield f"<h2><code>{method.upper()} {_text(path)}</code> {_text(operation['summary'])}</h2>"
    yield f"<p>{_text(operation.get('description', ''))}</p>"
    if "requestBody" in operation:
        kinds = operation["requestBody"]["content"]
        yield "<p>Takes " + ", ".join(f"<code>{_text(kind)}</code>" for kind in kinds) + ".</p>"
        yield f"<pre>{_text(EXAMPLE.format(path=path))}</pre>"
    if operation.get("parameters"):
        rows = [
            (
                f"{parameter['name']} ({parameter['in']})",
                _kind(parameter["schema"]),
                parameter.get("description", ""),
            )
            for parameter in operation["parameters"]
        ]
        yield _table(("option", "values", "meaning"), rows)
    answers = [
        (status, ", ".join(answer.get("content", {})), answer.get("description", ""))
        for status, answer in operation["responses"].items()
    ]
    yield _table(("status", "form", "meaning"), answers)


def _schema(name: str, schema: Document) -> Iterator[str]:
    yield f'<h3 id="{_text(name)}"><code>{_text(name)}</code></h3>'
    yield f"<p>{_text(schema.get('description', ''))}</p>"
    rows = [
        (field, _kind(kind), kind.get("description", ""))
        for field, kind in schema.get("properties", {}).items()
    ]
    yield _table(("member", "kind", "meaning"), rows)


def _kind(schema: Document) -> str:
    """Say in a few words what a JSON schema allows."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        default = schema.get("default")
        return " | ".join(
            f"{one} (default)" if one == default else str(one) for one in schema["enum"]
        )
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(_kind(one) for one in schema[several])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    kind = str(schema.get("type", schema.get("const", "anything")))
    return kind + (f", default {str(schema['default']).lower()}" if "default" in schema else "")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = "".join(f"<th>{_text(title)}</th>" for title in head)
    lines = ("".join(f"<td>{_text(cell)}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><tr>{cells}</tr>{body}</table>"


def _text(text: object) -> str:
    return html.escape(str(text))


EXAMPLE = "curl -F files=@picture.jpg http://127.0.0.1:8000{path}"

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title><!--title--></title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid; padding-bottom: .3rem; font-size: 1.2rem; }
h3 { margin-bottom: 0; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; }
td { border-top: 1px solid #8884; }
pre { padding: .6rem; border: 1px solid #8884; overflow-x: auto; }
code, pre { font-family: ui-monospace, monospace; }
</style>
</head>
<body>
<!--body-->
</body>
</html>
"""
