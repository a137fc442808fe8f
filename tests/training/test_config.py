"""A configuration refuses what it does not know, and says what it would have understood."""

from pathlib import Path

import pytest

from training.building import build_model, build_preprocessing
from training.config import ConfigError, TrainConfig, read_config


def test_words_override_the_recipe_and_the_recipe_the_defaults(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('objective = "jsd"\nepochs = 7\n')
    config = read_config(recipe, ["epochs=9", "encoder=dense32", "learning_rate=1e-4"])
    assert (config.objective, config.epochs) == ("jsd", 9)
    assert (config.encoder, config.learning_rate) == ("dense32", 1e-4)
    assert config.batch_size == TrainConfig().batch_size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learing_rate=1"], "unknown key learing_rate; did you mean learning_rate?"),
        (["epochs"], "'epochs' is not key=value"),
        (["epochs=0"], "epochs: "),
        (["epochs=many"], "epochs: "),
        (["encoder=basic32x23"], "did you mean basic32x32?"),
        (["objective=mine"], "unknown objective 'mine'"),
        (["negatives=hard"], "unknown negatives 'hard'"),
        (["views=blur"], "unknown views 'blur'"),
        (["local_critic=global_dot"], "'global_dot' is not a local critic"),
        (["alpha=0", "beta=0"], "nothing would be learned"),
        (["learning_rate=nan"], "learning_rate: "),
    ],
)
def test_what_cannot_be_used_is_named_with_the_remedy(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_config(None, words)
    assert message in str(refusal.value)


@pytest.mark.parametrize("content", [None, "epochs = ", "epochs = 3\nepochs = 4\n"])
def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    recipe = tmp_path / "recipe.toml"
    if content is not None:
        recipe.write_text(content)
    with pytest.raises(ConfigError, match=r"recipe\.toml"):
        read_config(recipe, [])


def test_only_critics_with_a_weight_are_built() -> None:
    local = build_model(TrainConfig(local_units=8, gamma=0))
    assert local.local_critic is not None
    assert local.global_critic is None
    assert local.prior_critic is None
    both = build_model(TrainConfig(alpha=0.5, local_units=8, global_units=8))
    assert both.global_critic is not None
    assert both.prior_critic is not None


def test_images_are_prepared_at_the_size_of_the_encoder() -> None:
    preprocessing = build_preprocessing(TrainConfig(encoder="basic28x28", colour="grey"))
    assert (preprocessing.size, preprocessing.channels) == (28, 1)
