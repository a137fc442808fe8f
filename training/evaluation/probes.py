"""Small classifiers on frozen features: the paper's probe with one hidden layer, and a linear one.

DIM (1808.06670, section 4.1 and its code): Linear - Dropout 0.1 - BatchNorm - ReLU - Linear with
200 hidden units, Adam 1e-4, batch 64, 150 epochs, rate x0.1 at 50 and 100; the mean accuracy of the
last 100 epochs is reported. Here epochs and batch can be chosen; the rate falls after a third and
two thirds of the epochs, and the mean of the last third counts.

Fewer steps need a larger rate: with the paper's, 30 epochs leave 100 components of the pixels at
42 % where 54 % are in them, and a baseline that is not trained flatters what it is compared with.
So rate times steps is kept at what the paper's setting makes on CIFAR-10's 50,000 images.
`paper_settings` keeps the paper's own numbers, whatever the number of images.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from models.classifier import PaperProbe
from training.evaluation.features import LabelledFeatures

PAPER_EPOCHS, PAPER_BATCH, PAPER_LEARNING_RATE = 150, 64, 1e-4
PAPER_STEPS = PAPER_EPOCHS * math.ceil(50_000 / PAPER_BATCH)
HIGHEST_LEARNING_RATE = 2e-3
EPOCHS, MOST_EPOCHS = 30, 100  # chosen for CIFAR-10's 50,000 images; fewer images, more epochs
BATCH = 256
SEED = 0

PROBES: dict[str, Callable[[int, int], nn.Module]] = {"mlp200": PaperProbe, "linear": nn.Linear}


@dataclass(frozen=True)
class ProbeSettings:
    """How long, in batches of how many and how fast a probe is trained."""

    epochs: int
    batch_size: int
    learning_rate: float
    counted_share: float = 1 / 3  # of the epochs: the last ones, whose mean is reported

    @property
    def drops(self) -> tuple[int, int]:
        """The epochs (from 0) at which the rate becomes a tenth: 50 and 100 of 150."""
        return self.epochs // 3, 2 * self.epochs // 3

    @property
    def counted(self) -> int:
        """How many of the last epochs make the reported mean."""
        return max(1, int(self.epochs * self.counted_share + 1e-9))


def paper_settings(
    images: int,  # noqa: ARG001  the paper's numbers are the same for any
    epochs: int | None = None,
    batch_size: int | None = None,
) -> ProbeSettings:
    """150 epochs, batch 64, rate 1e-4, the mean of the last 100; or as many epochs as given."""
    return ProbeSettings(
        PAPER_EPOCHS if epochs is None else epochs,
        PAPER_BATCH if batch_size is None else batch_size,
        PAPER_LEARNING_RATE,
        counted_share=2 / 3,
    )


def settings_for(
    images: int, epochs: int | None = None, batch_size: int | None = None
) -> ProbeSettings:
    """The settings for that many training images, with as many epochs as they need if not given.

    150 epochs and a batch of 64 make the paper's setting on CIFAR-10, rate included.
    """
    if batch_size is None:
        batch_size = BATCH
    if epochs is None:
        epochs = min(MOST_EPOCHS, max(EPOCHS, round(EPOCHS * 50_000 / images)))
    steps = epochs * math.ceil(images / batch_size)
    rate = PAPER_LEARNING_RATE * PAPER_STEPS / steps
    return ProbeSettings(
        epochs, batch_size, min(HIGHEST_LEARNING_RATE, max(PAPER_LEARNING_RATE, rate))
    )


def probe_accuracy(
    name: str,
    data: LabelledFeatures,
    settings: ProbeSettings,
    progress: Callable[[int, int], None] | None = None,
    seed: int = SEED,
) -> float:
    """Train a probe on training features; its mean top-1 on all test features.

    `progress` gets epochs done and their number. `seed` draws the first weights, the order and the
    dropout: the same inputs give the same number on one machine. Labels of the test images are used
    for nothing but counting.
    """
    device = data.train.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        probe = PROBES[name](data.train.shape[1], data.classes).to(device)
        optimiser = torch.optim.Adam(probe.parameters(), lr=settings.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(settings.drops), gamma=0.1)
        order = torch.Generator().manual_seed(seed)
        accuracies = []
        for epoch in range(settings.epochs):
            _train_epoch(probe, optimiser, data, settings.batch_size, order)
            schedule.step()
            if epoch >= settings.epochs - settings.counted:
                accuracies.append(top1(probe, data.test, data.test_labels))
            if progress is not None:
                progress(epoch + 1, settings.epochs)
    return math.fsum(accuracies) / len(accuracies)


def top1(
    probe: nn.Module,
    features: Float[Tensor, "images dim"],
    labels: Int64[Tensor, " images"],
) -> float:
    """The share of images whose highest logit is their class, over all of them, in eval()."""
    probe.eval()
    with torch.inference_mode():
        right = sum(
            (probe(batch).argmax(dim=1) == truth).sum()
            for batch, truth in zip(features.split(4096), labels.split(4096), strict=True)
        )
    return int(right) / len(labels)


def _train_epoch(
    probe: nn.Module,
    optimiser: torch.optim.Optimizer,
    data: LabelledFeatures,
    batch_size: int,
    order: torch.Generator,
) -> None:
    """One pass over the training features in a new order; a last batch of one is left out."""
    probe.train()
    shuffled = torch.randperm(len(data.train), generator=order).to(data.train.device)
    for rows in shuffled.split(batch_size):
        if len(rows) == 1 < len(shuffled):  # BatchNorm has no variance of one image
            continue
        loss = F.cross_entropy(probe(data.train[rows]), data.train_labels[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
