"""Views of images: random changes that leave the content alone, drawn for a whole batch at once.

Every function maps (N, H, W, C) uint8 to the same, on the device of the pixels, with its own draw
for each image. Random numbers come from the generator alone and on the generator's device: the
same generator state gives the same view on a CPU and on a GPU.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from models.registry import look_up
from models.types import Pixels
from training.cropping import resized_crop
from training.shared_draws import integers, uniform

View = Callable[[Pixels, Generator], Pixels]

CROP_SHIFT = 4  # pixels; AMDIM translates CIFAR images by up to 4 with reflection
MOVE_CHANCE = 0.8  # AMDIM's, of that
LARGE_SIDE = 64  # pixels; from here on AMDIM crops instead
JITTER = 0.4  # brightness, contrast and saturation each by a factor of 1 +- 0.4 (AMDIM)
HUE_TURN = 0.2  # of a full turn, either way (AMDIM)
JITTER_CHANCE = 0.8
GREY_CHANCE = 0.25
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's convert("L")
# RGB to YIQ (NTSC): turning the I-Q plane turns the hue and leaves luma as it is.
RGB_TO_YIQ = (LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def draw_view(name: str, pixels: Pixels, generator: Generator) -> Pixels:
    """One view of each image: (N, H, W, C) uint8 in and out. ValueError for an unknown name."""
    return look_up("view", VIEWS, name)(pixels, generator)


def draw_views(name: str, count: int, pixels: Pixels, generator: Generator) -> list[Pixels]:
    """`count` views of each image, each with draws of its own after what they share."""
    if name in SHARED:
        shared, own = SHARED[name]
        together = shared(pixels, generator)
        return [own(together, generator) for _ in range(count)]
    return [draw_view(name, pixels, generator) for _ in range(count)]


def none(pixels: Pixels, generator: Generator) -> Pixels:  # noqa: ARG001 - the table's signature
    """The images as they are: how the DIM paper trains on CIFAR."""
    return pixels


def flip(pixels: Pixels, generator: Generator) -> Pixels:
    """Half of the images mirrored left to right."""
    mirrored = _chance(len(pixels), 0.5, generator, pixels.device)
    return torch.where(mirrored[:, None, None, None], pixels.flip(2), pixels)


def flip_crop(pixels: Pixels, generator: Generator) -> Pixels:
    """Mirrored half of the time, then moved by up to 4 pixels each way with reflected borders."""
    count, height, width, _ = pixels.shape
    rows_NH = _shifted(count, height, generator, pixels.device)
    cols_NW = _shifted(count, width, generator, pixels.device)
    mirrored = _chance(count, 0.5, generator, pixels.device)
    cols_NW = torch.where(mirrored[:, None], width - 1 - cols_NW, cols_NW)
    return _taken(pixels, rows_NH, cols_NW)


def flip_crop_colour(pixels: Pixels, generator: Generator) -> Pixels:
    """`flip_crop`, then brightness, contrast, saturation, hue (p 0.8) and grey (p 0.25).

    The amounts are AMDIM's. Two differences from torchvision's ColorJitter: the order is fixed and
    nothing is clipped in between, so that the whole change is one affine map of each image's
    colours; and hue is turned in YIQ instead of HSV. Grey images get brightness and contrast only.
    """
    return recoloured(flip_crop(pixels, generator), generator)


def recoloured(pixels: Pixels, generator: Generator) -> Pixels:
    """Only the colours of `flip_crop_colour`."""
    count, height, width, channels = pixels.shape
    colours = pixels.reshape(count, height * width, channels).float()
    matrix, offset = _colour_change(colours, generator)
    changed = torch.baddbmm(offset, colours, matrix)
    return changed.round_().clamp_(0, 255).to(torch.uint8).reshape(pixels.shape)


def amdim(pixels: Pixels, generator: Generator) -> Pixels:
    """AMDIM's view: mirrored half of the time, then `amdim_own`."""
    return amdim_own(flip(pixels, generator), generator)


def amdim_own(pixels: Pixels, generator: Generator) -> Pixels:
    """What two views of AMDIM do not share: where they look (see below), and the colours.

    Below 64 pixels 0.8 of the images are moved by up to 4 pixels with reflected borders; from 64
    on a random window is drawn to full size.
    """
    if min(pixels.shape[1:3]) >= LARGE_SIDE:
        return recoloured(resized_crop(pixels, generator), generator)
    moved = _chance(len(pixels), MOVE_CHANCE, generator, pixels.device)
    rows_NH, cols_NW = (
        _shifted(len(pixels), length, generator, pixels.device) for length in pixels.shape[1:3]
    )
    rows_NH, cols_NW = (
        torch.where(moved[:, None], shifted, torch.arange(shifted.shape[1], device=pixels.device))
        for shifted in (rows_NH, cols_NW)
    )
    return recoloured(_taken(pixels, rows_NH, cols_NW), generator)


