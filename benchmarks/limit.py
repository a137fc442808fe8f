"""The in-process limit: decoding and the forward pass at their best, without HTTP or a queue."""

import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.images import ImageFile
from models.checkpoint import load_checkpoint
from models.inference import encode, prepare
from models.pixels import open_image, to_pixels

BATCHES = (16, 32, 64, 128)
TRY_S = 0.5

Pixels = NDArray[np.uint8]  # (images, size, size, channels)


@dataclass(frozen=True)
class Arrangement:
    """How the work is laid out; `ahead`: a thread decodes the next batch while the model runs."""

    batch: int
    threads: int
    ahead: bool

    def __str__(self) -> str:
        decoding = "decoded ahead in one thread" if self.ahead else "decoded in turn"
        return f"batches of {self.batch}, torch threads: {self.threads}, {decoding}"


class InProcess:
    """A checkpoint's encoder in this process, and the files it is to embed."""

    def __init__(self, checkpoint: Path, images: Sequence[ImageFile]) -> None:
        loaded = load_checkpoint(checkpoint)
        self.card = loaded.card
        self._preprocessing = loaded.card.preprocessing
        self._encoder = prepare(loaded.encoder)
        self._images = images

    def embeddings(self) -> NDArray[np.float32]:
        """What every contender must answer: (images, D)."""
        return self._embed(np.stack([self._decode(image) for image in self._images]))

    def best_arrangement(self) -> Arrangement:
        """The fastest of a few batch sizes, threads and ways to decode."""
        most = torch.get_num_threads()
        choices = itertools.product(BATCHES, sorted({1, most}), (False, True))
        arrangements = [Arrangement(*choice) for choice in choices]
        for arrangement in arrangements[:2]:
            self.images_per_s(arrangement, TRY_S)  # the first passes are always slow
        return max(arrangements, key=lambda each: self.images_per_s(each, TRY_S))

    def images_per_s(self, arrangement: Arrangement, seconds: float) -> float:
        """Images decoded and embedded a second, over at least so many seconds."""
        before = torch.get_num_threads()
        torch.set_num_threads(arrangement.threads)
        try:
            with ThreadPoolExecutor(1) as pool:
                blocks = self._blocks(arrangement, pool)
                self._embed(next(blocks))
                done, began = 0, time.perf_counter()
                while time.perf_counter() - began < seconds:
                    done += len(self._embed(next(blocks)))
                return done / (time.perf_counter() - began)
        finally:
            torch.set_num_threads(before)

    def _blocks(self, arrangement: Arrangement, pool: ThreadPoolExecutor) -> Iterator[Pixels]:
        """Decoded batches without end, the files taken in turn."""
        files = itertools.cycle(self._images)

        def decode() -> Pixels:
            return np.stack([self._decode(next(files)) for _ in range(arrangement.batch)])

        while not arrangement.ahead:
            yield decode()
        coming: Future[Pixels] = pool.submit(decode)
        while True:
            block, coming = coming.result(), pool.submit(decode)
            yield block

    def _decode(self, image: ImageFile) -> Pixels:
        with open_image(image.content) as opened:
            return to_pixels(opened, self._preprocessing)

    def _embed(self, pixels: Pixels) -> NDArray[np.float32]:
        features = encode(self._encoder, torch.from_numpy(pixels), self._preprocessing)
        return features.y.numpy()
