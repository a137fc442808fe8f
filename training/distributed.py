"""Training in many processes: all that they say to each other is said in this file.

Every process (a rank) holds the whole model and an equal share of each batch. What compares images
is gathered with its gradient, so that every rank computes the loss of the whole batch. The backward
of gathering sums over ranks and DistributedDataParallel averages over them: what is left is the
gradient that one process would have, for every objective, also where its loss is no mean over
images. docs/distributed.md says what is exact and what is not.
"""

import inspect
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Generator, Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from models.method import Method
from models.shares import WHOLE, Shares
from training.config import ConfigError
from training.runs import RunError
from training.shared_draws import ShareOfDraws
from training.shared_norm import SharedBatchNorm, norms_replaced, on_gpus

LONGEST_WAIT = timedelta(minutes=30)  # of one GPU for another
LONGEST_READING = timedelta(hours=6)  # of one process, while the others wait for it
SIGNS_OF_LOSS = ("gloo", "nccl", "connection", "socket", "store")


class RankLost(RunError):
    """Another process of the run is gone, or cannot be reached."""


class Ranks(Shares):
    """The processes of a run, seen from one of them. Here: it is the only one."""

    rank = 0
    world = 1
    beside = 1  # how many of them are on this machine

    def tell(self, sentence: str) -> None:
        """Print it, once for all."""
        if self.writes:
            print(sentence, flush=True)

    @property
    def writes(self) -> bool:
        """Whether this process writes logs, state and checkpoint, and speaks to the user."""
        return self.rank == 0

    @contextmanager
    def sharing(self, model: Method) -> Iterator[None]:  # noqa: ARG002 - here nothing changes
        """While it lasts, the model takes shares of batches and answers for the whole of them."""
        yield

    def parallel(self, model: nn.Module) -> nn.Module:
        """The model to call: its parameters' gradients come out the same on every rank."""
        return model

    def average_gradients(self, optimiser: torch.optim.Optimizer) -> None:
        """Average the gradients of a backward pass that `parallel` did not see."""

    def draws(self, generator: Generator) -> Generator:
        """The generator as it draws for this process's share of the images."""
        return generator

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank; the same answer everywhere."""
        return flag

    def agree(self, number: float) -> float:
        """The first rank's number, on every rank."""
        return number

    def require_same(self, what: str, text: str) -> None:
        """Raise RunError where another rank's text differs from this one's."""

    @contextmanager
    def one_first(self) -> Iterator[None]:
        """One rank of each machine goes through it alone; the others follow when it is through."""
        yield

    @contextmanager
    def copy_of(self, file: Path) -> Iterator[Path]:
        """The file as rank 0 has it (or has not): the others may stand before another disk."""
        yield file


ALONE = Ranks()


