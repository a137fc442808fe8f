"""The networks of a run, from its configuration."""

from collections.abc import Callable
from typing import Any, Literal

import torch

from models.amdim import Amdim
from models.card import ObjectiveCard, Preprocessing
from models.coordinates import CoordinateHead, RelativeCoordinateHead
from models.critics import Critic, build_critic
from models.dim import DeepInfoMax, DimTerms, check_terms
from models.encoders import Encoder, build_encoder
from models.method import Method
from models.prior import PriorCritic
from training.config import ConfigError, TrainConfig
from training.keys import encoder_keys


def build_preprocessing(config: TrainConfig) -> Preprocessing:
    """The preprocessing of this run's images, at the encoder's size, to [-1, 1].

    ConfigError where the encoder cannot be trained as configured: a run asks this first.
    """
    encoder = build_encoder_on_meta(config)
    if config.method == "dim":
        try:
            check_terms(dim_terms(config), encoder)
        except ValueError as error:
            raise ConfigError(str(error)) from error
    return Preprocessing(size=encoder.image_size, colour=config.colour, resize=config.resize)


def build_config_encoder(config: TrainConfig) -> Encoder:
    """The encoder, freshly initialised from the global random state.

    Raises ConfigError for sizes that it cannot be built with.
    """
    channels = 1 if config.colour == "grey" else 3
    given = {key: getattr(config, key) for key in encoder_keys(config.encoder)}
    sizes = {key: value for key, value in given.items() if value is not None}
    try:
        return build_encoder(config.encoder, image_channels=channels, **sizes)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def build_model(config: TrainConfig) -> Method:
    """The encoder with what trains it, freshly initialised from the global random state."""
    return METHODS[config.method](config)


def dim_terms(config: TrainConfig) -> DimTerms:
    """What Deep InfoMax optimises in this run."""
    return DimTerms(
        objective=config.objective,
        negatives=config.negatives,
        alpha=config.alpha,
        beta=config.beta,
        gamma=config.gamma,
        prior=config.prior,
        prior_penalty=config.prior_penalty,
        coordinates=config.coordinates,
        relative_coordinates=config.relative_coordinates,
        occlusion=config.occlusion,
        num_globals=config.num_globals,
        dv_ema=config.dv_ema,
    )


def build_dim(config: TrainConfig) -> DeepInfoMax:
    """Deep InfoMax with the critics and heads whose weight is above 0."""
    encoder = build_config_encoder(config)
    place = (encoder.summary_dim, encoder.map_shape, config.coordinate_units)
    return DeepInfoMax(
        encoder,
        dim_terms(config),
        local_critic=training_critic(config, "local", encoder) if config.beta else None,
        global_critic=training_critic(config, "global", encoder) if config.alpha else None,
        prior_critic=PriorCritic(encoder.summary_dim) if config.gamma else None,
        coordinate_head=CoordinateHead(*place) if config.coordinates else None,
        relative_coordinate_head=(
            RelativeCoordinateHead(*place) if config.relative_coordinates else None
        ),
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


# Of Deep InfoMax, beside its three weights; on the card where they are not what they start as.
FURTHER_TERMS = ("coordinates", "relative_coordinates", "occlusion", "num_globals", "dv_ema")
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
        arguments={
            key: value
            for key, value in config.model_dump(include=set(FURTHER_TERMS)).items()
            if value != TrainConfig.model_fields[key].default
        },
    )


def training_critic(
    config: TrainConfig, role: Literal["local", "global"], encoder: Encoder
) -> Critic:
    """The critic of that role that trains the encoder, for one of Y's globals."""
    name, units = getattr(config, f"{role}_critic"), getattr(config, f"{role}_units")
    return configured_critic(config, name, units, encoder, config.num_globals)


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


def configured_critic(
    config: TrainConfig, name: str, units: int, encoder: Encoder, num_globals: int = 1
) -> Critic:
    """A critic for this encoder; encode-and-dot critics take the configured scale."""
    arguments: dict[str, Any] = {
        "summary_dim": encoder.summary_dim // num_globals,
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
