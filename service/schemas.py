"""The JSON answers, as models: for the documentation, and for clients generated from it.

The vectors themselves never pass through these models on their way out.
"""

from typing import Literal

from pydantic import BaseModel, Field

Vector = list[float]
Map = list[list[float]]


class Error(BaseModel):
    """What went wrong, for programs (`code`) and people (`message`)."""

    code: str = Field(examples=["image_too_large"])
    message: str
    request_id: str
    index: int | None = Field(None, description="Position of the guilty image, from 0.")


class ErrorAnswer(BaseModel):
    """The one shape of every error."""

    error: Error


class EmbedAnswer(BaseModel):
    """Answer of /embed."""

    model: str
    dimensions: int
    representation: Literal["y", "y_sigmoid", "fc", "conv"]
    encoding: Literal["float", "base64", "int8", "ubinary"]
    scales: Vector | None = Field(None, description="int8 only: one a vector.")
    embeddings: list[Vector] | list[str] = Field(description="One an image, in their order.")


class FeatureMapAnswer(BaseModel):
    """Answer of /feature-map."""

    model: str
    shape: list[int] = Field(description="Of one image's map.", examples=[[128, 8, 8]])
    reduce: Literal["none", "norm", "pca"]
    encoding: Literal["float", "base64"]
    feature_maps: list[Map] | list[list[Map]] | list[str]


class Forward(BaseModel):
    """The summary of a against the map of b."""

    t: float
    p: float


class Backward(Forward):
    """The summary of b against the map of a."""

    map: Map | None = Field(None, description="map=true only: p at each place of a, given b.")


class PairAnswer(BaseModel):
    """Scores of one pair; t and p are the means of both directions."""

    a: int
    b: int
    t: float = Field(description="Mean logit of the critic.")
    p: float = Field(description="Mean sigmoid(T): the belief that both are one image.")
    jsd: float = Field(description="Jensen-Shannon bound, nats; higher is easier to tell apart.")
    forward: Forward
    backward: Backward
    map: Map | None = Field(None, description="map=true only: p at each place of b, given a.")


class Matrix(BaseModel):
    """Scores of every image with every other; symmetric."""

    t: Map
    p: Map
    jsd: Map


class MiScoreAnswer(BaseModel):
    """Answer of /mi-score: pairs, or a matrix."""

    model: str
    critic: Literal["local", "global"]
    pairs: list[PairAnswer] | None = None
    matrix: Matrix | None = None


class Health(BaseModel):
    """Answer of /livez and /readyz."""

    status: Literal["alive", "ready"]


class ServedCritic(BaseModel):
    """A critic that /mi-score can use."""

    map: list[int] = Field(description="Places of its map; [1, 1] for a global critic.")


class Info(BaseModel):
    """Answer of /info."""

    model: str
    version: str = Field(description="Identity of the checkpoint, as in X-Model-Version.")
    representations: dict[str, int] = Field(description="Representation -> dimensions.")
    feature_map: list[int] = Field(examples=[[128, 8, 8]])
    critics: dict[str, ServedCritic]
    device: str
    threads: int
    formats: list[str]
    limits: dict[str, int]
    card: dict[str, object] = Field(description="From the checkpoint's card, evaluation included.")
