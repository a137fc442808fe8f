"""What a caller may ask for: one frozen model a route, read from the query, a form or a JSON body.

The same models give the parameters of the OpenAPI page, so that it cannot disagree with the code.
"""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from service.errors import BadOption, MalformedBody, UnknownOption

MAX_QUERY_BYTES = 16_384


def _pairs_of_text(value: object) -> object:
    """Read "0-1,0-2" as [[0, 1], [0, 2]]."""
    if not isinstance(value, str):
        return value
    return [part.strip().split("-") for part in value.split(",")]


Index = Annotated[int, Field(ge=0)]
Pairs = Annotated[list[tuple[Index, Index]], BeforeValidator(_pairs_of_text)]


class Options(BaseModel):
    """The base of all options: frozen, and nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EmbedOptions(Options):
    """Options of /embed."""

    representation: Literal["y", "y_sigmoid", "fc", "conv"] = Field(
        "y",
        description="y: the summary; y_sigmoid: the summary in the prior's space, in [0, 1];"
        " fc, conv: the last hidden layer and the last convolution's map, flattened.",
    )
    normalize: bool = Field(False, description="Scale each vector to length 1.")
    encoding: Literal["float", "base64", "int8", "ubinary"] = Field(
        "float",
        description="float: JSON numbers; base64: little-endian float32; int8: value = number x"
        " scale, one scale a vector; ubinary: one bit a dimension, packed, set above zero"
        " (y_sigmoid: above 0.5).",
    )


class FeatureMapOptions(Options):
    """Options of /feature-map."""

    reduce: Literal["none", "norm", "pca"] = Field(
        "none",
        description="none: C x M x M; norm: length of the local feature at each place, M x M;"
        " pca: the three directions in which an image's places differ most, 3 x M x M.",
    )
    encoding: Literal["float", "base64"] = Field(
        "float", description="float: JSON numbers; base64: little-endian float32, C order."
    )


class MiScoreOptions(Options):
    """Options of /mi-score."""

    critic: Literal["local", "global"] = Field(
        "local", description="Which critic scores: every place of the map, or the map as a whole."
    )
    pairs: Pairs | None = Field(
        None,
        description="Positions from 0: [[0, 1], [0, 2]] in JSON, 0-1,0-2 elsewhere. Left out:"
        " one image is scored with itself, two with each other.",
    )
    matrix: bool = Field(False, description="Score every image with every other: N x N.")
    map: bool = Field(False, description="Add the M x M map of p to every pair; local critic only.")
    score: Literal["t", "p", "jsd"] = Field(
        "p", description="Which score npy, octet-stream and matrix pictures hold."
    )


AnyOptions = TypeVar("AnyOptions", bound=Options)


def read_options(kind: type[AnyOptions], query: bytes, body: Mapping[str, object]) -> AnyOptions:
    """Read options from the query string and from the body; none may be given twice.

    Raises UnknownOption or BadOption, naming the option and what it may be.
    """
    given = dict(body)
    if query:
        for name, value in _read_query(query):
            if name in given:
                raise BadOption(f"The option {name} is given twice.")
            given[name] = value
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise _explain(kind, error) from error


def _read_query(query: bytes) -> list[tuple[str, str]]:
    if len(query) > MAX_QUERY_BYTES:
        raise BadOption(f"The query may have {MAX_QUERY_BYTES} bytes; use a JSON body.")
    try:
        text = query.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=64)
    except ValueError:
        raise MalformedBody("The query string cannot be read.") from None


def _explain(kind: type[Options], error: ValidationError) -> BadOption | UnknownOption:
    first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0])[:40]
    known = list(kind.model_fields)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else "."
        return UnknownOption(f"Unknown option {name}{hint} Options here: {', '.join(known)}.")
    return BadOption(f"{name} must be {allowed(kind, name)}.")


def allowed(kind: type[Options], name: str) -> str:
    """Say in words what an option may be."""
    annotation: Any = kind.model_fields[name].annotation
    if annotation is bool:
        return "true or false"
    if name == "pairs":
        return "a list of pairs of positions, such as [[0, 1]] in JSON or 0-1 in the query"
    return "one of " + ", ".join(get_args(annotation))
