"""Many strangers at once: nobody gets another's answer, and nobody fails for another's fault."""

import asyncio
import base64
import tarfile
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from service.app import create_app
from service.settings import Settings
from tests.fakes import MAGENTA, GuiltyEngine, encoded, noise, picture
from tests.service.test_forms import npy

REQUESTS = 1000
AT_ONCE = 64


async def ask_at_once(app, requests: list[dict], at_once: int = AT_ONCE) -> list[httpx.Response]:
    """Send requests, so many at a time; answers in their order."""
    gate = asyncio.Semaphore(at_once)
    transport = httpx.ASGITransport(app)

    async def ask(client: httpx.AsyncClient, request: dict) -> httpx.Response:
        async with gate:
            return await client.post(**request)

    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service", timeout=120) as client,
    ):
        return await asyncio.gather(*(ask(client, request) for request in requests))


def sent(form: int, images: list[np.ndarray], damaged: bool) -> dict:
    """One request in one of the input forms; a damaged one has a broken last image."""
    pictures = [encoded(Image.fromarray(image)) for image in images]
    if damaged:
        pictures[-1] = pictures[-1][: len(pictures[-1]) // 2]
    if form == 0:
        return {"files": [("files", ("a.png", one)) for one in pictures]}
    if form == 1:
        return {"json": {"images": [base64.b64encode(one).decode() for one in pictures]}}
    if form == 2 and not damaged:
        return {"content": npy(np.stack(images)), "headers": {"content-type": "application/x-npy"}}
    return {"content": pictures[-1], "headers": {"content-type": "image/png"}}


def test_a_thousand_mixed_requests_get_their_own_answers(torch_engine):
    """2 % are damaged; the rest come one to five at a time, in every form, for three heads."""
    random = np.random.default_rng(1)
    pool = noise(200, 32, seed=2)
    alone = torch_engine.encode(pool, frozenset(("y", "fc", "map")))
    requests, expected = [], []
    for number in range(REQUESTS):
        damaged = number % 50 == 7
        form = int(random.integers(4))
        chosen = random.integers(len(pool), size=1 if form == 3 else int(random.integers(1, 6)))
        head = str(random.choice(["y", "fc", "map"]))
        request = sent(form, list(pool[chosen]), damaged)
        path = "/feature-map" if head == "map" else f"/embed?representation={head}"
        headers = {**request.pop("headers", {}), "accept": "application/x-npy"}
        requests.append({"url": path, "headers": headers, **request})
        if (form == 2 and damaged) or form == 3:
            chosen = chosen[-1:]
        expected.append(None if damaged else alone[head][chosen])
    app = create_app(Settings(decode_threads=2, threads=1), torch_engine)
    answers = asyncio.run(ask_at_once(app, requests))
    for answer, wanted in zip(answers, expected, strict=True):
        if wanted is None:
            assert answer.status_code == 422
            continue
        assert answer.status_code == 200, answer.text
        given = np.frombuffer(answer.content[-wanted.size * 4 :], np.float32)
        assert np.allclose(given.reshape(wanted.shape), wanted, atol=1e-4)
    batches = Counter(int(answer.headers.get("x-batch-size", 0)) for answer in answers)
    assert max(batches) > 8, "nothing was batched, so nothing was proved"


def test_a_model_that_fails_on_one_image_fails_that_one_alone():
    app = create_app(Settings(decode_threads=2), GuiltyEngine())
    requests = []
    for number in range(200):
        colour = MAGENTA if number % 40 == 11 else (number, 0, 0)
        headers = {"content-type": "image/png"}
        requests.append({"url": "/embed", "content": picture(colour), "headers": headers})
    answers = asyncio.run(ask_at_once(app, requests))
    for number, answer in enumerate(answers):
        if number % 40 == 11:
            assert answer.json()["error"]["code"] == "model_failed"
        else:
            assert answer.json()["embeddings"][0] == pytest.approx([number / 255, 0, 0], abs=1e-6)


@pytest.fixture
def hostile(shared_data: Path, tmp_path: Path) -> list[Path]:
    """Every file of the hostile collection, unpacked."""
    with tarfile.open(shared_data / "hostile" / "hostile.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return sorted(path for path in tmp_path.rglob("*") if path.is_file())


def test_every_hostile_file_gets_200_or_a_4xx(torch_engine, hostile: list[Path]):
    app = create_app(Settings(decode_threads=2, threads=1), torch_engine)
    requests = [
        {"url": path, "content": file.read_bytes(), "headers": {"content-type": "image/png"}}
        for number, file in enumerate(hostile)
        for path in ("/embed", "/feature-map?reduce=norm", "/mi-score")[number % 3 : number % 3 + 1]
    ]
    answers = asyncio.run(ask_at_once(app, requests))
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 413, 415, 422}, statuses
    assert statuses[200] > 500
    assert statuses[422] > 500
    for answer in answers:
        if answer.status_code != 200:
            assert set(answer.json()) == {"error"}
            assert "/" not in answer.json()["error"]["message"]


def test_the_eight_orientations_are_one_picture(torch_engine, shared_data: Path):
    folder = shared_data / "exif-orientation"
    files = [folder / f"Landscape_{number}.jpg" for number in range(1, 9)]
    request = {"url": "/embed", "files": [("files", (f.name, f.read_bytes())) for f in files]}
    app = create_app(Settings(decode_threads=2, threads=1), torch_engine)
    (answer,) = asyncio.run(ask_at_once(app, [request]))
    vectors = np.array(answer.json()["embeddings"])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert (vectors @ vectors[0] >= 0.99).all()


def test_one_picture_is_the_same_in_every_size_of_batch(torch_engine):
    pixels = noise(64, 32, seed=3)
    app = create_app(Settings(threads=1), torch_engine)
    requests = [
        {
            "url": "/embed",
            "content": npy(pixels[:number]),
            "headers": {"content-type": "application/x-npy"},
        }
        for number in (1, 2, 7, 64)
    ]
    answers = asyncio.run(ask_at_once(app, requests, at_once=1))
    vectors = [np.array(answer.json()["embeddings"]) for answer in answers]
    assert all(np.allclose(one, vectors[-1][: len(one)], atol=1e-4) for one in vectors)
