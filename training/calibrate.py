"""Fit the critics that are served: JSD critics on the frozen encoder, and how calibrated they are.

InfoNCE (and every bound but jsd and gan) leaves T free in ways that make sigmoid(T) meaningless.
At the optimum of the JSD bound T = log p(joint) / p(product), so sigmoid(T) is the probability
that a summary and a place come from one image, when both cases are equally likely.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.card import Calibration, Preprocessing
from models.critics import Critic
from models.inference import encode
from models.negatives import all_pairs
from models.objectives import jsd
from models.types import Pixels
from training.config import TrainConfig
from training.images import Tell
from training.views import draw_view

BATCH = 256
BINS = 15
Role = Literal["local", "global"]


@dataclass(frozen=True)
class Fitted:
    """A served critic and its calibration on held-out pairs."""

    critic: Critic
    calibration: Calibration


def fit_critics(
    config: TrainConfig,
    encoder: nn.Module,
    critics: Mapping[Role, Critic],
    pixels: Pixels,
    preprocessing: Preprocessing,
    tell: Tell,
) -> None:
    """Fit critics in place on the (prepared) encoder's features, by the JSD bound on all pairs."""
    device = pixels.device
    modules = nn.ModuleDict({str(role): critic for role, critic in critics.items()})
    modules.to(device).train()
    optimiser = torch.optim.Adam(modules.parameters(), lr=config.calibrate_learning_rate)
    batch_size = min(BATCH, len(pixels))
    steps_an_epoch = len(pixels) // batch_size
    total = config.calibrate_epochs * steps_an_epoch
    draw = torch.Generator().manual_seed(config.seed)
    for step in range(total):
        epoch, place = divmod(step, steps_an_epoch)
        if place == 0:
            order = torch.randperm(len(pixels), generator=draw)
        rows = order[place * batch_size :][:batch_size].to(device)
        batch = draw_view(config.views, pixels[rows], draw)
        features = encode(encoder, batch, preprocessing)
        y, feature_map = features.y.clone(), features.map.clone()  # leave inference mode
        bounds = {role: jsd(all_pairs(critic, y, feature_map)) for role, critic in critics.items()}
        for group in optimiser.param_groups:
            group["lr"] = (
                config.calibrate_learning_rate * 0.5 * (1 + math.cos(math.pi * step / total))
            )
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(bounds.values())).sum().neg().backward()
        optimiser.step()
        if place == steps_an_epoch - 1:
            shown = "  ".join(f"{role} bound {bound:.3f} nats" for role, bound in bounds.items())
            tell(f"served critics, epoch {epoch + 1}/{config.calibrate_epochs}  {shown}")
    modules.eval()


@torch.inference_mode()
def calibration_of(
    critic: Critic, encoder: nn.Module, pixels: Pixels, preprocessing: Preprocessing, seed: int
) -> Calibration:
    """Calibration of a critic on as many joint as product pairs of held-out images."""
    draw = torch.Generator().manual_seed(seed)
    joint, product = [], []
    for rows in torch.randperm(len(pixels), generator=draw).split(BATCH):
        if len(rows) < 2:
            continue  # a last image alone has nobody to be compared with
        features = encode(encoder, pixels[rows.to(pixels.device)], preprocessing)
        joint.append(critic.paired(features.y, features.map))
        product.append(critic.paired(features.y, features.map.roll(1, 0)))
    places_p = torch.cat([torch.cat(joint), torch.cat(product)]).float().sigmoid().cpu()
    pairs_p = places_p.mean(1)
    truth = (torch.arange(len(pairs_p)) < len(pairs_p) // 2).float()
    return Calibration(
        ece=expected_calibration_error(
            places_p.flatten(), truth.repeat_interleave(places_p.shape[1])
        ),
        auc=area_under_curve(pairs_p, truth),
        pairs=len(pairs_p),
        description="",
    )


def expected_calibration_error(
    p: Float[Tensor, " pairs"], truth: Float[Tensor, " pairs"], bins: int = BINS
) -> float:
    """Mean over draws of |belief - frequency|, in bins of equal width (Guo et al., 1706.04599)."""
    index = (p * bins).long().clamp(max=bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, index, (p - truth).double())
    return float(gap.abs().sum() / len(p))


def area_under_curve(p: Float[Tensor, " pairs"], truth: Float[Tensor, " pairs"]) -> float:
    """Probability that a joint pair scores above a product pair, ties counted half."""
    positive, negative = p[truth > 0].double(), p[truth == 0].double().sort().values
    below = torch.searchsorted(negative, positive)
    up_to = torch.searchsorted(negative, positive, right=True)
    return float((below + up_to).double().mean() / 2 / len(negative))
