"""/mi-score: pairs, a against b, matrices, maps and self-scores, by heart and by real critics."""

import io
import math

import numpy as np
import pytest
import torch

from models.checkpoint import load_checkpoint
from models.inference import encode
from models.pairs import directed, jsd_matrix
from tests.fakes import MeanEngine, noise, picture
from tests.service.test_forms import npy

BLACK, GREY, WHITE = picture((0, 0, 0)), picture((51, 51, 51)), picture((255, 255, 255))
NPY = {"content-type": "application/x-npy"}


def files(*images: bytes, field: str = "files") -> list:
    return [(field, ("a.png", image)) for image in images]


def score(client, images: list, **query) -> dict:
    answer = client.post("/mi-score", params=query, files=images)
    assert answer.status_code == 200, answer.text
    return answer.json()


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


def softplus(t: float) -> float:
    return math.log1p(math.exp(t))


@pytest.mark.parametrize("critic", ["local", "global"])
def test_a_pair_has_the_scores_worked_out_by_hand(client, critic: str):
    # MeanEngine: T = 1 - 10 x distance, so 1 with itself and 1 - 10 x 0.2 = -1 across.
    pair = score(client, files(BLACK, GREY), critic=critic)["pairs"][0]
    assert (pair["a"], pair["b"]) == (0, 1)
    assert pair["t"] == pytest.approx(-1, abs=1e-5)
    assert pair["p"] == pytest.approx(sigmoid(-1), abs=1e-5)
    expected = math.log(2) - softplus(-1) - (softplus(-1) - math.log(2))
    assert pair["jsd"] == pytest.approx(expected, abs=1e-5)
    assert pair["forward"] == pytest.approx({"t": -1, "p": sigmoid(-1)}, abs=1e-5)
    assert pair["backward"] == pytest.approx({"t": -1, "p": sigmoid(-1)}, abs=1e-5)


def test_one_image_alone_is_scored_with_itself(client):
    pair = score(client, files(GREY))["pairs"][0]
    assert (pair["a"], pair["b"]) == (0, 0)
    assert pair["p"] == pytest.approx(sigmoid(1), abs=1e-5)


def test_pairs_are_scored_in_their_order_in_every_notation(client):
    images = files(BLACK, GREY, WHITE)
    in_query = score(client, images, pairs="2-1,0-0")
    in_form = client.post("/mi-score", files=images, data={"pairs": "2-1, 0-0"}).json()
    assert in_query == in_form
    assert [(pair["a"], pair["b"]) for pair in in_query["pairs"]] == [(2, 1), (0, 0)]
    assert in_query["pairs"][0]["t"] == pytest.approx(1 - 10 * 0.8, abs=1e-4)


def test_every_a_meets_every_b(client):
    images = files(BLACK, GREY, field="a") + files(WHITE, BLACK, GREY, field="b")
    document = score(client, images)
    assert [(pair["a"], pair["b"]) for pair in document["pairs"]] == [
        (a, b) for a in range(2) for b in range(3)
    ]
    expected = [1 - 10 * abs(a - b) for a in (0, 0.2) for b in (1, 0, 0.2)]
    assert [pair["t"] for pair in document["pairs"]] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("critic", ["local", "global"])
def test_the_matrix_equals_the_pairs(client, critic: str):
    sent = {"content": npy(noise(7)), "headers": NPY}
    every = ",".join(f"{a}-{b}" for a in range(7) for b in range(7))
    pairs = client.post(f"/mi-score?critic={critic}&pairs={every}", **sent).json()["pairs"]
    matrix = client.post(f"/mi-score?critic={critic}&matrix=true", **sent).json()["matrix"]
    for name in ("t", "p", "jsd"):
        listed = np.array([pair[name] for pair in pairs]).reshape(7, 7)
        assert np.allclose(matrix[name], listed, atol=1e-6)
        assert np.allclose(matrix[name], np.transpose(matrix[name]))


