"""Images in shards: tar files (as WebDataset writes them) and Parquet, here or behind a URL.

Every image has a name, `shard.tar/member.jpg` or `shard.parquet/17`, and is split, skipped and
counted by it as a file of a folder is. URLs (s3://, gs://, https://, memory://) are opened by
fsspec, which brings what a protocol needs only where the user installed it; so may a URL's folder
of plain images. Shards are read one after the other, decoded by all cores.
"""

import hashlib
import os
import tarfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from models.card import Preprocessing
from training.decoding import Decoded, decode_contents
from training.folder import Listing, shown
from training.images import DataError, Progress, Unusable

IMAGE_ENDINGS = tuple(
    ".jpg .jpeg .png .webp .gif .bmp .tif .tiff .ppm .pgm .jp2 .avif".split()  # noqa: SIM905
)
TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")
PARQUET_ENDING = ".parquet"
ROWS_A_READ = 256  # of a Parquet file
WILD = "*?["
INSTALL = ".venv/bin/pip install -c constraints.txt -e '.[streaming]'"

Open = Callable[[str], Any]  # a binary file; fsspec has classes of its own
Record = tuple[str, bytes]


def is_sharded(data: str) -> bool:
    """Whether `data` means shards: a URL, a pattern, a shard, or a folder of nothing but shards.

    A list or a note beside the shards is overlooked; a folder or an image is not.
    """
    if "://" in data:
        return True
    folder = os.path.expanduser(data)  # noqa: PTH111 - any string may come here
    try:
        entries = list(os.scandir(folder))
    except (OSError, ValueError):
        plain_file = os.path.isfile(folder)  # noqa: PTH113 - likewise
        return _is_shard(data) if plain_file else _first_wild(data) < len(data)
    return any(_is_shard(entry.name) for entry in entries) and not any(
        entry.is_dir() or entry.name.lower().endswith(IMAGE_ENDINGS) for entry in entries
    )


def open_shards(data: str) -> "Shards":
    """The shards that `data` names, by name. DataError, with the remedy, where there are none."""
    shards = _remote(data) if "://" in data else _local(data)
    kept = tuple(
        name for name in shards.files if _is_shard(name) or name.lower().endswith(IMAGE_ENDINGS)
    )
    if not kept:
        raise DataError(
            f"{shown(data)}: there are no .tar or .parquet files and no images. Check the path, or"
            " the pattern (quote it, so that the shell leaves it alone)."
        )
    return replace(shards, files=kept)


