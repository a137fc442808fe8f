"""A checkpoint is a folder that rebuilds its encoder, its critics and its preprocessing.

card.json            what it is, with the sha256 of the two other files (models/card.py)
weights.safetensors  encoder.* and critic.ROLE.* (models/networks.py)
golden.safetensors   eight images and the outputs they must give (models/golden.py)

Reading one executes nothing and allocates nothing that is not in the files: networks are laid out
without memory first, and get the file's tensors once every name, shape and type is right.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from models.atomic import write_file_in, write_folder
from models.card import CARD_FILE, GOLDEN_FILE, WEIGHTS_FILE, Card
from models.checkpoint_files import (
    RESTORE,
    CheckpointDamaged,
    CheckpointError,
    CheckpointIncompatible,
    CheckpointMissing,
    GoldenMismatch,
    OpenFolder,
    WeightsMismatch,
    card_bytes,
    read_bytes,
    read_card_file,
    reading,
)
from models.critics import Critic
from models.encoders import Encoder
from models.golden import GOLDEN_IMAGES, Golden, golden_outputs, largest_errors
from models.networks import (
    Networks,
    blank_networks,
    filled,
    stored_tensors,
    tensor_fault,
)
from models.types import Pixels

__all__ = [
    "Checkpoint",
    "CheckpointDamaged",
    "CheckpointError",
    "CheckpointIncompatible",
    "CheckpointMissing",
    "GoldenMismatch",
    "WeightsMismatch",
    "golden_errors",
    "load_checkpoint",
    "read_card",
    "save_checkpoint",
    "write_card",
]

# Relative error allowed to golden outputs. Another CPU adds up in another order; GPUs may convolve
# in TF32, which has ten bits of mantissa.
CPU_TOLERANCE, DEVICE_TOLERANCE = 1e-3, 3e-2

_DTYPES = {"float32": torch.float32, "float16": torch.float16}
_HEADER_ROOM = 1 << 20  # bytes, beside the tensors of a safetensors file


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: networks in eval(), float32, without gradients, on one device."""

    card: Card
    encoder: Encoder
    critics: Mapping[str, Critic]
    golden: Golden


def save_checkpoint(
    folder: Path,
    card: Card,
    encoder: Encoder,
    critics: Mapping[str, Critic],
    golden_images: Pixels,
) -> Card:
    """Write the folder as one and return the card as written, with its `files` filled in.

    A reader at any moment, also after a kill or a power cut, finds the old checkpoint or the new
    one. The networks are not changed. Golden outputs are computed from the weights as stored, so
    with weights_dtype "float16" from the rounded ones.

    golden_images  uint8 (8, size, size, channels)
    Raises ValueError where card, networks and images do not belong together, WeightsMismatch for
    weights that are not finite, CheckpointIncompatible for a folder of other things, OSError.
    """
    _check_place(folder)
    _check_networks(card, encoder, critics)
    blank = blank_networks(card)
    dtype = _DTYPES[card.weights_dtype]
    tensors = {
        name: tensor.cpu()
        for name, tensor in stored_tensors(Networks(encoder, critics), dtype).items()
    }
    _check_weights(tensors, stored_tensors(blank, dtype))
    golden = _make_golden(card, filled(blank, tensors), golden_images)
    files = {
        WEIGHTS_FILE: safetensors.save(tensors, {"format": "pt"}),
        GOLDEN_FILE: safetensors.save(
            {"images": golden.images, **golden.outputs}, {"format": "pt"}
        ),
    }
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    written = card.model_copy(update={"files": hashes})
    write_folder(folder, {**files, CARD_FILE: card_bytes(written)})
    return written


def load_checkpoint(
    folder: Path, device: str | torch.device = "cpu", verify: bool = True
) -> Checkpoint:
    """Load a checkpoint; with `verify`, check the files' hashes and the golden outputs.

    Raises CheckpointMissing, CheckpointDamaged, CheckpointIncompatible, WeightsMismatch or
    GoldenMismatch.
    """
    checkpoint = reading(folder, lambda opened: _load(opened, verify))
    for part in (checkpoint.encoder, *checkpoint.critics.values()):
        part.to(device)
    if verify:
        _check_golden(folder, checkpoint, torch.device(device))
    return checkpoint


def read_card(folder: Path) -> Card:
    """Read the card alone. Raises CheckpointMissing, CheckpointDamaged or -Incompatible."""
    return reading(folder, read_card_file)


def write_card(folder: Path, card: Card) -> None:
    """Replace the card of a checkpoint as one, for a new evaluation or calibration.

    Raises CheckpointIncompatible for a card of other files than the folder's, and what `read_card`
    raises; ValueError for a card that could not be read again.
    """
    content = card_bytes(card)

    def replace(opened: OpenFolder) -> None:
        if read_card_file(opened).files != card.files:
            raise CheckpointIncompatible(
                f"The checkpoint in {folder} has been replaced since this card was read; read it "
                "again and repeat what was to be written."
            )
        write_file_in(opened.descriptor, CARD_FILE, content)

    reading(folder, replace)


