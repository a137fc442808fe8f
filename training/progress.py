"""What a run says while it works: a bar on a terminal, plain lines elsewhere, and two logs.

log.jsonl has a line a step; TensorBoard, where it is installed, a point every few steps.
"""

import json
import math
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from training.runs import LOG_FILE, WHAT_TO_TRY, NotFiniteError, told_what_to_do

PLAIN_LINE_EVERY_S = 15.0


class Journal:
    """Collects a step's numbers without waiting for the device; writes them when asked.

    Without a folder (`out` None) nothing is written or shown, but bad numbers are still refused.
    """

    def __init__(self, out: Path | None, total: int, steps_an_epoch: int, batch_size: int) -> None:
        self.out, self.total = out, total
        self.steps_an_epoch, self.batch_size = steps_an_epoch, batch_size
        self.pending: list[tuple[int, dict[str, Tensor]]] = []
        self.console = Console()
        self.bar: Progress | None = None
        self.told_at = -math.inf
        self.rate: float | None = None  # images a second, smoothed

    def __enter__(self) -> "Journal":
        """Open the logs and, on a terminal, the bar."""
        self.window_began = time.monotonic()
        if self.out is None:
            return self
        self.log = (self.out / LOG_FILE).open("a", encoding="utf-8")
        self.tensorboard = tensorboard_writer(self.out / "tensorboard")
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} steps"),
                TimeRemainingColumn(),
            )
            self.bar = Progress(*columns, console=self.console)
            self.task = self.bar.add_task("training", total=self.total)
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the bar and the logs."""
        if self.out is None:
            return
        if self.bar is not None:
            self.bar.stop()
        with suppress(OSError) if kind else nullcontext():  # a full disk was told of already
            self.log.close()
            if self.tensorboard is not None:
                self.tensorboard.close()

    def add(self, step: int, numbers: dict[str, Tensor]) -> None:
        """Keep a step's numbers (the loss and its parts), on the device as they are."""
        self.pending.append((step, numbers))

    def write(self) -> None:
        """Fetch what is pending in one transfer, check that it is finite, log and show it.

        Raises NotFiniteError with the first bad step.
        """
        if not self.pending:
            return
        names = list(self.pending[0][1])
        stacked = torch.stack([torch.stack([n[k].float() for k in names]) for _, n in self.pending])
        values = stacked.cpu().tolist()
        for (step, _), row in zip(self.pending, values, strict=True):
            if not all(map(math.isfinite, row)):
                bad = ", ".join(f"{k} {v}" for k, v in zip(names, row, strict=True))
                raise NotFiniteError(
                    f"the loss of step {step} is not finite ({bad}). {WHAT_TO_TRY}"
                )
        now = time.monotonic()
        rate = len(self.pending) * self.batch_size / max(now - self.window_began, 1e-9)
        self.rate = rate if self.rate is None else 0.8 * self.rate + 0.2 * rate
        self.window_began = now
        steps = [step for step, _ in self.pending]
        self.pending.clear()
        if self.out is None:
            return
        with told_what_to_do(self.out):
            self.record(names, steps, values, rate)
        columns = zip(*values, strict=True)
        self.show(steps[-1], {k: sum(c) / len(c) for k, c in zip(names, columns, strict=True)})

    def record(
        self, names: list[str], steps: list[int], values: list[list[float]], rate: float
    ) -> None:
        """Append a line a step to log.jsonl, and the last step's numbers to TensorBoard."""
        for step, row in zip(steps, values, strict=True):
            line: dict[str, float] = {"step": step, "epoch": round(step / self.steps_an_epoch, 4)}
            line |= dict(zip(names, row, strict=True))
            if step == steps[-1]:
                line["images_per_s"] = round(rate, 1)
            self.log.write(json.dumps(line) + "\n")
        self.log.flush()
        if self.tensorboard is not None:
            for name, value in zip(names, values[-1], strict=True):
                self.tensorboard.add_scalar(name, value, steps[-1])
            self.tensorboard.add_scalar("images_per_s", rate, steps[-1])

    def show(self, step: int, means: dict[str, float]) -> None:
        """Move the bar, or print a plain line now and then."""
        rate = self.rate or 0.0
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        text = f"epoch {step / self.steps_an_epoch:.1f}  {numbers}  {rate:.0f} images/s"
        if self.bar is not None:
            self.bar.update(self.task, completed=step, description=text)
        elif time.monotonic() - self.told_at >= PLAIN_LINE_EVERY_S or step == self.total:
            left_s = (self.total - step) * self.batch_size / max(rate, 1e-9)
            print(f"step {step}/{self.total}  {text}  {duration(left_s)} left", flush=True)
            self.told_at = time.monotonic()


def tensorboard_writer(folder: Path) -> Any:
    """A TensorBoard writer, or None where the `tracking` extra is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def duration(seconds: float) -> str:
    """Seconds as "1 h 05 min", "12 min" or "40 s"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
