"""AMDIM's encoders: their maps, what a place sees, their sizes and how they begin."""

import json
from collections import Counter

import pytest
import torch
from torch import nn

from models.amdim import Amdim
from models.encoders import build_encoder
from models.encoders.amdim import Residual

NAMES = {"amdim32": (32, 4), "amdim64": (64, 8), "amdim128": (128, 8)}  # side, widest / n


def small(name="amdim32", **arguments):
    return build_encoder(name, **({"channels": 3, "rkhs": 20, "depth": 2} | arguments)).eval()


def sides(encoder):
    """Every side of a square map that the encoder's layers give, in order of computation."""
    seen = []

    def note(module, given, output):
        if output.dim() == 4 and (not seen or seen[-1] != output.shape[-1]):
            seen.append(output.shape[-1])

    for module in encoder.modules():
        if isinstance(module, (nn.Conv2d, Residual)):
            module.register_forward_hook(note)
    encoder(torch.randn(2, 3, encoder.image_size, encoder.image_size))
    return seen


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("amdim32", [30, 14, 7, 5, 3, 1]),
        ("amdim64", [62, 30, 14, 7, 5, 3, 1]),
        ("amdim128", [64, 62, 30, 14, 7, 5, 3, 1]),
    ],
)
def test_the_maps_shrink_to_7_5_3_and_1_places(name, expected):
    assert sides(small(name)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_gives_the_shapes_it_declares(name):
    side, widest = NAMES[name]
    encoder = small(name, image_channels=1)
    features, five, seven = encoder.scales(torch.randn(2, 1, side, side))
    wide = 3 * widest
    assert five.shape == (2, wide, 5, 5)
    assert seven.shape == (2, wide, 7, 7)
    assert torch.equal(features.map, seven)
    assert [tuple(each.shape) for each in features] == [
        (2, 20),
        (2, wide, 7, 7),
        (2, 20),
        (2, wide * 9),
    ]
    assert (encoder.image_size, encoder.image_channels, encoder.summary_dim) == (side, 1, 20)
    assert (encoder.fc_dim, encoder.conv_dim) == (20, wide * 9)
    assert encoder.map_shape == (wide, 7, 7)
    assert encoder.side_channels == {5: wide, 7: wide}


def counted(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("n", "r", "depth", "trunk", "with_heads", "published"),
    [
        (128, 1024, 3, 15_832_576, 20_033_024, 20.1),
        (256, 2048, 10, 111_029_248, 127_818_752, 127.9),
    ],
)
def test_parameter_counts_are_the_published_ones(n, r, depth, trunk, with_heads, published):
    # The published figures count trunk and both heads, and the norms that the authors' code makes
    # and does not use: one a residual, one in each head, one after the 7 x 7 map and in the stem.
    with torch.device("meta"):
        encoder = build_encoder("amdim32", channels=n, rkhs=r, depth=depth)
        model = Amdim(encoder)
    assert (counted(encoder), counted(model)) == (trunk, with_heads)
    widths = [n, *[2 * n] * depth, *[4 * n] * 3 * depth, r]
    idle = 2 * (sum(widths) + 2 * r + 4 * n + n)
    assert round((with_heads + idle) / 1e6, 1) == published
    with torch.device("meta"):
        normed = build_encoder("amdim32", channels=n, rkhs=r, depth=depth, use_bn=True)
        model = Amdim(normed, use_bn=True)
    assert counted(model) == with_heads + idle - n  # the stem's bias goes when its norm comes
    assert round(counted(model) / 1e6, 1) == published


def test_a_fresh_encoder_averages_the_stem_over_windows_and_adds_zeros():
    encoder = small(norm="none")
    images = torch.randn(2, 3, 32, 32)
    stem = encoder.to_map[0](images)
    features, five, seven = encoder.scales(images)
    averaged = nn.functional.avg_pool2d(nn.functional.avg_pool2d(stem, 4, 2), 2, 2)
    torch.testing.assert_close(seven[:, :3], averaged)
    assert not seven[:, 3:].any()
    torch.testing.assert_close(five[:, :3], nn.functional.avg_pool2d(averaged, 3, 1))
    torch.testing.assert_close(features.conv.view(2, 12, 3, 3).mean((2, 3)), features.y[:, :12])
    assert not features.y[:, 12:].any()


def test_a_residual_is_its_two_branches():
    residual = Residual(2, 3, 4, 2, use_bn=False)
    nn.init.normal_(residual.out.weight)
    images = torch.randn(1, 2, 6, 6)
    given = residual(images)
    hidden = nn.functional.conv2d(images, residual.hidden[0].weight, stride=2).relu()
    for i in range(2):
        for j in range(2):
            window = images[0, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
            shortcut = torch.cat((window.mean((1, 2)), torch.zeros(1)))
            branch = residual.out.weight[:, :, 0, 0] @ hidden[0, :, i, j]
            torch.testing.assert_close(given[0, :, i, j], branch + shortcut)


def test_where_channels_get_fewer_the_shortcut_is_a_convolution():
    encoder = small(rkhs=5)  # below the 12 of the last map
    assert isinstance(encoder.to_one.shortcut, nn.Conv2d)
    assert encoder(torch.randn(2, 3, 32, 32)).y.shape == (2, 5)


def wake(encoder):
    """Give the convolutions that start at 0 weights, as training does."""
    for module in encoder.modules():
        if isinstance(module, Residual):
            nn.init.normal_(module.out.weight, std=0.2)
    return encoder


@pytest.mark.parametrize(("row", "column"), [(0, 0), (13, 20), (31, 31)])
def test_a_place_sees_its_own_window_and_nothing_else(row, column):
    encoder = wake(small())
    images = torch.randn(1, 3, 32, 32)
    changed = images.clone()
    changed[:, :, row, column] += 3.0
    before, after = encoder.scales(images), encoder.scales(changed)
    # Place r of 7 x 7 sees rows 4 r to 4 r + 7 (3x3, then 4x4 at stride 2, then 2x2 at stride 2).
    for one, other, windows in ((before.seven, after.seven, 7), (before.five, after.five, 5)):
        reach = 4 * (7 - windows) + 7
        seen = (one - other).abs().amax(1)[0] > 0
        for i in range(windows):
            for j in range(windows):
                covers = 4 * i <= row <= 4 * i + reach and 4 * j <= column <= 4 * j + reach
                assert bool(seen[i, j]) == covers, (windows, i, j)


def test_the_norm_of_y_is_the_only_one_unless_asked_for():
    def norms(**arguments):
        kinds = Counter(type(module) for module in small(**arguments).modules())
        return kinds[nn.BatchNorm1d], kinds[nn.BatchNorm2d]

    assert norms() == (1, 0)
    assert norms(norm="none") == (0, 0)
    assert norms(use_bn=True) == (1, 12)  # stem, 1 + 4 * 2 + 1 residuals, the 7 x 7 map


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_is_rebuilt_from_its_arguments(name):
    arguments = {
        "channels": 2,
        "rkhs": 9,
        "depth": 1,
        "use_bn": True,
        "norm": "none",
        "image_channels": 1,
    }
    with torch.device("meta"):
        built = build_encoder(name, **arguments)
        again = build_encoder(name, **json.loads(json.dumps(dict(built.arguments))))
        assert set(build_encoder(name).arguments) == set(arguments)
    assert dict(built.arguments) == arguments
    shapes = {key: tensor.shape for key, tensor in built.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in again.state_dict().items()}


@pytest.mark.parametrize(
    ("argument", "message"),
    [({"norm": "layer"}, "batch, none"), ({"depth": 0}, "depth"), ({"use_bn": 1}, "cannot be")],
)
def test_arguments_that_cannot_be_meant_are_refused(argument, message):
    with pytest.raises(ValueError, match=message):
        small(**argument)


def test_gradients_reach_every_parameter_once_the_branches_are_awake():
    encoder = wake(small()).train()
    scales = encoder.scales(torch.randn(4, 3, 32, 32))
    (scales.features.y.square().sum() + scales.five.sum() + scales.seven.sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_an_encoder_runs_in_bf16():
    encoder = wake(small()).train()
    images = torch.randn(4, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        halved = encoder(images).y.float()
    whole = encoder(images).y
    assert (halved - whole).abs().max() < 0.1 * whole.abs().max()
