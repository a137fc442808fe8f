"""Maps as PNG pictures: one picture an answer, its maps side by side."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 256  # pixels along one map, or as near as whole pixels a place allow
GAP = 4  # white pixels between two maps
# Five colours from dark to bright that differ in lightness for every kind of sight (after viridis).
COLOURS = np.array(
    [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float32
)


def paint_shades(maps: NDArray[np.float32]) -> bytes:
    """Paint maps (N, M, M) of values in [0, 1], dark to bright."""
    stops = np.linspace(0, 1, len(COLOURS))
    channels = [np.interp(maps, stops, COLOURS[:, channel]) for channel in range(3)]
    return _png(np.stack(channels, axis=-1).round().astype(np.uint8))


def paint_colours(maps: NDArray[np.float32]) -> bytes:
    """Paint maps (N, 3, M, M) as red, green and blue, each map stretched to its own extremes."""
    stretched = stretch(maps.reshape(len(maps), 3, -1)).reshape(maps.shape)
    return _png((stretched * 255).round().astype(np.uint8).transpose(0, 2, 3, 1))


def stretch(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map the last axis to [0, 1], least to greatest; all equal becomes 0."""
    low = values.min(axis=-1, keepdims=True)
    span = values.max(axis=-1, keepdims=True) - low
    return (values - low) / np.where(span > 0, span, 1)


def _png(maps: NDArray[np.uint8]) -> bytes:
    """(N, M, M, 3) -> PNG."""
    scale = max(1, SIDE // maps.shape[1])
    large = maps.repeat(scale, axis=1).repeat(scale, axis=2)
    gap = np.full((large.shape[1], GAP, 3), 255, np.uint8)
    strips = [piece for one in large for piece in (one, gap)][:-1]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(strips, axis=1)).save(buffer, "PNG")
    return buffer.getvalue()
