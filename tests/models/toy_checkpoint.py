"""A small checkpoint with everything in it, for the tests of checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.card import Card, EvaluationCard
from models.checkpoint import save_checkpoint
from models.critics import Critic, build_critic
from models.encoders import Encoder, build_encoder


@dataclass
class Trained:
    """What a training run hands over."""

    card: Card
    encoder: Encoder
    critics: dict[str, Critic]
    images: Tensor

    def save(self, folder: Path) -> Card:
        return save_checkpoint(folder, self.card, self.encoder, self.critics, self.images)


def trained(
    encoder_name: str = "basic28x28",
    critic_names: dict[str, str] | None = None,
    weights_dtype: str = "float32",
    **arguments: Any,
) -> Trained:
    """Small networks with the weights and statistics of a few steps of training."""
    sizes = arguments or {"image_channels": 1, "fc_dim": 8, "summary_dim": 4}
    encoder = build_encoder(encoder_name, **sizes)
    names = (
        {"local": "local_dot", "global": "global_concat"} if critic_names is None else critic_names
    )
    features = {"summary_dim": encoder.summary_dim, "map_shape": list(encoder.map_shape)}
    critics = {role: build_critic(name, units=8, **features) for role, name in names.items()}
    for network in (encoder, *critics.values()):
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.3, 3.0)
                module.num_batches_tracked.fill_(7)
    side, channels = encoder.image_size, encoder.image_channels
    card = Card.model_validate(
        {
            "name": "toy",
            "created": "2026-01-02T03:04:05+00:00",
            "encoder": {"name": encoder_name, "arguments": dict(encoder.arguments)},
            "critics": {
                role: {"name": name, "arguments": critics[role].arguments}
                for role, name in names.items()
            },
            "preprocessing": {"size": side, "colour": "grey" if channels == 1 else "rgb"},
            "objective": {
                "name": "jsd",
                "negatives": "all",
                "alpha": 0.0,
                "beta": 1.0,
                "gamma": 0.1,
                "prior": "uniform",
            },
            "data": {"name": "noise", "fingerprint": "ab" * 32, "images": 10, "skipped": 0},
            "training": {
                "steps": 3,
                "images_seen": 30,
                "epochs": 3.0,
                "seconds": 1.5,
                "device": "cpu",
                "precision": "fp32",
                "versions": {"torch": torch.__version__},
                "git_commit": None,
                "seed": 7,
                "recipe": {"steps": 3},
            },
            "weights_dtype": weights_dtype,
        }
    )
    images = torch.randint(0, 256, (8, side, side, channels), dtype=torch.uint8)
    return Trained(card, encoder, critics, images)


EVALUATION = EvaluationCard.model_validate(
    {
        "protocol": "200 units",
        "data": {"name": "noise", "fingerprint": "cd" * 32, "train": 8, "test": 2},
        "rows": [{"encoder": "trained", "representation": "y", "probe": "knn", "accuracy": 0.5}],
        "seconds": 2.0,
    }
)