def golden_errors(checkpoint: Checkpoint) -> dict[str, float]:
    """Give the largest error of each golden output, relative to its largest value.

    Put a prepared encoder in the checkpoint (`dataclasses.replace`) to judge it as it is served.
    """
    ours = golden_outputs(
        checkpoint.encoder,
        checkpoint.critics,
        checkpoint.card.preprocessing,
        checkpoint.golden.images,
    )
    return largest_errors(ours, checkpoint.golden.outputs)


def _check_place(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / CARD_FILE).is_file():
        raise CheckpointIncompatible(
            f"{folder} holds other files and no {CARD_FILE}; choose another folder for the "
            "checkpoint."
        )


def _check_networks(card: Card, encoder: Encoder, critics: Mapping[str, Critic]) -> None:
    if set(critics) != set(card.critics):
        raise ValueError(
            f"The card describes the critics {sorted(card.critics)}, but {sorted(critics)} were "
            "given; give each critic its card"
        )
    described = {"encoder": (card.encoder.arguments, encoder.arguments)}
    for role, critic in card.critics.items():
        described[f"critic {role}"] = (critic.arguments, critics[role].arguments)
    for what, (on_card, own) in described.items():
        if on_card != json.loads(json.dumps(dict(own))):  # tuples are lists on a card
            raise ValueError(
                f"The card describes the {what} with the arguments {on_card}, but it was built "
                f"with {dict(own)}; describe the network as it is"
            )


def _make_golden(card: Card, networks: Networks, images: Pixels) -> Golden:
    expected = _golden_shape(card)
    if tuple(images.shape) != expected:
        raise ValueError(f"golden images must be uint8 {expected}, not {tuple(images.shape)}")
    kept = images.detach().to("cpu", copy=True).contiguous()
    outputs = golden_outputs(*networks, card.preprocessing, kept)
    fault = tensor_fault(outputs, outputs)
    if fault:
        raise WeightsMismatch(f"What the networks give for the golden images {fault}; not saved.")
    return Golden(kept, outputs)


def _golden_shape(card: Card) -> tuple[int, int, int, int]:
    size = card.preprocessing.size
    return GOLDEN_IMAGES, size, size, card.preprocessing.channels


def _check_weights(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    fault = tensor_fault(tensors, expected)
    if fault:
        raise WeightsMismatch(
            f"{WEIGHTS_FILE} {fault}: these are not sound weights of the networks that {CARD_FILE} "
            "describes. Put the files of one checkpoint together, or train it again."
        )


def _load(folder: OpenFolder, verify: bool) -> Checkpoint:
    card = read_card_file(folder)
    blank = blank_networks(card)
    expected = stored_tensors(blank, _DTYPES[card.weights_dtype])
    expected_golden = _blank_golden(card, blank)
    tensors = _read_tensors(folder, card, WEIGHTS_FILE, expected, verify)
    _check_weights(tensors, expected)
    golden = _read_tensors(folder, card, GOLDEN_FILE, expected_golden, verify)
    fault = tensor_fault(golden, expected_golden)
    if fault:
        raise GoldenMismatch(f"{GOLDEN_FILE} in {folder.path} {fault}; {RESTORE}.")
    networks = filled(blank, tensors)
    return Checkpoint(
        card, networks.encoder, networks.critics, Golden(golden.pop("images"), golden)
    )


def _blank_golden(card: Card, blank: Networks) -> dict[str, Tensor]:
    """Lay out the golden tensors without memory.

    Nothing is run for it: on the meta device that would load torch's compiler, three seconds long.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "y": (GOLDEN_IMAGES, blank.encoder.summary_dim),
        "map": (GOLDEN_IMAGES, *blank.encoder.map_shape),
    }
    for role in blank.critics:
        shapes[f"t.{role}"] = shapes[f"p.{role}"] = (GOLDEN_IMAGES, GOLDEN_IMAGES)
    outputs = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    images = torch.empty(_golden_shape(card), dtype=torch.uint8, device="meta")
    return {"images": images, **outputs}


def _read_tensors(
    folder: OpenFolder, card: Card, name: str, expected: Mapping[str, Tensor], verify: bool
) -> dict[str, Tensor]:
    needed = sum(tensor.numel() * tensor.element_size() for tensor in expected.values())
    content = read_bytes(
        folder, name, 2 * needed + _HEADER_ROOM, card.files[name] if verify else None
    )
    try:
        return safetensors.load(content)
    except (SafetensorError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointDamaged(
            f"{name} in {folder.path} is not a safetensors file ({error}); {RESTORE}."
        ) from error


def _check_golden(folder: Path, checkpoint: Checkpoint, device: torch.device) -> None:
    tolerance = CPU_TOLERANCE if device.type == "cpu" else DEVICE_TOLERANCE
    errors = golden_errors(checkpoint)
    wrong = [f"{name} by {error:.2g}" for name, error in errors.items() if not error <= tolerance]
    if wrong:
        raise GoldenMismatch(
            f"The checkpoint in {folder} does not give its golden outputs: {', '.join(wrong)} of "
            f"their largest value, where {tolerance:.2g} is allowed. Its card, weights and golden "
            f"file do not belong together, or this machine computes wrongly; {RESTORE}."
        )
