"""The model as the service runs it: pixels in, arrays out, on one device.

Everything here runs in the batcher's thread but `load_engine`. One pass serves every head that is
asked for, and only those are copied from the device.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.card import Card
from models.checkpoint import Checkpoint, GoldenMismatch, load_checkpoint
from models.critics import DotCritic
from models.golden import Golden, largest_errors
from models.inference import encode, prepare
from models.pairs import directed
from service.one_call import one_call

logger = logging.getLogger("infomax.engine")

Floats = NDArray[np.float32]
HEADS = ("y", "map", "fc", "conv")

# Folding batch norms into convolutions rounds in another order than the golden outputs did.
GOLDEN_TOLERANCE = 2e-3
MEASURED_BATCH = 16
MEASURED_S = 0.25  # for each number of threads
WORTH_A_THREAD = 1.5  # twice the threads must be so much faster, or cores are left to requests


class ServedCritic(NamedTuple):
    """What the service must know of a critic.

    side      places along one side of its map; 1 for a global critic
    product   whether all pairs are one matrix product, or each pair costs a visit
    """

    side: int
    product: bool


class Engine(Protocol):
    """A model that can be served.

    shapes   head -> shape of one image's array      critics   role -> critic
    """

    card: Card
    device: str
    threads: int
    shapes: Mapping[str, tuple[int, ...]]
    critics: Mapping[str, ServedCritic]

    def warm_up(self, max_batch: int) -> None:
        """Get ready for the first request, in the thread that will serve it."""

    def encode(self, pixels: NDArray[np.uint8], heads: frozenset[str]) -> Mapping[str, Floats]:
        """Pixels (N, size, size, channels) -> head -> (N, ...). May raise MemoryError."""

    def score_all(self, role: str, y: Floats, maps: Floats) -> Floats:
        """Summaries (I, D) against maps (J, C, M, M): scores (I, J, places)."""

    def score_paired(self, role: str, y: Floats, maps: Floats) -> Floats:
        """Summary i against map i: scores (I, places)."""


class TorchEngine:
    """A checkpoint's encoder and critics, prepared for inference.

    threads  CPU threads of a forward pass; 0 measures which number is fastest, at `warm_up`
    """

    def __init__(self, checkpoint: Checkpoint, device: str, threads: int = 0) -> None:
        self.card = checkpoint.card
        self.device = device
        self.threads = threads
        encoder = prepare(checkpoint.encoder)
        preprocessing = self.card.preprocessing
        # On a GPU the pass stays eager: its errors keep their types, and it waits for no lock.
        self._encode = (
            one_call(encoder, preprocessing)
            if device == "cpu"
            else partial(encode, encoder, preprocessing=preprocessing)
        )
        self._critics = {role: prepare(critic) for role, critic in checkpoint.critics.items()}
        self.shapes: Mapping[str, tuple[int, ...]] = {
            "y": (encoder.summary_dim,),
            "map": tuple(encoder.map_shape),
            "fc": (encoder.fc_dim,),
            "conv": (encoder.conv_dim,),
        }
        self.critics: Mapping[str, ServedCritic] = {
            role: ServedCritic(critic.places[0], isinstance(critic, DotCritic))
            for role, critic in checkpoint.critics.items()
        }

    def warm_up(self, max_batch: int) -> None:
        """Choose the number of threads, and let the first passes be nobody's request."""
        size, channels = self.card.preprocessing.size, self.card.preprocessing.channels
        pixels = np.zeros((min(MEASURED_BATCH, max_batch), size, size, channels), np.uint8)
        if self.device == "cpu":
            self.threads = self.threads or self._fastest_threads(pixels)
            torch.set_num_threads(self.threads)
        for images in (1, len(pixels)):
            self.encode(pixels[:images], frozenset(HEADS))
        logger.info("the model runs on %s with %d threads", self.device, self.threads)

    def encode(self, pixels: NDArray[np.uint8], heads: frozenset[str]) -> Mapping[str, Floats]:
        """Pixels (N, size, size, channels) -> head -> (N, ...).

        Raises MemoryError, and FloatingPointError for outputs that are not finite.
        """
        with self._guarded():
            features = self._encode(torch.from_numpy(pixels))
            arrays = {head: _to_numpy(getattr(features, head)) for head in heads}
        for head, array in arrays.items():
            if not np.isfinite(array).all():
                raise FloatingPointError(f"head {head} is not finite")
        return arrays

    def score_all(self, role: str, y: Floats, maps: Floats) -> Floats:
        """Summaries (I, D) against maps (J, C, M, M): scores (I, J, places)."""
        with self._guarded():
            return _to_numpy(self._critics[role](self._to_device(y), self._to_device(maps)))

    def score_paired(self, role: str, y: Floats, maps: Floats) -> Floats:
        """Summary i against map i: scores (I, places)."""
        with self._guarded():
            return _to_numpy(self._critics[role].paired(self._to_device(y), self._to_device(maps)))

    def check(self, golden: Golden) -> None:
        """Serve the golden images and compare; raises GoldenMismatch."""
        arrays = self.encode(golden.images.cpu().numpy(), frozenset(("y", "map")))
        outputs = {head: torch.from_numpy(array) for head, array in arrays.items()}
        for role in self.critics:
            scores = directed(torch.from_numpy(self.score_all(role, arrays["y"], arrays["map"])))
            outputs |= {f"t.{role}": scores.t, f"p.{role}": scores.p}
        for name, error in largest_errors(outputs, golden.outputs).items():
            if not error <= GOLDEN_TOLERANCE:
                raise GoldenMismatch(
                    f"served on {self.device}, the output {name} of the golden images differs by"
                    f" {error:.1g} of its size from what the checkpoint says; serve it on another"
                    " device, or restore the checkpoint"
                )

    def _fastest_threads(self, pixels: NDArray[np.uint8]) -> int:
        """Try 1, 2, 4, ... threads, up to what torch would take, on passes over these pixels."""
        most = torch.get_num_threads()
        best, best_s = 1, float("inf")
        for threads in sorted({1, most, *(2**power for power in range(1, most.bit_length()))}):
            torch.set_num_threads(min(threads, most))
            seconds = self._pass_seconds(pixels)
            if seconds * WORTH_A_THREAD < best_s:
                best, best_s = min(threads, most), seconds
        return best

    def _pass_seconds(self, pixels: NDArray[np.uint8]) -> float:
        """The fastest of several passes, after one that does not count."""
        self.encode(pixels, frozenset("y"))
        fastest, ends = float("inf"), time.perf_counter() + MEASURED_S
        while fastest == float("inf") or time.perf_counter() < ends:
            started = time.perf_counter()
            self.encode(pixels, frozenset("y"))
            fastest = min(fastest, time.perf_counter() - started)
        return fastest

    def _to_device(self, array: Floats) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Full fp32, no gradients, and every kind of running out of memory as MemoryError."""
        try:
            with torch.inference_mode(), _full_precision(self.device):
                yield
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError from error
        except RuntimeError as error:
            if "can't allocate memory" in str(error):
                raise MemoryError from error
            raise


def load_engine(folder: Path, device: str = "auto", threads: int = 0) -> TorchEngine:
    """Load a checkpoint onto a device and prove it by its golden outputs.

    Raises CheckpointError, and ValueError for a device that is not there.
    """
    device = choose_device(device)
    checkpoint = load_checkpoint(folder, device=device)
    engine = TorchEngine(checkpoint, device, threads)
    engine.check(checkpoint.golden)
    return engine


def choose_device(asked: str) -> str:
    """Resolve "auto"; raises ValueError for a GPU that torch cannot use."""
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda"):
        number = int(asked.partition(":")[2] or 0)
        if number >= torch.cuda.device_count():
            raise ValueError(f"there is no device {asked}; choose auto or cpu")
    return asked


def _full_precision(device: str) -> AbstractContextManager[None]:
    """TF32 would answer with three digits: a batch and its images alone would differ."""
    if device == "cpu":
        return contextlib.nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def _to_numpy(tensor: Tensor) -> Floats:
    array: Floats = tensor.detach().float().cpu().numpy()
    return array
