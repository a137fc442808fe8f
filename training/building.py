"""The networks of a run, from its configuration."""

from collections.abc import Callable
from typing import Any, Literal

import torch

from models.amdim import Amdim
from models.card import ObjectiveCard, Preprocessing
from models.critics import Critic, build_critic
from models.dim import DeepInfoMax, DimTerms
from models.encoders import Encoder, build_encoder
from models.method import Method
from models.prior import PriorCritic
from training.config import TrainConfig
from training.keys import encoder_keys


def build_preprocessing(config: TrainConfig) -> Preprocessing:
    """The preprocessing of this run's images, at the encoder's size, to [-1, 1]."""
    size = build_encoder_on_meta(config).image_size
    return Preprocessing(size=size, colour=config.colour, resize=config.resize)


def build_config_encoder(config: TrainConfig) -> Encoder:
    """The encoder, freshly initialised from the global random state."""
    channels = 1 if config.colour == "grey" else 3
    sizes = {key: getattr(config, key) for key in encoder_keys(config.encoder)}
    return build_encoder(config.encoder, image_channels=channels, **sizes)


def build_model(config: TrainConfig) -> Method:
    """The encoder with what trains it, freshly initialised from the global random state."""
    return METHODS[config.method](config)


def build_dim(config: TrainConfig) -> DeepInfoMax:
    """Deep InfoMax with the critics whose weight is above 0."""
    terms = DimTerms(
        objective=config.objective,
        negatives=config.negatives,
        alpha=config.alpha,
        beta=config.beta,
        gamma=config.gamma,
        prior=config.prior,
        prior_penalty=config.prior_penalty,
    )
    encoder = build_config_encoder(config)
    return DeepInfoMax(
        encoder,
        terms,
        local_critic=training_critic(config, "local", encoder) if config.beta else None,
        global_critic=training_critic(config, "global", encoder) if config.alpha else None,
        prior_critic=PriorCritic(encoder.summary_dim) if config.gamma else None,
    )


def build_amdim(config: TrainConfig) -> Amdim:
    """AMDIM with fresh heads."""
    return Amdim(build_config_encoder(config), **amdim_arguments(config))


def amdim_arguments(config: TrainConfig) -> dict[str, Any]:
    """What AMDIM is built with beside its encoder."""
    return {
        "clip": config.clip,
        "regulariser": config.regulariser,
        "norm": config.norm,
        "use_bn": config.use_bn,
    }


METHODS: dict[str, Callable[[TrainConfig], Method]] = {"dim": build_dim, "amdim": build_amdim}


def objective_card(config: TrainConfig) -> ObjectiveCard:
    """What trains the encoder, for the checkpoint's card."""
    if config.method == "amdim":
        arguments = amdim_arguments(config)
        return ObjectiveCard(method="amdim", name="infonce", negatives="all", arguments=arguments)
    return ObjectiveCard(
        name=config.objective,
        negatives=config.negatives,
        alpha=config.alpha,
        beta=config.beta,
        gamma=config.gamma,
        prior=config.prior if config.gamma else None,
    )


def training_critic(
    config: TrainConfig, role: Literal["local", "global"], encoder: Encoder
) -> Critic:
    """The critic of that role that trains the encoder."""
    name, units = getattr(config, f"{role}_critic"), getattr(config, f"{role}_units")
    return configured_critic(config, name, units, encoder)


def served_critics(
    config: TrainConfig, encoder: Encoder
) -> dict[Literal["local", "global"], Critic]:
    """The JSD critics to be fitted on the frozen encoder and served."""
    local = (config.served_local_critic, config.served_local_units)
    global_ = (config.served_global_critic, config.served_global_units)
    return {
        "local": configured_critic(config, *local, encoder),
        "global": configured_critic(config, *global_, encoder),
    }


def configured_critic(config: TrainConfig, name: str, units: int, encoder: Encoder) -> Critic:
    """A critic for this encoder; encode-and-dot critics take the configured scale."""
    arguments: dict[str, Any] = {
        "summary_dim": encoder.summary_dim,
        "map_shape": encoder.map_shape,
        "units": units,
    }
    if name.endswith("_dot"):
        arguments["scale"] = config.scale
    return build_critic(name, **arguments)


def build_encoder_on_meta(config: TrainConfig) -> Encoder:
    """The encoder without memory or random draws, to ask for its shapes."""
    with torch.device("meta"):
        return build_config_encoder(config)
