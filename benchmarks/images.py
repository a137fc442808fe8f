"""What the benchmarks are fed: CIFAR-10 where it can be found, stand-ins that say so elsewhere."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import REPOSITORY

STRIPS = REPOSITORY.parent / "shared" / "data" / "cifar10-mini"  # 500 images a strip
EXAMPLES = REPOSITORY / "examples" / "images"
SIDE = 32  # pixels
JPEG_QUALITY = 90
SEED = 0


@dataclass(frozen=True)
class ImageFile:
    """An encoded image."""

    name: str
    media_type: str
    content: bytes


def cifar(root: Path, split: str) -> tuple[NDArray[np.uint8], str] | None:
    """CIFAR-10 (N, 32, 32, 3) and what it is, from torchvision's files or from strips beside us."""
    if (root / "cifar-10-batches-py").is_dir():
        from torchvision.datasets import CIFAR10

        pixels = np.asarray(CIFAR10(str(root), train=split == "train").data)
        return pixels, f"CIFAR-10, {split} split"
    strips = [Image.open(path) for path in sorted(STRIPS.glob(f"{split}_*.webp"))]
    if not strips:
        return None
    parts = [np.asarray(strip.convert("RGB")).reshape(-1, SIDE, SIDE, 3) for strip in strips]
    pixels = np.concatenate(parts)
    return pixels, f"{len(pixels):,} images of CIFAR-10, {split} split"


def training_pixels(root: Path, size: int) -> tuple[NDArray[np.uint8], str]:
    """Pixels to train on (N, size, size, 3), and what they are."""
    found = cifar(root, "train") if size == SIDE else None
    if found is not None:
        return found
    shape = (10_000, size, size, 3)
    pixels = np.random.default_rng(SEED).integers(0, 256, shape, np.uint8)
    return pixels, f"10,000 images of random pixels at {size} x {size}: the arithmetic is the same"


def corpus(root: Path, count: int) -> tuple[list[ImageFile], str]:
    """`count` distinct files of 32 x 32 pixels, JPEG and PNG in turn, and what they are."""
    found = cifar(root, "test")
    if found is not None:
        pixels, described = found
        chosen = np.random.default_rng(SEED).choice(len(pixels), count, replace=False)
        images = [Image.fromarray(pixels[place]) for place in chosen]
    else:
        images, described = example_crops(count), "squares cut from examples/images at 32 x 32"
    files = [encoded(image, number) for number, image in enumerate(images)]
    kilobytes = sum(len(file.content) for file in files) / count / 1000
    return files, f"{count} of {described}, JPEG and PNG in turn, {kilobytes:.1f} kB on average"


def example_crops(count: int) -> list[Image.Image]:
    """Squares at different places of the example images, at 32 x 32 pixels."""
    sources = [Image.open(path).convert("RGB") for path in sorted(EXAMPLES.iterdir())]
    random = np.random.default_rng(SEED)
    crops = []
    for number in range(count):
        source = sources[number % len(sources)]
        side = int(random.integers(SIDE, min(source.size) + 1))
        left = int(random.integers(0, source.width - side + 1))
        top = int(random.integers(0, source.height - side + 1))
        crops.append(source.crop((left, top, left + side, top + side)).resize((SIDE, SIDE)))
    return crops


def encoded(image: Image.Image, number: int) -> ImageFile:
    """An image as a JPEG (even numbers) or a PNG."""
    buffer = io.BytesIO()
    if number % 2:
        image.save(buffer, "PNG")
        return ImageFile(f"{number}.png", "image/png", buffer.getvalue())
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return ImageFile(f"{number}.jpg", "image/jpeg", buffer.getvalue())
