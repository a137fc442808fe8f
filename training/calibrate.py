"""Fit the critics that are served: JSD critics on the frozen encoder, and how calibrated they are.

InfoNCE (and every bound but jsd and gan) leaves T free in ways that make sigmoid(T) meaningless.
At the optimum of the JSD bound T = log p(joint) / p(product), so sigmoid(T) is the probability
that a summary and a place come from one image, when both cases are equally likely. A pair's p is
the mean over places; it knows more than one place does, so one factor on all scores is fitted
for it afterwards, on images that neither critic was fitted on (temperature scaling, 1706.04599).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from models.card import Calibration, Preprocessing
from models.critics import Critic
from models.encoders import Encoder
from models.inference import encode, prepare
from models.negatives import all_pairs
from models.objectives import jsd
from models.types import Pixels
from training.building import served_critics
from training.config import TrainConfig
from training.images import Tell
from training.views import draw_view

BATCH = 256
BINS = 15
LARGEST_SET_ASIDE = 5_000  # images for the factor; a tenth of a small set
FACTORS = torch.logspace(-1, 1, 81)  # tried on the scores, 0.1 to 10
Role = Literal["local", "global"]
Rows = Int64[Tensor, " rows"]
OtherPixels = UInt8[Tensor, "others height width channels"]  # not as many as those fitted on


@dataclass(frozen=True)
class Fitted:
    """A served critic and its calibration on held-out pairs."""

    critic: Critic
    calibration: Calibration


def fit_served(
    config: TrainConfig,
    encoder: Encoder,
    pixels: Pixels,
    held_out: OtherPixels,
    which: str,
    preprocessing: Preprocessing,
) -> dict[Role, Fitted]:
    """Fit the served critics on an encoder as it is now, from `pixels`, never a label.

    They are measured on the images `held_out`; `which` says in words what those are.
    """
    torch.manual_seed(config.seed)
    critics = served_critics(config, encoder)
    frozen = prepare(encoder)
    fit_critics(config, frozen, critics, pixels, preprocessing, print)
    fitted: dict[Role, Fitted] = {}
    for role, critic in critics.items():
        measured = calibration_of(critic, frozen, held_out, preprocessing, which, config.seed)
        print(
            f"served {role} critic: calibration error {measured.ece:.3f}, AUC {measured.auc:.4f}"
            f" on {measured.description}"
        )
        fitted[role] = Fitted(critic, measured)
    return fitted


def fit_critics(
    config: TrainConfig,
    encoder: nn.Module,
    critics: Mapping[Role, Critic],
    pixels: Pixels,
    preprocessing: Preprocessing,
    tell: Tell,
) -> None:
    """Fit critics in place on the (prepared) encoder's features, then their factors."""
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(config.seed))
    aside, fitted_on = order.split([set_aside(len(pixels)), len(pixels) - set_aside(len(pixels))])
    maximise_jsd(config, encoder, critics, pixels, fitted_on, preprocessing, tell)
    for role, critic in critics.items():
        critic.eval()
        pairs = score_pairs(critic, encoder, pixels, aside, preprocessing)
        factor = best_factor(pairs)
        critic.multiply_scores(factor)
        tell(f"served {role} critic: scores times {factor:.2f}, fitted on {len(aside):,} images")


def maximise_jsd(
    config: TrainConfig,
    encoder: nn.Module,
    critics: Mapping[Role, Critic],
    pixels: Pixels,
    rows: Rows,
    preprocessing: Preprocessing,
    tell: Tell,
) -> None:
    """Train the critics by the JSD bound on all pairs of each batch; the encoder stays as it is."""
    modules = nn.ModuleDict({str(role): critic for role, critic in critics.items()})
    modules.to(next(encoder.parameters()).device).train()
    rate = config.calibrate_learning_rate
    optimiser = torch.optim.Adam(modules.parameters(), lr=rate)
    batch_size = min(BATCH, len(rows))
    steps_an_epoch = len(rows) // batch_size
    total = config.calibrate_epochs * steps_an_epoch
    draw = torch.Generator().manual_seed(config.seed + 1)
    for step in range(total):
        epoch, place = divmod(step, steps_an_epoch)
        if place == 0:
            order = rows[torch.randperm(len(rows), generator=draw)]
        chosen = order[place * batch_size :][:batch_size].to(pixels.device)
        batch = draw_view(config.views, pixels[chosen], draw)
        features = encode(encoder, batch, preprocessing)
        y, feature_map = features.y.clone(), features.map.clone()  # leave inference mode
        bounds = {role: jsd(all_pairs(critic, y, feature_map)) for role, critic in critics.items()}
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / total))
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(bounds.values())).sum().neg().backward()
        optimiser.step()
        if place == steps_an_epoch - 1:
            shown = "  ".join(f"{role} bound {bound:.3f} nats" for role, bound in bounds.items())
            tell(f"served critics, epoch {epoch + 1}/{config.calibrate_epochs}  {shown}")


def calibration_of(
    critic: Critic,
    encoder: nn.Module,
    pixels: Pixels,
    preprocessing: Preprocessing,
    which: str,
    seed: int,
) -> Calibration:
    """Calibration of a critic on as many joint as product pairs of the images given."""
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))
    pairs = score_pairs(critic, encoder, pixels, order, preprocessing)
    p, truth = pairs.scores.sigmoid(), pairs.truth
    return Calibration(
        ece=expected_calibration_error(p.mean(1), truth),
        ece_places=expected_calibration_error(p.flatten(), truth.repeat_interleave(p.shape[1])),
        auc=area_under_curve(p.mean(1), truth),
        pairs=len(truth),
        description=f"{len(truth) // 2:,} joint and as many product pairs of {which}",
    )


class LabelledPairs(NamedTuple):
    """Scores of joint and of product pairs, with the truth: 1 joint, 0 product."""

    scores: Float[Tensor, "pairs places"]
    truth: Float[Tensor, " pairs"]


@torch.inference_mode()
def score_pairs(
    critic: Critic, encoder: nn.Module, pixels: Pixels, rows: Rows, preprocessing: Preprocessing
) -> LabelledPairs:
    """Score each image's summary against its own map and against the map of one other image."""
    joint, product = [], []
    for chosen in rows.split(BATCH):
        if len(chosen) < 2:
            continue  # a last image alone has nobody to be compared with
        features = encode(encoder, pixels[chosen.to(pixels.device)], preprocessing)
        joint.append(critic.paired(features.y, features.map))
        product.append(critic.paired(features.y, features.map.roll(1, 0)))
    scores = torch.cat(joint + product).float().cpu()
    truth = (torch.arange(len(scores)) < len(scores) // 2).float()
    return LabelledPairs(scores, truth)


def best_factor(pairs: LabelledPairs) -> float:
    """The factor on all scores under which a pair's p is likeliest (least cross-entropy)."""
    losses = [
        binary_cross_entropy((pairs.scores * factor).sigmoid().mean(1), pairs.truth)
        for factor in FACTORS
    ]
    return float(FACTORS[int(torch.stack(losses).argmin())])


def set_aside(images: int) -> int:
    """How many of the images the critics are not fitted on, so that their factor can be."""
    return max(2, min(LARGEST_SET_ASIDE, images // 10))


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
