"""The card of a checkpoint: all that is needed to rebuild, trust and describe it, as frozen values.

A card refuses what it does not know: unknown keys, wrong types and numbers that are not finite
are errors. It imports neither torch nor a web framework, so that any part of the product can
read it.
"""

import hashlib
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

SCHEMA_VERSION = 1
WEIGHTS_FILE = "weights.safetensors"
GOLDEN_FILE = "golden.safetensors"
CARD_FILE = "card.json"

Argument = bool | int | float | str | None | list[bool | int | float | str | None]
CriticRole = Literal["local", "global"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _iso_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


class _Value(BaseModel):
    """A frozen value that refuses unknown keys, coercions, NaN and infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Component(_Value):
    """A network by its name in `ENCODERS` or `CRITICS`, with all its constructor arguments."""

    name: str
    arguments: dict[str, Argument] = {}


def _centred(data: dict[str, object]) -> tuple[float, ...]:
    return (0.5,) if data["colour"] == "grey" else (0.5, 0.5, 0.5)


class Preprocessing(_Value):
    """How an image becomes the encoder's input, in training and in service alike.

    size           side of the square input, pixels
    resize         "crop": the largest centred square; "squash": the whole image, aspect ignored
    interpolation  always antialiased, as Pillow's filters are
    mean, std      one number a channel, in units of pixel values scaled to [0, 1];
                   the default 0.5 and 0.5 puts the input in [-1, 1], as DIM trains
    """

    size: int = Field(ge=1, le=4096)
    colour: Literal["rgb", "grey"] = "rgb"
    resize: Literal["crop", "squash"] = "crop"
    interpolation: Literal["bilinear", "bicubic", "lanczos"] = "bilinear"
    mean: tuple[float, ...] = Field(default_factory=_centred)
    std: tuple[float, ...] = Field(default_factory=_centred)

    @property
    def channels(self) -> int:
        """Channels of the encoder's input: 3 for rgb, 1 for grey."""
        return 1 if self.colour == "grey" else 3

    @model_validator(mode="after")
    def _one_number_a_channel(self) -> "Preprocessing":
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                f"colour {self.colour!r} has {self.channels} channels, but mean has "
                f"{len(self.mean)} numbers and std {len(self.std)}; give one number a channel"
            )
        if min(self.std) <= 0:
            raise ValueError("std divides, so each of its numbers must be above 0")
        return self


class Calibration(_Value):
    """How far a critic's sigmoid(T) is a probability, on held-out joint and product pairs.

    ece         expected calibration error of a pair's p, the mean of sigmoid(T) over places
    ece_places  the same of sigmoid(T) at single places: what a map of p shows
    auc         area under the ROC curve of a pair's p, joint against product
    pairs       number of pairs it was measured on
    """

    ece: Fraction
    ece_places: Fraction
    auc: Fraction
    pairs: Count
    description: str


class CriticCard(Component):
    """A served critic: only a JSD critic's sigmoid(T) is a probability, so only those are saved."""

    objective: Literal["jsd"] = "jsd"
    calibration: Calibration | None = None


class ObjectiveCard(_Value):
    """What trained the encoder: its bound, negatives, and what belongs to the method alone.

    alpha, beta, gamma, prior  DIM's three weights and its prior; None for another method
    arguments                  AMDIM's constructor arguments: clip, regulariser and the like; DIM's
                               tasks on places, several globals and MINE's gradient where used

    Of imported weights only what is known: None, left out, or the name "unknown" otherwise.
    """

    method: Literal["dim", "amdim"] = "dim"
    name: str
    negatives: str
    alpha: float | None = None
    beta: float | None = None
    gamma: float | None = None
    prior: str | None = None
    arguments: dict[str, Argument] = {}


class DataCard(_Value):
    """The images trained on: a name, a sha256 fingerprint, how many were used and skipped."""

    name: str
    fingerprint: str
    images: Count
    skipped: Count = 0


