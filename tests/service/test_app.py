"""What every answer has in common, and the routes for operators."""

import asyncio
import json
import logging
import re
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.accept import choose
from service.errors import BadRequest, NotAcceptable
from service.logs import LineFormatter
from service.options import EmbedOptions, MiScoreOptions, read_options
from tests.fakes import CARD, MeanEngine, picture
from tests.service.test_forms import embed, from_npy

PNG = {"content-type": "image/png"}
RED = picture()


def test_every_answer_has_an_id_a_version_and_its_durations(client):
    answer = client.post("/embed", content=RED, headers=PNG)
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])
    assert answer.headers["x-model-version"] == CARD.identity
    assert answer.headers["x-batch-size"] == "1"
    stages = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert list(stages) == ["decode", "queue", "forward", "total"]
    durations = {stage: float(value) for stage, value in stages.items()}
    spent = durations["decode"] + durations["queue"] + durations["forward"]
    assert durations["total"] >= spent - 0.02


def test_a_callers_id_comes_back_if_it_is_a_plain_word(client):
    for sent, kept in (
        ("trace-1.a_B", True),
        ("a b", False),
        ("x" * 65, False),
        ("<script>", False),
    ):
        answer = client.get("/livez", headers={"x-request-id": sent})
        assert (answer.headers["x-request-id"] == sent) is kept


def test_health_is_asked_with_get_or_head(client):
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.head("/readyz").status_code == 200


def test_info_says_what_is_loaded(client):
    info = client.get("/info").json()
    assert info["model"] == "means"
    assert info["version"] == CARD.identity
    assert info["representations"] == {"y": 3, "y_sigmoid": 3, "fc": 6, "conv": 12}
    assert info["feature_map"] == [3, 2, 2]
    assert info["critics"] == {"local": {"map": [2, 2]}, "global": {"map": [1, 1]}}
    assert info["card"]["preprocessing"]["size"] == 8
    assert info["limits"]["images"] == 256


def test_metrics_count_what_happened(client):
    client.post("/embed", content=RED, headers=PNG)
    client.post("/embed", content=b"bad", headers=PNG)
    client.get("/nowhere/at/all")
    text = client.get("/metrics").text
    for line in (
        'infomax_requests_total{route="/embed",status="200"} 1.0',
        'infomax_requests_total{route="/embed",status="422"} 1.0',
        'infomax_requests_total{route="other",status="404"} 1.0',
        'infomax_errors_total{code="image_undecodable"} 1.0',
        'infomax_errors_total{code="not_found"} 1.0',
        "infomax_images_total 1.0",
        "infomax_queue_images 0.0",
        "infomax_ready 1.0",
        *(
            f'infomax_request_seconds_count{{stage="{stage}"}} 1.0'
            for stage in ("decode", "queue", "forward", "total")
        ),
    ):
        assert line in text, line


def test_the_reference_lists_every_route_and_loads_nothing_from_elsewhere(client):
    page = client.get("/docs").text
    for route in ("/embed", "/feature-map", "/mi-score", "/info", "/livez", "/readyz", "/metrics"):
        assert f" {route}</code>" in page
    assert not re.search(r"<script|src=|https?://(?!127\.0\.0\.1)", page)
    assert "representation" in page
    assert "default-src 'none'" in client.get("/docs").headers["content-security-policy"]


def test_openapi_describes_inputs_options_and_errors(client):
    document = client.get("/openapi.json").json()
    embed = document["paths"]["/embed"]["post"]
    assert set(embed["requestBody"]["content"]) == {
        "multipart/form-data",
        "image/*",
        "application/json",
        "application/x-npy",
    }
    options = {one["name"]: one["schema"] for one in embed["parameters"]}
    assert options["representation"]["enum"] == ["y", "y_sigmoid", "fc", "conv"]
    assert {"X-Timeout-Ms", "X-Request-ID"} <= set(options)
    assert set(embed["responses"]) >= {"200", "400", "413", "415", "422", "503", "504"}
    refused = embed["responses"]["422"]["content"]["application/json"]["schema"]
    assert refused["$ref"].endswith("/ErrorAnswer")


def test_answers_have_the_documented_members(client):
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    sent = {"content": RED, "headers": PNG}
    answers = {
        "EmbedAnswer": client.post("/embed?encoding=int8", **sent),
        "FeatureMapAnswer": client.post("/feature-map", **sent),
        "MiScoreAnswer": client.post("/mi-score", **sent),
        "Info": client.get("/info"),
        "ErrorAnswer": client.post("/embed", content=b"", headers=PNG),
    }
    for name, answer in answers.items():
        assert set(answer.json()) <= set(schemas[name]["properties"]), name
    assert set(answers["MiScoreAnswer"].json()["pairs"][0]) <= set(
        schemas["PairAnswer"]["properties"]
    )


