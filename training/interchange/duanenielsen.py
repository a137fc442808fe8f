"""The layout of DuaneNielsen/DeepInfomaxPytorch: state dicts `encoderN.wgt` and `lossN.wgt`.

encoder  c0 c1 c2 c3 convolutions, b1 b2 b3 batch norms, l1 the summary: our dense32
loss     local_d (c0 c1 c2, 1x1), global_d (c0 c1, l0 l1 l2), prior_d (l0 l1 l2)

Trained with alpha 0.5, beta 1, gamma 0.1, the JSD bound and the map of the batch's next image as
the negative, on CIFAR-10 scaled to [0, 1] (train.py). So both critics are JSD critics and are kept.
The prior critic was minimised jointly with the encoder and is not served: checked, then left out.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models.card import ObjectiveCard, Preprocessing
from models.critics import Critic
from models.encoders import Encoder
from models.prior import PriorCritic
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
from training.interchange.renaming import fill, fold_bias, split_inputs

SUMMARY_DIM, MAP_CHANNELS, LAST_CHANNELS, UNITS = 64, 128, 32, 512
LAST_SIDE = 22  # of the global critic's second convolution

ENCODER = {
    "to_map.0": "c0",
    "to_map.2.0": "c1",
    "to_map.2.1": "b1",
    "to_conv.0.0": "c2",
    "to_conv.0.1": "b2",
    "to_conv.1.0": "c3",
    "to_conv.1.1": "b3",
    "to_y": "l1",
}
LOCAL = {
    "scorer.of_summary": "c0.of_summary",
    "scorer.of_place": "c0.of_place",
    "scorer.rest.1": "c1",
    "scorer.rest.3": "c2",
    "scorer.score": "c2",
}
GLOBAL = {
    "trunk.0": "c0",
    "trunk.2": "c1",
    "scorer.of_summary": "l0.of_summary",
    "scorer.of_place": "l0.of_place",
    "scorer.rest.1": "l1",
    "scorer.rest.3": "l2",
    "scorer.score": "l2",
}
PRIOR = {"layers.0": "l0", "layers.2": "l1", "layers.4": "l2"}


def read(
    source: Path, encoder: str | None, objective: str | None, arguments: Mapping[str, Any]
) -> Imported:
    """Read `encoderN.wgt`, and `lossN.wgt` where it lies beside it. Raises InterchangeError."""
    if arguments or encoder not in {None, "dense32"} or objective not in {None, "jsd"}:
        raise BadArguments(
            "Layout duanenielsen is one architecture, dense32 with 64 numbers, trained by jsd; "
            "leave --encoder, --objective and key=value arguments out."
        )
    encoder_file, loss_file = find_files(source)
    network = read_encoder(encoder_file)
    critics = {} if loss_file is None else read_critics(loss_file, network)
    files = [encoder_file] if loss_file is None else [encoder_file, loss_file]
    return Imported(
        encoder_name="dense32",
        encoder=network,
        critics=critics,
        preprocessing=Preprocessing(size=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        objective=ObjectiveCard(
            name="jsd", negatives="roll", alpha=0.5, beta=1.0, gamma=0.1, prior="uniform"
        ),
        origin=(
            f"Imported from {' and '.join(file.name for file in files)}, the layout of "
            "DuaneNielsen/DeepInfomaxPytorch. Objective, weights and preprocessing are those of "
            "its train.py; length and data of the training are not known."
        ),
        left_out=() if loss_file is None else (f"the prior critic of {loss_file.name}",),
        files={file.name: sha256_of(file) for file in files},
    )


def find_files(source: Path) -> tuple[Path, Path | None]:
    """The encoder's file, and the losses' of the same epoch if it is there. Raises WrongLayout."""
    if source.is_dir():
        found = sorted(source.glob("encoder*.wgt"))
        if len(found) != 1:
            named = listed([path.name for path in found]) or "none"
            raise WrongLayout(
                f"{source} should hold one encoder*.wgt, and it holds: {named}. Name the file "
                "itself; the loss*.wgt of the same epoch beside it is taken along."
            )
        source = found[0]
    epoch = re.fullmatch(r"encoder(\d*)\.wgt", source.name)
    loss = source.with_name(f"loss{epoch[1]}.wgt") if epoch else None
    return source, loss if loss is not None and loss.is_file() else None


def read_encoder(file: Path) -> Encoder:
    """The encoder of a state dict."""
    state = state_of(read_foreign(file), file.name)
    for layer, norm in (("c1", "b1"), ("c2", "b2"), ("c3", "b3")):
        state = fold_bias(state, layer, norm)
    encoder = blank_encoder("dense32", {"summary_dim": SUMMARY_DIM, "image_channels": 3})
    fill(encoder, state, ENCODER, file.name)
    return encoder


def read_critics(file: Path, encoder: Encoder) -> dict[Role, tuple[str, Critic]]:
    """The local and the global critic of the losses' state dict; its prior critic is checked."""
    state = state_of(read_foreign(file), file.name)
    parts: dict[str, State] = {
        part: without_prefix(state, f"{part}.") for part in ("local_d", "global_d", "prior_d")
    }
    known = sum(len(tensors) for tensors in parts.values())
    if known != len(state):
        others = [name for name in state if name.partition(".")[0] not in parts]
        raise WrongLayout(
            f"{file.name} has {listed(others)}, which is no part of layout duanenielsen: "
            "local_d, global_d and prior_d. Name the encoder's file and keep its losses beside it."
        )
    local, where = blank_critic("local_concat", encoder, UNITS), f"{file.name} (local_d)"
    widths = {"of_place": MAP_CHANNELS, "of_summary": SUMMARY_DIM}  # cat((M, y))
    fill(local, split_inputs(parts["local_d"], "c0", widths, where), LOCAL, where)
    glob, where = blank_critic("global_conv", encoder, UNITS), f"{file.name} (global_d)"
    widths = {"of_summary": SUMMARY_DIM, "of_place": LAST_CHANNELS * LAST_SIDE**2}  # cat((y, h))
    fill(glob, split_inputs(parts["global_d"], "l0", widths, where), GLOBAL, where)
    with torch.device("meta"):
        prior = PriorCritic(SUMMARY_DIM)
    fill(prior, parts["prior_d"], PRIOR, f"{file.name} (prior_d)")
    return {"local": ("local_concat", local), "global": ("global_conv", glob)}
