"""Critics against the formulas they shorten: convolutions, concatenations, pairs one by one."""

import json
import math

import pytest
import torch
from torch import nn

from models.critics import CRITICS, ConcatScorer, ResidualEmbedding, build_critic

NAMES = sorted(CRITICS)
DIM, MAP, UNITS = 4, (3, 5, 5), 16


def built(name, **arguments):
    return build_critic(
        name, **({"summary_dim": DIM, "map_shape": MAP, "units": UNITS} | arguments)
    )


def a_batch(images=6, dim=DIM, map_shape=MAP):
    return torch.randn(images, dim), torch.randn(images, *map_shape).relu()


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_the_diagonal_of_all_pairs_equals_the_paired_scores(name, training):
    critic = built(name).train(training)
    y, maps = a_batch()
    diagonal = critic(y, maps).diagonal(dim1=0, dim2=1).T
    torch.testing.assert_close(diagonal, critic.paired(y, maps))


@pytest.mark.parametrize("name", NAMES)
def test_all_pairs_equal_each_pair_scored_on_its_own(name):
    critic = built(name).eval()
    y, maps = a_batch()[0][:2], a_batch()[1][:3]
    scores = critic(y, maps)
    assert scores.shape == (2, 3, math.prod(critic.places))
    for i in range(2):
        for j in range(3):
            alone = critic.paired(y[i : i + 1], maps[j : j + 1])[0]
            torch.testing.assert_close(scores[i, j], alone)


@pytest.mark.parametrize("name", NAMES)
def test_a_local_critic_scores_each_place_and_a_global_critic_the_map(name):
    assert built(name).places == ((5, 5) if name.startswith("local") else (1, 1))


@pytest.mark.parametrize("name", ["local_dot", "local_concat"])
def test_places_are_scored_row_by_row_and_each_from_its_own_column(name):
    critic = built(name).eval()
    y, maps = a_batch(1)
    changed = maps.clone()
    changed[:, :, 3, 1] += 1.0
    moved = (critic.paired(y, maps) - critic.paired(y, changed)).abs()[0] > 0
    assert moved.nonzero().flatten().tolist() == [3 * 5 + 1]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", NAMES)
