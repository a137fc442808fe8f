"""Pixels and maps as PNG inside the page, and sheets of them."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from training.report.markup import Content, Markup, tag

# Five colours from dark to bright that differ in lightness for every kind of sight (after viridis).
COLOURS = torch.tensor(
    [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)]
).float()

Picture = UInt8[np.ndarray, "height width shades"]
Square = Float[Tensor, "rows columns"]


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet, what stands under it, and whether that is good news."""

    picture: Markup
    label: str = ""
    good: bool = False


def image(pixels: UInt8[Tensor, "height width channels"], alt: str) -> Markup:
    """One image, 1 or 3 channels."""
    array = pixels.cpu().numpy()
    return png(array if array.shape[-1] == 3 else array.repeat(3, axis=-1), alt)


def shades(values: Square, alt: str, low: float, high: float) -> Markup:
    """A map of numbers, dark at `low` and bright at `high`."""
    place = ((values.float().cpu() - low) / max(high - low, 1e-12)).clamp(0, 1) * 4
    below = place.floor().clamp(max=3).long()
    part = (place - below)[..., None]
    colours = COLOURS[below] * (1 - part) + COLOURS[below + 1] * part
    return png(colours.round().to(torch.uint8).numpy(), alt)


def colours(channels: Float[Tensor, "3 rows columns"], alt: str) -> Markup:
    """Three maps of numbers in [0, 1] as red, green and blue."""
    scaled = (channels.float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return png(scaled.permute(1, 2, 0).contiguous().numpy(), alt)


def png(array: Picture, alt: str) -> Markup:
    """The picture itself, inside the page."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    opening = tag("img", src=f"data:image/png;base64,{data}", alt=alt).text
    return Markup(opening.removesuffix("</img>"))


def sheet(rows: Sequence[Sequence[Cell]], heads: Sequence[str] = ()) -> Markup:
    """Rows of pictures with their labels; the first of each row stands apart."""
    head = [tag("tr", *(tag("th", each) for each in heads))] if heads else []
    body = [tag("tr", *(box(cell, place) for place, cell in enumerate(row))) for row in rows]
    return tag("table", *head, *body, class_="sheet")


def box(cell: Cell, place: int) -> Markup:
    """One cell of a sheet."""
    content: list[Content] = [cell.picture]
    if cell.label:
        kind = "label same" if cell.good else "label"
        content.append(tag("span", cell.label, class_=kind, title=cell.label))
    return tag("td", *content, class_="first" if place == 0 else "other")
