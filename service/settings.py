"""Everything an operator may choose: INFOMAX_* environment variables, then command-line flags."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.limits import Limits

DEFAULT_CHECKPOINT = Path("checkpoints", "dim-cifar10")

Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def default_checkpoint() -> Path:
    """Find the shipped checkpoint: under the working directory, else beside this package."""
    beside = Path(__file__).resolve().parent.parent / DEFAULT_CHECKPOINT
    return DEFAULT_CHECKPOINT if DEFAULT_CHECKPOINT.is_dir() or not beside.is_dir() else beside


def available_cores() -> int:
    """Count the cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class SettingsError(Exception):
    """A setting with a value it cannot have; the text is a sentence for the operator."""


class Settings(BaseSettings):
    """The service's settings, frozen; INFOMAX_PORT=9000 sets `port`, and so on."""

    model_config = SettingsConfigDict(env_prefix="INFOMAX_", frozen=True, extra="forbid")

    checkpoint: Path = Field(
        default_factory=default_checkpoint, description="Folder of the checkpoint."
    )
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto, cpu, cuda or cuda:N; auto takes a GPU if there is one.",
    )
    threads: int = Field(
        0,
        ge=0,
        description="CPU threads of the model; 0 measures at start which number is fastest.",
    )
    decode_threads: Positive = Field(
        default_factory=available_cores,
        description="Threads that decode images; one a core by default.",
    )
    max_batch: Positive = Field(64, description="Images in one forward pass, at most.")
    max_queue: Positive = Field(1024, description="Images admitted and not yet answered, at most.")
    max_queue_s: Seconds = Field(
        10.0, description="Seconds of work ahead of a new request, at most; above it 503."
    )
    max_body_bytes: Positive = Field(64 * 1024 * 1024, description="Bytes of one body, at most.")
    max_images: Positive = Field(256, description="Images in one request, at most.")
    max_image_bytes: Positive = Field(20_000_000, description="Bytes of one image, at most.")
    max_image_pixels: Positive = Field(50_000_000, description="Pixels of one image, at most.")
    max_image_frames: Positive = Field(1000, description="Frames of one image, at most.")
    max_pairs: Positive = Field(4096, description="Pairs listed in one /mi-score, at most.")
    timeout_ms: Positive = Field(30_000, description="Deadline of a request without X-Timeout-Ms.")
    max_timeout_ms: Positive = Field(300_000, description="Largest X-Timeout-Ms.")
    body_timeout_s: Seconds = Field(30.0, description="Seconds a body may take to arrive.")
    keep_alive_s: Positive = Field(75, description="Seconds an idle connection is kept.")
    stall_s: Seconds = Field(
        30.0, description="Seconds without a heartbeat after which /livez fails."
    )
    drain_grace_s: float = Field(
        1.0, ge=0, description="Seconds between SIGTERM (readiness 503) and the closed door."
    )
    drain_s: Seconds = Field(20.0, description="Seconds that accepted work may take to finish.")
    access_log: bool = Field(False, description="One line in the log for every request.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severity that is logged."
    )

    @model_validator(mode="after")
    def _queue_holds_a_request(self) -> Self:
        if self.max_queue < self.max_images:
            raise ValueError("the queue must hold one request: raise max_queue or lower max_images")
        return self

    @property
    def limits(self) -> Limits:
        """The bounds of one request."""
        return Limits(
            body_bytes=self.max_body_bytes,
            images=self.max_images,
            image_bytes=self.max_image_bytes,
            image_pixels=self.max_image_pixels,
            image_frames=self.max_image_frames,
            pairs=self.max_pairs,
        )


def read_settings(**flags: Any) -> Settings:
    """Read the environment, overridden by those flags that are not None.

    Raises SettingsError with one sentence that names the setting.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        if not first["loc"]:
            raise SettingsError(f"{first['msg'].removeprefix('Value error, ')}.") from None
        name = str(first["loc"][0])
        origin = f"--{name}" if name in given else f"INFOMAX_{name.upper()}"
        raise SettingsError(f"{origin} cannot be {first['input']!r}: {first['msg']}.") from None
