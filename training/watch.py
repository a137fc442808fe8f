"""Watches a run while it trains: a look at the encoder's health now and then, cheap and harmless.

health.jsonl has a line a look. A look draws from generators of its own, runs the networks in
eval() without gradients and puts them back, so that the run goes on bit for bit as if unwatched.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from models.card import Preprocessing
from models.method import Method
from models.preprocess import normalise
from models.shares import WHOLE
from models.types import Pixels
from training.building import build_encoder_on_meta
from training.config import TrainConfig
from training.diagnosis import FAILURES, Course, Finding, diagnose
from training.health import Health, ceiling, measure
from training.images import Tell
from training.runs import HEALTH_FILE, LOG_FILE
from training.views import draw_views

SAMPLE = 512  # images a look
RECENT = 50  # steps whose mean stands for now
SHARE_OF_TIME = 0.01  # that looks may take
SEED = 20  # of the views and the negatives of a look: the same in every look


Number = TypeVar("Number")


@dataclass(frozen=True)
class Held:
    """Images to look at and to judge on, and in words which they are.

    `held_out` says that they are not trained on.
    """

    pixels: Pixels
    which: str
    held_out: bool


class Watch:
    """Looks at the model of a run in `out`, on a sample of images; tells each kind of failure once.

    Where many ranks train, one of them watches, without the others.
    """

    def __init__(
        self,
        out: Path,
        config: TrainConfig,
        model: Method,
        held: Held,
        preprocessing: Preprocessing,
        tell: Tell = print,
    ) -> None:
        self.out, self.config, self.model = out, config, model
        order = torch.randperm(len(held.pixels), generator=torch.Generator().manual_seed(SEED))
        self.pixels = held.pixels[order[:SAMPLE].to(held.pixels.device)]
        self.preprocessing, self.held_out, self.tell = preprocessing, held.held_out, tell
        self.log = BoundLog(out / LOG_FILE)
        self.findings: list[Finding] = []  # of the last look
        self.told: set[str] = set()
        self.due_at = -math.inf
        self.last_step: int | None = None

    def look(self, step: int) -> None:
        """Take a look if there is time for one; the loop calls this whenever it has logged."""
        if time.monotonic() >= self.due_at:
            self.conclude(step)

    def conclude(self, step: int) -> list[Finding]:
        """Take a look now, unless this step was looked at; what is wrong, the worst first."""
        if step == self.last_step:
            return self.findings
        began = time.monotonic()
        with as_it_is_used(self.model):
            health = look_at(self.model, self.pixels, self.preprocessing, self.config, step)
        courses = self.log.courses()
        self.findings = diagnose(
            health,
            courses,
            self.config.objective,
            ceilings(self.config),
            held_out=self.held_out,
        )
        self.write(health, courses)
        self.last_step = step
        now = time.monotonic()
        self.due_at = now + (now - began) * (1 / SHARE_OF_TIME - 1)
        return self.findings

    def write(self, health: Health, courses: dict[str, Course]) -> None:
        """Append a line to health.jsonl; tell a failure that is new."""
        line = {
            **asdict(health),
            "training_bounds": {name: course.last for name, course in courses.items()},
            "held_out": self.held_out,
            "findings": [finding.sentence for finding in self.findings],
        }
        with (self.out / HEALTH_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(line)) + "\n")
        for finding in self.findings:
            if finding.kind in FAILURES and finding.kind not in self.told:
                self.told.add(finding.kind)
                self.tell(f"warning, step {health.step:,}: {finding.sentence}")


class BoundLog:
    """The bounds in log.jsonl, read on from where the last reading ended."""

    def __init__(self, file: Path) -> None:
        self.file, self.place = file, 0
        self.first: dict[str, float] = {}

    def courses(self) -> dict[str, Course]:
        """How each bound went since the last call; nothing where the log has no new line."""
        if not self.file.exists():
            return {}
        with self.file.open(encoding="utf-8") as log:
            log.seek(self.place)
            lines = [json.loads(line) for line in log.readlines()]
            self.place = log.tell()
        courses = {}
        for name in bounds_of(lines[0] if lines else {}):
            values = [(float(line[name]), int(line["step"])) for line in lines]
            first = self.first.setdefault(name, values[0][0])
            lowest, step = min(values)
            recent = [value for value, _ in values[-RECENT:]]
            courses[name] = Course(first, lowest, step, sum(recent) / len(recent))
        return courses


def look_at(
    model: Method, pixels: Pixels, preprocessing: Preprocessing, config: TrainConfig, step: int
) -> Health:
    """Health and bounds of the model as it stands, batch by batch as it trains."""
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(SEED)
    size = min(config.batch_size, len(pixels))
    y: list[Tensor] = []
    y_view: list[Tensor] = []
    sums: dict[str, Tensor] = {}
    batches = [batch.to(device) for batch in pixels.split(size) if len(batch) == size]
    for batch in batches:
        views = draw_views(config.views, model.num_views, batch, generator)
        seen = [batch] if model.num_views == 1 else views
        inputs = [normalise(each, preprocessing) for each in seen]
        _, parts, features = model(*inputs, generator=generator)
        y.append(features.y)
        if config.views != "none":
            y_view.append(model.encoder(normalise(views[-1], preprocessing)).y)
        for name, value in bounds_of(parts).items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value
    health = measure(step, torch.cat(y), torch.cat(y_view) if y_view else None)
    bounds = {name: float(total) / len(batches) for name, total in sums.items()}
    return replace(health, bounds=bounds)


def bounds_of(parts: Mapping[str, Number]) -> dict[str, Number]:
    """The bounds among a step's numbers, by name."""
    return {name: value for name, value in parts.items() if "bound" in name}


def ceilings(config: TrainConfig) -> dict[str, float]:
    """The most that each bound can say with a whole batch, by name, where there is a limit."""
    if config.method == "amdim":  # InfoNCE against the places of the other view's maps
        places = {"1to5_bound": 25, "1to7_bound": 49, "5to5_bound": 25}
        objective, negatives = "infonce", config.batch_size - 1
    else:
        _, rows, columns = build_encoder_on_meta(config).map_shape
        places = {"local_bound": rows * columns, "global_bound": 1}
        objective = config.objective
        negatives = config.batch_size - 1 if config.negatives == "all" else 1
    found = {name: ceiling(objective, negatives, count) for name, count in places.items()}
    return {name: most for name, most in found.items() if most is not None}


@contextmanager
def as_it_is_used(model: Method) -> Iterator[None]:
    """The model in eval(), without gradients and alone among ranks; all is put back as it was."""
    were = [(part, part.training) for part in model.modules()]
    shares, model.shares = model.shares, WHOLE
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.shares = shares
        for part, training in were:
            part.training = training


def finite(value: object) -> object:
    """The same for JSON: numbers that are not finite become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list) else value
