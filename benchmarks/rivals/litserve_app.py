"""A litserve server after its own documentation, with every setting that it offers for throughput.

decode_request makes pixels of one request, `batch` (its own) stacks them, predict is one forward
pass. `--workers` processes share the cores evenly: at one worker that is torch's default.
"""

import argparse
import base64
import io
import os
from pathlib import Path
from typing import Any

import litserve  # type: ignore[import-untyped]
import torch
from PIL import Image
from torch import Tensor

from models.checkpoint import load_checkpoint
from models.inference import encode, prepare
from models.pixels import to_pixels


class EmbedApi(litserve.LitAPI):  # type: ignore[misc]  # litserve ships no types
    """Embeds one image a request, sent as base64 in JSON or as a file in a form."""

    def __init__(self, folder: Path, workers: int, max_batch_size: int, batch_timeout: float):
        super().__init__(max_batch_size=max_batch_size, batch_timeout=batch_timeout)
        self.folder = folder
        self.workers = workers

    def setup(self, device: str) -> None:
        """Load the model, once in each worker."""
        if self.workers > 1:
            torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // self.workers))
        checkpoint = load_checkpoint(self.folder, device)
        self.encoder = prepare(checkpoint.encoder)
        self.preprocessing = checkpoint.card.preprocessing

    # Without an annotation: litserve makes a FastAPI parameter of it.
    def decode_request(self, request) -> Tensor:  # type: ignore[no-untyped-def]
        """One request's pixels, uint8 (size, size, channels)."""
        if "image_data" in request:
            source: Any = io.BytesIO(base64.b64decode(request["image_data"]))
        else:
            source = request["file"].file
        return torch.from_numpy(to_pixels(Image.open(source), self.preprocessing))

    def predict(self, pixels: Tensor) -> list[list[float]]:
        """Pixels (N, size, size, channels) -> N embeddings."""
        return encode(self.encoder, pixels, self.preprocessing).y.tolist()

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """One embedding as a JSON object."""
        return {"embedding": output}


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rivals.litserve_app")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-batch-size", type=int, required=True)
    parser.add_argument("--batch-timeout", type=float, required=True, help="seconds")
    parser.add_argument("--workers", type=int, required=True, help="processes")
    asked = parser.parse_args()
    api = EmbedApi(asked.checkpoint, asked.workers, asked.max_batch_size, asked.batch_timeout)
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=asked.workers, fast_queue=True
    )
    server.run(host="127.0.0.1", port=asked.port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
