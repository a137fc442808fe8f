"""What is known of a run: its folder's logs, its checkpoint, and images to show it on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from pydantic import ValidationError
from torch import Tensor

from models.card import CARD_FILE, Preprocessing, VerdictCard
from models.checkpoint import Checkpoint, load_checkpoint
from models.types import Pixels
from training.data import load_images
from training.folder import Split
from training.images import NO_LABEL, DataError, ImageSet, Progress, Tell
from training.runs import CHECKPOINT_FOLDER, HEALTH_FILE, LOG_FILE, RUN_FILE, VERDICT_FILE

MOST_IMAGES = 10_000  # of the sample: neighbours are sought among these
FEW_IMAGES = 2_000  # held-out ones under which training images are shown too
SEED = 7

Line = dict[str, Any]


class ReportError(Exception):
    """There is nothing to report on; the message says what to name instead."""


@dataclass(frozen=True)
class Run:
    """A run as its files tell it; what is missing is None or empty.

    folder      the run's folder; None for a checkpoint alone
    log         a line a step; `health` a line a look
    settings    the configuration, by name
    """

    name: str
    folder: Path | None
    checkpoint: Checkpoint | None
    log: list[Line]
    health: list[Line]
    verdict: VerdictCard | None
    settings: dict[str, Any]
    data: dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """Images to show the encoder on; labels index `class_names`, NO_LABEL where there is none.

    The first `held_out` of them are the first split's: queries are taken from these.
    """

    pixels: Pixels
    labels: Int64[Tensor, " images"] | None
    class_names: list[str]
    which: str
    held_out: int

    def label(self, place: int) -> str:
        """The class name of an image, or nothing."""
        number = NO_LABEL if self.labels is None else int(self.labels[place])
        return "" if number == NO_LABEL else self.class_names[number]

    def __len__(self) -> int:
        return len(self.pixels)


def read_run(path: Path) -> Run:
    """Read a run's folder, or a checkpoint folder alone. Raises ReportError for anything else.

    CheckpointError where a checkpoint is there but damaged.
    """
    if (path / CARD_FILE).is_file() and (path.absolute().parent / RUN_FILE).is_file():
        path = path.absolute().parent  # the checkpoint of a run: its logs lie beside it
    if (path / RUN_FILE).is_file():
        return read_run_folder(path)
    if not (path / CARD_FILE).is_file():
        raise ReportError(
            f"{path} holds neither {RUN_FILE} nor {CARD_FILE}; name the folder given to"
            " `train --out`, or a checkpoint's folder"
        )
    loaded = load_checkpoint(path)
    card = loaded.card
    return Run(
        name=card.name,
        folder=None,
        checkpoint=loaded,
        log=[],
        health=[],
        verdict=card.verdict,
        settings=dict(card.training.recipe),
        data=card.data.model_dump(),
    )


def read_run_folder(folder: Path) -> Run:
    """Read the folder that `train --out` made."""
    checkpoint = folder / CHECKPOINT_FOLDER
    loaded = load_checkpoint(checkpoint) if (checkpoint / CARD_FILE).is_file() else None
    try:
        described = json.loads((folder / RUN_FILE).read_bytes())
        settings, data = dict(described["config"]), dict(described["data"])
    except (ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{folder / RUN_FILE} is damaged ({error})") from error
    return Run(
        name=loaded.card.name if loaded else folder.absolute().name,
        folder=folder,
        checkpoint=loaded,
        log=read_lines(folder / LOG_FILE),
        health=read_lines(folder / HEALTH_FILE),
        verdict=read_verdict(folder / VERDICT_FILE) or (loaded.card.verdict if loaded else None),
        settings=settings,
        data=data,
    )


def read_lines(file: Path) -> list[Line]:
    """The lines of a log; a torn last one (the run may be going on) is left out."""
    if not file.is_file():
        return []
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "step" in line:
            lines.append(line)
    return lines


def read_verdict(file: Path) -> VerdictCard | None:
    """The verdict of a finished run; None where there is none that can be read."""
    try:
        return VerdictCard.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def read_sample(
    data: str,
    preprocessing: Preprocessing,
    *,
    root: Path | None,
    progress: Progress | None = None,
    tell: Tell = print,
) -> Sample:
    """At most MOST_IMAGES held-out images of `data`; with training images where those are few.

    Raises DataError where there are no images.
    """
    parts: list[ImageSet] = []
    splits: tuple[Split, ...] = ("test", "train")
    for split in splits:
        if sum(map(len, parts)) >= FEW_IMAGES:
            break
        try:
            parts.append(
                load_images(
                    data,
                    preprocessing=preprocessing,
                    root=root,
                    split=split,
                    progress=progress,
                    tell=tell,
                )
            )
        except DataError:
            if split == "train":
                raise
    return gather(parts)


def gather(parts: Sequence[ImageSet]) -> Sample:
    """One sample of several splits, with one numbering of classes; held-out images first."""
    names = sorted({name for part in parts for name in part.class_names or []})
    labels = torch.cat([numbered(part, names) for part in parts])
    pixels = torch.cat([part.pixels for part in parts])
    draw = torch.Generator().manual_seed(SEED)
    starts = [sum(map(len, parts[:place])) for place in range(len(parts))]
    order = torch.cat(
        [
            start + torch.randperm(len(part), generator=draw)
            for start, part in zip(starts, parts, strict=True)
        ]
    )[:MOST_IMAGES]
    return Sample(
        pixels=pixels[order],
        labels=labels[order] if names else None,
        class_names=names,
        which=f"{len(order):,} images of {parts[0].name}"
        f" ({', '.join(part.origin for part in parts)})",
        held_out=len(parts[0]),
    )


def numbered(part: ImageSet, names: Sequence[str]) -> Int64[Tensor, " images"]:
    """The labels of one split by the numbers of all the names; NO_LABEL where there is none."""
    if part.labels is None or part.class_names is None:
        return torch.full((len(part),), NO_LABEL)
    number = torch.tensor([*(names.index(name) for name in part.class_names), NO_LABEL])
    return number[part.labels]
