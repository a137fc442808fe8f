"""One way to look a component up by name, with an error that lists what there is."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

Built = TypeVar("Built")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean x?" for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def look_up(kind: str, table: Mapping[str, Built], name: str) -> Built:
    """Return table[name]; ValueError that lists the known names otherwise."""
    if name not in table:
        hint = did_you_mean(name, table)
        raise ValueError(f"unknown {kind} {name!r}{hint} (known: {', '.join(sorted(table))})")
    return table[name]


def build(
    kind: str, table: Mapping[str, Callable[..., Built]], name: str, arguments: Mapping[str, Any]
) -> Built:
    """Call table[name](**arguments); ValueError for unknown names or unfit arguments."""
    constructor = look_up(kind, table, name)
    known = inspect.signature(constructor).parameters
    for argument in arguments:
        if argument not in known:
            hint = did_you_mean(argument, known)
            raise ValueError(
                f"{kind} {name} has no argument {argument!r}{hint} (known: {', '.join(known)})"
            )
    missing = [p for p, v in known.items() if v.default is v.empty and p not in arguments]
    if missing:
        raise ValueError(f"{kind} {name} needs the argument {missing[0]!r}")
    try:
        return constructor(**arguments)
    except TypeError as error:  # a value of the wrong kind, from a card edited by hand
        raise ValueError(f"{kind} {name} cannot be built from {dict(arguments)}") from error
