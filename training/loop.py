"""The training loop: files -> views -> encoder -> scores -> objective -> optimiser.

Randomness is a function of (seed, step): the order of an epoch, the views and the negatives of a
step are drawn from generators seeded with them, so a resumed run repeats itself bit for bit.
"""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from models.card import Preprocessing
from models.method import Method
from models.preprocess import normalise
from models.types import Pixels
from training.config import TrainConfig
from training.progress import Journal
from training.runs import load_resume, save_resume, trim_log
from training.views import draw_views
from training.watch import Watch

LOG_EVERY_STEPS = 50
SAVE_EVERY_S = 120.0

Stream = Literal["order", "views", "negatives", "prior"]
STREAMS: dict[Stream, int] = {"order": 0, "views": 1, "negatives": 2, "prior": 3}


@dataclass(frozen=True)
class Outcome:
    """How a run ended: finished, or stopped by a signal with its state saved."""

    steps: int
    seconds: float
    finished: bool


def train(  # noqa: PLR0915 - the story of a step reads best in one piece
    config: TrainConfig,
    model: Method,
    pixels: Pixels,
    preprocessing: Preprocessing,
    out: Path,
    *,
    device: torch.device,
    stop_after_steps: int | None = None,
    watch: Watch | None = None,
) -> Outcome:
    """Train `model` on uint8 pixels (N, H, W, C) resident on the device, resuming what is there.

    SIGTERM and SIGINT save and return. NotFiniteError leaves the last saved state untouched.
    """
    model.to(device).to(memory_format=torch.channels_last).train()
    bounds = adam(model.bound_parameters(), config)
    prior = None
    if model.prior_critic is not None:
        prior = adam(list(model.prior_critic.parameters()), config)
    optimisers = {"bounds": bounds} | ({"prior": prior} if prior is not None else {})
    modules = {"model": model}

    done, seconds_before = load_resume(out, modules, optimisers)
    trim_log(out, done)
    batch_size = min(config.batch_size, len(pixels))
    steps_an_epoch = len(pixels) // batch_size
    total = config.epochs * steps_an_epoch
    autocast = precision(config, device) == "bf16"
    began = saved = time.monotonic()

    def save(step: int) -> None:
        save_resume(out, step, seconds_before + time.monotonic() - began, modules, optimisers)

    with Journal(out, total, steps_an_epoch, batch_size) as journal, stop_signal() as stop:
        step = done
        while step < min(total, stop_after_steps or total) and not stop.is_set:
            epoch, place = divmod(step, steps_an_epoch)
            if place == 0 or step == done:
                order = torch.randperm(len(pixels), generator=seeded(config, "order", epoch))
            rows: Int64[Tensor, " batch"] = order[place * batch_size :][:batch_size].to(device)

            drawn = seeded(config, "views", step, device)
            views = draw_views(config.views, model.num_views, pixels[rows], drawn)
            images = [normalise(view, preprocessing) for view in views]
            for group in bounds.param_groups:
                group["lr"] = learning_rate(config, step, total)

            with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                loss, parts, features = model(*images, generator=seeded(config, "negatives", step))
            bounds.zero_grad(set_to_none=True)
            loss.backward()
            bounds.step()

            if prior is not None:  # the other move of the prior game, on the same summaries
                prior_loss = model.prior_loss(features, seeded(config, "prior", step))
                prior.zero_grad(set_to_none=True)
                prior_loss.backward()
                prior.step()
                parts["prior_critic_loss"] = prior_loss
            step += 1

            journal.add(step, loss, parts)
            if step % LOG_EVERY_STEPS == 0 or step == total:
                journal.write()
                if watch is not None:
                    watch.look(step)
                if time.monotonic() - saved > SAVE_EVERY_S:
                    save(step)
                    saved = time.monotonic()
        journal.write()
        save(step)
    return Outcome(step, seconds_before + time.monotonic() - began, step == total)


def adam(parameters: list[nn.Parameter], config: TrainConfig) -> torch.optim.Adam:
    """Adam in its fused form: the same update in one pass over memory."""
    return torch.optim.Adam(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """The rate of this step: constant, or falling to 0 along half a cosine."""
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / total))


def precision(config: TrainConfig, device: torch.device) -> Literal["fp32", "bf16"]:
    """The configured precision; "auto" is bf16 on a GPU and fp32 on a CPU."""
    if config.precision != "auto":
        return config.precision
    return "bf16" if device.type == "cuda" else "fp32"


def seeded(
    config: TrainConfig, stream: Stream, number: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator for one stream of random numbers at one step (or epoch)."""
    # Weyl steps by odd constants keep the seeds of streams and steps apart; manual_seed hashes.
    seed = (
        config.seed * 0x9E3779B97F4A7C15 + STREAMS[stream] * 0xBF58476D1CE4E5B9 + number
    ) % 2**63
    return torch.Generator(device).manual_seed(seed)


class StopSignal:
    """Whether SIGTERM or SIGINT asked the run to stop."""

    def __init__(self) -> None:
        self.is_set = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Note the signal; the loop looks after each step."""
        self.is_set = True


@contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Catch SIGTERM and SIGINT while the loop runs."""
    stop = StopSignal()
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
