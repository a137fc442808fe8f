"""The training loop: rows -> pixels -> step -> log -> state, until all steps are done.

Randomness is a function of (seed, step), see training/draws.py, so a resumed run repeats itself
bit for bit.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from models.card import Preprocessing
from models.method import Method
from training.choices import Choices, epochs_in_steps
from training.config import TrainConfig
from training.distributed import ALONE, Ranks, check_shares
from training.draws import batch_size, step_rows, steps_an_epoch
from training.progress import Journal
from training.runs import RESUME_FILE, load_resume, save_resume, trim_log
from training.source import Source
from training.step import Step
from training.watch import Watch

LOG_EVERY_STEPS = 50
SAVE_EVERY_S = 120.0


@dataclass(frozen=True)
class Outcome:
    """How a run ended: finished, or stopped by a signal with its state saved."""

    steps: int
    seconds: float
    finished: bool


def train(
    config: TrainConfig,
    model: Method,
    source: Source,
    preprocessing: Preprocessing,
    out: Path,
    *,
    device: torch.device,
    choices: Choices | None = None,
    ranks: Ranks = ALONE,
    stop_after_steps: int | None = None,
    watch: Watch | None = None,
) -> Outcome:
    """Train `model` on the images of `source`, resuming what is there.

    Without `choices` the run has its configured epochs and compiles nothing.
    SIGTERM and SIGINT save and return, on whichever rank. NotFiniteError leaves the last saved
    state untouched. Of many ranks, the first alone writes.
    """
    images = len(source)
    check_shares(batch_size(config, images), ranks.world)
    total = choices.total_steps if choices else epochs_in_steps(config, images)
    compiled = choices is not None and choices.compiled
    take = Step(
        config, model, preprocessing, device=device, total=total, compiled=compiled, ranks=ranks
    )
    modules, optimisers = {"model": model}, take.optimisers
    with ranks.copy_of(out / RESUME_FILE) as file:
        done, seconds_before = load_resume(file.parent, modules, optimisers)
    if ranks.writes:
        trim_log(out, done)
    began = saved = time.monotonic()

    def save(step: int) -> None:
        if ranks.writes:
            save_resume(out, step, seconds_before + time.monotonic() - began, modules, optimisers)

    last = max(done, min(total, stop_after_steps or total))
    share = {"rank": ranks.rank, "world": ranks.world}
    rows = (step_rows(config, images, number, **share) for number in range(done, last))
    journal = Journal(
        out if ranks.writes else None,
        total,
        steps_an_epoch(config, images),
        batch_size(config, images),
    )
    with (
        ranks.sharing(model),
        journal,
        stop_signal() as stop,
        closing(source.batches(rows)) as batches,
    ):
        step = done
        for pixels in batches:
            numbers = take(step, pixels)
            step += 1
            journal.add(step, numbers)
            if step % LOG_EVERY_STEPS == 0 or step == total:
                journal.write()
                if watch is not None:
                    watch.look(step)
                if time.monotonic() - saved > SAVE_EVERY_S:
                    save(step)
                    saved = time.monotonic()
            if ranks.any(stop.is_set):
                break
        journal.write()
        save(step)
    return Outcome(step, seconds_before + time.monotonic() - began, step == total)


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
