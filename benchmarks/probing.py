"""What is in frozen features: the cells of a table, each encoder on its own.

`python -m training evaluate` measures an encoder with both baselines; here many encoders share
images and baselines, and each is measured once.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from models.card import Component, EvaluationData, EvaluationRow, Preprocessing
from models.checkpoint import load_checkpoint
from models.encoders import Encoder
from training.building import build_encoder_on_meta, build_preprocessing
from training.config import TrainConfig
from training.evaluation.baselines import COMPONENTS, random_encoder
from training.evaluation.bench import Bench, Vectors
from training.evaluation.evaluate import Results, encoder_vectors, pixel_vectors
from training.evaluation.features import REPRESENTATIONS
from training.evaluation.images import load_labelled
from training.evaluation.pace import Pace
from training.evaluation.plan import PARTS, Request, make_plan
from training.evaluation.protocol import protocol

CPU = torch.device("cpu")
UNTOLD = Pace(None, 1.0)  # nobody watches


@dataclass(frozen=True)
class Probed:
    """The cells and other numbers, how they were measured, and how long that took."""

    rows: list[EvaluationRow]
    numbers: dict[str, float]
    data: EvaluationData
    protocol: str
    seconds: float


@dataclass(frozen=True)
class Probing:
    """How every encoder is measured alike.

    request          of training.evaluation.plan: epochs of the probes, updates of the critics
    parts            what is measured, of those that training.evaluation knows
    representations  of which outputs
    """

    data: str
    root: Path
    request: Request
    parts: tuple[str, ...] = PARTS["quick"]
    representations: Sequence[str] = REPRESENTATIONS
    device: torch.device = CPU

    def checkpoint(self, folder: Path) -> Probed:
        """A trained encoder."""
        loaded = load_checkpoint(folder)
        return self.encoder("trained", loaded.encoder, loaded.card.preprocessing)

    def random(self, config: TrainConfig) -> Probed:
        """The recipe's encoder with new random weights."""
        arguments = dict(build_encoder_on_meta(config).arguments)
        encoder = random_encoder(Component(name=config.encoder, arguments=arguments))
        return self.encoder("random", encoder, build_preprocessing(config))

    def pixels(self, config: TrainConfig) -> Probed:
        """Principal components of the pixels: 100, and as many as the recipe's Y has numbers."""
        began = time.monotonic()
        bench = self._bench(build_preprocessing(config))
        most = min(len(bench.images.train), bench.images.train[0].numel())
        as_many_as_y = min(config.summary_dim, most)
        columns = pixel_vectors({min(COMPONENTS, most), as_many_as_y}, as_many_as_y, bench)
        return self._measured(columns, bench, began)

    def encoder(self, name: str, encoder: Encoder, preprocessing: Preprocessing) -> Probed:
        """An encoder that is at hand; it is not changed."""
        began = time.monotonic()
        bench = self._bench(preprocessing)
        wanted = (
            vectors
            for vectors in encoder_vectors(name, encoder, 1, bench)
            if vectors.representation in self.representations
        )
        return self._measured(wanted, bench, began)

    def _bench(self, preprocessing: Preprocessing) -> Bench:
        images = load_labelled(self.data, preprocessing, root=self.root)
        plan = replace(make_plan(self.request, images), parts=self.parts)
        return Bench(images, preprocessing, plan, self.device, UNTOLD)

    def _measured(self, columns: Iterable[Vectors], bench: Bench, began: float) -> Probed:
        results = Results()
        for vectors in columns:
            results.add(vectors, bench)
        return Probed(
            rows=results.rows,
            numbers={each.measure: each.value for each in results.measures},
            data=bench.images.facts,
            protocol=protocol(bench.images, bench.plan),
            seconds=time.monotonic() - began,
        )
