"""Results that took long: one JSON file each, written when measured, read for every page."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue

from benchmarks.failures import BenchmarkError
from models.atomic import write_file
from models.card import EvaluationData, EvaluationRow


class Trained(BaseModel):
    """What a run says of itself; seconds are of training alone, bounds in nats."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int
    images_seen: int
    epochs: float
    seconds: float
    precision: str
    bounds: dict[str, float]
    recipe: dict[str, JsonValue]


class Result(BaseModel):
    """One measured trial, as its JSON file keeps it.

    minutes     of the budget; None for what is not trained, or not by the clock
    data        the images, of both splits
    rows        accuracies on the test images, 0 to 1
    numbers     what else was measured, by name
    facts       machine, versions, commit, date
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    minutes: float | None
    data: EvaluationData
    rows: list[EvaluationRow]
    numbers: dict[str, float] = {}
    trained: Trained | None = None
    protocol: str
    evaluation_s: float
    facts: dict[str, str]

    def accuracy(self, representation: str, probe: str) -> float | None:
        """In per cent, the best where there are several; None where there is no such cell."""
        wanted = (representation, probe)
        return max(
            (100 * row.accuracy for row in self.rows if (row.representation, row.probe) == wanted),
            default=None,
        )


@dataclass(frozen=True)
class Shelf:
    """The folder of results."""

    folder: Path

    def file(self, name: str) -> Path:
        """Where a trial's result lies."""
        return self.folder / f"{name}.json"

    def has(self, name: str) -> bool:
        """Whether it has been measured."""
        return self.file(name).exists()

    def put(self, result: Result) -> None:
        """Keep a result; whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result.model_dump(mode="json"), indent=1) + "\n"
        write_file(self.file(result.name), text.encode())

    def forget(self, name: str) -> None:
        """Remove a result, if there is one."""
        self.file(name).unlink(missing_ok=True)

    def read(self, names: Sequence[str]) -> Iterator[Result]:
        """The results there are, in this order; BenchmarkError for a file that cannot be read."""
        for name in names:
            if self.has(name):
                try:
                    yield Result.model_validate_json(self.file(name).read_bytes())
                except ValueError as error:
                    raise BenchmarkError(
                        f"{self.file(name)} is not a result of this version; delete it to measure"
                        f" {name} again"
                    ) from error


def require_alike(results: Sequence[Result]) -> None:
    """BenchmarkError unless there are results, all with the same images, budget and protocol."""
    if not results:
        raise BenchmarkError("nothing has been measured yet, so there is no table")
    told: dict[str, set[str]] = {
        "images": {f"{each.data.name} {each.data.fingerprint[:12]}" for each in results},
        "budgets": {f"{each.minutes:g}" for each in results if each.minutes is not None},
        "protocols": {each.protocol for each in results},
    }
    for what, values in told.items():
        if len(values) > 1:
            listed = "; ".join(sorted(values))
            raise BenchmarkError(
                f"the results have different {what} ({listed}) and make no table; measure the odd"
                " ones with --again, or keep them in another --out"
            )


def common_facts(results: Sequence[Result]) -> dict[str, str]:
    """Each fact of the machine, with all its values where they differ; dates as a span."""
    facts: dict[str, str] = {}
    for name in results[0].facts:
        values = list(dict.fromkeys(each.facts[name] for each in results))
        if name == "Date" and len(values) > 1:
            values = [f"{min(values)} to {max(values)}"]
        facts[name] = "; ".join(values)
    return facts