def test_the_memory_format_of_the_map_does_not_matter(name, memory_format):
    critic = built(name).eval()
    y, maps = a_batch()
    given = critic(y, maps.to(memory_format=memory_format))
    torch.testing.assert_close(given, critic(y, maps))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_critic_and_the_encoder_on_both_sides(name):
    critic = built(name)
    for score in (critic.forward, critic.paired):
        critic.zero_grad()
        y, maps = (tensor.requires_grad_() for tensor in a_batch())
        (score(y, maps) * torch.randn_like(score(y, maps))).sum().backward()
        for side in (y, maps):
            assert (side.grad.flatten(1).abs().sum(1) > 0).all()
        assert all(p.grad.abs().sum() > 0 for p in critic.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_critic_is_rebuilt_from_its_arguments(name):
    critic = built(name, units=8)
    arguments = json.loads(json.dumps(critic.arguments))
    again = build_critic(name, **arguments)
    assert again.arguments == critic.arguments
    again.load_state_dict(critic.state_dict())
    y, maps = a_batch()
    assert torch.equal(critic.eval()(y, maps), again.eval()(y, maps))
    scale = {"scale"} if name.endswith("dot") else set()
    assert set(arguments) == {"summary_dim", "map_shape", "units"} | scale


# ------------------------------------------------------------------------------ encode-and-dot


class Convolutional(nn.Module):
    """One side of encode-and-dot as the authors write it: 1x1 convolutions on a map."""

    def __init__(self, side: ResidualEmbedding):
        super().__init__()
        first, norm, _, last = side.hidden
        self.first = nn.Conv2d(first.in_features, first.out_features, 1, bias=False)
        self.norm = nn.BatchNorm2d(norm.num_features)
        self.last = nn.Conv2d(last.in_features, last.out_features, 1)
        self.shortcut = nn.Conv2d(first.in_features, last.out_features, 1, bias=False)
        self.layer_norm = side.norm
        for here, there in ((self.first, first), (self.last, last), (self.shortcut, side.shortcut)):
            here.weight.data = there.weight.data[:, :, None, None].clone()
        self.last.bias.data = last.bias.data.clone()
        self.norm.load_state_dict(norm.state_dict())

    def forward(self, maps):
        hidden = self.last(self.norm(self.first(maps)).relu()) + self.shortcut(maps)
        return self.layer_norm(hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("training", [True, False])
def test_local_dot_equals_its_convolutional_form(training):
    critic = built("local_dot")
    for norm in (critic.of_summary.hidden[1], critic.of_place.hidden[1]):
        nn.init.uniform_(norm.weight, 0.5, 2.0)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    y, maps = a_batch()
    left = Convolutional(critic.of_summary).train(training)(y[:, :, None, None]).flatten(1)
    right = Convolutional(critic.of_place).train(training)(maps).flatten(2)
    expected = torch.einsum("iu,jup->ijp", left, right)
    torch.testing.assert_close(critic.train(training)(y, maps), expected, rtol=1e-4, atol=1e-4)


def test_global_dot_is_the_dot_product_of_the_embedded_summary_and_flattened_map():
    critic = built("global_dot").eval()
    y, maps = a_batch()
    expected = critic.of_summary(y) @ critic.of_place(maps.flatten(1)).T
    torch.testing.assert_close(critic(y, maps)[:, :, 0], expected)


@pytest.mark.parametrize(("dim", "units"), [(5, 5), (3, 16)])
def test_the_shortcut_starts_as_the_identity(dim, units):
    weight = ResidualEmbedding(dim, units).shortcut.weight.detach()
    eye = torch.eye(units, dim, dtype=torch.bool)
    assert (weight[eye] == 1).all()
    assert (weight[~eye].abs() <= 0.01).all()
    assert weight[~eye].unique().numel() > 1


def test_a_shortcut_without_room_for_the_identity_starts_as_any_linear_layer():
    weight = ResidualEmbedding(400, 16).shortcut.weight.detach()
    assert 0.9 / 20 < weight.abs().max() <= 1 / 20


def test_the_scale_option_divides_by_the_root_of_the_units():
    plain, scaled = built("local_dot"), built("local_dot", scale="sqrt_units")
    scaled.load_state_dict(plain.state_dict())
    y, maps = a_batch()
    torch.testing.assert_close(scaled.eval()(y, maps), plain.eval()(y, maps) / math.sqrt(UNITS))
    torch.testing.assert_close(
        scaled.eval().paired(y, maps), plain.eval().paired(y, maps) / math.sqrt(UNITS)
    )


@pytest.mark.parametrize(("scale", "low", "high"), [("none", 30, 60), ("sqrt_units", 0.6, 1.4)])
def test_scores_start_at_the_root_of_2048_unscaled_and_near_1_scaled(scale, low, high):
    critic = build_critic(
        "local_dot", summary_dim=64, map_shape=[128, 3, 3], units=2048, scale=scale
    )
    y, maps = a_batch(16, 64, (128, 3, 3))
    with torch.no_grad():
        assert low < critic(y, maps).std() < high


def test_the_default_is_the_papers_unscaled_2048_units():
    with torch.device("meta"):
        arguments = build_critic("local_dot", summary_dim=64, map_shape=[128, 8, 8]).arguments
    assert (arguments["units"], arguments["scale"]) == (2048, "none")


# ----------------------------------------------------------------------------- concat-and-conv


def literal(scorer: ConcatScorer):
    """The scorer's layers with the first one as a single layer on the concatenation."""
    weight = torch.cat((scorer.of_summary.weight, scorer.of_place.weight), 1)
    first = nn.Linear(weight.shape[1], weight.shape[0])
    first.weight.data, first.bias.data = weight.detach(), scorer.of_summary.bias.detach()
    return nn.Sequential(first, *scorer.rest)


def test_local_concat_equals_three_chained_1x1_convolutions_on_the_concatenation():
    critic = built("local_concat")
    layers = [layer for layer in literal(critic.scorer) if isinstance(layer, nn.Linear)]
    convolutions = []
    for layer in layers:
        convolution = nn.Conv2d(layer.in_features, layer.out_features, 1)
        convolution.weight.data = layer.weight.data[:, :, None, None]
        convolution.bias.data = layer.bias.data
        convolutions.append(convolution)
    y, maps = a_batch()
    concatenated = torch.cat((y[:, :, None, None].expand(-1, -1, 5, 5), maps), 1)
    first, second, third = convolutions
    expected = third(second(first(concatenated).relu()).relu())
    torch.testing.assert_close(critic.paired(y, maps), expected.flatten(1))


def test_global_concat_equals_a_perceptron_on_the_concatenation():
    critic = built("global_concat")
    y, maps = a_batch()
    expected = literal(critic.scorer)(torch.cat((y, maps.flatten(1)), 1))
    torch.testing.assert_close(critic.paired(y, maps), expected)


def test_global_conv_equals_convolutions_flattened_beside_the_summary():
    critic = built("global_conv")
    first, _, second = critic.trunk
    y, maps = a_batch()
    convolved = second(first(maps).relu()).flatten(1)
    expected = literal(critic.scorer)(torch.cat((y, convolved), 1))
    torch.testing.assert_close(critic.paired(y, maps), expected)


def test_the_first_layer_starts_as_one_layer_on_the_concatenation_would():
    scorer = ConcatScorer(20, 380, 64)
    for tensor in (scorer.of_summary.weight, scorer.of_summary.bias, scorer.of_place.weight):
        assert 0.8 / 20 < tensor.abs().max() <= 1 / 20


# -------------------------------------------------------------------------- dense32's critics


def test_dense32s_local_critic_is_192_512_512_1():
    with torch.device("meta"):
        critic = build_critic("local_concat", summary_dim=64, map_shape=[128, 26, 26])
    assert critic.places == (26, 26)
    assert count(critic) == (192 * 512 + 512) + (512 * 512 + 512) + (512 + 1)


def test_dense32s_global_critic_is_two_convolutions_and_512_512_1():
    with torch.device("meta"):
        critic = build_critic("global_conv", summary_dim=64, map_shape=[128, 26, 26])
    convolutions = (9 * 128 * 64 + 64) + (9 * 64 * 32 + 32)
    joined = 32 * 22 * 22 + 64
    assert critic.places == (1, 1)
    assert count(critic) == (convolutions + (joined * 512 + 512) + (512 * 512 + 512) + (512 + 1))


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("map_shape", [(3, 5), (3, 5, 4), (3, 0, 0)])
@pytest.mark.parametrize("name", NAMES)
def test_a_map_that_is_not_square_is_refused(name, map_shape):
    with pytest.raises(ValueError, match=r"map_shape must be|positive integer"):
        built(name, map_shape=map_shape)


def test_an_unknown_scale_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="scale must be one of none, sqrt_units, not 'half'"):
        built("local_dot", scale="half")


def test_a_map_too_small_for_two_convolutions_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"at least 5 x 5 places.*choose global_concat"):
        built("global_conv", map_shape=(3, 4, 4))
