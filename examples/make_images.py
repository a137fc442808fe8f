"""Draw the example images: a ship, a car, and the same two as one array of 32 x 32 pixels.

They are drawn, not photographed: a fresh clone has something to send, and it belongs to nobody.
Run as `python examples/make_images.py [FOLDER]`; the folder is examples/ unless said otherwise.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = (128, 96)  # width, height in pixels
FINER = 4  # drawn this much larger, then reduced: smooth edges


def gradient(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Image.Image:
    """A canvas that goes from one colour at the top to another at the bottom."""
    width, height = SIZE[0] * FINER, SIZE[1] * FINER
    share = np.linspace(0.0, 1.0, height)[:, None, None]
    rows = (1 - share) * np.array(top) + share * np.array(bottom)
    return Image.fromarray(np.repeat(rows.round().astype(np.uint8), width, axis=1))


def polygon(canvas: Image.Image, colour: str, *points: tuple[float, float]) -> None:
    """Fill a polygon whose corners are given in pixels of the finished image."""
    scaled = [(x * FINER, y * FINER) for x, y in points]
    ImageDraw.Draw(canvas).polygon(scaled, fill=colour)


def disc(canvas: Image.Image, colour: str, centre: tuple[float, float], radius: float) -> None:
    """Fill a circle, centre and radius in pixels of the finished image."""
    (x, y), r = centre, radius
    box = [(x - r) * FINER, (y - r) * FINER, (x + r) * FINER, (y + r) * FINER]
    ImageDraw.Draw(canvas).ellipse(box, fill=colour)


def ship() -> Image.Image:
    """A sailing ship on the sea."""
    canvas = gradient((122, 178, 226), (222, 236, 246))
    disc(canvas, "#fff3c4", (104, 18), 9)
    polygon(canvas, "#2b5f83", (0, 66), (128, 62), (128, 96), (0, 96))
    polygon(canvas, "#7a3b21", (24, 62), (104, 60), (90, 78), (38, 78))
    polygon(canvas, "#4a3426", (62, 12), (65, 12), (65, 62), (62, 62))
    polygon(canvas, "#f7f4ec", (67, 14), (67, 56), (98, 55))
    polygon(canvas, "#e4ded0", (60, 20), (60, 57), (32, 57))
    polygon(canvas, "#3d7398", (0, 74), (128, 77), (128, 82), (0, 80))
    return canvas.resize(SIZE, Image.Resampling.LANCZOS)


def car() -> Image.Image:
    """A red car on a road."""
    canvas = gradient((176, 200, 208), (228, 226, 214))
    polygon(canvas, "#6d8b54", (0, 48), (128, 44), (128, 70), (0, 70))
    polygon(canvas, "#55575c", (0, 64), (128, 64), (128, 96), (0, 96))
    polygon(canvas, "#b3202a", (12, 50), (38, 46), (50, 30), (88, 30), (102, 47), (118, 52),
            (118, 70), (12, 70))  # fmt: skip
    polygon(canvas, "#cfe3ec", (43, 46), (53, 34), (67, 34), (67, 46))
    polygon(canvas, "#cfe3ec", (71, 46), (71, 34), (86, 34), (95, 46))
    for x in (36, 96):
        disc(canvas, "#1d1e20", (x, 71), 11)
        disc(canvas, "#c4c7cb", (x, 71), 5)
    return canvas.resize(SIZE, Image.Resampling.LANCZOS)


def centre_square(image: Image.Image, size: int) -> np.ndarray:
    """The middle of an image, reduced to size x size pixels."""
    left = (image.width - image.height) // 2
    middle = image.crop((left, 0, left + image.height, image.height))
    return np.asarray(middle.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=None))


def main(arguments: list[str]) -> int:
    """Write images/ship.png, images/car.jpg and images.npy, a few KB each."""
    folder = Path(arguments[0]) if arguments else Path(__file__).resolve().parent
    (folder / "images").mkdir(parents=True, exist_ok=True)
    ship().quantize(64, dither=Image.Dither.NONE).save(
        folder / "images" / "ship.png", optimize=True
    )
    car().save(folder / "images" / "car.jpg", quality=85)
    np.save(folder / "images.npy", np.stack([centre_square(draw(), 32) for draw in (ship, car)]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