@dataclass(frozen=True)
class Shards:
    """Files that hold images; `stamp` changes when a file does."""

    root: Path
    name: str
    files: tuple[str, ...]
    open: Open
    stamp: Callable[[str], str]

    @cached_property
    def listing(self) -> Listing:
        """The name of every image, in the order they are stored, and the shards that are broken."""
        names: list[str] = []
        problems: list[Unusable] = []
        for file in self.files:
            try:
                names.extend(self._names(file))
            except _BROKEN as error:
                problems.append(Unusable(file, f"damaged, or not what its name says: {error}"))
        return Listing(self.root, tuple(names), tuple(problems))

    def decode(
        self, names: Collection[str], preprocessing: Preprocessing, progress: Progress | None = None
    ) -> Iterator[Decoded | Unusable]:
        """Decode the images of these names, in the order of `listing`."""
        wanted = frozenset(names)
        return decode_contents(self._records(wanted), len(wanted), preprocessing, progress)

    def key(self, names: Collection[str]) -> str:  # noqa: ARG002 - the interface of a folder
        """Something that changes when a shard does: names, sizes, times."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file}\0{self.stamp(file)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _names(self, file: str) -> Iterator[str]:
        if file.endswith(PARQUET_ENDING):
            with self.open(file) as opened:
                count = _parquet(opened).metadata.num_rows
            yield from (f"{file}/{row}" for row in range(count))
        elif _is_shard(file):
            with self.open(file) as opened, tarfile.open(fileobj=opened) as archive:
                yield from (f"{file}/{member.name}" for member in archive if _is_image(member))
                _require_end(archive)
        else:
            yield file

    def _records(self, wanted: frozenset[str]) -> Iterator[Record | Unusable]:
        known_as_broken = {problem.path for problem in self.listing.problems}
        for file in self.files:
            read = _read_parquet if file.endswith(PARQUET_ENDING) else _read_tar
            try:
                with self.open(file) as opened:
                    if _is_shard(file):
                        yield from read(opened, file, wanted)
                    elif file in wanted:
                        yield file, opened.read()
            except _BROKEN as error:
                if file not in known_as_broken:
                    yield Unusable(file, f"damaged, or not what its name says: {error}")


def _require_end(archive: tarfile.TarFile) -> None:
    """ReadError where an archive that was read to its end has none: tarfile lets that pass."""
    rest = archive.fileobj
    if rest is not None:
        rest.seek(archive.offset)
        if len(rest.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("the archive ends early")


def _read_tar(opened: Any, file: str, wanted: frozenset[str]) -> Iterator[Record]:
    with tarfile.open(fileobj=opened) as archive:
        for member in archive:
            name = f"{file}/{member.name}"
            if name in wanted and (content := archive.extractfile(member)) is not None:
                yield name, content.read()


def _read_parquet(opened: Any, file: str, wanted: frozenset[str]) -> Iterator[Record]:
    table = _parquet(opened)
    column = _image_column(table.schema_arrow, file)
    row = 0
    for batch in table.iter_batches(batch_size=ROWS_A_READ, columns=[column]):
        for value in batch.column(0):
            name, content = f"{file}/{row}", value.as_py()
            row += 1
            if name in wanted:
                yield name, (content["bytes"] if isinstance(content, dict) else content) or b""


def _image_column(schema: Any, file: str) -> str:
    """The first column of bytes, or of structs with `bytes` in them (Hugging Face's images)."""
    for field in schema:
        kind = str(field.type)
        if kind in {"binary", "large_binary"} or kind.startswith("struct<bytes: "):
            return str(field.name)
    raise DataError(
        f"{shown(file)} has no column of encoded images (binary, or a struct with `bytes`); its"
        f" columns are {', '.join(schema.names)}."
    )


def _parquet(opened: Any) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(f"Parquet needs pyarrow: {INSTALL}") from error
    return parquet.ParquetFile(opened)


def _is_shard(name: str) -> bool:
    return name.endswith((*TAR_ENDINGS, PARQUET_ENDING))


def _is_image(member: tarfile.TarInfo) -> bool:
    hidden = member.name.rsplit("/", 1)[-1].startswith(".")
    return member.isfile() and not hidden and member.name.lower().endswith(IMAGE_ENDINGS)


_BROKEN = (tarfile.TarError, OSError, EOFError, ValueError)  # ValueError: also pyarrow's errors


def _local(data: str) -> Shards:
    path = Path(data).expanduser()
    if path.is_dir():
        root, found = path, [file for file in path.rglob("*") if _is_shard(file.name)]
    else:
        plain = str(path)[: _first_wild(str(path))]
        root = Path(plain if plain.endswith("/") else f"{plain}*").parent
        found = [path] if path.is_file() else [*root.glob(str(path.relative_to(root)))]
    names = sorted(str(file.relative_to(root)) for file in found)

    def opener(name: str) -> BinaryIO:
        return (root / name).open("rb")

    def stamp(name: str) -> str:
        status = (root / name).stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    return Shards(root, shown(path.name), tuple(names), opener, stamp)


def _first_wild(path: str) -> int:
    """Where a pattern stops being a plain path."""
    return min((path.index(letter) for letter in WILD if letter in path), default=len(path))


def _remote(url: str) -> Shards:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise DataError(f"URLs need fsspec: {INSTALL}") from error
    try:
        system, path = url_to_fs(url)
        found = system.glob(path) if _first_wild(path) < len(path) else system.find(path)
    except (ImportError, ValueError, OSError) as error:
        raise DataError(f"{shown(url)} cannot be opened: {error}") from error

    def opener(name: str) -> Any:
        return system.open(name, "rb")

    def stamp(name: str) -> str:
        about = system.info(name)
        return " ".join(str(about.get(key)) for key in ("size", "mtime", "LastModified", "ETag"))

    name = shown(path.rstrip("/").rsplit("/", 1)[-1])
    return Shards(Path(url), name, tuple(sorted(found)), opener, stamp)
