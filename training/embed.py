"""`embed`: the vectors of all images in one file, and beside them which image each belongs to."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from models.card import Card, Preprocessing
from models.checkpoint import CheckpointError, load_checkpoint
from models.inference import encode, prepare
from models.registry import look_up
from models.types import Features, Pixels, Summaries
from training.data import load_images
from training.datasets import DEFAULT_ROOT, NAMED_SETS
from training.devices import DEVICES, choose_device
from training.display import Display
from training.folder import Split, shown
from training.images import DataError, ImageSet, Progress, Tell

REPRESENTATIONS: dict[str, Callable[[Features], Summaries]] = {
    "y": lambda features: features.y,
    "y_sigmoid": lambda features: features.y.sigmoid(),
    "fc": lambda features: features.fc,
    "conv": lambda features: features.conv,
}
PATHS_SUFFIX = ".paths.txt"
BATCH = 256  # images a forward pass
CPU = torch.device("cpu")

Vectors = Iterator[Float[np.ndarray, "images dim"]]  # batches


def embed(
    checkpoint: Path,
    data: str,
    out: Path,
    representation: str = "y",
    *,
    root: Path | None = None,
    split: Split = "all",
    download: bool = False,
    device: torch.device = CPU,
    progress: Progress | None = None,
    tell: Tell = print,
) -> int:
    """Write the vectors of the images of `data` to `out`; how many there are.

    out  NAME.npy: float32 (N, D), with the paths in NAME.npy.paths.txt, one a line;
         NAME.parquet: columns `path` and `embedding` (D float32)
    A file appears whole or not at all; vectors and paths have one order. Raises ValueError for an
    unknown representation or ending, DataError and CheckpointError for what cannot be used.
    """
    write = look_up("ending", WRITERS, out.suffix)
    if not out.absolute().parent.is_dir():
        raise DataError(f"there is no folder {out.absolute().parent}; create it first")
    if write is write_parquet:
        import_pyarrow()
    choose = look_up("representation", REPRESENTATIONS, representation)
    loaded = load_checkpoint(checkpoint)
    images = load_images(
        data,
        preprocessing=loaded.card.preprocessing,
        root=root,
        split=split,
        download=download,
        progress=progress,
        tell=tell,
    )
    encoder = prepare(loaded.encoder).to(device)
    vectors = encode_batches(encoder, images.pixels, loaded.card.preprocessing, choose, progress)
    write(out, image_paths(images, split), vectors, facts(loaded.card, images, representation))
    return len(images)


def encode_batches(
    encoder: nn.Module,
    pixels: Pixels,
    preprocessing: Preprocessing,
    choose: Callable[[Features], Summaries],
    progress: Progress | None,
) -> Vectors:
    """The chosen representation of every image, float32 on the CPU, batch by batch."""
    for start in range(0, len(pixels), BATCH):
        batch = pixels[start : start + BATCH]
        features = encode(encoder, batch, preprocessing)
        yield choose(features).float().cpu().numpy()
        if progress is not None:
            progress("embedding", start + len(batch), len(pixels))


def image_paths(images: ImageSet, split: Split) -> list[str]:
    """Each image's path, fit to print; `cifar10/test/17` for image 17 of a named set."""
    if images.paths is None:
        return [f"{images.name}/{split}/{place}" for place in range(len(images))]
    return [shown(path) for path in images.paths]


def facts(card: Card, images: ImageSet, representation: str) -> dict[str, str]:
    """Where the vectors come from; Parquet keeps it beside them."""
    return {
        "infomax.model": card.identity,
        "infomax.representation": representation,
        "infomax.data": images.name,
        "infomax.data_fingerprint": images.fingerprint,
    }


def write_npy(out: Path, paths: list[str], vectors: Vectors, about: dict[str, str]) -> None:  # noqa: ARG001 - one signature for the table
    """`out` and, first, its list of paths."""
    first = next(vectors)
    with replacing(out) as temporary:
        shape = (len(paths), first.shape[1])
        rows = np.lib.format.open_memmap(temporary, "w+", np.dtype(np.float32), shape)
        rows[: len(first)] = first
        filled = len(first)
        for batch in vectors:
            rows[filled : filled + len(batch)] = batch
            filled += len(batch)
        rows.flush()
        del rows
        with replacing(out.with_name(out.name + PATHS_SUFFIX)) as names:
            names.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")


def write_parquet(out: Path, paths: list[str], vectors: Vectors, about: dict[str, str]) -> None:
    """One Parquet file, a row group a batch."""
    pa, pq = import_pyarrow()
    writer: Any = None
    filled = 0
    with replacing(out) as temporary:
        for batch in vectors:
            values = pa.array(batch.ravel(), type=pa.float32())
            embeddings = pa.FixedSizeListArray.from_arrays(values, batch.shape[1])
            table = pa.table(
                {"path": paths[filled : filled + len(batch)], "embedding": embeddings}
            ).replace_schema_metadata(about)
            if writer is None:
                writer = pq.ParquetWriter(temporary, table.schema)
            writer.write_table(table)
            filled += len(batch)
        writer.close()


WRITERS: dict[str, Callable[[Path, list[str], Vectors, dict[str, str]], None]] = {
    ".npy": write_npy,
    ".parquet": write_parquet,
}


def import_pyarrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet; DataError says how to install them."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(
            "writing .parquet needs pyarrow: pip install infomax[parquet], or choose a .npy file"
        ) from error
    return pa, pq


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A temporary sibling to write to, which takes the file's place once it is safely on disk."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `embed`."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="a checkpoint folder")
    parser.add_argument("--data", required=True, help=f"a folder, or {', '.join(NAMED_SETS)}")
    parser.add_argument("--out", type=Path, required=True, help="FILE.npy or FILE.parquet")
    parser.add_argument("--representation", choices=sorted(REPRESENTATIONS), default="y")
    parser.add_argument("--split", choices=("all", "train", "test"), default="all")
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where named sets lie")
    parser.add_argument("--download", action="store_true", help="fetch a named set if missing")
    parser.add_argument("--device", choices=DEVICES, default="auto")


def run(args: argparse.Namespace) -> int:
    """0 with the file written; 2 where checkpoint, images or file cannot be used."""
    try:
        with Display() as progress:
            count = embed(
                args.checkpoint,
                args.data,
                args.out,
                args.representation,
                root=args.root,
                split=args.split,
                download=args.download,
                device=choose_device(args.device),
                progress=progress,
            )
    except (DataError, CheckpointError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Wrote {count:,} vectors ({args.representation}) to {args.out}.")
    return 0