def scope(path: str = "/embed") -> dict:
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"content-type", b"image/png")],
    }


def test_who_leaves_the_queue_never_reaches_the_model(serve, engine: MeanEngine):
    client = serve(engine)
    answered = []

    async def leave() -> None:
        leaving = asyncio.Event()

        def receiver():
            messages = iter([{"type": "http.request", "body": picture((9, 9, 9))}])

            async def receive() -> dict:
                for message in messages:
                    return message
                await leaving.wait()
                return {"type": "http.disconnect"}

            return receive

        async def send(message: dict) -> None:
            answered.append(message)

        callers = [asyncio.create_task(client.app(scope(), receiver(), send)) for _ in range(50)]
        backend = client.app.backend
        while backend.batcher.pending < 51:  # noqa: ASYNC110  what is awaited is another thread's
            await asyncio.sleep(0.01)
        leaving.set()
        await asyncio.gather(*callers)
        assert backend.batcher.pending == 1

    async def first() -> None:
        async def receive() -> dict:
            return {"type": "http.request", "body": RED}

        async def send(message: dict) -> None:
            pass

        await client.app(scope(), receive, send)

    engine.gate.clear()
    held = client.portal.start_task_soon(first)
    assert engine.entered.wait(30)
    client.portal.call(leave)
    engine.gate.set()
    held.result()
    client.post("/embed", content=picture((90, 90, 90)), headers=PNG)
    assert engine.seen == [[85.0], [90.0]]
    assert answered == []
    text = client.get("/metrics").text
    assert 'infomax_requests_total{route="/embed",status="499"} 50.0' in text


def test_a_body_that_breaks_off_is_nobodys_request(serve, engine: MeanEngine):
    client = serve(engine)
    sent = []

    async def receive() -> dict:
        return {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message)

    client.portal.call(client.app, scope(), receive, send)
    assert sent == []
    assert engine.seen == []


def test_a_request_the_server_gives_up_on_is_told_so(serve, engine: MeanEngine):
    client = serve(engine)
    sent = []

    async def receive() -> dict:
        return {"type": "http.request", "body": RED}

    async def send(message: dict) -> None:
        sent.append(message)

    async def give_up() -> None:
        task = asyncio.create_task(client.app(scope(), receive, send))
        await asyncio.to_thread(engine.entered.wait)
        task.cancel()
        await task

    engine.gate.clear()
    client.portal.call(give_up)
    engine.gate.set()
    assert sent[0]["status"] == 503
    assert b'"code":"draining"' in sent[1]["body"]


def test_a_service_without_its_decoding_threads_is_not_alive(serve, engine: MeanEngine):
    client = serve(engine)
    client.app.backend.decoder.close()
    assert client.get("/livez").status_code == 503


def test_answers_say_goodbye_while_draining(serve, engine: MeanEngine):
    client = serve(engine)
    assert "connection" not in client.get("/livez").headers
    client.app.backend.begin_drain()
    assert client.get("/livez").headers["connection"] == "close"


def test_logs_are_one_line_of_pairs(client, caplog):
    caplog.set_level(logging.INFO, "infomax.access")
    client.post("/embed", content=RED, headers={**PNG, "x-request-id": "abc"})
    line = LineFormatter().format(caplog.records[-1])
    assert re.fullmatch(
        r"time=\S+Z level=info logger=infomax.access method=POST route=/embed status=200"
        r" ms=[\d.]+ images=1 id=abc",
        line,
    )
    forged = logging.makeLogRecord({"msg": "a\nlevel=error b", "levelname": "INFO"})
    assert "\n" not in LineFormatter().format(forged)


@given(st.text(max_size=60))
def test_any_accept_header_is_answered_or_refused(accept: str):
    with suppress(NotAcceptable):
        assert choose(accept.encode("utf-8", "replace"), ("application/json", "image/png"))


@given(st.binary(max_size=60))
def test_any_query_is_read_or_refused(query: bytes):
    for kind in (EmbedOptions, MiScoreOptions):
        with suppress(BadRequest):
            read_options(kind, query, {})


@given(
    st.dictionaries(
        st.sampled_from(["pairs", "map", "matrix", "critic", "score", "self", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
            max_leaves=6,
        ),
    )
)
def test_any_json_option_is_read_or_refused(options: dict):
    with suppress(BadRequest):
        read_options(MiScoreOptions, b"", options)


def test_nothing_is_lost_between_numbers_and_text(client):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    text = embed(client, pixels).text
    exact = from_npy(embed(client, pixels, "application/x-npy"))
    assert (np.array(json.loads(text)["embeddings"], np.float32) == exact).all()


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "300001", "9" * 20, "", " 5"])
def test_a_timeout_is_a_whole_number_of_milliseconds_within_bounds(client, value: str):
    answer = client.post("/embed", content=RED, headers={**PNG, "x-timeout-ms": value})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_header")
