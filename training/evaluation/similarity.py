"""Multi-scale structural similarity of two images, MS-SSIM (Wang, Simoncelli and Bovik, 2003).

Five scales with the authors' weights, an 11 x 11 Gaussian window of deviation 1.5 without padding,
2 x 2 means between scales, K1 = 0.01, K2 = 0.03, values in [0, 1] and therefore a data range of 1.
Contrast and structure count at each of the first four scales, whole SSIM at the coarsest, as in the
authors' code. A negative term counts as 0, because its fractional power does not exist. Channels
are taken alone and averaged.

The window fits the fifth scale of images of 176 pixels and more. Smaller images, such as CIFAR's 32
pixels, are enlarged to 176 bilinearly, both alike: the paper's formula then stays whole, but at 32
pixels the first two or three scales compare smooth patches, and the figure is higher than that of a
photograph of 176 pixels with the same faults. It compares encoders on one data set and no more.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, DEVIATION = 11, 1.5
K1, K2 = 0.01, 0.03
DATA_RANGE = 1.0
SMALLEST_SIDE = WINDOW * 2 ** (len(WEIGHTS) - 1)  # 176: the window just fits the last scale

Unit = Float[Tensor, "images channels height width"]  # values in [0, 1]


def ms_ssim(one: Unit, other: Unit) -> Float[Tensor, " images"]:
    """MS-SSIM of each image of `one` with its counterpart in `other`; 1 for equal images."""
    one, other = enlarged(one), enlarged(other)
    result = torch.ones(one.shape[:2], device=one.device)
    for scale, weight in enumerate(WEIGHTS):
        ssim, contrast = _ssim_and_contrast(one, other)
        last = scale == len(WEIGHTS) - 1
        result = result * (ssim if last else contrast).clamp_min(0) ** weight
        if not last:
            one, other = F.avg_pool2d(one, 2), F.avg_pool2d(other, 2)
    return result.mean(dim=1)


def enlarged(images: Unit) -> Float[Tensor, "images channels rows columns"]:
    """The images with their smaller side at 176 pixels, or as they are if that large."""
    side = min(images.shape[2:])
    if side >= SMALLEST_SIDE:
        return images
    size = [round(length * SMALLEST_SIDE / side) for length in images.shape[2:]]
    return F.interpolate(images, size, mode="bilinear")


def _ssim_and_contrast(
    one: Unit, other: Unit
) -> tuple[Float[Tensor, "images channels"], Float[Tensor, "images channels"]]:
    """SSIM, and its factor of contrast and structure, each as the mean over all places."""
    c1, c2 = (K1 * DATA_RANGE) ** 2, (K2 * DATA_RANGE) ** 2
    mean_a, mean_b = _blur(one), _blur(other)
    variance_a = _blur(one * one) - mean_a**2
    variance_b = _blur(other * other) - mean_b**2
    covariance = _blur(one * other) - mean_a * mean_b
    contrast = (2 * covariance + c2) / (variance_a + variance_b + c2)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (luminance * contrast).mean(dim=(2, 3)), contrast.mean(dim=(2, 3))


def _blur(images: Unit) -> Float[Tensor, "images channels rows columns"]:
    """Gaussian means of every whole window, by two matrix products: (H, W) to (H - 10, W - 10)."""
    down, across = (_bands(length, images.device) for length in images.shape[2:])
    return down @ images @ across.T


def _bands(length: int, device: torch.device) -> Float[Tensor, "places length"]:
    """Row i has the window's weights from column i on."""
    offsets = torch.arange(WINDOW, device=device) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * DEVIATION**2))
    places = length - WINDOW + 1
    bands = torch.zeros(places, length, device=device)
    rows = torch.arange(places, device=device)[:, None]
    bands[rows, rows + torch.arange(WINDOW, device=device)] = window / window.sum()
    return bands