def test_a_map_lies_over_the_other_image(client):
    half = np.zeros((1, 8, 8, 3), np.uint8)
    half[:, :, 4:] = 102
    pixels = np.concatenate([np.full_like(half, 51), half])
    sent = {"content": npy(pixels), "headers": NPY}
    pair = client.post("/mi-score?map=true", **sent).json()["pairs"][0]
    # The first image is grey 0.2; the second has places of 0.0 and 0.4, and 0.2 in the mean.
    assert np.allclose(pair["map"], sigmoid(-1), atol=1e-5)
    assert np.allclose(pair["backward"]["map"], sigmoid(1), atol=1e-5)
    assert np.mean(pair["map"]) == pytest.approx(pair["forward"]["p"])
    binary = client.post(
        "/mi-score?map=true", content=npy(pixels), headers={**NPY, "accept": "application/x-npy"}
    )
    assert np.allclose(np.load(io.BytesIO(binary.content)), [pair["map"]])


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"pairs": "0-2"}, ["files", "files"]),
        ({"pairs": "0"}, ["files"]),
        ({"pairs": "0-1-2"}, ["files"]),
        ({"pairs": "-1-0"}, ["files"]),
        ({"pairs": "x"}, ["files"]),
        ({"pairs": ""}, ["files"]),
        ({"matrix": "true", "pairs": "0-0"}, ["files"]),
        ({"matrix": "true", "map": "true"}, ["files"]),
        ({"map": "true", "critic": "global"}, ["files"]),
        ({"critic": "best"}, ["files"]),
        ({"score": "mi"}, ["files"]),
        ({"matrix": "true"}, ["a", "b"]),
        ({"pairs": "0-0"}, ["a", "b"]),
        ({}, ["a"]),
        ({}, ["a", "b", "files"]),
        ({}, ["files", "files", "files"]),
    ],
)
def test_what_makes_no_sense_is_a_bad_request(client, query: dict, fields: list[str]):
    images = [(field, ("a.png", GREY)) for field in fields]
    answer = client.post("/mi-score", params=query, files=images)
    assert answer.status_code == 400, answer.text


def test_a_critic_that_is_not_there_is_named(serve):
    engine = MeanEngine()
    del engine.critics["global"]
    answer = serve(engine).post("/mi-score?critic=global", files=files(GREY))
    assert answer.status_code == 400
    assert "it has: local" in answer.json()["error"]["message"]


@pytest.mark.parametrize("role", ["local", "global"])
def test_the_real_critics_give_their_own_scores(serve, torch_engine, checkpoint, role: str):
    client = serve(torch_engine)
    pixels = noise(5, 32)
    sent = {"content": npy(pixels), "headers": NPY}
    matrix = client.post(f"/mi-score?critic={role}&matrix=true", **sent).json()["matrix"]
    loaded = load_checkpoint(checkpoint)
    features = encode(loaded.encoder, torch.from_numpy(pixels), loaded.card.preprocessing)
    with torch.no_grad():
        scores = loaded.critics[role](features.y, features.map)
    t, p = directed(scores)
    assert np.allclose(matrix["t"], ((t + t.T) / 2).numpy(), atol=1e-3)
    assert np.allclose(matrix["p"], ((p + p.T) / 2).numpy(), atol=1e-4)
    assert np.allclose(matrix["jsd"], jsd_matrix(scores).numpy(), atol=1e-3)
    pairs = client.post(f"/mi-score?critic={role}&pairs=3-1,2-2", **sent).json()["pairs"]
    assert pairs[0]["forward"]["t"] == pytest.approx(float(t[3, 1]), abs=1e-3)
    assert pairs[0]["backward"]["t"] == pytest.approx(float(t[1, 3]), abs=1e-3)
    assert pairs[1]["p"] == pytest.approx(float(p[2, 2]), abs=1e-4)


def test_the_map_has_the_places_of_the_feature_map(serve, torch_engine):
    client = serve(torch_engine)
    answer = client.post("/mi-score?map=true", content=npy(noise(2, 32)), headers=NPY)
    assert np.shape(answer.json()["pairs"][0]["map"]) == (8, 8)
    assert client.get("/info").json()["feature_map"] == [128, 8, 8]


def test_long_tables_are_cut_into_steps(serve, engine: MeanEngine):
    client = serve(engine, max_pairs=2000)
    every = ",".join(f"{a}-{b}" for a in range(40) for b in range(40))
    sent = {"content": npy(noise(40)), "headers": NPY}
    answer = client.post("/mi-score", params={"critic": "global", "pairs": every}, **sent)
    assert len(answer.json()["pairs"]) == 1600
