"""Every way to fail: its status, its code, its sentence, and the one shape."""

import asyncio
import re
import time

import numpy as np
import pytest
from starlette.testclient import TestClient

from service import errors
from service.errors import ServiceError
from tests.fakes import MAGENTA, SIZE, ForgetfulEngine, GuiltyEngine, MeanEngine, picture
from tests.service.test_forms import FILES, TEXTS, npy

PNG = {"content-type": "image/png"}
NPY = {"content-type": "application/x-npy"}
JSON = {"content-type": "application/json"}
RED = picture()


def check(answer, status: int, code: str) -> dict:
    """Check an error's shape and headers; give its body."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["request_id"] == answer.headers["x-request-id"]
    assert error["message"].endswith(".")
    assert set(error) <= {"code", "message", "request_id", "index"}
    assert answer.headers["content-type"] == "application/json"
    assert "total;dur=" in answer.headers["server-timing"]
    assert answer.headers["x-model-version"]
    if status in (429, 503):
        assert re.fullmatch(r"[1-9]\d*", answer.headers["retry-after"])
    return error


def tree(kind: type[ServiceError] = ServiceError) -> list[type[ServiceError]]:
    return [kind, *(one for child in kind.__subclasses__() for one in tree(child))]


def test_codes_are_unique_and_every_error_is_drawn_in_the_tree():
    codes = [kind.code for kind in tree()[1:]]
    assert len(codes) == len(set(codes))
    for kind in tree():
        assert kind.__name__ in errors.__doc__
        assert f" {kind.status}" in errors.__doc__


BAD_REQUESTS = {
    "no json": ({"content": b"{", "headers": JSON}, 400, "malformed_body"),
    "json that is no object": ({"json": [1]}, 400, "malformed_body"),
    "images that are no list": ({"json": {"images": "x"}}, 400, "malformed_body"),
    "images that are no text": ({"json": {"images": [1]}}, 400, "malformed_body"),
    "no base64": ({"json": {"images": ["%"]}}, 400, "malformed_body"),
    "no multipart": (
        {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}},
        400,
        "malformed_body",
    ),
    "a file in an unknown field": ({"files": {"picture": RED}}, 400, "malformed_body"),
    "no npy": ({"content": b"x", "headers": NPY}, 400, "malformed_body"),
    "npy of floats": (
        {"content": npy(np.zeros((1, 8, 8, 3))), "headers": NPY},
        400,
        "malformed_body",
    ),
    "npy of another shape": (
        {"content": npy(np.zeros((1, 3, 8, 8), np.uint8)), "headers": NPY},
        400,
        "malformed_body",
    ),
    "npy that is cut off": (
        {"content": npy(np.zeros((1, 8, 8, 3), np.uint8))[:-1], "headers": NPY},
        400,
        "malformed_body",
    ),
    "npy of a pickle": (
        {"content": npy(np.array([[[[None] * 3]]], object)), "headers": NPY},
        400,
        "malformed_body",
    ),
    "no image": ({"json": {"images": []}}, 400, "bad_request"),
    "no number of milliseconds": (
        {"files": FILES, "headers": {"x-timeout-ms": "soon"}},
        400,
        "bad_header",
    ),
    "an accepted form that is not offered": (
        {"files": FILES, "headers": {"accept": "image/png"}},
        406,
        "not_acceptable",
    ),
    "a text": (
        {"content": b"x", "headers": {"content-type": "text/plain"}},
        415,
        "unsupported_media_type",
    ),
    "no type": ({"content": RED}, 415, "unsupported_media_type"),
    "a compressed body": (
        {"content": RED, "headers": {**PNG, "content-encoding": "gzip"}},
        415,
        "unsupported_encoding",
    ),
    "a gif": ({"content": picture(form="GIF"), "headers": PNG}, 415, "unsupported_format"),
    "garbage": ({"content": b"garbage", "headers": PNG}, 422, "image_undecodable"),
    "an empty image": ({"content": b"", "headers": PNG}, 422, "image_undecodable"),
}


@pytest.mark.parametrize("what", BAD_REQUESTS)
@pytest.mark.parametrize("path", ["/embed", "/feature-map", "/mi-score"])
def test_each_bad_request_has_its_error(client: TestClient, path: str, what: str):
    sent, status, code = BAD_REQUESTS[what]
    if code == "not_acceptable" and path != "/embed":
        sent = {**sent, "headers": {"accept": "text/html"}}
    check(client.post(path, **sent), status, code)


def test_unknown_options_are_told_what_there_is(client: TestClient):
    error = check(client.post("/embed?reprsentation=y", files=FILES), 400, "unknown_option")
    assert "did you mean representation?" in error["message"]
    assert "normalize" in error["message"]
    error = check(client.post("/embed?encoding=f", files=FILES), 400, "bad_option")
    assert error["message"] == "encoding must be one of float, base64, int8, ubinary."
    error = check(client.post("/embed?normalize=maybe", files=FILES), 400, "bad_option")
    assert error["message"] == "normalize must be true or false."


def test_an_option_may_be_given_once(client: TestClient):
    for path, sent in (
        ("/embed?normalize=1&normalize=1", {"files": FILES}),
        ("/embed?normalize=1", {"json": {"images": TEXTS, "normalize": True}}),
    ):
        check(client.post(path, **sent), 400, "bad_option")


def test_base64_is_for_json(client: TestClient):
    headers = {"accept": "application/x-npy"}
    answer = client.post("/embed?encoding=base64", files=FILES, headers=headers)
    check(answer, 400, "bad_option")


def test_a_whole_map_is_no_picture(client: TestClient):
    headers = {"accept": "image/png"}
    check(client.post("/feature-map?reduce=none", files=FILES, headers=headers), 400, "bad_option")


def test_a_bad_image_is_named_by_its_place(client: TestClient):
    files = [*FILES, ("files", ("bad.png", b"bad")), *FILES]
    assert check(client.post("/embed", files=files), 422, "image_undecodable")["index"] == 2
    texts = [*TEXTS, "%%%"]
    assert check(client.post("/embed", json={"images": texts}), 400, "malformed_body")["index"] == 2


def test_limits_are_413_or_422(serve):
    client = serve(
        MeanEngine(),
        max_images=2,
        max_body_bytes=3000,
        max_image_bytes=900,
        max_image_pixels=500,
        max_queue=2,
        max_pairs=3,
    )
    check(client.post("/embed", files=FILES + FILES), 413, "too_many_images")
    check(client.post("/embed", json={"images": TEXTS * 2}), 413, "too_many_images")
    block = npy(np.zeros((3, 1, 1, 3), np.uint8))
    check(client.post("/embed", content=block, headers=NPY), 413, "too_many_images")
    answer = client.post("/embed", content=b"x" * 3001, headers=PNG)
    check(answer, 413, "body_too_large")
    assert answer.headers["connection"] == "close"
    check(client.post("/embed", content=b"x" * 901, headers=PNG), 413, "image_bytes_too_large")
    check(client.post("/embed", content=picture(size=23), headers=PNG), 422, "image_too_large")
    many = client.post("/mi-score?pairs=0-1,0-0,1-1,1-0", files=FILES)
    check(many, 413, "too_many_pairs")


def test_a_body_without_a_length_is_counted_while_it_comes(serve):
    client = serve(MeanEngine(), max_body_bytes=1000)
    answer = client.post("/embed", content=iter([b"x" * 600] * 2), headers=PNG)
    check(answer, 413, "body_too_large")


def test_too_many_frames_are_422(serve):
    from PIL import Image

    from tests.fakes import encoded

    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    film = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    client = serve(MeanEngine(), max_image_frames=2)
    check(client.post("/embed", content=film, headers=PNG), 422, "too_many_frames")
    assert serve(MeanEngine()).post("/embed", content=film, headers=PNG).json()["embeddings"] == [
        [1, 0, 0]
    ]


def test_unknown_paths_and_methods_take_the_same_shape(client: TestClient):
    check(client.get("/nowhere"), 404, "not_found")
    check(client.post("/embed/", files=FILES), 404, "not_found")
    answer = client.get("/embed")
    check(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    check(client.post("/livez"), 405, "method_not_allowed")


def test_a_model_that_fails_is_500_without_its_words(serve):
    client = serve(GuiltyEngine())
    files = [*FILES, ("files", ("guilty.png", picture(MAGENTA)))]
    answer = client.post("/embed", files=files)
    assert check(answer, 500, "model_failed")["index"] == 2
    assert "secret" not in answer.text
    assert client.post("/embed", files=FILES).status_code == 200


def test_no_memory_is_503(serve):
    check(serve(ForgetfulEngine(room=0)).post("/embed", files=FILES), 503, "out_of_memory")


class BrokenEngine(MeanEngine):
    """Gives vectors that cannot be written."""

    def encode(self, pixels, heads):
        return {head: [object()] * len(pixels) for head in heads}


def test_the_unforeseen_is_500_without_its_words(serve, caplog):
    answer = serve(BrokenEngine()).post("/embed", files=FILES)
    check(answer, 500, "internal")
    assert "object" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text


def test_a_passed_deadline_is_504(serve, engine: MeanEngine):
    client = serve(engine)
    engine.gate.clear()
    headers = {"x-timeout-ms": "40"}
    check(client.post("/embed", files=FILES, headers=headers), 504, "deadline_exceeded")
    engine.gate.set()


def test_a_full_queue_is_503(serve, engine: MeanEngine):
    client = serve(engine, max_queue=2, max_images=2, drain_s=0.05)
    backend = client.app.backend

    async def fill() -> None:
        backend.batcher.admit(2, frozenset(("y",)), time.monotonic() + 60)

    client.portal.call(fill)
    check(client.post("/embed", files=FILES), 503, "queue_full")


def test_draining_and_starting_are_503(serve, engine: MeanEngine):
    client = serve(engine)
    client.app.backend._started = False
    check(client.post("/embed", files=FILES), 503, "not_ready")
    check(client.get("/readyz"), 503, "not_ready")
    client.app.backend._started = True
    client.app.backend.begin_drain()
    check(client.post("/embed", files=FILES), 503, "draining")
    check(client.get("/readyz"), 503, "draining")
    assert client.get("/livez").status_code == 200


def test_a_stalled_model_fails_liveness(serve, engine: MeanEngine):
    client = serve(engine, stall_s=0.1)
    assert client.get("/livez").status_code == 200
    engine.gate.clear()
    headers = {"x-timeout-ms": "300"}
    check(client.post("/embed", files=FILES, headers=headers), 504, "deadline_exceeded")
    check(client.get("/livez"), 503, "not_ready")
    check(client.get("/readyz"), 503, "not_ready")
    engine.gate.set()


def test_a_slow_body_is_408(serve, engine: MeanEngine):
    client = serve(engine, body_timeout_s=0.05)
    sent = []

    async def never() -> dict:
        await asyncio.sleep(60)
        return {}

    async def keep(message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/embed",
        "query_string": b"",
        "headers": [(b"content-type", b"image/png")],
    }
    client.portal.call(client.app, scope, never, keep)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


def test_a_small_array_meets_no_error(client: TestClient):
    block = npy(np.zeros((1, SIZE, SIZE, 3), np.uint8))
    assert client.post("/embed", content=block, headers=NPY).status_code == 200
