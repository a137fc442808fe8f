"""One training step: views -> encoder -> scores -> objective -> optimiser, never waiting for it."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models.card import Preprocessing
from models.method import Method
from models.preprocess import normalise
from models.types import Images, Pixels
from training.config import TrainConfig
from training.distributed import ALONE, Ranks
from training.draws import seeded
from training.views import draw_views


class Step:
    """A model on its device with its optimisers; called with pixels, it learns from them."""

    def __init__(
        self,
        config: TrainConfig,
        model: Method,
        preprocessing: Preprocessing,
        *,
        device: torch.device,
        total: int,
        compiled: bool = False,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config, self.preprocessing = config, preprocessing
        self.device, self.total, self.ranks = device, total, ranks
        self.model = model.to(device).to(memory_format=torch.channels_last).train()
        self.bounds = adam(model.bound_parameters(), config)
        critic = model.prior_critic
        self.prior = None if critic is None else adam(list(critic.parameters()), config)
        self.autocast = precision(config, device) == "bf16"
        learner: Any = torch.compile(model) if compiled else model
        self.forward = ranks.parallel(learner)

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers by name, for saving and restoring."""
        game = {} if self.prior is None else {"prior": self.prior}
        return {"bounds": self.bounds, **game}

    def __call__(self, number: int, pixels: Pixels) -> dict[str, Tensor]:
        """Take step number `number` (from 0); the loss and its parts stay on the device."""
        return self.learn(number, self.see(number, pixels))

    def see(self, number: int, pixels: Pixels) -> list[Images]:
        """The views of that step, one batch of normalised images each."""
        drawn = self.ranks.draws(seeded(self.config.seed, "views", number, self.device))
        views = draw_views(self.config.views, self.model.num_views, pixels, drawn)
        return [normalise(view, self.preprocessing) for view in views]

    def learn(self, number: int, images: Sequence[Images]) -> dict[str, Tensor]:
        """Step on views as they are given."""
        config, model = self.config, self.model
        for group in self.bounds.param_groups:
            group["lr"] = learning_rate(config, number, self.total)

        negatives = seeded(config.seed, "negatives", number)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            loss, parts, features = self.forward(*images, generator=negatives)
        self.bounds.zero_grad(set_to_none=True)
        loss.backward()
        self.bounds.step()

        if self.prior is not None:  # the other move of the prior game, on the same summaries
            prior_loss = model.prior_loss(features, seeded(config.seed, "prior", number))
            self.prior.zero_grad(set_to_none=True)
            prior_loss.backward()
            self.ranks.average_gradients(self.prior)
            self.prior.step()
            parts["prior_critic_loss"] = prior_loss
        return {name: value.detach() for name, value in {"loss": loss, **parts}.items()}


def adam(parameters: list[nn.Parameter], config: TrainConfig) -> torch.optim.Adam:
    """Adam in its fused form: the same update in one pass over memory."""
    return torch.optim.Adam(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """The rate of this step: constant, along half a cosine to 0, or in steps; after a warm-up."""
    rate = config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup_steps))
    if config.schedule == "constant":
        return rate
    if config.schedule == "steps":
        epoch = step * config.epochs // total
        return rate * config.drop_factor ** sum(epoch >= drop for drop in config.drop_epochs)
    return rate * 0.5 * (1 + math.cos(math.pi * step / total))


def precision(config: TrainConfig, device: torch.device) -> Literal["fp32", "bf16"]:
    """The configured precision; "auto" is bf16 on a GPU and fp32 on a CPU."""
    if config.precision != "auto":
        return config.precision
    return "bf16" if device.type == "cuda" else "fp32"
