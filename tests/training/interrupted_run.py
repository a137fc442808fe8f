"""A training run in a process of its own that stands still where it is to be killed."""

import os
import resource
import signal
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from training import loop
from training.__main__ import main
from training.runs import RESUME_FILE
from training.step import Step

SETTINGS = (
    *("encoder=basic28x28", "colour=grey", "local_units=8", "batch_size=8", "summary_dim=8"),
    *("served_local_units=8", "served_global_units=8", "calibrate_epochs=1", "epochs=5"),
)
STEPS = 5 * 4  # of 32 images
MARK = "standing-still"
IN_SAVE = ("fsync", "rename", "renamed")  # the new file written; about to replace; replaced


def train(data: Path, out: Path, told: Path, stand: str = "", at: int = 0) -> None:
    """Train with a save every other step, and stand still at step or save number `at`.

    stand  "" nowhere; "step" before that step is taken; or at a place in that save, see IN_SAVE.
           "full": files may not grow beyond 64 KiB from that save on, as on a full disk
    """
    loop.LOG_EVERY_STEPS, loop.SAVE_EVERY_S = 2, 0.0
    if stand == "step":
        _stand_at_step(at, told)
    elif stand:
        _stand_in_save(stand, at, told)
    with (
        told.with_suffix(".txt").open("w") as words,
        redirect_stdout(words),
        redirect_stderr(words),
    ):
        status = main(
            ["train", "--data", str(data), "--out", str(out), "--device", "cpu", *SETTINGS]
        )
        words.flush()
        os._exit(status)


def _stand_at_step(at: int, told: Path) -> None:
    take = Step.__call__

    def slow(self: Step, number: int, pixels: object) -> object:
        if number == at:
            _stand_still(told)
        return take(self, number, pixels)

    Step.__call__ = slow  # a step that takes for ever


def _stand_in_save(stand: str, at: int, told: Path) -> None:
    """Put a disk that is slow, or full, under save number `at` of the state."""
    rename, fsync = os.rename, os.fsync
    saves = 0

    def slow_rename(source: str, target: str, **folders: int) -> None:
        nonlocal saves
        ours = target == RESUME_FILE
        saves += ours
        if ours and saves == at and stand == "rename":
            _stand_still(told)
        rename(source, target, **folders)
        if ours and saves == at and stand == "renamed":
            _stand_still(told)
        if ours and saves == at and stand == "full":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))

    def slow_fsync(descriptor: int) -> None:
        if saves == at - 1 and stand == "fsync" and _writes_state(descriptor):
            _stand_still(told)
        fsync(descriptor)

    os.rename, os.fsync = slow_rename, slow_fsync


def _writes_state(descriptor: int) -> bool:
    return f".{RESUME_FILE}.new" in str(Path(f"/proc/self/fd/{descriptor}").resolve())


def _stand_still(told: Path) -> None:
    told.touch()
    time.sleep(600)
