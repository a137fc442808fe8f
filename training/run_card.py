"""The card of a finished run: what was trained, on what, how, by which versions."""

import argparse
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

from models.card import Card, Component, CriticCard, DataCard, Preprocessing, TrainingCard
from training.building import build_encoder_on_meta, objective_card
from training.calibrate import Fitted, Role
from training.config import TrainConfig
from training.distributed import ALONE, Ranks
from training.loop import Outcome
from training.step import precision

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "safetensors")


def describe_run(
    args: argparse.Namespace,
    config: TrainConfig,
    data: DataCard,
    preprocessing: Preprocessing,
    outcome: Outcome,
    fitted: Mapping[Role, Fitted],
    device: str,
    ranks: Ranks = ALONE,
) -> Card:
    """The card of the finished run; save_checkpoint adds the hashes."""
    batch_size = min(config.batch_size, data.images)
    encoder = build_encoder_on_meta(config)
    return Card(
        schema_version=1,
        name=args.name or args.out.resolve().name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        encoder=Component(name=config.encoder, arguments=dict(encoder.arguments)),
        critics={
            role: CriticCard(
                name=getattr(config, f"served_{role}_critic"),
                arguments=each.critic.arguments,
                calibration=each.calibration,
            )
            for role, each in fitted.items()
        },
        preprocessing=preprocessing,
        objective=objective_card(config),
        data=data,
        training=TrainingCard(
            steps=outcome.steps,
            images_seen=outcome.steps * batch_size,
            epochs=outcome.steps * batch_size / data.images,
            seconds=round(outcome.seconds, 1),
            device=device if ranks.world == 1 else f"{ranks.world} x {device}",
            precision=precision(config, torch.device(device)),
            versions={name: metadata.version(name) for name in PACKAGES},
            git_commit=git_commit(),
            seed=config.seed,
            recipe=config.model_dump(mode="json"),
        ),
        evaluation=None,
        weights_dtype=config.weights_dtype,
        files={},
    )


def git_commit() -> str | None:
    """The commit of the code that trains, where it runs from a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git the user has
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
