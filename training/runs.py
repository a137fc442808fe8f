"""The folder of a run: what it is, what it logged, and the state from which it goes on.

run.json            the configuration and the data it was started with
choices.json        what it measured at its start and keeps (training/choices.py)
log.jsonl           a line of statistics a step
health.jsonl        a line a look at the encoder's health (training/watch.py)
tensorboard/        the same for TensorBoard, every few steps
resume.safetensors  weights, optimiser and step: all that the next step depends on
stream/             decoded images, where they do not fit into memory (training/pixel_files.py)
verdict.json        whether training paid off (training/verdict.py), written at the end
checkpoint/         what is served (models/checkpoint.py), written at the end

Randomness is a function of (seed, step), so the step stands for the state of every generator.
"""

import fcntl
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from models.atomic import write_file
from training.config import TrainConfig, make_config

RESUME_FILE = "resume.safetensors"
RUN_FILE = "run.json"
LOG_FILE = "log.jsonl"
HEALTH_FILE = "health.jsonl"
VERDICT_FILE = "verdict.json"
CHECKPOINT_FOLDER = "checkpoint"
STREAM_FOLDER = "stream"
WHAT_TO_TRY = (
    "The state before it is kept. Try a smaller learning_rate, scale=sqrt_units, objective=jsd or"
    " precision=fp32, with another --out"
)


class RunError(Exception):
    """A run's folder that cannot be started or resumed; the message says what to do."""


def open_run(folder: Path, config: TrainConfig, data: Mapping[str, Any]) -> None:
    """Make the folder, or check that it belongs to the same run; RunError names differences."""
    described = {"config": config.model_dump(mode="json"), "data": dict(data)}
    file = folder / RUN_FILE
    if not file.exists():
        if folder.is_dir() and any(entry.name != STREAM_FOLDER for entry in folder.iterdir()):
            raise RunError(f"{folder} is not empty and holds no {RUN_FILE}; choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        write_file(file, (json.dumps(described, indent=2) + "\n").encode())
        return
    try:
        before = json.loads(file.read_bytes())
        known = {
            "config": make_config(before["config"]).model_dump(mode="json"),
            "data": before["data"],
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{file} is damaged ({error}); choose another --out") from error
    differing = [
        f"{key}: {known[part].get(key)!r} there, {value!r} now"
        for part, values in described.items()
        for key, value in values.items()
        if known[part].get(key) != value
    ]
    if differing:
        raise RunError(
            f"{folder} was started otherwise ({'; '.join(differing)}); repeat its command to"
            " resume it, or choose another --out"
        )


class NotFiniteError(Exception):
    """A loss or a state that is not finite, with the step and what to try."""


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Hold the run's folder for this process; RunError where another one trains in it."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"another process is training in {folder}; wait for it") from error
        yield


def save_resume(
    folder: Path,
    step: int,
    seconds: float,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
) -> None:
    """Write the state after `step` steps in one atomic file.

    Raises NotFiniteError or RunError; the file that was there is then untouched.
    """
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
    for name, optimiser in optimisers.items():
        for index, slots in optimiser.state_dict()["state"].items():
            tensors |= {f"{name}/{index}/{slot}": value for slot, value in slots.items()}
    on_cpu = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    metadata = {"step": str(step), "seconds": repr(seconds)}
    require_finite(on_cpu, step)
    with told_what_to_do(folder):
        write_file(folder / RESUME_FILE, save(on_cpu, metadata))


@contextmanager
def told_what_to_do(folder: Path) -> Iterator[None]:
    """Turn a failure to write to the run's folder into a RunError with the remedy."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written to ({error.strerror or error}). The state that was saved"
            " last is whole. Free some space on that disk, and repeat the command to go on from it"
        ) from error


def require_finite(tensors: Mapping[str, Tensor], step: int) -> None:
    """Raise NotFiniteError rather than let a state be saved that nothing can be learned from."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise NotFiniteError(f"{name} is not finite after step {step}. {WHAT_TO_TRY}")


def load_resume(
    folder: Path,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
) -> tuple[int, float]:
    """Restore modules and optimisers in place; return (steps done, seconds spent)."""
    file = folder / RESUME_FILE
    if not file.exists():
        return 0, 0.0
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata()
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - no dict
        step, seconds = int(metadata["step"]), float(metadata["seconds"])
        for name, module in modules.items():
            module.load_state_dict(below(tensors, name))
        for name, optimiser in optimisers.items():
            restore_optimiser(optimiser, below(tensors, name))
    except (SafetensorError, OSError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise RunError(
            f"{file} cannot be resumed from ({' '.join(str(error).split())}); delete it to start"
            " the run again"
        ) from error
    return step, seconds


def restore_optimiser(optimiser: torch.optim.Optimizer, slots: Mapping[str, Tensor]) -> None:
    """Put saved slots ("index/slot") back into an optimiser whose options are already set.

    Each slot takes its parameter's memory layout: fused kernels walk both side by side.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in slots.items():
        index, _, slot = key.partition("/")
        parameter = parameters[int(index)]
        same_shape = value.shape == parameter.shape
        laid_out = torch.empty_like(parameter).copy_(value) if same_shape else value
        state.setdefault(int(index), {})[slot] = laid_out
    optimiser.load_state_dict(
        {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
    )


def below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors under `name/`, without the prefix."""
    prefix = f"{name}/"
    return {key[len(prefix) :]: v for key, v in tensors.items() if key.startswith(prefix)}


def trim_log(folder: Path, step: int) -> None:
    """Drop log lines after `step` (and a torn last line): the steps ahead will be logged again."""
    for file in (folder / LOG_FILE, folder / HEALTH_FILE):
        if not file.exists():
            continue
        kept = [line for line in file.read_bytes().splitlines() if step_of(line) <= step]
        write_file(file, b"".join(line + b"\n" for line in kept))


def step_of(line: bytes) -> float:
    """The step of a log line; infinite for a torn one."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
