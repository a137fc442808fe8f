"""Print what pyproject.toml requires, one requirement a line, with the extras named as arguments.

The container build installs these in a layer of their own, before the code is copied, so that a
change to the code does not install torch again. Standard library only, run as
`python3 requirements.py [EXTRA ...]` beside pyproject.toml.
"""

import re
import sys
import tomllib
from pathlib import Path

OWN_EXTRAS = re.compile(r"infomax\[(?P<names>[^\]]+)\]")  # infomax[tracking,parquet]


def requirements(project: dict[str, object], extras: list[str]) -> list[str]:
    """The core requirements and the extras' own; ValueError for an extra that does not exist."""
    known = project["optional-dependencies"]
    found = list(project["dependencies"])
    for extra in extras:
        if extra not in known:
            raise ValueError(
                f"unknown extra {extra}; pyproject.toml has {', '.join(sorted(known))}"
            )
        for line in known[extra]:
            own = OWN_EXTRAS.fullmatch(line)
            found += requirements(project, own["names"].split(",")) if own else [line]
    return list(dict.fromkeys(found))


def main(arguments: list[str]) -> int:
    """Extras may be separated by spaces or commas; an unknown one is exit status 2."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name.strip() for words in arguments for name in re.split(r"[\s,]+", words) if name]
    try:
        print("\n".join(requirements(project, extras)))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