class ManyRanks(Ranks):
    """One of several processes that were joined."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.beside = int(os.environ.get("LOCAL_WORLD_SIZE", self.world))
        hosts = dist.new_group(backend="gloo", timeout=LONGEST_READING)  # never waits for a GPU
        self.hosts = hosts if isinstance(hosts, dist.ProcessGroup) else None

    def gather(self, share: Tensor) -> Tensor:
        """The shares of all ranks, in order; gradients return to where rows came from."""
        gathered: Tensor = torch.compiler.disable(_Gather.apply)(share, self.world)
        return gathered

    def own(self, batch: Tensor) -> Tensor:
        """This rank's rows of a gathered batch."""
        return batch.chunk(self.world)[self.rank]

    @contextmanager
    def sharing(self, model: Method) -> Iterator[None]:
        """Gather and normalise over all ranks."""
        on_cpu = partial(SharedBatchNorm, shares=self)
        model.shares = self
        try:
            with norms_replaced(model, on_gpus if self.device.type == "cuda" else on_cpu):
                yield
        finally:
            model.shares = WHOLE

    def parallel(self, model: nn.Module) -> nn.Module:
        """Wrap the model; buffers need no broadcast, since every rank computes the same."""
        device_ids = [self.device] if self.device.type == "cuda" else None
        known = inspect.signature(DistributedDataParallel).parameters
        once: Any = {"forward_sync_buffers": False}  # of torch 2.14; before, by another name
        if not once.keys() <= known.keys():
            once = {"broadcast_buffers": False}
        return DistributedDataParallel(model, device_ids=device_ids, **once)

    def average_gradients(self, optimiser: torch.optim.Optimizer) -> None:
        """One sum over all ranks, of all gradients laid end to end."""
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        means = (flat / self.world).split([gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))

    def draws(self, generator: Generator) -> Generator:
        """Draw for all of the batch, keep what falls to this rank."""
        return ShareOfDraws.of(generator, self.rank, self.world)

    def any(self, flag: bool) -> bool:
        """Ask all hosts; also how the loss of one of them is noticed."""
        flags = torch.tensor([flag], dtype=torch.uint8)
        dist.all_reduce(flags, dist.ReduceOp.MAX, group=self.hosts)
        return bool(flags)

    def agree(self, number: float) -> float:
        """Send the first rank's number to all."""
        numbers = torch.tensor([number], dtype=torch.float64)
        dist.broadcast(numbers, 0, group=self.hosts)
        return float(numbers)

    def require_same(self, what: str, text: str) -> None:
        """Compare with what rank 0 has."""
        first = self.from_first(text.encode()).decode()
        if self.any(first != text):
            there = f"process {self.rank} has {text}, process 0 {first}" if first != text else ""
            raise RunError(
                f"the processes of a run must have the same {what}"
                f" ({there or 'another process has not what process 0 has'})"
            )

    @contextmanager
    def one_first(self) -> Iterator[None]:
        """Wait before it or after it for the others, who do the opposite."""
        first = os.environ.get("LOCAL_RANK", "0") == "0"
        if not first:
            self.any(False)
        yield
        if first:
            self.any(False)

    @contextmanager
    def copy_of(self, file: Path) -> Iterator[Path]:
        """Send the file's bytes to all; each other rank gets a temporary copy."""
        there = self.writes and file.exists()
        content = self.from_first(file.read_bytes() if there else b"")
        if self.writes:
            yield file
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / file.name
            if content:
                copy.write_bytes(content)
            yield copy

    def from_first(self, content: bytes) -> bytes:
        """Rank 0's content, on every rank."""
        length = torch.tensor([len(content)])
        dist.broadcast(length, 0, group=self.hosts)
        sent = torch.frombuffer(bytearray(content or b"\0"), dtype=torch.uint8)
        if not self.writes:
            sent = torch.empty(max(1, int(length)), dtype=torch.uint8)
        dist.broadcast(sent, 0, group=self.hosts)
        return sent.numpy().tobytes()[: int(length)]


class _Gather(torch.autograd.Function):
    """All ranks' shares, one after the other; backward: the sum of all ranks' gradients for ours.

    torch.distributed.nn.functional had the same, and is deprecated.
    """

    @staticmethod
    def forward(ctx: Any, share: Tensor, world: int) -> Tensor:
        whole = share.new_empty(world * len(share), *share.shape[1:])
        dist.all_gather(list(whole.chunk(world)), share.contiguous())
        ctx.world = world
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        parts = list(gradients[0].contiguous().chunk(ctx.world))
        own = torch.empty_like(parts[0])
        dist.reduce_scatter(own, parts)
        return own, None


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Ranks, torch.device]]:
    """The ranks that the environment tells of (torchrun's variables), and this one's device.

    Raises RankLost where another rank cannot be reached any more.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE, device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    try:
        backend, own = ("nccl", device) if device.type == "cuda" else ("gloo", None)
        dist.init_process_group(backend, timeout=LONGEST_WAIT, device_id=own)
        yield ManyRanks(device), device
    except RuntimeError as error:
        if not any(sign in str(error).lower() for sign in SIGNS_OF_LOSS):
            raise
        rank, world = os.environ["RANK"], os.environ["WORLD_SIZE"]
        raise RankLost(
            f"process {rank} of {world} cannot reach the others any more: one of them has ended."
            " When its cause is mended, the same command goes on from the last saved state"
        ) from error
    dist.destroy_process_group()  # after an error it might wait for those who are gone


def check_shares(images: int, world: int) -> None:
    """Raise ConfigError unless a batch of so many images can be shared equally."""
    if images % world:
        fits = [images // world * world, (images // world + 1) * world]
        choices = " or ".join(str(each) for each in fits if each)
        raise ConfigError(
            f"a batch of {images} images cannot be shared equally by {world} processes;"
            f" set batch_size={choices}"
        )


def meeting_place() -> tuple[object, dict[str, str]]:
    """Where processes of this machine meet: to be kept while they run, and what to tell them."""
    store = dist.TCPStore(  # type: ignore[attr-defined]  # public, but its stub does not say so
        "127.0.0.1", 0, is_master=True, wait_for_workers=False
    )
    return store, {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is there, nobody is to open one
    }
