"""The two floors under a step: its arithmetic at the matrix rate, its bytes at the copy rate."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from models.types import Pixels
from training.step import Step

FLOAT_BYTES = 4
PARAMETER_TRIPS = 10  # read twice, its gradient written; Adam reads four numbers, writes three
SAVED_TRIPS = 2  # written in the forward pass, read in the backward pass
MATRIX_SIDE = {"cuda": 8192, "cpu": 2048}
COPY_BYTES = {"cuda": 2**30, "cpu": 2**28}
TURNS = 5


@dataclass(frozen=True)
class Work:
    """What one step has to do."""

    flops: int
    moved_bytes: int


@dataclass(frozen=True)
class Floors:
    """What the device can do: FLOPs a second in the step's precision, bytes a second."""

    flops_per_s: float
    bytes_per_s: float

    def arithmetic_s(self, work: Work) -> float:
        """Seconds of the arithmetic alone."""
        return work.flops / self.flops_per_s

    def memory_s(self, work: Work) -> float:
        """Seconds of the moving alone."""
        return work.moved_bytes / self.bytes_per_s

    def floor_s(self, work: Work) -> float:
        """Seconds that a step takes at least, if both go on at once."""
        return max(self.arithmetic_s(work), self.memory_s(work))

    def mfu(self, work: Work, step_s: float) -> float:
        """The share of the matrix rate that a step of so many seconds uses."""
        return self.arithmetic_s(work) / step_s


class Flops(TorchDispatchMode):
    """Sums what torch.utils.flop_counter's formulas say of every operation.

    Its own FlopCounterMode follows the modules too, and fails at the prior game's gradient penalty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Run the operation, then count it."""
        given = kwargs or {}
        result = func(*args, **given)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.total += formula(*args, **given, out_val=result)
        return result


def work_of(step: Step, number: int, pixels: Pixels) -> Work:
    """Count one step, which is taken."""
    learned = list(step.model.parameters())
    parameters = {each.untyped_storage().data_ptr() for each in learned}
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with Flops() as counted, saved_tensors_hooks(keep, lambda kept: kept):
        step(number, pixels)
    weights = sum(each.numel() for each in learned) * FLOAT_BYTES
    moved = PARAMETER_TRIPS * weights + SAVED_TRIPS * sum(saved.values()) + pixels.nbytes
    return Work(counted.total, moved)


def measure_floors(
    device: torch.device,
    dtype: torch.dtype,
    side: int | None = None,
    copied_bytes: int | None = None,
) -> Floors:
    """Time a matrix product and a copy on the device, each the best of several turns."""
    n = side or MATRIX_SIDE[device.type]
    one, other = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    source = torch.ones((copied_bytes or COPY_BYTES[device.type]) // FLOAT_BYTES, device=device)
    target = torch.empty_like(source)
    return Floors(
        flops_per_s=matrix_flops(n) / best_s(lambda: one @ other, device),
        bytes_per_s=2 * source.nbytes / best_s(lambda: target.copy_(source), device),
    )


def matrix_flops(n: int) -> int:
    """Of an n x n product: n^2 sums of n multiplications and as many additions."""
    return 2 * n**3


def best_s(work: Callable[[], object], device: torch.device) -> float:
    """The seconds of the fastest of several turns, after one that does not count."""
    times = []
    for _ in range(TURNS + 1):
        synchronise(device)
        began = time.perf_counter()
        work()
        synchronise(device)
        times.append(time.perf_counter() - began)
    return min(times[1:])


def synchronise(device: torch.device) -> None:
    """Wait for what was asked of a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
