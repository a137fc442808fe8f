"""What a layout makes of other people's files, before it is a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from models.card import ObjectiveCard, Preprocessing
from models.critics import Critic, build_critic
from models.encoders import Encoder, build_encoder
from training.interchange.errors import BadArguments

Role = Literal["local", "global"]


@dataclass(frozen=True)
class Imported:
    """Networks with their weights, and all that is known of them.

    critics   role -> (name in CRITICS, critic): those whose sigmoid is a probability, or none
    origin    where the weights come from, in a sentence or two, for the card
    left_out  what the files hold beside that, for the user
    """

    encoder_name: str
    encoder: Encoder
    critics: Mapping[Role, tuple[str, Critic]]
    preprocessing: Preprocessing
    objective: ObjectiveCard
    origin: str
    left_out: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)  # name -> sha256


def blank_encoder(name: str, arguments: Mapping[str, Any]) -> Encoder:
    """The encoder without memory or values. Raises BadArguments."""
    try:
        with torch.device("meta"):
            return build_encoder(name, **arguments)
    except ValueError as error:
        raise BadArguments(f"{error}.") from error


def blank_critic(name: str, encoder: Encoder, units: int, **arguments: Any) -> Critic:
    """A critic for this encoder, without memory or values."""
    with torch.device("meta"):
        return build_critic(
            name,
            summary_dim=encoder.summary_dim,
            map_shape=list(encoder.map_shape),
            units=units,
            **arguments,
        )
