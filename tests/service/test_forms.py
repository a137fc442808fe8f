"""Every input form with every output form, on every route that takes images."""

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.fakes import SIZE, encoded, mean, noise, picture, quadrants

COLOURS = ((255, 0, 0), (0, 51, 102))
PIXELS = np.stack([np.full((SIZE, SIZE, 3), colour, np.uint8) for colour in COLOURS])
EXPECTED = np.array([mean(colour) for colour in COLOURS], np.float32)
FILES = [("files", (f"{number}.png", picture(colour))) for number, colour in enumerate(COLOURS)]
TEXTS = [base64.b64encode(picture(colour)).decode() for colour in COLOURS]


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


INPUTS: dict[str, dict] = {
    "multipart": {"files": FILES},
    "json base64": {"json": {"images": TEXTS}},
    "json data uri": {"json": {"images": [f"data:image/png;base64,{text}" for text in TEXTS]}},
    "npy": {"content": npy(PIXELS), "headers": {"content-type": "application/x-npy"}},
    "npy of other pixels": {
        "content": npy(PIXELS.repeat(3, axis=1).repeat(3, axis=2)),
        "headers": {"content-type": "application/x-npy"},
    },
    "npy in fortran order": {
        "content": npy(np.asfortranarray(PIXELS)),
        "headers": {"content-type": "application/x-npy"},
    },
}


def from_json(key: str) -> Callable:
    return lambda answer: np.array(answer.json()[key], np.float32)


def from_base64(key: str, shape: tuple[int, ...]) -> Callable:
    return lambda answer: np.stack(
        [np.frombuffer(base64.b64decode(row), "<f4").reshape(shape) for row in answer.json()[key]]
    )


def from_npy(answer) -> np.ndarray:
    return np.load(io.BytesIO(answer.content), allow_pickle=False)


def from_octets(answer) -> np.ndarray:
    shape = [int(number) for number in answer.headers["x-shape"].split(",")]
    return np.frombuffer(answer.content, answer.headers["x-dtype"]).reshape(shape)


def outputs(key: str, shape: tuple[int, ...]) -> dict[str, tuple[dict, str, Callable]]:
    """Name -> (query, Accept, how to read the answer)."""
    return {
        "json": ({}, "application/json", from_json(key)),
        "json base64": ({"encoding": "base64"}, "*/*", from_base64(key, shape)),
        "npy": ({}, "application/x-npy", from_npy),
        "octets": ({}, "application/octet-stream", from_octets),
    }


def post(client: TestClient, path: str, form: str, query: dict, accept: str):
    sent = {**INPUTS[form]}
    headers = {**sent.pop("headers", {}), "accept": accept}
    answer = client.post(path, params=query, headers=headers, **sent)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("form", INPUTS)
@pytest.mark.parametrize("output", outputs("embeddings", (3,)))
def test_embed_takes_every_input_and_gives_every_output(client, form: str, output: str):
    query, accept, read = outputs("embeddings", (3,))[output]
    answer = post(client, "/embed", form, query, accept)
    assert np.allclose(read(answer), EXPECTED, atol=1e-6)


@pytest.mark.parametrize("form", INPUTS)
@pytest.mark.parametrize("output", outputs("feature_maps", (3, 2, 2)))
def test_feature_map_takes_every_input_and_gives_every_output(client, form: str, output: str):
    query, accept, read = outputs("feature_maps", (3, 2, 2))[output]
    answer = post(client, "/feature-map", form, query, accept)
    assert np.allclose(read(answer), quadrants(PIXELS), atol=1e-6)


@pytest.mark.parametrize("form", INPUTS)
def test_mi_score_takes_every_input_and_gives_every_output(client, form: str):
    listed = post(client, "/mi-score", form, {}, "application/json").json()["pairs"][0]
    for score in ("t", "p", "jsd"):
        for accept, read in (
            ("application/x-npy", from_npy),
            ("application/octet-stream", from_octets),
        ):
            answer = post(client, "/mi-score", form, {"score": score}, accept)
            assert np.allclose(read(answer), [listed[score]], atol=1e-6)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_raw_body_is_one_image(client: TestClient, form: str):
    kind = {"content-type": f"image/{form.lower()}"}
    answer = client.post("/embed", content=picture((0, 51, 102), 32, form), headers=kind)
    assert np.allclose(answer.json()["embeddings"], [mean((0, 51, 102))], atol=0.02)


def open_picture(answer) -> Image.Image:
    assert answer.headers["content-type"] == "image/png"
    return Image.open(io.BytesIO(answer.content))


@pytest.mark.parametrize("query", [{}, {"reduce": "norm"}, {"reduce": "pca"}])
def test_maps_come_as_pictures_side_by_side(client: TestClient, query: dict):
    answer = post(client, "/feature-map", "multipart", query, "image/png")
    assert open_picture(answer).size == (2 * 256 + 4, 256)


def test_mi_maps_and_matrices_come_as_pictures(client: TestClient):
    for query in ({"map": "true"}, {}, {"matrix": "true"}, {"matrix": "true", "score": "jsd"}):
        assert (
            open_picture(post(client, "/mi-score", "multipart", query, "image/png")).height == 256
        )


