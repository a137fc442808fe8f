"""Learning from labels: an encoder with a linear classifier on Y, trained whole by cross-entropy.

labelled images -> views -> encoder -> logits -> cross-entropy -> optimiser. As in the loop without
labels, randomness is a function of (seed, step), and the same command resumes bit for bit.
"""

import math
import time
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn.functional import cross_entropy

from models.card import Preprocessing
from models.classifier import ClassifiedSummary
from models.inference import encode, prepare
from models.preprocess import normalise
from models.types import Pixels
from training.config import ConfigError, TrainConfig
from training.draws import batch_size, seeded, step_rows, steps_an_epoch
from training.images import DataError
from training.keys import ENCODER_KEYS
from training.loop import LOG_EVERY_STEPS, SAVE_EVERY_S, Outcome, stop_signal
from training.progress import Journal
from training.runs import load_resume, save_resume, trim_log
from training.step import adam, learning_rate, precision
from training.views import draw_view

FEWEST_STEPS = 1_000  # of a run whose epochs nobody chose: few labels need many epochs
EVALUATION_BATCH = 256
# What a run with labels reads of a configuration.
# fmt: off
USED_SETTINGS = frozenset({
    *ENCODER_KEYS, "encoder", "colour", "resize", "views", "warmup_steps", "drop_epochs",
    "drop_factor", "batch_size", "epochs", "learning_rate", "schedule", "betas", "weight_decay",
    "precision", "seed", "calibrate_epochs", "calibrate_learning_rate", "served_local_critic",
    "served_local_units", "served_global_critic", "served_global_units", "scale", "weights_dtype",
})
# fmt: on

Labels = Int64[Tensor, " images"]
Rows = Int64[Tensor, " rows"]


def require_used(config: TrainConfig) -> None:
    """Raise ConfigError for a setting that was given and does nothing here."""
    unused = sorted(config.model_fields_set - USED_SETTINGS)
    if unused:
        raise ConfigError(
            f"{', '.join(unused)} does nothing where labels are learned; leave it out (in use:"
            f" {', '.join(sorted(USED_SETTINGS))})"
        )


def with_epochs(config: TrainConfig, images: int) -> TrainConfig:
    """The configuration with epochs for at least FEWEST_STEPS, where they were not given."""
    if "epochs" in config.model_fields_set:
        return config
    epochs = max(config.epochs, math.ceil(FEWEST_STEPS / steps_an_epoch(config, images)))
    return config.model_copy(update={"epochs": epochs})


def choose_labels(labels: Labels, per_class: int | None, fraction: float | None, seed: int) -> Rows:
    """Rows of the images whose labels may be used: all, or as many of each class at random.

    `per_class` that many of each class; `fraction` that share of each, at least one.
    Raises DataError for a class with fewer than `per_class` images.
    """
    if per_class is None and fraction is None:
        return torch.arange(len(labels))
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for number in labels.unique().tolist():
        rows = (labels == number).nonzero().flatten()
        wanted = per_class if per_class is not None else max(1, round((fraction or 0) * len(rows)))
        if wanted > len(rows):
            raise DataError(
                f"a class has {len(rows):,} training images, fewer than --labels-per-class {wanted}"
            )
        chosen.append(rows[torch.randperm(len(rows), generator=generator)[:wanted]])
    return torch.cat(chosen).sort().values


def fit_labels(
    config: TrainConfig,
    network: ClassifiedSummary,
    pixels: Pixels,
    labels: Labels,
    preprocessing: Preprocessing,
    out: Path,
    *,
    stop_after_steps: int | None = None,
) -> Outcome:
    """Train the whole network on pixels and labels on its device, resuming what lies in `out`.

    SIGTERM and SIGINT save and return. NotFiniteError leaves the last saved state untouched.
    """
    device = pixels.device
    network.to(device).to(memory_format=torch.channels_last).train()
    optimiser = adam(list(network.parameters()), config)
    modules, optimisers = {"network": network}, {"all": optimiser}
    done, seconds_before = load_resume(out, modules, optimisers)
    trim_log(out, done)
    epoch_steps = steps_an_epoch(config, len(pixels))
    total = config.epochs * epoch_steps
    began = saved = time.monotonic()

    def save(step: int) -> None:
        save_resume(out, step, seconds_before + time.monotonic() - began, modules, optimisers)

    journal = Journal(out, total, epoch_steps, batch_size(config, len(pixels)))
    with journal, stop_signal() as stop:
        step = done
        while step < min(total, stop_after_steps or total) and not stop.is_set:
            rows = step_rows(config, len(pixels), step).to(device)
            view = draw_view(config.views, pixels[rows], seeded(config.seed, "views", step, device))
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(config, step, total)
            with torch.autocast(
                device.type, torch.bfloat16, enabled=precision(config, device) == "bf16"
            ):
                logits = network(normalise(view, preprocessing)).float()
            loss = cross_entropy(logits, labels[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            step += 1

            right = (logits.detach().argmax(1) == labels[rows]).float().mean()
            journal.add(step, {"loss": loss.detach(), "batch_accuracy": right})
            if step % LOG_EVERY_STEPS == 0 or step == total:
                journal.write()
                if time.monotonic() - saved > SAVE_EVERY_S:
                    save(step)
                    saved = time.monotonic()
        journal.write()
        save(step)
    return Outcome(step, seconds_before + time.monotonic() - began, step == total)


@torch.inference_mode()
def accuracy(
    network: ClassifiedSummary, pixels: Pixels, labels: Labels, preprocessing: Preprocessing
) -> float:
    """The share of all images whose highest logit is their class; the network in eval()."""
    encoder, classifier = prepare(network.encoder), prepare(network.classifier)
    right = 0
    for start in range(0, len(pixels), EVALUATION_BATCH):
        batch = slice(start, start + EVALUATION_BATCH)
        guessed = classifier(encode(encoder, pixels[batch], preprocessing).y).argmax(1)
        right += int((guessed.cpu() == labels[batch].cpu()).sum())
    return right / len(pixels)
