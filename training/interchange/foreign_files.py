"""Other people's checkpoint files: the one place where torch.load is called.

Those files are pickles. `weights_only=True` reads tensors, numbers, text and containers of them and
refuses everything else before it runs, so nothing a stranger wrote is executed.
"""

import hashlib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.interchange.errors import CodeInside, SourceUnreadable, WrongLayout

State = dict[str, Tensor]

# What torch says where an object other than a tensor would have to be made.
_REFUSED = re.compile(
    r"unsupported global(?:: GLOBAL)? (?P<name>[\w.]+)|allowlisted", re.IGNORECASE
)
_NAMED_AT_MOST = 3

SAVE_TENSORS = (
    "In the environment that made it, save the tensors alone, "
    "torch.save(network.state_dict(), 'tensors.pt'), and import that file."
)


def read_foreign(path: Path) -> Any:
    """Read what torch.save wrote, executing nothing. Raises SourceUnreadable or CodeInside."""
    if not path.is_file():
        raise SourceUnreadable(f"There is no file {path}; name the checkpoint to import.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols; what matters is raised
            return torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - foreign files are pickles; weights_only runs none of their code
    except Exception as error:  # a damaged file can make the reader raise anything
        refused = _REFUSED.search(str(error))
        if refused is not None:
            named = f" (it names {refused['name']})" if refused["name"] else ""
            raise CodeInside(
                f"{path} holds whole Python objects{named}, and reading those runs code from the "
                f"file, so it was not read. {SAVE_TENSORS}"
            ) from error
        raise SourceUnreadable(
            f"{path} cannot be read as a file of torch.save: it is damaged, or something else. "
            "Fetch it again, or name another file."
        ) from error


def state_of(value: Any, where: str) -> State:
    """Check that a value is a state dict, without DataParallel's "module."; else WrongLayout."""
    if not isinstance(value, Mapping):
        raise WrongLayout(f"{where} holds a {type(value).__name__}, not a dict. {SAVE_TENSORS}")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise WrongLayout(
                f"{where} is not a state dict: its entry {str(name)[:60]!r} is a "
                f"{type(tensor).__name__}, not a tensor. {SAVE_TENSORS}"
            )
    if not value:
        raise WrongLayout(f"{where} is empty. {SAVE_TENSORS}")
    return without_common(value, "module.")


def without_prefix(state: Mapping[str, Tensor], prefix: str) -> State:
    """The tensors whose names begin with the prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }


def without_common(state: Mapping[str, Tensor], *prefixes: str) -> State:
    """The tensors without the first of the prefixes that all of their names begin with, if any."""
    for prefix in prefixes:
        if all(name.startswith(prefix) for name in state):
            return without_prefix(state, prefix)
    return dict(state)


def sha256_of(path: Path) -> str:
    """The file's sha256, which the imported checkpoint's card keeps."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listed(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
