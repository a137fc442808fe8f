"""Progress of loading and evaluating: a bar on a terminal, now and then a plain line elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import MofNCompleteColumn, TaskID, TimeRemainingColumn
from rich.progress import Progress as Bars

from training.progress import duration

PLAIN_LINE_EVERY_S = 10.0


class Display:
    """Callable as `Progress`: display("reading images", 512, 10_000). Use with `with`."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.tasks: dict[str, TaskID] = {}
        self.began: dict[str, tuple[float, int]] = {}  # when each first spoke, and what was done
        self.told_at: dict[str, float] = {}
        self.bars: Bars | None = None

    def __enter__(self) -> "Display":
        """Draw bars if there is a terminal."""
        if self.console.is_terminal:
            columns = (*Bars.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
            self.bars = Bars(*columns, console=self.console, transient=True)
            self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bars away."""
        if self.bars is not None:
            self.bars.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` are done; a bar that is full goes away."""
        if self.bars is not None:
            if what not in self.tasks:
                self.tasks[what] = self.bars.add_task(what, total=total)
            self.bars.update(self.tasks[what], completed=done, visible=done < total)
        else:
            now = time.monotonic()
            began, before = self.began.setdefault(what, (now, done))
            if now - self.told_at.setdefault(what, now) >= PLAIN_LINE_EVERY_S:
                left = time_left(now - began, done - before, total - done)
                print(f"{what}: {done:,} of {total:,}{left}", file=sys.stderr, flush=True)
                self.told_at[what] = now


def time_left(elapsed_s: float, done: int, left: int) -> str:
    """The time left at the rate so far, after a comma; nothing without a rate or when done."""
    return f", about {duration(elapsed_s * left / done)} left" if done > 0 and left > 0 else ""
