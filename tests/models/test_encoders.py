"""Shapes, sizes and promises of every encoder (FACTS of the papers and ports they come from)."""

import functools
import json

import pytest
import torch
from torch import nn

from models.encoders import ENCODERS, build_encoder
from tests.models.small_encoders import SMALL

SHAPES = {  # image side, map, fc, conv; Y is always 64
    "basic28x28": (28, (128, 7, 7), 1024, 6272),
    "basic32x32": (32, (128, 8, 8), 1024, 4096),
    "basic64x64": (64, (256, 8, 8), 1024, 8192),
    "alex64x64": (64, (384, 15, 15), 4096, 9408),
    "dense32": (32, (128, 26, 26), 512, 204_800),
    "fold32x32": (32, (256, 7, 7), 1024, 12_544),
    "fold64x64": (64, (512, 7, 7), 1024, 25_088),
}
NAMES = sorted(SHAPES)


@functools.cache
def encoder(name):
    """One encoder of each name, in evaluation mode, for tests that change nothing."""
    torch.manual_seed(0)
    return build_encoder(name).eval().requires_grad_(False)


@functools.cache
def features(name):
    side = SHAPES[name][0]
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return encoder(name)(images)


@pytest.fixture(scope="module", autouse=True)
def forget_the_encoders():
    yield
    encoder.cache_clear()
    features.cache_clear()


def parameters(name):
    with torch.device("meta"):
        return sum(p.numel() for p in build_encoder(name).parameters())


def test_every_encoder_is_tested():
    elsewhere = {"amdim32", "amdim64", "amdim128", "resnet18", "resnet50", "timm"}
    assert set(SHAPES) | elsewhere == set(ENCODERS) == set(SMALL)


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_gives_the_shapes_it_declares(name):
    side, map_shape, fc, conv = SHAPES[name]
    built, given = encoder(name), features(name)
    assert given.y.shape == (2, 64)
    assert given.map.shape == (2, *map_shape)
    assert given.fc.shape == (2, fc)
    assert given.conv.shape == (2, conv)
    assert (built.image_size, built.image_channels, built.summary_dim) == (side, 3, 64)
    assert (built.map_shape, built.fc_dim, built.conv_dim) == (map_shape, fc, conv)


@pytest.mark.parametrize(
    ("name", "millions"), [("basic32x32", 4.92), ("basic64x64", 11.2), ("alex64x64", 58.4)]
)
def test_parameter_counts_are_the_published_ones(name, millions):
    assert round(parameters(name) / 1e6, 2 if millions < 10 else 1) == millions


def test_basic32x32_has_its_parameters_by_hand():
    convolutions = 16 * (3 * 64 + 64 * 128 + 128 * 256)  # 4 x 4, no bias
    normalisations = 2 * (64 + 128 + 256 + 1024)
    assert parameters("basic32x32") == (
        convolutions + normalisations + 4096 * 1024 + 1024 * 64 + 64
    )


def test_dense32_has_its_parameters_by_hand():
    convolutions = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 64  # bias where no BN is
    normalisations = 2 * (128 + 256 + 512)
    assert parameters("dense32") == convolutions + normalisations + 512 * 20 * 20 * 64 + 64


@pytest.mark.parametrize("name", NAMES)
def test_local_features_are_taken_after_the_relu(name):
    given = features(name)
    for tensor in (given.map, given.fc, given.conv):
        assert tensor.min() == 0
        assert tensor.max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_summary_is_the_last_linear_layer_bare(name):
    built, given = encoder(name), features(name)
    assert isinstance(built.to_y, nn.Linear)
    hidden = given.conv if name == "dense32" else given.fc
    torch.testing.assert_close(given.y, built.to_y(hidden))
    assert given.y.min() < 0 < given.y.max()


@pytest.mark.parametrize("name", NAMES)
def test_the_feature_map_is_a_stage_of_the_same_pass(name):
    built, given = encoder(name), features(name)
    if name.startswith("fold"):
        assert torch.equal(given.conv, given.map.flatten(1))
    else:
        torch.testing.assert_close(given.conv, built.to_conv(given.map).flatten(1))


