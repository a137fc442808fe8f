"""Components are looked up by name, and errors name what there is."""

import pytest

from models.critics import build_critic
from models.encoders import build_encoder
from models.registry import build, did_you_mean, look_up


def test_an_unknown_name_lists_the_known_ones_and_the_nearest():
    with pytest.raises(ValueError, match=r"unknown encoder 'basic32'; did you mean basic32x32\?"):
        build_encoder("basic32")
    with pytest.raises(ValueError, match=r"known: alex64x64, .*basic28x28, .*fold32x32"):
        build_encoder("resnet")


def test_an_unknown_argument_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"no argument 'sumary_dim'; did you mean summary_dim\?"):
        build_encoder("basic32x32", sumary_dim=3)


def test_a_missing_argument_is_named():
    with pytest.raises(ValueError, match="critic local_dot needs the argument 'map_shape'"):
        build_critic("local_dot", summary_dim=3)


@pytest.mark.parametrize("value", [0, -1, True])
def test_a_size_that_is_not_a_positive_integer_is_refused_by_name(value):
    with pytest.raises(ValueError, match=f"fc_dim must be a positive integer, not {value}"):
        build_encoder("basic32x32", fc_dim=value)


@pytest.mark.parametrize(
    "arguments", [{"map_shape": 5}, {"map_shape": [3, "a", "a"]}, {"units": "many"}, {"units": 0.5}]
)
def test_arguments_of_the_wrong_kind_are_value_errors(arguments):
    fit = {"summary_dim": 4, "map_shape": [3, 5, 5]}
    with pytest.raises(ValueError, match=r"local_dot|positive integer"):
        build_critic("local_dot", **(fit | arguments))


def test_build_calls_what_the_table_names():
    table = {"pair": lambda left, right=2: (left, right)}
    assert build("thing", table, "pair", {"left": 1}) == (1, 2)
    assert look_up("thing", table, "pair") is table["pair"]


def test_a_far_name_gets_no_suggestion():
    assert not did_you_mean("zzz", ["local_dot"])
