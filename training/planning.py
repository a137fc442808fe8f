"""What a run will take, said before anything long starts: memory, disk, speed, time to finish.

The network's memory and speed are measured: a trial learns for a moment from noise (training/
trial.py). The set's memory is counted. Where it does not fit, the plan says what to change.
"""

import shutil
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from models.card import Preprocessing
from models.method import Method
from training.choices import Measured, measure
from training.config import TrainConfig
from training.data import nothing_usable
from training.datasets import SIZES
from training.distributed import ALONE, Ranks
from training.draws import batch_size, steps_an_epoch
from training.files import Folder
from training.folder import choose_part
from training.images import DataError, Tell
from training.memory import available_bytes, in_words, peak_bytes, resident_bytes
from training.progress import duration
from training.shards import Shards
from training.source import Resident

SAMPLE = 200  # files that are decoded to see how long that takes
NOISE_BATCHES = 4
TRAINING_COPIES = 4  # of the weights: themselves, gradients, Adam's two moments
SAVE_COPIES = 6  # held while the state is saved: weights and moments, as tensors and as a file


@dataclass(frozen=True)
class SetSize:
    """How many images there are, and how long it takes to read and decode one."""

    to_train: int
    held_out: int
    decode_s: float = 0.0

    @property
    def all(self) -> int:
        """Images that will be in memory by the end: the held-out ones measure the critics."""
        return self.to_train + self.held_out


@dataclass(frozen=True)
class Plan:
    """Bytes and seconds of a run; `network_bytes` and `step_s` are 0 where nothing was measured."""

    size: SetSize
    set_bytes: int
    network_bytes: int
    process_bytes: int
    free_bytes: int
    streamed: bool
    disk_free_bytes: int
    measured: Measured
    total_steps: int

    @property
    def peak_bytes(self) -> int:
        """The most memory the process will hold."""
        resident = 0 if self.streamed else self.set_bytes
        return self.process_bytes + self.network_bytes + resident

    @property
    def fits(self) -> bool:
        """Whether that much is free, and the disk holds what is streamed."""
        disk = not self.streamed or self.set_bytes <= self.disk_free_bytes
        return self.peak_bytes - self.process_bytes <= self.free_bytes and disk

    def sentences(self) -> list[str]:
        """The plan in words."""
        told = [self.memory()]
        if self.streamed:
            told.append(
                f"The set is streamed: decoded once to disk ({in_words(self.set_bytes)} of"
                f" {in_words(self.disk_free_bytes)} free), read ahead of each step."
            )
        if self.size.decode_s:
            told.append(f"Reading the images takes about {duration(self._reading_s)}.")
        if self.measured.step_s is not None:
            training_s = self.total_steps * self.measured.step_s
            told.append(
                f"Speed: {1 / self.measured.step_s:.2f} steps/s; {self.total_steps:,} steps take"
                f" about {duration(training_s)}, with the reading"
                f" {duration(training_s + self._reading_s)}."
            )
        if not self.fits:
            told.append(f"It does not fit. {self.remedy()}")
        return told

    def memory(self) -> str:
        """The bytes, in one sentence."""
        where = " of disk" if self.streamed else ""
        return (
            f"Memory: {self.size.to_train:,} images to train with and {self.size.held_out:,} held"
            f" out take {in_words(self.set_bytes)}{where}, the network and a step"
            f" {in_words(self.network_bytes)}, the program itself {in_words(self.process_bytes)}:"
            f" {in_words(self.peak_bytes)} at the peak; {in_words(self.free_bytes)} are free."
        )

    def remedy(self) -> str:
        """What to change."""
        if self.streamed and self.set_bytes > self.disk_free_bytes:
            return "Free some space on the disk of --out, or choose an --out on another disk."
        if not self.streamed and self.network_bytes <= self.free_bytes:
            return "Add --stream: the images then stay on disk."
        return "Use a smaller batch_size or local_units, or a machine with more memory."

    @property
    def _reading_s(self) -> float:
        return self.size.all * self.size.decode_s


def make_plan(
    config: TrainConfig,
    model: Method,
    preprocessing: Preprocessing,
    size: SetSize,
    out: Path,
    *,
    device: torch.device,
    stream: bool | None,
    measured: Measured | None,
    tell: Tell,
    ranks: Ranks = ALONE,
) -> Plan:
    """Count, and measure on a copy of the model, unless `measured` is known already.

    stream    None: where the set does not fit

    The model stays as it is and so do torch's threads.
    """
    free, process = free_bytes(device), resident_bytes()
    if device.type == "cpu":
        free //= ranks.beside  # the others here want as much
    if measured is None:
        before = taken_bytes(device)
        source = noise(config, preprocessing, size.to_train, device)
        measured = measure(
            config,
            model,
            source,
            preprocessing,
            images=size.to_train,
            device=device,
            tell=tell,
            ranks=ranks,
        )
        network = max(0, taken_bytes(device) - before) + SAVE_COPIES * weight_bytes(model)
    else:
        network = (TRAINING_COPIES + SAVE_COPIES) * weight_bytes(model)
    set_bytes = size.all * preprocessing.size**2 * preprocessing.channels
    too_large = set_bytes + network > free
    return Plan(
        size=size,
        set_bytes=set_bytes,
        network_bytes=network,
        process_bytes=process,
        free_bytes=free,
        streamed=too_large if stream is None else stream,
        disk_free_bytes=shutil.disk_usage(_existing(out)).free,
        measured=measured,
        total_steps=measured.total_steps(config, size.to_train),
    )


def measure_set(data: str, files: Folder | Shards | None, preprocessing: Preprocessing) -> SetSize:
    """Count the images of a set that was opened or is known by name; time a few of them."""
    if files is None:
        return SetSize(*SIZES[data])
    part, test = (choose_part(files.listing, split) for split in ("train", "test"))
    if not part.files:
        raise DataError(nothing_usable(files.root, part, part.problems))
    began = time.perf_counter()
    sample = part.files[:SAMPLE]
    for _ in islice(files.decode(sample, preprocessing), len(sample)):
        pass
    return SetSize(len(part.files), len(test.files), (time.perf_counter() - began) / len(sample))


def noise(
    config: TrainConfig, preprocessing: Preprocessing, images: int, device: torch.device
) -> Resident:
    """A few batches of random pixels: a step takes as long on them as on pictures."""
    size = batch_size(config, images) * min(NOISE_BATCHES, steps_an_epoch(config, images))
    shape = (size, preprocessing.size, preprocessing.size, preprocessing.channels)
    draw = torch.Generator().manual_seed(0)
    return Resident(torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw).to(device))


def weight_bytes(model: Method) -> int:
    """The bytes of all parameters."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


def taken_bytes(device: torch.device) -> int:
    """The most memory taken so far, where the network is."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return peak_bytes()


def free_bytes(device: torch.device) -> int:
    """Memory that can still be taken, where the network is."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_bytes()


def _existing(path: Path) -> Path:
    """The path or the nearest folder above it that is there."""
    path = path.resolve()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def require_fit(plan: Plan) -> None:
    """Raise DataError with the remedy for a run that would not fit."""
    if not plan.fits:
        raise DataError(f"{plan.memory()} It does not fit. {plan.remedy()}")
