"""`export`: a checkpoint as an ONNX file, or as a folder that a model hub accepts."""

import argparse
import sys
from pathlib import Path

from models.checkpoint import CheckpointError, load_checkpoint
from training.interchange.errors import BadArguments, InterchangeError
from training.interchange.hub_folder import export_hub
from training.interchange.onnx_file import TOLERANCE, export_onnx


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `export`."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="a checkpoint folder")
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="write the encoder as ONNX")
    parser.add_argument("--hub", type=Path, metavar="FOLDER", help="write a model hub's folder")
    parser.add_argument(
        "--licence", help="of the weights, which is yours to choose: apache-2.0, cc-by-4.0, other"
    )


def run(args: argparse.Namespace) -> int:
    """0 with everything written; 2 where the checkpoint cannot be exported as asked."""
    try:
        export(args)
    except (InterchangeError, CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def export(args: argparse.Namespace) -> None:
    """Load once, with the golden outputs checked, and write what was asked for."""
    if args.onnx is None and args.hub is None:
        raise BadArguments("Nothing to export; name --onnx FILE or --hub FOLDER, or both.")
    if args.hub is not None and not args.licence:
        raise BadArguments("A hub asks for a licence; choose one with --licence apache-2.0.")
    if args.onnx is not None and not args.onnx.absolute().parent.is_dir():
        raise BadArguments(f"There is no folder {args.onnx.absolute().parent}; create it first.")
    checkpoint = load_checkpoint(args.checkpoint)
    if args.onnx is not None:
        error = export_onnx(checkpoint, args.onnx)
        size = checkpoint.encoder.image_size
        print(
            f"Wrote {args.onnx}: pixels, uint8 (N, {size}, {size}, "
            f"{checkpoint.encoder.image_channels}), to y, map, fc, conv. Largest error against "
            f"torch {error:.1e} (allowed: {TOLERANCE:g})."
        )
    if args.hub is not None:
        names = export_hub(args.checkpoint, checkpoint, args.licence, args.hub)
        print(f"Wrote {args.hub}: {', '.join(names)}. Nothing was uploaded.")