class TrainingCard(_Value):
    """The facts of the training run; `seconds` is wall-clock time of training alone.

    Steps, images and seconds count what was done here: none, where the card has an `origin`.
    """

    steps: Count
    images_seen: Count
    epochs: Annotated[float, Field(ge=0)]
    seconds: Seconds
    device: str
    precision: str
    versions: dict[str, str]
    git_commit: str | None
    seed: int
    recipe: dict[str, JsonValue]


class EvaluationData(_Value):
    """The labelled images of an evaluation: counts of the training and the test split."""

    name: str
    fingerprint: str
    train: Count
    test: Count


class EvaluationRow(_Value):
    """One cell of the evaluation table; `accuracy` is top-1 on the test split, 0 to 1.

    encoder         "trained", or a baseline such as "random" or "pixels_pca"
    representation  "conv", "fc", "y" or "pixels"
    probe           "mlp200", "linear", "svm" or "knn"
    seeds           number of seeds whose mean `accuracy` is
    spread          standard deviation over the seeds (n - 1); None for one seed
    """

    encoder: str
    representation: str
    probe: str
    accuracy: Fraction
    note: str = ""
    seeds: Annotated[int, Field(ge=1)] = 1
    spread: Fraction | None = None


class EvaluationMeasure(_Value):
    """One number of an evaluation that is no accuracy of a probe.

    encoder, representation  as in a row
    measure                  such as "mine", "ndm", "ms_ssim", "duplicates_ap", "group_map"
    unit                     "nats", or "" for a share or an index
    """

    encoder: str
    representation: str
    measure: str
    value: float
    unit: Literal["nats", ""] = ""
    note: str = ""


class EvaluationCard(_Value):
    """The evaluation table, and what else was measured, with the protocol that made it."""

    protocol: str
    data: EvaluationData
    rows: list[EvaluationRow]
    seconds: Seconds
    measures: list[EvaluationMeasure] = []


class RetrievalRow(_Value):
    """How often a changed view finds its own image; `recall` is recall@1, 0 to 1.

    encoder         "trained", "random", "pixels_pca" or "imagenet"
    representation  "conv", "fc", "y" or "pixels"
    """

    encoder: str
    representation: str
    recall: Fraction
    note: str = ""


class VerdictCard(_Value):
    """Whether training paid off, judged without labels; `answer` in one word, `sentence` in words.

    findings  what the last look at the encoder's health found wrong (training/diagnosis.py)
    """

    answer: Literal["yes", "in part", "no", "failed"]
    sentence: str
    findings: list[str]
    protocol: str
    rows: list[RetrievalRow]


class Card(_Value):
    """Everything a checkpoint says of itself; `files` maps a file's name to its sha256.

    `origin` says where weights come from that were not trained here; `data` are then the images
    its critics were fitted on, if any.

    `files` names the weights and the golden file and is filled when the checkpoint is saved. The
    card cannot hash itself: its own safety is that it is strict, and that the golden outputs, which
    are hashed, only come out of the encoder, critics and preprocessing it describes.
    """

    schema_version: Literal[1] = 1
    name: str
    created: Annotated[str, AfterValidator(_iso_time)]
    encoder: Component
    critics: dict[CriticRole, CriticCard]
    preprocessing: Preprocessing
    objective: ObjectiveCard
    data: DataCard
    training: TrainingCard
    origin: str | None = None
    evaluation: EvaluationCard | None = None
    verdict: VerdictCard | None = None
    weights_dtype: Literal["float32", "float16"] = "float32"
    files: dict[str, Sha256] = {}

    @property
    def identity(self) -> str:
        """Twelve hex digits that change with the embedding: weights, encoder or preprocessing.

        A new evaluation table leaves it alone. Raises ValueError on a card that was never saved.
        """
        if WEIGHTS_FILE not in self.files:
            raise ValueError("This card has no identity yet: save its checkpoint first.")
        parts = (
            self.files[WEIGHTS_FILE],
            self.encoder.model_dump_json(),
            self.preprocessing.model_dump_json(),
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
