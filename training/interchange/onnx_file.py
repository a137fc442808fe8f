"""An encoder as one ONNX file: uint8 pixels in, y, map, fc and conv out, any number of images.

The graph begins with the card's normalisation, so a caller can get the scaling wrong no more; what
it must still do is make pixels of the card's size and colour (resize rule in the file's metadata).
The file is written only where onnxruntime gives what torch gives.
"""

import importlib.util
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from models.card import Preprocessing
from models.checkpoint import Checkpoint
from models.encoders import Encoder
from models.inference import encode
from models.preprocess import factor_and_shift
from models.types import Features, Pixels
from training.embed import replacing
from training.interchange.errors import ExportRefused

TOLERANCE = 1e-4  # of an output's largest value, or of 1 where that is smaller
INPUT, OUTPUTS = "pixels", Features._fields
PACKAGES = ("onnx", "onnxruntime", "onnxscript")


class FromPixels(nn.Module):
    """uint8 pixels (N, size, size, channels) -> (y, map, fc, conv)."""

    factor: Tensor
    shift: Tensor

    def __init__(self, encoder: Encoder, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.encoder = encoder
        factor, shift = factor_and_shift(preprocessing, torch.device("cpu"))
        self.register_buffer("factor", factor)
        self.register_buffer("shift", shift)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Normalise as models/preprocess.py does, and encode."""
        images = (pixels.float() * self.factor - self.shift).permute(0, 3, 1, 2)
        return tuple(self.encoder(images))


def export_onnx(checkpoint: Checkpoint, out: Path) -> float:
    """Write the file and return the largest error of its outputs.

    Raises ExportRefused where the packages are missing or the error is above 1e-4, OSError.
    """
    require_packages()
    program: Any = torch.onnx.export(
        FromPixels(checkpoint.encoder, checkpoint.card.preprocessing).eval(),
        (checkpoint.golden.images[:2].cpu(),),
        dynamo=True,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_shapes=({0: torch.export.Dim("images")},),
        verbose=False,
    )
    forget_where_it_was_made(program.model)
    program.model.metadata_props.update(metadata_of(checkpoint))
    return save_if_equal(program, checkpoint, out)


@runtime_checkable
class Program(Protocol):
    """What torch.onnx.export gives."""

    def save(self, destination: Path, *, external_data: bool) -> None:
        """Write the model, with its weights inside unless `external_data`."""


def save_if_equal(program: Program, checkpoint: Checkpoint, out: Path) -> float:
    """Write the file if it gives what the checkpoint gives, for eight images and for one."""
    images = checkpoint.golden.images.cpu()
    with replacing(out) as temporary:
        program.save(temporary, external_data=False)
        error = max(largest_error(temporary, checkpoint, batch) for batch in (images, images[:1]))
        if not error <= TOLERANCE:
            raise ExportRefused(
                f"onnxruntime's outputs differ from torch's by {error:.1g}, where {TOLERANCE:g} is "
                f"allowed; {out} was not written. Try other versions of {' and '.join(PACKAGES)}."
            )
    return error


def require_packages() -> None:
    """Raise ExportRefused, with the remedy, where a package is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportRefused(
            f"ONNX needs {', '.join(missing)}: pip install -c constraints.txt 'infomax[onnx]'."
        )


def forget_where_it_was_made(model: Any) -> None:
    """Drop the exporter's notes on every node: stack traces with the paths of this machine."""
    graph = model.graph
    values = [*graph.inputs, *graph.initializers.values()]
    for node in graph:
        node.metadata_props.clear()
        values += node.outputs
    for value in values:
        value.metadata_props.clear()


def metadata_of(checkpoint: Checkpoint) -> dict[str, str]:
    """What the file says of itself: which checkpoint it is, and how pixels are made."""
    card = checkpoint.card
    return {
        "infomax.name": card.name,
        "infomax.model": card.identity,
        "infomax.encoder": card.encoder.model_dump_json(),
        "infomax.preprocessing": card.preprocessing.model_dump_json(),
    }


def largest_error(file: Path, checkpoint: Checkpoint, pixels: Pixels) -> float:
    """The largest difference between onnxruntime and torch, in units of max(1, largest value)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    ours = encode(checkpoint.encoder, pixels, checkpoint.card.preprocessing)
    theirs = session.run(list(OUTPUTS), {INPUT: pixels.numpy()})
    errors = [
        (torch.from_numpy(array) - expected).abs().max() / expected.abs().max().clamp_min(1.0)
        for array, expected in zip(theirs, ours, strict=True)
    ]
    return float(torch.stack(errors).max())
