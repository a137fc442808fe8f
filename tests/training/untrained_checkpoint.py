"""Checkpoints of encoders that learned nothing, with statistics that matter, for exports."""

from pathlib import Path

from models.card import Card, Component, Preprocessing
from models.checkpoint import save_checkpoint
from models.encoders import build_encoder
from models.golden import draw_golden
from tests.fakes import CARD
from tests.models.small_encoders import SMALL
from tests.training.source_models import shaken


def untrained(folder: Path, name: str, **arguments: int) -> Path:
    """A checkpoint of an encoder with random weights and statistics, without critics."""
    encoder = shaken(build_encoder(name, **SMALL[name] | arguments))
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
