"""The endpoint everybody writes first: upload, Pillow, one forward pass, a list of floats.

It is a plain `def`, as FastAPI's documentation has it for code that blocks, so that requests run in
a pool of threads. Weights, preprocessing and folded batch norms are the service's own.
"""

import argparse
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

from models.checkpoint import load_checkpoint
from models.inference import encode, prepare
from models.pixels import to_pixels


def create_app(folder: Path) -> FastAPI:
    """The application that answers from this checkpoint."""
    checkpoint = load_checkpoint(folder)
    encoder = prepare(checkpoint.encoder)
    preprocessing = checkpoint.card.preprocessing
    app = FastAPI()

    @app.post("/embed")
    def embed(file: UploadFile) -> list[float]:
        pixels = to_pixels(Image.open(file.file), preprocessing)
        features = encode(encoder, torch.from_numpy(pixels)[None], preprocessing)
        return features.y[0].tolist()

    return app


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rivals.naive", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    asked = parser.parse_args()
    uvicorn.run(create_app(asked.checkpoint), port=asked.port, log_level="warning")


if __name__ == "__main__":
    main()
