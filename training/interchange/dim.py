"""The layout of rdevon/DIM: state dicts of its convnet encoders, with or without local critics.

2019-04, the published code:  layers.layerN.conv  .bn  .fc, counted through a flatten layer; the
    summary is a bare `layers.layerN`. A BigEncoder adds "encoder." and, trained with `local`, the
    networks `local_local_net` and `local_global_net`: our local_dot without scale.
2018 to 2019-01:  conv_layers.(IN/OUT)_N.(IN/OUT)_Nconv and ...bn, fc_layers.(IN/OUT)_N. ...fc with
    a bias before its batch norm, which our encoders leave to the norm (equal in eval()).

cortex saves whole modules (.t7), which hold code; README says how to save their tensors instead.
A state dict does not say which bound was maximised, so the critics are kept only where the user
says jsd. Images were scaled to [-1, 1].
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from models.card import ObjectiveCard, Preprocessing
from models.critics import Critic
from models.encoders import Encoder
from training.interchange.errors import BadArguments, WrongLayout
from training.interchange.foreign_files import (
    State,
    listed,
    read_foreign,
    sha256_of,
    state_of,
    without_prefix,
)
from training.interchange.imported import Imported, Role, blank_critic, blank_encoder
from training.interchange.renaming import fill, fold_bias


class Blocks(NamedTuple):
    """Our names of an encoder's blocks [layer, batch norm, ReLU], in the order they run."""

    convolutions: tuple[str, ...]
    hidden: tuple[str, ...]


BLOCKS = {
    "basic28x28": Blocks(("to_map.0", "to_map.1"), ("to_fc",)),
    "basic32x32": Blocks(("to_map.0", "to_map.1", "to_conv.0"), ("to_fc",)),
    "basic64x64": Blocks(("to_map.0", "to_map.1", "to_map.2", "to_conv.0"), ("to_fc",)),
    "alex64x64": Blocks(
        ("to_map.0", "to_map.2", "to_map.4", "to_conv.0", "to_conv.1"), ("to_fc.0", "to_fc.1")
    ),
}
NEW, OLD = "layers.layer0.conv.weight", "conv_layers."
ALONE = {"layers", "conv_layers", "fc_layers"}  # an encoder that was saved without its BigEncoder
CRITIC_NET = re.compile(r"(?P<task>\w+)_local_net\.block_nonlinear\.0\.weight")
EMBEDDING = {
    "hidden.0": "block_nonlinear.0",
    "hidden.1": "block_nonlinear.1",
    "hidden.3": "block_nonlinear.3",
    "shortcut": "linear_shortcut",
    "norm": "block_ln.1",
}


def read(
    source: Path, encoder: str | None, objective: str | None, arguments: Mapping[str, Any]
) -> Imported:
    """Read one state dict. Raises InterchangeError."""
    if encoder not in BLOCKS:
        raise BadArguments(
            f"Layout dim needs --encoder, the architecture that was trained: {', '.join(BLOCKS)}."
        )
    state = state_of(read_foreign(source), source.name)
    network = blank_encoder(encoder, arguments)
    own = without_prefix(state, "encoder.") or {
        name: tensor for name, tensor in state.items() if name.partition(".")[0] in ALONE
    }
    if NEW in own:
        modules = new_names(encoder)
    elif any(name.startswith(OLD) for name in own):
        modules = old_names(encoder, network)
        for hidden in BLOCKS[encoder].hidden:
            own = fold_bias(own, modules[f"{hidden}.0"], modules[f"{hidden}.1"])
    else:
        raise WrongLayout(
            f"{source.name} is no encoder of layout dim, which has {NEW} or names that begin "
            f"with {OLD}; it holds {listed(list(state))}. Check --layout, or save the encoder's "
            "state dict alone."
        )
    fill(network, own, modules, source.name)
    critics, left_out = read_critics(state, network, objective, source.name)
    return Imported(
        encoder_name=encoder,
        encoder=network,
        critics=critics,
        preprocessing=Preprocessing(
            size=network.image_size, colour="grey" if network.image_channels == 1 else "rgb"
        ),
        objective=ObjectiveCard(
            name=objective or "unknown",
            negatives="all",
            alpha=None,
            beta=None,
            gamma=None,
            prior=None,
        ),
        origin=(
            f"Imported from {source.name}, the layout of rdevon/DIM. The architecture"
            f"{'' if objective is None else ' and the objective'} are as the importer said; the "
            "training, its data and its weights are not known."
        ),
        left_out=left_out,
        files={source.name: sha256_of(source)},
    )


def new_names(encoder: str) -> dict[str, str]:
    """Our module -> theirs, in the code of April 2019."""
    convolutions, hidden = BLOCKS[encoder]
    after = len(convolutions) + 1  # the flatten layer counts as one
    names: dict[str, str] = {}
    for number, block in enumerate(convolutions):
        names[f"{block}.0"] = f"layers.layer{number}.conv"
        names[f"{block}.1"] = f"layers.layer{number}.bn"
    for number, block in enumerate(hidden, after):
        names[f"{block}.0"] = f"layers.layer{number}.fc"
        names[f"{block}.1"] = f"layers.layer{number}.bn"
    return names | {"to_y": f"layers.layer{after + len(hidden)}"}


def old_names(encoder: str, network: Encoder) -> dict[str, str]:
    """Our module -> theirs, in the code up to January 2019: widths are part of the names."""
    convolutions, hidden = BLOCKS[encoder]
    names: dict[str, str] = {}
    for group, kind, blocks in (("conv_layers", "conv", convolutions), ("fc_layers", "fc", hidden)):
        for number, block in enumerate(blocks, 1):
            path = _old_path(group, network, f"{block}.0", number)
            names[f"{block}.0"], names[f"{block}.1"] = f"{path}{kind}", f"{path}bn"
    return names | {"to_y": f"{_old_path('fc_layers', network, 'to_y', len(hidden) + 1)}fc"}


def _old_path(group: str, network: Encoder, module: str, number: int) -> str:
    units, inputs = network.get_submodule(module).get_parameter("weight").shape[:2]
    name = f"({inputs}/{units})_{number}"
    return f"{group}.{name}.{name}"


def read_critics(
    state: State, encoder: Encoder, objective: str | None, where: str
) -> tuple[dict[Role, tuple[str, Critic]], tuple[str, ...]]:
    """The local critic where it is a JSD critic, and the names of what is left out."""
    nets = {name.partition(".")[0] for name in state} - ALONE - {"encoder"}
    found = [match for match in map(CRITIC_NET.fullmatch, state) if match is not None]
    if objective != "jsd" or not found:
        return {}, tuple(sorted(nets))
    if len(found) > 1:
        tasks = listed([match["task"] for match in found])
        raise WrongLayout(
            f"{where} has local critics of several tasks, {tasks}; save the state dict with the "
            "one to be served, or leave --objective out to import the encoder alone."
        )
    task, weight = found[0]["task"], state[found[0][0]]
    own = {f"{task}_local_net", f"{task}_global_net"}
    critic = blank_critic("local_dot", encoder, weight.shape[0], scale="none")
    modules = {f"of_place.{our}": f"{task}_local_net.{their}" for our, their in EMBEDDING.items()}
    modules |= {
        f"of_summary.{our}": f"{task}_global_net.{their}" for our, their in EMBEDDING.items()
    }
    tensors = {name: tensor for name, tensor in state.items() if name.partition(".")[0] in own}
    fill(critic, tensors, modules, where)
    return {"local": ("local_dot", critic)}, tuple(sorted(nets - own))