def test_a_brighter_place_has_a_brighter_shade(client: TestClient):
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[:4, :4] = 255
    answer = client.post(
        "/feature-map",
        content=encoded(Image.fromarray(image)),
        headers={"content-type": "image/png", "accept": "image/png"},
    )
    painted = np.asarray(open_picture(answer)).astype(int).sum(axis=2)
    assert painted[10, 10] > painted[200, 200]
    assert (painted[10, 10], painted[200, 200]) == (253 + 231 + 37, 68 + 1 + 84)


def test_norm_and_pca_are_what_they_say(client: TestClient):
    pixels = noise(2)
    sent = {"content": npy(pixels), "headers": {"content-type": "application/x-npy"}}
    maps = quadrants(pixels)
    norms = client.post("/feature-map?reduce=norm", **sent).json()
    assert norms["shape"] == [2, 2]
    assert np.allclose(norms["feature_maps"], np.sqrt((maps**2).sum(axis=1)), atol=1e-6)
    parts = client.post("/feature-map?reduce=pca", **sent).json()
    assert parts["shape"] == [3, 2, 2]
    for whole, three in zip(maps, np.array(parts["feature_maps"]), strict=True):
        places, components = whole.reshape(3, 4).T, three.reshape(3, 4).T
        centred = places - places.mean(axis=0)
        # A rotation keeps every distance, and the first component explains the most.
        assert np.allclose(components @ components.T, centred @ centred.T, atol=1e-5)
        variances = components.var(axis=0)
        assert variances[0] >= variances[1] >= variances[2] - 1e-9


def embed(client: TestClient, pixels: np.ndarray, accept: str = "*/*", **query):
    headers = {"content-type": "application/x-npy", "accept": accept}
    return client.post("/embed", params=query, content=npy(pixels), headers=headers)


@pytest.mark.parametrize(
    ("representation", "dimensions"), [("y", 3), ("y_sigmoid", 3), ("fc", 6), ("conv", 12)]
)
def test_each_representation_says_what_it_is(client, representation: str, dimensions: int):
    document = embed(client, noise(2), representation=representation).json()
    assert document["representation"] == representation
    assert document["model"] == "means"
    assert document["dimensions"] == dimensions
    assert np.shape(document["embeddings"]) == (2, dimensions)


def test_y_sigmoid_is_the_sigmoid_of_y(client: TestClient):
    y = np.array(embed(client, PIXELS).json()["embeddings"])
    squashed = embed(client, PIXELS, representation="y_sigmoid").json()["embeddings"]
    assert np.allclose(squashed, 1 / (1 + np.exp(-y)), atol=1e-6)


def test_normalized_vectors_have_length_one_and_black_stays_zero(client: TestClient):
    vectors = embed(client, PIXELS, normalize="true").json()["embeddings"]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    black = embed(client, np.zeros((1, SIZE, SIZE, 3), np.uint8), normalize="true").json()
    assert black["embeddings"] == [[0, 0, 0]]


def test_int8_times_its_scale_is_the_vector(client: TestClient):
    exact = np.array(embed(client, noise(4), representation="conv").json()["embeddings"])
    document = embed(client, noise(4), representation="conv", encoding="int8").json()
    numbers, scales = np.array(document["embeddings"]), np.array(document["scales"])
    assert numbers.max() == 127
    assert np.allclose(numbers * scales[:, None], exact, atol=scales.max() / 2 + 1e-6)
    binary = embed(client, noise(4), "application/x-npy", representation="conv", encoding="int8")
    assert (from_npy(binary) == numbers).all()
    assert from_npy(binary).dtype == np.int8
    assert np.allclose(np.fromstring(binary.headers["x-scales"], sep=","), scales, rtol=1e-5)


def test_ubinary_is_one_bit_a_dimension(client: TestClient):
    document = embed(client, PIXELS, encoding="ubinary").json()
    assert document["embeddings"] == [[0b10000000], [0b01100000]]
    assert document["dimensions"] == 3
    squashed = embed(client, PIXELS, encoding="ubinary", representation="y_sigmoid").json()
    assert squashed["embeddings"] == document["embeddings"]
    octets = embed(client, PIXELS, "application/octet-stream", encoding="ubinary")
    assert octets.content == bytes([0b10000000, 0b01100000])
    assert (octets.headers["x-dtype"], octets.headers["x-shape"]) == ("uint8", "2,1")


def test_options_may_stand_in_json_and_in_form_fields(client: TestClient):
    in_json = client.post("/embed", json={"images": TEXTS, "normalize": True}).json()
    in_form = client.post("/embed", files=FILES, data={"normalize": "true"}).json()
    in_query = client.post("/embed?normalize=true", files=FILES).json()
    assert in_json == in_form == in_query


def test_large_answers_are_the_same_numbers(serve, engine):
    client = serve(engine)
    pixels = noise(200)
    listed = embed(client, pixels, representation="conv").json()["embeddings"]
    assert np.allclose(
        listed,
        from_npy(embed(client, pixels, "application/x-npy", representation="conv")),
        atol=1e-6,
    )
    assert len(engine.seen[0]) == 64


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ("application/x-npy;q=0.5, application/json;q=0.9", "application/json"),
        ("application/x-npy, application/json;q=0.9", "application/x-npy"),
        ("application/*", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        ("application/json;q=0, */*", "application/x-npy"),
        ("", "application/json"),
    ],
)
def test_the_best_liked_form_is_given(client: TestClient, accept: str, given: str):
    answer = client.post("/embed", files=FILES, headers={"accept": accept})
    assert answer.headers["content-type"] == given
