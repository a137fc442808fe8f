"""The files of a checkpoint folder, read as strangers' bytes: judged before anything is built.

CheckpointError
    CheckpointMissing       no folder or file there, or not one that may be read
    CheckpointDamaged       a file is not the one that was saved
    CheckpointIncompatible  whole, but not for this version: schema, unknown keys, names, arguments
    WeightsMismatch         the tensors are not those of the networks the card describes
    GoldenMismatch          the networks do not give the outputs they gave when they were saved
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from models.atomic import is_current, open_folder
from models.card import CARD_FILE, GOLDEN_FILE, SCHEMA_VERSION, WEIGHTS_FILE, Card
from models.registry import did_you_mean

RESTORE = "restore the checkpoint from where it came, or train it again"


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message says which file and what to do."""


class CheckpointMissing(CheckpointError):
    """There is no such folder or file, or it may not be read."""


class CheckpointDamaged(CheckpointError):
    """A file is not the one that was saved."""


class CheckpointIncompatible(CheckpointError):
    """The card is whole but asks for something that this version does not know."""


class WeightsMismatch(CheckpointError):
    """The tensors are not those of the networks that the card describes."""


class GoldenMismatch(CheckpointError):
    """The networks do not give the outputs that they gave when they were saved."""


@dataclass(frozen=True)
class OpenFolder:
    """A checkpoint's folder, held open: its files stay readable while it is being replaced."""

    path: Path
    descriptor: int


Result = TypeVar("Result")
_ATTEMPTS = 10
_MOST_CARD_BYTES = 4 << 20


def reading(path: Path, read: Callable[[OpenFolder], Result]) -> Result:
    """Call read(folder), and again where the folder was replaced by a newer one meanwhile.

    Raises CheckpointMissing where there is no folder, and whatever `read` raises.
    """
    for _ in range(_ATTEMPTS):
        try:
            with open_folder(path) as descriptor:
                try:
                    return read(OpenFolder(path, descriptor))
                except CheckpointError:
                    if is_current(path, descriptor):
                        raise
        except OSError as error:
            raise CheckpointMissing(
                f"There is no checkpoint folder at {path}: {_words(error)}. Name a folder that "
                f"holds {CARD_FILE}, {WEIGHTS_FILE} and {GOLDEN_FILE}."
            ) from error
    raise CheckpointMissing(
        f"The checkpoint at {path} was replaced {_ATTEMPTS} times while it was being read; try "
        "again when its writer is done."
    )


def read_bytes(folder: OpenFolder, name: str, most: int, sha256: str | None = None) -> bytes:
    """Read a regular file of at most `most` bytes, and check its hash if one is given.

    Raises CheckpointMissing or CheckpointDamaged.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(os.open(name, flags, dir_fd=folder.descriptor), "rb") as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CheckpointDamaged(f"{name} in {folder.path} is not a file; {RESTORE}.")
            if status.st_size > most:
                raise CheckpointDamaged(
                    f"{name} in {folder.path} has {status.st_size:,} bytes, where {most:,} are "
                    f"enough; {RESTORE}."
                )
            content = file.read(status.st_size)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CheckpointDamaged(
                f"{name} in {folder.path} is a symbolic link, which could lead anywhere; put the "
                "file itself there."
            ) from error
        if error.errno == errno.EISDIR:
            raise CheckpointDamaged(f"{name} in {folder.path} is a folder; {RESTORE}.") from error
        raise CheckpointMissing(
            f"{name} in {folder.path} cannot be read: {_words(error)}. Check the folder and its "
            f"permissions, or {RESTORE}."
        ) from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointDamaged(
            f"{name} in {folder.path} is not the file that was saved: its sha256 differs from the "
            f"one in {CARD_FILE}; {RESTORE}."
        )
    return content


def read_card_file(folder: OpenFolder) -> Card:
    """Read and check the card. Raises CheckpointMissing, -Damaged or -Incompatible."""
    content = read_bytes(folder, CARD_FILE, _MOST_CARD_BYTES)
    where = f"{CARD_FILE} in {folder.path}"
    try:
        facts = from_json(content)
    except ValueError as error:
        raise CheckpointDamaged(f"{where} is not valid JSON ({error}); {RESTORE}.") from error
    if not isinstance(facts, dict):
        raise CheckpointDamaged(f"{where} is not a JSON object; {RESTORE}.")
    version = facts.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise CheckpointIncompatible(
            f"{where} has schema version {str(version)[:40]}, and this version of infomax reads "
            f"{SCHEMA_VERSION}; install the version of infomax that wrote it."
        )
    try:
        card = Card.model_validate_json(content)
    except ValidationError as error:
        raise CheckpointIncompatible(f"{where}: {_first_fault(error)}; {RESTORE}.") from error
    if set(card.files) != {WEIGHTS_FILE, GOLDEN_FILE}:
        named = ", ".join(sorted(card.files))[:200] or "no file"
        raise CheckpointIncompatible(
            f"{where} names {named} under files, where a checkpoint has {WEIGHTS_FILE} and "
            f"{GOLDEN_FILE}; {RESTORE}."
        )
    return card


def card_bytes(card: Card) -> bytes:
    """Write a card as JSON that is certain to be read again. Raises ValueError otherwise."""
    content = card.model_dump_json(indent=2).encode() + b"\n"
    Card.model_validate_json(content)
    if len(content) > _MOST_CARD_BYTES:
        raise ValueError(f"The card has {len(content):,} bytes; shorten its recipe or its notes.")
    return content


def _words(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _first_fault(error: ValidationError) -> str:
    """Say the first of pydantic's complaints, with the nearest known key for an unknown one."""
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])[:200]
    if fault["type"] != "extra_forbidden":
        return f"{place}: {fault['msg'][:200]}"
    known = _part_at(fault["loc"][:-1]).model_fields
    return f"unknown key {place}{did_you_mean(str(fault['loc'][-1])[:80], known)}"


def _part_at(place: tuple[int | str, ...]) -> type[BaseModel]:
    """Give the part of a card at that place; numbers and names of entries lead no deeper."""
    part: type[BaseModel] = Card
    for step in place:
        if step in part.model_fields:
            part = next(_models_in(part.model_fields[str(step)].annotation), part)
    return part


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Find the parts of a card that a field may hold, also in lists, dictionaries and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
