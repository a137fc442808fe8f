import copy

import pytest
import torch
from torch import nn

from models.card import Preprocessing
from models.critics import build_critic
from models.encoders import ENCODERS, build_encoder
from models.inference import encode, prepare
from models.preprocess import normalise
from models.types import Features
from tests.models.small_encoders import SMALL

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
# A norm of a sum of branches follows no single layer: AMDIM's of Y, and of the map with use_bn.
# timm's blocks are no sequences: only shortcuts are folded there.
UNFOLDED = {"amdim32": 1, "amdim64": 2, "timm": 10}


def used(network: nn.Module) -> nn.Module:
    """Give every batch norm statistics and an affine map as training would leave them."""
    for module in network.modules():
        if isinstance(module, BATCH_NORMS):
            for tensor in (module.running_mean, module.weight, module.bias):
                if tensor is not None:
                    nn.init.normal_(tensor)
            nn.init.uniform_(module.running_var, 0.3, 3.0)
    return network


def relative_error(ours: torch.Tensor, expected: torch.Tensor) -> float:
    return float((ours - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", ENCODERS)
def test_every_prepared_encoder_gives_the_features_of_the_trained_one(name: str):
    encoder = used(build_encoder(name, **SMALL[name])).eval()
    prepared = prepare(encoder)
    preprocessing = Preprocessing(size=encoder.image_size)
    pixels = torch.randint(
        0, 256, (2, encoder.image_size, encoder.image_size, 3), dtype=torch.uint8
    )
    with torch.no_grad():
        expected = encoder(normalise(pixels, preprocessing))
    features = encode(prepared, pixels, preprocessing)
    left = [m for m in prepared.modules() if isinstance(m, BATCH_NORMS)]
    assert len(left) == UNFOLDED.get(name, 0)
    for field in Features._fields:
        assert relative_error(getattr(features, field), getattr(expected, field)) <= 1e-5, field


@pytest.mark.parametrize("name", ["local_dot", "global_dot"])
def test_a_prepared_critic_gives_the_same_scores(name: str):
    critic = used(build_critic(name, summary_dim=6, map_shape=[5, 3, 3], units=8)).eval()
    y, feature_map = torch.randn(4, 6), torch.randn(3, 5, 3, 3)
    prepared = prepare(critic)
    with torch.no_grad():
        assert relative_error(prepared(y, feature_map), critic(y, feature_map)) <= 1e-5
    assert not [m for m in prepared.modules() if isinstance(m, BATCH_NORMS)]


def test_preparing_leaves_the_trained_encoder_alone():
    encoder = used(build_encoder("basic28x28", fc_dim=8)).train()
    before = copy.deepcopy(encoder.state_dict())
    prepared = prepare(encoder)
    assert encoder.training
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())
    assert not prepared.training
    assert not any(parameter.requires_grad for parameter in prepared.parameters())


def test_convolutions_are_laid_out_channels_last():
    prepared = prepare(build_encoder("basic32x32", fc_dim=8))
    weights = [m.weight for m in prepared.modules() if isinstance(m, nn.Conv2d)]
    assert len(weights) == 3
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def chain_cases() -> dict[str, tuple[nn.Module, tuple[int, ...], int]]:
    """Give network, input shape and how many batch norms may remain."""
    relu, shared = nn.ReLU(), nn.Conv2d(3, 3, 1)
    return {
        "one level": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), (2, 3, 5, 5), 0),
        "across nested sequences": (
            nn.Sequential(
                nn.Sequential(nn.Conv2d(3, 4, 3)),
                nn.Sequential(nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())),
            ),
            (2, 3, 5, 5),
            0,
        ),
        "linear": (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU()), (5, 3), 0),
        "one dimension": (nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)), (2, 3, 5), 0),
        "grouped": (
            nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.BatchNorm2d(4)),
            (2, 4, 5, 5),
            0,
        ),
        "without affine": (
            nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False)),
            (2, 3, 5, 5),
            0,
        ),
        "something in between": (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
            (2, 3, 5, 5),
            1,
        ),
        "the same ReLU in between again": (
            nn.Sequential(relu, nn.Conv2d(3, 4, 3), relu, nn.BatchNorm2d(4)),
            (2, 3, 5, 5),
            1,
        ),
        "a convolution used twice": (
            nn.Sequential(shared, nn.BatchNorm2d(3), shared),
            (2, 3, 5, 5),
            1,
        ),
        "batch statistics even in eval": (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
            (2, 3, 5, 5),
            1,
        ),
    }


@pytest.mark.parametrize("case", chain_cases())
def test_folding_never_changes_what_a_chain_computes(case: str):
    network, shape, remaining = chain_cases()[case]
    for module in network.modules():
        if isinstance(module, BATCH_NORMS) and module.running_mean is not None:
            used(module)
    network.eval()
    images = torch.randn(shape)
    prepared = prepare(network)
    with torch.no_grad():
        assert relative_error(prepared(images), network(images)) <= 1e-5
    assert sum(isinstance(m, BATCH_NORMS) for m in prepared.modules()) == remaining


def test_features_come_from_one_pass_in_inference_mode():
    encoder = prepare(build_encoder("basic28x28", image_channels=1, fc_dim=8, summary_dim=4))
    pixels = torch.zeros(3, 28, 28, 1, dtype=torch.uint8)
    features = encode(encoder, pixels, Preprocessing(size=28, colour="grey"))
    assert features.y.shape == (3, 4)
    assert features.map.shape == (3, *encoder.map_shape)
    assert features.y.is_inference()


def test_one_image_among_others_has_the_features_it_has_alone():
    encoder = prepare(used(build_encoder("basic32x32", fc_dim=16)))
    pixels = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    together = encode(encoder, pixels, Preprocessing(size=32))
    for i in range(5):
        alone = encode(encoder, pixels[i : i + 1], Preprocessing(size=32))
        assert relative_error(alone.y, together.y[i : i + 1]) <= 1e-4
