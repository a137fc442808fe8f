"""The layout of Philip-Bachman/amdim-public: {"model": state dict, "hyperparams": {...}, "cursor"}.

encoder  `encoder.module.layer_list.N`, the numbering of models/encoders/amdim.py: stems (conv),
    residuals (conv1, bn1.bn, conv2), blocks of them (layer_list.M), batch norms (bn)
The file holds a batch norm for every residual, also where use_bn is off and none was ever used;
those are dropped. The stems never had one: where use_bn is on, ours gets one that changes nothing.

The heads at 5 x 5 and 7 x 7 (rkhs_block_N) and the classifiers (evaluator) are not part of an
encoder. The scores were trained by NCE, so no critic of the file can be served. Checkpoints from
before hyperparams were saved are read with --encoder and channels=, rkhs=, depth=, use_bn=.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models.card import Argument, ObjectiveCard, Preprocessing
from models.encoders import Encoder
from models.encoders.amdim import Residual
from training.interchange.errors import BadArguments, WrongLayout
from training.interchange.foreign_files import (
    State,
    read_foreign,
    sha256_of,
    state_of,
    without_common,
)
from training.interchange.imported import Imported, blank_encoder
from training.interchange.renaming import fill

STEMS = {"amdim32": 1, "amdim64": 1, "amdim128": 2}  # how many layers are convolution and ReLU
NORM_AT = {"amdim32": 4, "amdim64": 4, "amdim128": 5}  # the batch norm of the 7 x 7 map
HYPERPARAMS = {"ndf": "channels", "n_rkhs": "rkhs", "n_depth": "depth", "use_bn": "use_bn"}
NOT_ENCODER = re.compile(r"(?:encoder\.)?(?:module\.)?(rkhs_block_\d|evaluator|g2l_loss)\.")
STEM_NORM = re.compile(r"layer_list\.[01]\.bn\.bn\.\w+")  # of older code, never used
INNER_NORM = re.compile(r"layer_list\.\d+(\.layer_list\.\d+)?\.bn1\.bn\.\w+")
EPSILON = 1e-5  # of batch norms

# What the authors' data sets were normalised by: CIFAR at 32 pixels, STL-10 at 64, ImageNet at 128.
PREPROCESSING = {
    "amdim32": Preprocessing(
        size=32,
        mean=(125.3 / 255, 123.0 / 255, 113.9 / 255),
        std=(63.0 / 255, 62.1 / 255, 66.7 / 255),
    ),
    "amdim64": Preprocessing(
        size=64, interpolation="bicubic", mean=(0.43, 0.42, 0.39), std=(0.27, 0.26, 0.27)
    ),
    "amdim128": Preprocessing(
        size=128, interpolation="bicubic", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ),
}


def read(
    source: Path, encoder: str | None, objective: str | None, arguments: Mapping[str, Any]
) -> Imported:
    """Read one checkpoint. Raises InterchangeError."""
    if objective not in {None, "infonce"}:
        raise BadArguments("AMDIM is trained by infonce; leave --objective out.")
    content = read_foreign(source)
    if not isinstance(content, Mapping) or "model" not in content:
        raise WrongLayout(
            f"{source.name} is no checkpoint of amdim-public, a dict with 'model' in it; "
            "check --layout."
        )
    name, known, clip = architecture(content.get("hyperparams"), encoder, arguments, source.name)
    network = blank_encoder(name, known)
    state = state_of(content["model"], source.name)
    left_out = sorted({found[1] for found in map(NOT_ENCODER.match, state) if found})
    own = {key: tensor for key, tensor in state.items() if not NOT_ENCODER.match(key)}
    own = without_common(own, "encoder.module.", "encoder.")
    own = settle_norms(own, name, bool(known["use_bn"]))
    fill(network, own, module_names(name, network), source.name)
    told: dict[str, Argument] = {"norm": "batch", "use_bn": known["use_bn"]}
    return Imported(
        encoder_name=name,
        encoder=network,
        critics={},
        preprocessing=PREPROCESSING[name],
        objective=ObjectiveCard(
            method="amdim",
            name="infonce",
            negatives="all",
            arguments=told if clip is None else {"clip": clip, **told},
        ),
        origin=(
            f"Imported from {source.name}, the layout of Philip-Bachman/amdim-public. Pixels are "
            f"normalised as its {network.image_size}-pixel data set was; it also cut a margin from "
            "larger images, which is not repeated here. Length and data of the training are not "
            "known."
        ),
        left_out=tuple(left_out),
        files={source.name: sha256_of(source)},
    )


def architecture(
    hyperparams: Any, encoder: str | None, arguments: Mapping[str, Any], where: str
) -> tuple[str, dict[str, Any], float | None]:
    """Encoder, its arguments and the clip, from the file or else from the user, never from both."""
    if hyperparams is None:
        needed = set(HYPERPARAMS.values())
        if encoder not in STEMS or set(arguments) != needed:
            raise BadArguments(
                f"{where} does not hold its hyperparams; give --encoder ({', '.join(STEMS)}) and "
                f"{' '.join(f'{name}=' for name in sorted(needed))}, as it was trained."
            )
        return encoder, dict(arguments), None
    if encoder is not None or arguments:
        raise BadArguments(f"{where} holds its own hyperparams; leave --encoder and key=value out.")
    wanted = {*HYPERPARAMS, "encoder_size", "tclip"}
    if not isinstance(hyperparams, Mapping) or not wanted <= set(hyperparams):
        raise WrongLayout(f"The hyperparams of {where} should be {', '.join(sorted(wanted))}.")
    name = f"amdim{hyperparams['encoder_size']}"
    if name not in STEMS:
        raise WrongLayout(f"{where} has encoder_size {name[5:][:20]}, which is not 32, 64 or 128.")
    known = {ours: hyperparams[theirs] for theirs, ours in HYPERPARAMS.items()}
    clip = hyperparams["tclip"]
    if not isinstance(clip, (int, float)):
        raise WrongLayout(f"{where} has a {type(clip).__name__} as tclip, not a number.")
    return name, known | {"use_bn": bool(known["use_bn"])}, float(clip)


def settle_norms(state: State, encoder: str, use_bn: bool) -> State:
    """Drop the batch norms that were never used; give the stems ours where use_bn asks for them."""
    seven = f"layer_list.{NORM_AT[encoder]}.bn."
    kept = {
        name: tensor
        for name, tensor in state.items()
        if not STEM_NORM.fullmatch(name)
        and (use_bn or not (INNER_NORM.fullmatch(name) or name.startswith(seven)))
    }
    for stem in range(STEMS[encoder]) if use_bn else ():
        bias = kept.pop(f"layer_list.{stem}.conv.bias", None)
        if bias is not None:  # else `fill` says what is missing
            norm = f"layer_list.{stem}.bn"
            kept[f"{norm}.weight"], kept[f"{norm}.bias"] = torch.ones_like(bias), bias
            kept[f"{norm}.running_mean"] = torch.zeros_like(bias)
            kept[f"{norm}.running_var"] = torch.full_like(bias, 1 - EPSILON)
    return kept


def module_names(encoder: str, network: Encoder) -> dict[str, str]:
    """Our module -> theirs."""
    stems, norm_at = STEMS[encoder], NORM_AT[encoder]
    stages = {f"to_map.{number}": number for number in range(stems, norm_at)}
    stages |= {"to_five": norm_at + 1, "to_three": norm_at + 2, "to_one": norm_at + 3}
    names = {
        f"to_map.{norm_at}": f"layer_list.{norm_at}.bn",
        "norm": f"layer_list.{norm_at + 4}.bn",
    }
    for stem in range(stems):
        names[f"to_map.{stem}.0"] = f"layer_list.{stem}.conv"
        names[f"to_map.{stem}.1"] = f"layer_list.{stem}.bn"
    for ours, number in stages.items():
        stage, theirs = network.get_submodule(ours), f"layer_list.{number}"
        if isinstance(stage, Residual):
            names |= _residual(ours, theirs)
        else:
            for depth, _ in enumerate(stage.children()):
                names |= _residual(f"{ours}.{depth}", f"{theirs}.layer_list.{depth}")
    return names


def _residual(ours: str, theirs: str) -> dict[str, str]:
    return {
        f"{ours}.hidden.0": f"{theirs}.conv1",
        f"{ours}.hidden.1": f"{theirs}.bn1.bn",
        f"{ours}.out": f"{theirs}.conv2",
        f"{ours}.shortcut": f"{theirs}.conv3",
    }