@pytest.mark.parametrize("name", NAMES)
def test_batch_normalisation_sits_between_every_convolution_and_its_relu(name):
    built = encoder(name)
    layers = [m for m in built.modules() if not list(m.children())]
    convolutions = [n for n, m in enumerate(layers) if isinstance(m, nn.Conv2d)]
    bare = [n for n in convolutions if not isinstance(layers[n + 1], nn.BatchNorm2d)]
    assert bare == (convolutions[:1] if name == "dense32" else [])
    for n in convolutions:
        assert (layers[n].bias is None) == (n not in bare)


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_is_rebuilt_from_its_arguments(name):
    arguments = {"summary_dim": 10, "image_channels": 1}
    if name != "dense32":
        arguments["fc_dim"] = 24
    with torch.device("meta"):
        built = build_encoder(name, **arguments)
        through_json = json.loads(json.dumps(dict(built.arguments)))
        again = build_encoder(name, **through_json)
    assert through_json == arguments
    shapes = {key: tensor.shape for key, tensor in built.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in again.state_dict().items()}
    with torch.device("meta"):  # defaults are written down too, so that they may change later
        assert set(build_encoder(name).arguments) == set(arguments)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_shape_what_is_built(name):
    side = SHAPES[name][0]
    with torch.device("meta"):
        built = build_encoder(name, summary_dim=10, image_channels=1).eval()
        given = built(torch.rand(3, 1, side, side))
    assert given.y.shape == (3, 10)
    assert given.map.shape == (3, *built.map_shape)
    assert (built.summary_dim, built.image_channels) == (10, 1)


def test_weights_loaded_into_a_rebuilt_encoder_give_the_same_features_bit_for_bit():
    first = build_encoder("basic28x28", summary_dim=5, image_channels=1, fc_dim=16)
    images = torch.randn(6, 1, 28, 28)
    first(images)  # moves the running statistics, which must travel too
    second = build_encoder("basic28x28", **first.arguments)
    second.load_state_dict(first.state_dict())
    for a, b in zip(first.eval()(images), second.eval()(images), strict=True):
        assert torch.equal(a, b)


def test_gradients_reach_every_parameter_of_the_small_encoders():
    for name in ("basic28x28", "basic32x32", "fold32x32"):
        built = build_encoder(name, fc_dim=16)
        given = built(torch.randn(4, 3, built.image_size, built.image_size))
        given.y.square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in built.parameters())


FOLDS = [("fold32x32", 8), ("fold64x64", 16)]  # and the side of a crop


@pytest.mark.parametrize(("name", "crop"), FOLDS)
@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 17), (14, 15), (31, 31)])
def test_a_fold_place_sees_its_own_crop_and_nothing_else(name, crop, row, column):
    built, side = encoder(name), SHAPES[name][0]
    images = torch.randn(1, 3, side, side)
    changed = images.clone()
    changed[:, :, row, column] += 3.0
    difference = (built(images).map - built(changed).map).abs().amax(1)[0]
    for i in range(7):
        for j in range(7):
            covers = all(
                start * crop // 2 <= pixel < start * crop // 2 + crop
                for start, pixel in ((i, row), (j, column))
            )
            assert (difference[i, j] > 0) == covers, (i, j)


@pytest.mark.parametrize(("name", "crop"), FOLDS)
def test_a_fold_place_is_its_crop_encoded_alone(name, crop):
    built, side = encoder(name), SHAPES[name][0]
    images = torch.randn(2, 3, side, side)
    given = built(images).map
    for i, j in ((0, 0), (2, 5), (6, 6)):
        top, left = i * crop // 2, j * crop // 2
        alone = built.to_column(images[:, :, top : top + crop, left : left + crop])
        torch.testing.assert_close(given[:, :, i, j], alone.flatten(1))


def test_a_plain_place_sees_the_receptive_field_of_two_convolutions():
    built = encoder("basic32x32")
    images = torch.randn(1, 3, 32, 32)
    changed = images.clone()
    changed[:, :, 16, 16] += 3.0
    seen = (built(images).map - built(changed).map).abs().amax(1)[0] > 0
    rows, columns = seen.nonzero(as_tuple=True)
    # Place r sees pixels 4 r - 3 ... 4 r + 6: two strided 4 x 4 convolutions padded by 1.
    assert sorted(set(rows.tolist())) == sorted(set(columns.tolist())) == [3, 4]


@pytest.mark.parametrize("shape", [(2, 3, 28, 28), (2, 1, 32, 32), (2, 3, 32, 40)])
def test_images_of_another_shape_are_refused_with_the_remedy(shape):
    with pytest.raises(ValueError, match=r"\(N, 3, 32, 32\).*card says"):
        encoder("basic32x32")(torch.zeros(shape))
