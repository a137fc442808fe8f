"""What holds images: a folder of files or shards, with one interface."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from models.card import Preprocessing
from training.datasets import NAMED_SETS
from training.decoding import Decoded, decode_files
from training.folder import Listing, scan, shown
from training.images import DataError, Progress, Unusable
from training.shards import Shards, is_sharded, open_shards


@dataclass(frozen=True)
class Folder:
    """A folder of image files, with the interface of Shards."""

    root: Path

    @property
    def name(self) -> str:
        """What the set is called."""
        return shown(self.root.resolve().name)

    @cached_property
    def listing(self) -> Listing:
        """What lies in it."""
        return scan(self.root)

    def decode(
        self, names: Sequence[str], preprocessing: Preprocessing, progress: Progress | None = None
    ) -> Iterator[Decoded | Unusable]:
        """Decode these files, in their order."""
        return decode_files(self.root, names, preprocessing, progress)

    def key(self, names: Sequence[str]) -> str:
        """Something that changes when a file does: names, sizes, times."""
        digest = hashlib.sha256()
        for name in names:
            try:
                status = (self.root / name).stat()
            except OSError:
                continue  # it will be named when it is read
            digest.update(os.fsencode(name))
            digest.update(f"\0{status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def open_files(data: str) -> Folder | Shards:
    """The folder or the shards of that name; DataError where there is nothing."""
    if is_sharded(data):
        return open_shards(data)
    folder = Path(data).expanduser()
    if not _is_there(folder):
        raise DataError(
            f"{shown(data)} is neither a folder nor a data set known by name "
            f"({', '.join(NAMED_SETS)}). Check the path or the name."
        )
    return Folder(folder)


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError):  # also names that are too long or hold a zero byte
        return False
    return True
