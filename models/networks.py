"""The networks of a checkpoint and their tensors, by the names they have in weights.safetensors."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.card import Card
from models.checkpoint_files import CheckpointIncompatible
from models.critics import Critic, build_critic
from models.encoders import Encoder, build_encoder

_NAMED_AT_MOST = 3


class Networks(NamedTuple):
    """An encoder with the critics that score its features, by role."""

    encoder: Encoder
    critics: Mapping[str, Critic]

    def parts(self) -> dict[str, nn.Module]:
        """Every network by the prefix of its tensors: "encoder", "critic.local", ..."""
        critics = {f"critic.{role}": critic for role, critic in self.critics.items()}
        return {"encoder": self.encoder, **critics}


def blank_networks(card: Card) -> Networks:
    """Build the networks that the card describes without memory or values (on torch's meta device).

    Raises CheckpointIncompatible where the card describes none that this version can build, or
    ones that do not fit each other.
    """
    try:
        with torch.device("meta"):
            encoder = build_encoder(card.encoder.name, **card.encoder.arguments)
            critics: dict[str, Critic] = {
                role: build_critic(critic.name, **critic.arguments)
                for role, critic in card.critics.items()
            }
    except Exception as error:  # constructors meet whatever arguments a card holds
        raise CheckpointIncompatible(
            f"The card describes networks that cannot be built: {error}. Install the version of "
            "infomax that wrote it, or correct the card."
        ) from error
    _check_fit(card, encoder, critics)
    return frozen(Networks(encoder, critics))


def _check_fit(card: Card, encoder: Encoder, critics: Mapping[str, Critic]) -> None:
    """Raise CheckpointIncompatible unless preprocessing, encoder and critics fit each other."""
    needed = (encoder.image_size, encoder.image_channels)
    given = (card.preprocessing.size, card.preprocessing.channels)
    if needed != given:
        raise CheckpointIncompatible(
            f"The card's encoder takes images of {needed[0]} pixels and {needed[1]} channels, but "
            f"its preprocessing makes {given[0]} pixels and {given[1]} channels; correct the card."
        )
    features = {"summary_dim": encoder.summary_dim, "map_shape": list(encoder.map_shape)}
    for role, critic in critics.items():
        for name, value in features.items():
            if critic.arguments[name] != value:
                raise CheckpointIncompatible(
                    f"The card's {role} critic is made for {name} {critic.arguments[name]}, but "
                    f"its encoder gives {value}; correct the card."
                )


def frozen(networks: Networks) -> Networks:
    """Put the networks in eval() and without gradients; gives them back."""
    for part in networks.parts().values():
        part.eval().requires_grad_(False)
    return networks


def stored_tensors(networks: Networks, dtype: torch.dtype) -> dict[str, Tensor]:
    """Copy the tensors as they are stored: parameters in `dtype`, floating buffers in float32.

    Buffers are running statistics: few, and not made for the narrow range of float16.
    """
    tensors: dict[str, Tensor] = {}
    for prefix, part in networks.parts().items():
        parameters = {name for name, _ in part.named_parameters(remove_duplicate=False)}
        for name, tensor in part.state_dict().items():
            kind = dtype if name in parameters else torch.float32
            kept = kind if tensor.is_floating_point() else tensor.dtype
            tensors[f"{prefix}.{name}"] = tensor.detach().to(kept, copy=True).contiguous()
    return tensors


def tensor_fault(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """Say how names, shapes or types differ from those expected, or which numbers are not finite.

    None where all is as expected; the values of `expected` do not matter.
    """
    missing = [name for name in expected if name not in tensors]
    if missing:
        return f"misses {_listed(missing)}"
    unknown = [name for name in tensors if name not in expected]
    if unknown:
        return f"has the unknown {_listed(unknown)}"
    for name, tensor in tensors.items():
        needed, given = _kind(expected[name]), _kind(tensor)
        if needed != given:
            return f"has {name} as {given}, where {needed} is needed"
    bad = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    return f"has numbers that are not finite in {_listed(bad)}" if bad else None


def filled(blank: Networks, tensors: Mapping[str, Tensor]) -> Networks:
    """Give the checked tensors to the blank networks, in float32; the tensors become theirs."""
    for prefix, part in blank.parts().items():
        own = {
            name: tensors[f"{prefix}.{name}"].to(value.dtype)
            for name, value in part.state_dict().items()
        }
        part.load_state_dict(own, strict=True, assign=True)
    return frozen(blank)


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
