"""Stand-ins that behave: small real engines whose answers can be worked out by head; pictures."""

import io
import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.card import (
    WEIGHTS_FILE,
    Card,
    Component,
    CriticCard,
    DataCard,
    ObjectiveCard,
    Preprocessing,
    TrainingCard,
)
from service.engine import ServedCritic

SIZE = 8

Colour = tuple[int, int, int]

CARD = Card(
    name="means",
    created="2026-01-01T00:00:00+00:00",
    encoder=Component(name="means"),
    critics={"local": CriticCard(name="near"), "global": CriticCard(name="near")},
    preprocessing=Preprocessing(size=SIZE),
    objective=ObjectiveCard(
        name="jsd", negatives="all", alpha=0.0, beta=1.0, gamma=0.0, prior=None
    ),
    data=DataCard(name="none", fingerprint="none", images=0),
    training=TrainingCard(
        steps=0,
        images_seen=0,
        epochs=0.0,
        seconds=0.0,
        device="cpu",
        precision="fp32",
        versions={},
        git_commit=None,
        seed=0,
        recipe={},
    ),
    files={WEIGHTS_FILE: "0" * 64},
)


class MeanEngine:
    """y is the mean colour in [0, 1], map the mean colour of each quadrant (3, 2, 2).

    fc is y twice, conv is the flattened map. A critic's score is 1 - 10 x the distance between the
    grey value of the summary and of the place. `seen` lists the grey value of every image that
    reached the model, by batch. `gate` holds passes back while it is closed.
    """

    def __init__(self) -> None:
        self.card = CARD
        self.device = "cpu"
        self.threads = 1
        self.shapes: Mapping[str, tuple[int, ...]] = {
            "y": (3,),
            "map": (3, 2, 2),
            "fc": (6,),
            "conv": (12,),
        }
        self.critics = {"local": ServedCritic(2, True), "global": ServedCritic(1, False)}
        self.seen: list[list[float]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def warm_up(self, max_batch: int) -> None:
        pass

    def encode(
        self, pixels: NDArray[np.uint8], heads: frozenset[str]
    ) -> Mapping[str, NDArray[np.float32]]:
        self.entered.set()
        assert self.gate.wait(60), "the gate was never opened"
        self.seen.append([grey(image) for image in pixels])
        maps = quadrants(pixels)
        y = pixels.mean(axis=(1, 2), dtype=np.float64).astype(np.float32) / np.float32(255)
        arrays = {"y": y, "map": maps, "fc": np.hstack([y, y]), "conv": maps.reshape(len(maps), -1)}
        return {head: arrays[head] for head in heads}

    def score_all(self, role, y, maps):
        return score(role, y.mean(axis=1)[:, None, None], maps.mean(axis=1)[None])

    def score_paired(self, role, y, maps):
        return score(role, y.mean(axis=1)[:, None], maps.mean(axis=1))


class GuiltyEngine(MeanEngine):
    """Fails on any batch that holds a wholly magenta image."""

    def encode(self, pixels, heads):
        if (pixels == np.array(MAGENTA, np.uint8)).all(axis=(1, 2, 3)).any():
            raise RuntimeError("secret detail of the model")
        return super().encode(pixels, heads)


class ForgetfulEngine(MeanEngine):
    """Has memory for `room` images at a time."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.tried: list[int] = []

    def encode(self, pixels, heads):
        self.tried.append(len(pixels))
        if len(pixels) > self.room:
            raise MemoryError
        return super().encode(pixels, heads)


MAGENTA = (255, 0, 255)


def grey(image: NDArray[np.uint8]) -> float:
    """The grey value of an image, from 0 to 255: its name in `MeanEngine.seen`."""
    return float(image.mean())


def quadrants(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, S, S, 3) -> (N, 3, 2, 2), in [0, 1]."""
    number, size = pixels.shape[:2]
    half = size // 2
    cut = pixels.reshape(number, 2, half, 2, half, 3).mean(axis=(2, 4), dtype=np.float64)
    return (cut.transpose(0, 3, 1, 2) / 255).astype(np.float32)


def score(role, summary, places):
    """1 - 10 x distance; the global critic sees the mean of the places. (..., P)."""
    scores = (1 - 10 * np.abs(summary[..., None] - places)).astype(np.float32)
    scores = scores.reshape(*scores.shape[:-2], -1)
    return scores.mean(axis=-1, keepdims=True) if role == "global" else scores


def picture(colour: Colour = (255, 0, 0), size: int = SIZE, form: str = "PNG") -> bytes:
    """A picture of one colour, encoded."""
    return encoded(Image.new("RGB", (size, size), colour), form)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """An image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def mean(colour: Colour) -> list[float]:
    """What MeanEngine answers for a picture of one colour."""
    return [channel / 255 for channel in colour]


def noise(number: int, size: int = SIZE, seed: int = 0) -> np.ndarray:
    """Random pixels (number, size, size, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (number, size, size, 3), np.uint8)