VIEWS: dict[str, View] = {
    "none": none,
    "flip": flip,
    "flip_crop": flip_crop,
    "flip_crop_colour": flip_crop_colour,
    "amdim": amdim,
}
# Views whose several draws have a first part in common: (shared, own). `own` after `shared` is the
# view of that name in VIEWS.
SHARED: dict[str, tuple[View, View]] = {"amdim": (flip, amdim_own)}


def _chance(count: int, probability: float, generator: Generator, device: torch.device) -> Tensor:
    """(N,) bool, each true with the given probability."""
    return (uniform(count, generator) < probability).to(device)


def _between(count: int, low: float, high: float, colours: Tensor, gen: Generator) -> Tensor:
    """(N, 1, 1) uniform in [low, high), on the device of the colours."""
    draws = uniform(count, gen).to(colours.device)
    return (low + (high - low) * draws)[:, None, None]


def _shifted(count: int, length: int, generator: Generator, device: torch.device) -> Tensor:
    """(N, length) source index of each row or column after a random shift, borders reflected."""
    reach = min(CROP_SHIFT, length - 1)
    drawn = integers(count, -reach, reach + 1, generator)[:, None]
    index = (torch.arange(length, device=device) + drawn.to(device)).abs()
    return (length - 1) - ((length - 1) - index).abs()


def _taken(
    pixels: Pixels, rows_NH: Int64[Tensor, "images rows"], cols_NW: Int64[Tensor, "images cols"]
) -> Pixels:
    """Each image's pixels at its own rows and columns."""
    count, height, width, channels = pixels.shape
    first_N = torch.arange(count, device=pixels.device) * (height * width)
    place_NHW = first_N[:, None, None] + rows_NH[:, :, None] * width + cols_NW[:, None, :]
    flat = pixels.reshape(-1, channels)
    return flat.index_select(0, place_NHW.flatten()).reshape(pixels.shape)


def _colour_change(
    colours: Float[Tensor, "images pixels channels"], generator: Generator
) -> tuple[Float[Tensor, "images channels channels"], Float[Tensor, "images 1 channels"]]:
    """The affine map of each image's colours (row vectors, 0 to 255): colour @ matrix + offset."""
    count, _, channels = colours.shape
    low, high = 1 - JITTER, 1 + JITTER
    brightness = _between(count, low, high, colours, generator)
    contrast = _between(count, low, high, colours, generator)
    saturation = _between(count, low, high, colours, generator)
    turn = _between(count, -HUE_TURN, HUE_TURN, colours, generator)
    jittered = _chance(count, JITTER_CHANCE, generator, colours.device)[:, None, None]
    grey = _chance(count, GREY_CHANCE, generator, colours.device)[:, None, None]

    same = torch.eye(channels, device=colours.device).expand(count, -1, -1)
    if channels == 3:
        luma = torch.tensor(LUMA, device=colours.device)
        to_luma = luma[:, None].expand(3, 3)  # colour @ to_luma = the luma in each channel
        chroma = saturation * same + (1 - saturation) * to_luma
        matrix = brightness * contrast * (chroma @ _hue_matrix(turn))
        middle = (colours.mean(dim=1) @ luma)[:, None, None]  # mean luma of the image
    else:
        matrix = brightness * contrast * same
        middle = colours.mean(dim=(1, 2))[:, None, None]
    offset = ((1 - contrast) * brightness * middle).expand(-1, 1, channels)
    matrix = torch.where(jittered, matrix, same)
    offset = torch.where(jittered, offset, torch.zeros_like(offset))
    if channels == 3:
        matrix = torch.where(grey, matrix @ to_luma, matrix)
    return matrix, offset


def _hue_matrix(turn: Float[Tensor, "images 1 1"]) -> Float[Tensor, "images 3 3"]:
    """The colour matrix that turns the hue; `turn` in full turns. Acts on row vectors."""
    to_yiq = torch.tensor(RGB_TO_YIQ, device=turn.device)
    angle = (2 * torch.pi * turn)[:, 0, 0]
    cos, sin = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rotation = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).reshape(
        -1, 3, 3
    )
    from_yiq, _ = torch.linalg.inv_ex(to_yiq)
    column_form = from_yiq @ rotation @ to_yiq
    return column_form.transpose(1, 2)
