"""Decoded pixels on disk, mapped into memory: a set that does not fit is decoded once, then read.

pixels.u8    the images one after the other, (size, size, channels) uint8 each
pixels.json  what they are: written last, so that a file half written is never taken for whole

The file is memory like any other tensor to whoever reads it, but the system gives pages of it back
when memory runs short. See docs/adr/0003-streaming.md.
"""

import json
import mmap
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from models.atomic import write_file
from models.card import Preprocessing
from models.types import Pixels
from training.images import DataError, Unusable

PIXELS_FILE = "pixels.u8"
ABOUT_FILE = "pixels.json"
RESERVE = 2**26  # bytes of the disk that are left alone
MIB = 2**20


class PixelFile:
    """Writes decoded images to a folder, one after the other; use with `with`."""

    def __init__(self, folder: Path, count: int, preprocessing: Preprocessing) -> None:
        self.folder, self.preprocessing = folder, preprocessing
        self.count = 0
        folder.mkdir(parents=True, exist_ok=True)
        needed = count * preprocessing.size**2 * preprocessing.channels
        free = shutil.disk_usage(folder).free
        if needed + RESERVE > free:
            raise DataError(_full(folder, f"{needed / MIB:,.0f} MiB are needed"))

    def __enter__(self) -> "PixelFile":
        """Begin an empty file."""
        (self.folder / ABOUT_FILE).unlink(missing_ok=True)
        self.file = (self.folder / PIXELS_FILE).open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; without `keep` it counts for nothing."""
        self.file.close()

    def add(self, pixels: UInt8[np.ndarray, "size size channels"]) -> None:
        """Append one image. DataError where the disk is full."""
        try:
            self.file.write(np.ascontiguousarray(pixels).data)
        except OSError as error:
            raise DataError(_full(self.folder, f"{error.strerror}")) from error
        self.count += 1

    def keep(self, key: str, fingerprint: str, unusable: Sequence[Unusable]) -> Pixels:
        """Finish the file, describe it, and map it."""
        about = {
            "key": key,
            "images": self.count,
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            "fingerprint": fingerprint,
            "unusable": [[each.path, each.reason] for each in unusable],
        }
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
            write_file(self.folder / ABOUT_FILE, json.dumps(about).encode())
        except OSError as error:
            raise DataError(_full(self.folder, f"{error.strerror}")) from error
        return map_pixels(self.folder, self.count, self.preprocessing)


def find_pixels(folder: Path, key: str, preprocessing: Preprocessing) -> dict[str, Any] | None:
    """What is known of the pixels there, if they are whole and of this very set."""
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT_FILE).read_bytes())
        size = (folder / PIXELS_FILE).stat().st_size
    except (OSError, ValueError):
        return None
    image_bytes = preprocessing.size**2 * preprocessing.channels
    whole = size == about.get("images", -1) * image_bytes
    same = about.get("preprocessing") == preprocessing.model_dump(mode="json")
    return about if whole and same and about.get("key") == key else None


def map_pixels(folder: Path, count: int, preprocessing: Preprocessing) -> Pixels:
    """The pixels of the file as a tensor; what is written to it stays in memory."""
    shape = (count, preprocessing.size, preprocessing.size, preprocessing.channels)
    if not count:
        return torch.empty(shape, dtype=torch.uint8)
    with (folder / PIXELS_FILE).open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    if hasattr(mmap, "MADV_RANDOM"):  # rows come in any order: what follows one is not needed next
        mapped.madvise(mmap.MADV_RANDOM)
    return torch.from_numpy(np.frombuffer(mapped, np.uint8).reshape(shape))


def _full(folder: Path, why: str) -> str:
    return (
        f"The decoded images do not fit on the disk that holds {folder} ({why},"
        f" {shutil.disk_usage(folder).free / MIB:,.0f} MiB are free). Free some space, or choose an"
        " --out on another disk."
    )
