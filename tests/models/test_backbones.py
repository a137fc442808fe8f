"""ResNets and timm models as encoders: their shapes, their scales, and both methods on them."""

import json
import sys

import pytest
import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d
from torchvision import models

from models.amdim import Amdim
from models.critics import build_critic
from models.dim import DeepInfoMax, DimTerms
from models.encoders import build_encoder

CASES = [  # name, arguments, map, fc, conv
    ("resnet18", {}, (256, 8, 8), 512, 8192),
    ("resnet18", {"image_size": 64}, (256, 16, 16), 512, 32_768),
    ("resnet18", {"image_size": 96}, (128, 12, 12), 512, 4608),
    ("resnet50", {}, (1024, 8, 8), 2048, 32_768),
    ("timm", {"timm_model": "test_resnet"}, (48, 8, 8), 96, 384),
    ("timm", {"timm_model": "convnext_atto", "image_size": 128}, (160, 8, 8), 320, 5120),
]


@pytest.mark.parametrize(("name", "arguments", "map_shape", "fc", "conv"), CASES)
def test_a_backbone_gives_the_shapes_it_declares(name, arguments, map_shape, fc, conv):
    encoder = build_encoder(name, summary_dim=10, image_channels=1, **arguments).eval()
    side = encoder.image_size
    with torch.no_grad():
        features, five, seven = encoder.scales(torch.randn(2, 1, side, side))
    assert [tuple(each.shape[1:]) for each in features] == [(10,), map_shape, (fc,), (conv,)]
    assert (encoder.summary_dim, encoder.map_shape) == (10, map_shape)
    assert (encoder.fc_dim, encoder.conv_dim) == (fc, conv)
    for small, places in ((five, 5), (seven, 7)):
        assert small.shape == (2, encoder.side_channels[places], places, places)
        torch.testing.assert_close(small, adaptive_avg_pool2d(features.map, places))
    torch.testing.assert_close(features.fc, features.conv.view(2, fc, -1).mean(2))
    torch.testing.assert_close(features.y, encoder.to_y(features.fc))


def test_above_64_pixels_a_resnet_is_torchvisions_own():
    ours, theirs = build_encoder("resnet18", image_size=96).eval(), models.resnet18().eval()
    theirs.fc = nn.Identity()
    given = [value for key, value in ours.state_dict().items() if not key.startswith("to_y")]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), given, strict=True)))
    images = torch.randn(2, 3, 96, 96)
    torch.testing.assert_close(ours(images).fc, theirs(images))


@pytest.mark.parametrize("name", ["resnet18", "timm"])
def test_a_backbone_is_rebuilt_from_its_arguments(name):
    with torch.device("meta"):
        built = build_encoder(name, image_channels=1)
        again = build_encoder(name, **json.loads(json.dumps(dict(built.arguments))))
    shapes = {key: tensor.shape for key, tensor in built.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in again.state_dict().items()}
    assert {"summary_dim", "image_size", "image_channels"} <= set(built.arguments)


def dim(encoder):
    critic = build_critic("local_dot", summary_dim=8, map_shape=encoder.map_shape, units=8)
    return DeepInfoMax(encoder, DimTerms(gamma=0.0), local_critic=critic)


@pytest.mark.parametrize("method", [dim, Amdim])
@pytest.mark.parametrize("name", ["resnet18", "timm"])
def test_both_methods_take_two_steps_on_it(name, method):
    arguments = {"timm_model": "test_resnet"} if name == "timm" else {}
    model = method(build_encoder(name, summary_dim=8, **arguments))
    side = model.encoder.image_size
    views = [torch.randn(3, 3, side, side) for _ in range(model.num_views)]
    optimiser = torch.optim.Adam(model.bound_parameters(), lr=1e-4)
    losses = []
    for _ in range(2):
        loss, _, features = model(*views, generator=torch.Generator().manual_seed(1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    assert losses[1] < losses[0]
    assert features.y.shape == (3, 8)
    assert all(p.grad is not None for p in model.encoder.to_y.parameters())


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet18", {"image_size": 6}, "raise image_size"),
        ("timm", {"timm_model": "resnet81"}, "did you mean resnet18"),
        ("timm", {"timm_model": "hf-hub:somebody/something"}, "knows no model"),
        ("timm", {"timm_model": "resnet18", "image_size": 12}, "raise image_size"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_remedy(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_encoder(name, **arguments)


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"pip install 'infomax\[timm\]'"):
        build_encoder("timm")


def test_a_model_whose_maps_lie_otherwise_is_found_out():
    encoder = build_encoder("timm", timm_model="swin_tiny_patch4_window7_224", image_size=224)
    with pytest.raises(ValueError, match="choose a convolutional model"):
        encoder(torch.zeros(1, 3, 224, 224))
