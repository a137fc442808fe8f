"""What is in frozen features: the cells of a table, each encoder on its own.

`python -m training evaluate` measures an encoder with both baselines; here many encoders share
images and baselines, and each is measured once.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from models.card import Component, EvaluationData, EvaluationRow, Preprocessing
from models.checkpoint import load_checkpoint
from models.encoders import Encoder
from models.inference import prepare
from training.building import build_encoder_on_meta, build_preprocessing
from training.config import TrainConfig
from training.evaluation.baselines import COMPONENTS, random_encoder
from training.evaluation.evaluate import Bench, cells, pixel_rows, protocol
from training.evaluation.features import REPRESENTATIONS, encode_all
from training.evaluation.images import LabelledImages, load_labelled
from training.evaluation.probes import settings_for

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Probed:
    """The cells, how they were measured, and how long that took."""

    rows: list[EvaluationRow]
    data: EvaluationData
    protocol: str
    seconds: float


@dataclass(frozen=True)
class Probing:
    """How every encoder is measured alike."""

    data: str
    root: Path
    epochs: int | None
    device: torch.device = CPU
    representations: Sequence[str] = REPRESENTATIONS

    def checkpoint(self, folder: Path) -> Probed:
        """A trained encoder."""
        loaded = load_checkpoint(folder)
        return self._encoder("trained", loaded.encoder, loaded.card.preprocessing)

    def random(self, config: TrainConfig) -> Probed:
        """The recipe's encoder with new random weights."""
        arguments = dict(build_encoder_on_meta(config).arguments)
        encoder = random_encoder(Component(name=config.encoder, arguments=arguments))
        return self._encoder("random", encoder, build_preprocessing(config))

    def pixels(self, config: TrainConfig) -> Probed:
        """Principal components of the pixels: 100, and as many as the recipe's Y has numbers."""
        began = time.monotonic()
        bench = self._bench(self.images(build_preprocessing(config)))
        rows = pixel_rows({COMPONENTS, config.summary_dim}, bench)
        return Probed(rows, bench.images.facts, protocol(bench), time.monotonic() - began)

    def images(self, preprocessing: Preprocessing) -> LabelledImages:
        """Both splits."""
        return load_labelled(self.data, preprocessing, root=self.root)

    def _encoder(self, name: str, encoder: Encoder, preprocessing: Preprocessing) -> Probed:
        began = time.monotonic()
        bench = self._bench(self.images(preprocessing))
        prepared = prepare(encoder).to(self.device)
        train, test = (
            encode_all(prepared, pixels, preprocessing, self.device)
            for pixels in (bench.images.train, bench.images.test)
        )
        rows: list[EvaluationRow] = []
        for representation in REPRESENTATIONS:
            vectors = train.pop(representation), test.pop(representation)
            if representation in self.representations:
                rows += cells(name, representation, *vectors, bench)
        return Probed(rows, bench.images.facts, protocol(bench), time.monotonic() - began)

    def _bench(self, images: LabelledImages) -> Bench:
        return Bench(images, settings_for(len(images.train), self.epochs), self.device, None)
