"""The configuration of a training run: one frozen, flat value that refuses what it does not know.

It is read from a recipe (TOML), then from key=value words of the command line.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.critics import CRITICS
from models.encoders import ENCODERS
from models.negatives import NEGATIVES
from models.objectives import OBJECTIVES
from models.registry import did_you_mean, look_up
from training.keys import check_two_views, check_used
from training.views import VIEWS


class ConfigError(ValueError):
    """A recipe or a key=value word that cannot be used; the message says which and why."""


class TrainConfig(BaseModel):
    """Everything that decides what a run learns. Its defaults are a good small run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Literal["dim", "amdim"] = "dim"

    # the encoder and what it sees
    encoder: str = "basic32x32"
    summary_dim: int = Field(64, ge=1)  # AMDIM's encoders have rkhs instead
    channels: int = Field(128, ge=1)  # of AMDIM's encoders, as rkhs and depth
    rkhs: int = Field(1024, ge=1)
    depth: int = Field(3, ge=1)
    use_bn: bool = False
    norm: Literal["batch", "none"] = "batch"
    image_size: int | None = Field(None, ge=1)  # of resnet18, resnet50, timm; None: their own
    timm_model: str = "resnet18"
    colour: Literal["rgb", "grey"] = "rgb"
    resize: Literal["crop", "squash"] = "crop"
    views: str = "flip"

    # what is maximised: alpha * global bound + beta * local bound - gamma * prior game
    objective: str = "infonce"
    negatives: str = "all"
    alpha: float = Field(0.0, ge=0)
    beta: float = Field(1.0, ge=0)
    gamma: float = Field(0.1, ge=0)
    prior: Literal["uniform", "gaussian"] = "uniform"
    prior_penalty: float = Field(1.0, ge=0)
    local_critic: str = "local_dot"
    local_units: int = Field(512, ge=1)
    global_critic: str = "global_dot"
    global_units: int = Field(64, ge=1)
    scale: Literal["none", "sqrt_units"] = "sqrt_units"  # of encode-and-dot critics
    num_globals: int = Field(1, ge=1)  # equal parts of Y, each scored against the map
    dv_ema: float = Field(0.0, ge=0, lt=1)  # rate of MINE's moving average, for objective dv

    # tasks on places beside the bounds: weights of two losses, pixels of a block (0: off)
    coordinates: float = Field(0.0, ge=0)
    relative_coordinates: float = Field(0.0, ge=0)
    coordinate_units: int = Field(512, ge=1)
    occlusion: int = Field(0, ge=0)

    # AMDIM: scores are clipped to clip * tanh(score / clip), their squares penalised
    clip: float = Field(20.0, gt=0)
    regulariser: float = Field(5e-2, ge=0)

    # how
    batch_size: int = Field(128, ge=2)
    epochs: int = Field(30, ge=1)
    budget_minutes: float = Field(0.0, ge=0)  # above 0: as many steps as fit, whatever epochs says
    learning_rate: float = Field(3e-4, gt=0)
    schedule: Literal["constant", "cosine", "steps"] = "cosine"
    warmup_steps: int = Field(0, ge=0)  # the rate rises to learning_rate in a straight line
    drop_epochs: tuple[int, ...] = (250, 280)  # schedule "steps": the rate is multiplied after each
    drop_factor: float = Field(0.2, gt=0, le=1)
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = Field(0.0, ge=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"  # auto: measured where it may pay
    seed: int = Field(0, ge=0, le=2**31 - 1)

    # the served JSD critics, fitted on the frozen encoder at the end
    calibrate_epochs: int = Field(3, ge=1)
    calibrate_learning_rate: float = Field(1e-3, gt=0)
    served_local_critic: str = "local_dot"
    served_local_units: int = Field(256, ge=1)
    served_global_critic: str = "global_dot"
    served_global_units: int = Field(64, ge=1)
    weights_dtype: Literal["float32", "float16"] = "float32"

    @model_validator(mode="after")
    def _known_names(self) -> "TrainConfig":
        look_up("encoder", ENCODERS, self.encoder)
        look_up("objective", OBJECTIVES, self.objective)
        look_up("negatives", NEGATIVES, self.negatives)
        look_up("views", VIEWS, self.views)
        if self.method == "amdim":
            check_two_views(self.encoder, self.views)
        for critic in ("local", "global"):
            for name in (
                getattr(self, f"{critic}_critic"),
                getattr(self, f"served_{critic}_critic"),
            ):
                look_up("critic", CRITICS, name)
                if not name.startswith(f"{critic}_"):
                    raise ValueError(f"{name!r} is not a {critic} critic")
        if self.schedule == "steps" and self.budget_minutes:
            raise ValueError("schedule steps counts epochs, budget_minutes sets none; use cosine")
        if not self.alpha and not self.beta:
            raise ValueError("alpha and beta are both 0, so nothing would be learned; raise one")
        return self


def read_config(recipe: Path | None, words: list[str]) -> TrainConfig:
    """Read the recipe, then apply key=value words. ConfigError for anything unknown or unfit."""
    values: dict[str, Any] = {}
    if recipe is not None:
        try:
            values = tomllib.loads(recipe.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"recipe {recipe} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"recipe {recipe} is not valid TOML: {error}") from error
        one_length(values)
    given: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"{word!r} is not key=value; for example epochs=30")
        given[key.strip()] = parse_value(text.strip())
    one_length(given)
    if "epochs" in given:
        values.pop("budget_minutes", None)  # words over the recipe: the length is this one now
    config = make_config(values | given)
    try:
        check_used(values | given, config.method, config.encoder)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return config


def one_length(values: dict[str, Any]) -> None:
    """ConfigError where a run is given both a number of epochs and a budget of time."""
    if "epochs" in values and values.get("budget_minutes"):
        raise ConfigError("epochs and budget_minutes both say how long to train; give one of them")


def make_config(values: dict[str, Any]) -> TrainConfig:
    """A TrainConfig of these values; ConfigError names the first unknown key or bad value."""
    known = TrainConfig.model_fields
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown key {key}{did_you_mean(key, known)}")
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where}: {message}" if where else message) from error


def parse_value(text: str) -> Any:
    """A TOML value, or the text itself where it is none: encoder=dense32 needs no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
