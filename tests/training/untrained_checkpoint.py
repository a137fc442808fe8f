"""Checkpoints of encoders that learned nothing, with statistics that matter, for exports."""

from pathlib import Path

import torch

from models.card import Card, Component, Preprocessing
from models.checkpoint import save_checkpoint
from models.encoders import build_encoder
from models.golden import draw_golden
from tests.fakes import CARD
from tests.training.source_models import shaken

SMALL = {"fc_dim": 32, "summary_dim": 8}


def untrained(folder: Path, name: str, **arguments: int) -> Path:
    """A checkpoint of an encoder with random weights and statistics, without critics."""
    known = {key: value for key, value in SMALL.items() if key in signature(name)}
    encoder = shaken(build_encoder(name, **known | arguments))
    preprocessing = Preprocessing(
        size=encoder.image_size,
        colour="grey" if encoder.image_channels == 1 else "rgb",
        mean=(0.4,) if encoder.image_channels == 1 else (0.4, 0.5, 0.6),
        std=(0.3,) if encoder.image_channels == 1 else (0.2, 0.3, 0.4),
    )
    card = Card(
        **{
            **dict(CARD),
            "encoder": Component(name=name, arguments=dict(encoder.arguments)),
            "critics": {},
            "preprocessing": preprocessing,
            "files": {},
        }
    )
    save_checkpoint(folder, card, encoder, {}, draw_golden(preprocessing))
    return folder


def signature(name: str) -> set[str]:
    with torch.device("meta"):
        return set(build_encoder(name).arguments)
