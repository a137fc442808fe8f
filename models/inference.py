"""A trained network as it runs when nothing is learned any more.

`training embed`, evaluation and the service encode through this file, so their numbers agree.
"""

import copy
from collections import Counter
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from models.card import Preprocessing
from models.preprocess import normalise
from models.types import Features, Pixels

Network = TypeVar("Network", bound=nn.Module)

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def prepare(network: Network) -> Network:
    """Copy an encoder or a critic for inference: eval, batch norms folded, channels_last, no grad.

    Wherever a chain of `nn.Sequential`s has a batch norm right after a convolution or a linear
    layer (on rows), the norm's affine map is folded into the layer's weights: equal up to rounding.
    The network must run its sequences whole, not layer by layer.
    """
    prepared = copy.deepcopy(network).eval().requires_grad_(False)
    _fold_batch_norms(prepared)
    return prepared.to(memory_format=torch.channels_last)


@torch.inference_mode()
def encode(encoder: nn.Module, pixels: Pixels, preprocessing: Preprocessing) -> Features:
    """Encode uint8 pixels (N, H, W, C) on the encoder's device, in one pass.

    The features are inference tensors: clone them before training anything on them.
    """
    device = next(encoder.parameters()).device
    features: Features = encoder(normalise(pixels.to(device), preprocessing))
    return features


Place = tuple[nn.Sequential, int]  # a layer by the sequence it stands in and its number there


def _fold_batch_norms(network: nn.Module) -> None:
    uses = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    sequences = [module for module in network.modules() if type(module) is nn.Sequential]
    inner = {id(child) for sequence in sequences for child in sequence}
    for sequence in sequences:
        if id(sequence) in inner:
            continue  # unrolled as a part of the outer one
        for (parent, place), (norm_parent, norm_place) in pairwise(_chain(sequence)):
            layer, norm = parent[place], norm_parent[norm_place]
            if uses[id(layer)] == uses[id(norm)] == 1:  # a shared layer has other followers too
                folded = _folded(layer, norm)
                if folded is not None:
                    parent[place], norm_parent[norm_place] = folded, nn.Identity()


def _chain(sequence: nn.Sequential) -> list[Place]:
    """List the layers of a sequence in the order they run, nested sequences unrolled."""
    places: list[Place] = []
    for number, child in enumerate(sequence):
        places += _chain(child) if type(child) is nn.Sequential else [(sequence, number)]
    return places


def _folded(layer: nn.Module, norm: nn.Module) -> nn.Module | None:
    """Give one layer for the two, or None: only running statistics make a norm an affine map."""
    if not isinstance(norm, BATCH_NORMS) or norm.running_mean is None:
        return None
    if isinstance(layer, CONVOLUTIONS):
        return fuse_conv_bn_eval(layer, norm)
    if isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
        return fuse_linear_bn_eval(layer, norm)
    return None
