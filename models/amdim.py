"""AMDIM: mutual information between two views of an image, across scales.

arXiv 1906.00910 and its authors' code (amdim-public). Six score matrices: the summary of one view
against the places of the other view's 5 x 5 and 7 x 7 maps, and one random place of the 5 x 5 map
against the other's 5 x 5 map, each in both directions. Where we differ: both views pass through
the encoder as one batch, so batch norms see them together.

Axis letters: see models/types.py; U units of the shared embedding (r in the paper).
"""

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

from models.encoders import Encoder
from models.encoders.amdim import check_norm, norm_if
from models.encoders.scales import MultiScaleEncoder
from models.method import Method
from models.negatives import check_batch, split_diagonal
from models.objectives import infonce
from models.types import FeatureMaps, Features, Images, Summaries

Task = Literal["1to5", "1to7", "5to5"]
TASKS: tuple[Task, ...] = ("1to5", "1to7", "5to5")

SourceRows = Float[Tensor, "images units"]
TargetMaps = Float[Tensor, "maps units side side"]
AllScores = Float[Tensor, "images maps places"]


class Amdim(Method):
    """An encoder with the heads that train it; at 1 x 1 there is no head, Y itself is the source.

    clip         scores are clipped to clip * tanh(score / clip)
    regulariser  weight of the mean squared score before it is clipped
    norm         "batch": the heads' outputs are batch-normalised, as the authors do; or "none"
    use_bn       normalise inside the heads too
    `arguments` holds all of them, so that a checkpoint's card tells them.
    """

    num_views = 2
    encoder: MultiScaleEncoder

    def __init__(
        self,
        encoder: Encoder,
        *,
        clip: float = 20.0,
        regulariser: float = 5e-2,
        norm: str = "batch",
        use_bn: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(encoder, MultiScaleEncoder):
            raise TypeError(
                f"{type(encoder).__name__} has no maps of 5 x 5 and 7 x 7 places for AMDIM;"
                " choose an encoder that has, amdim32 for example"
            )
        if not clip > 0 or not regulariser >= 0:
            raise ValueError(
                f"clip must be above 0 and regulariser 0 or more, not {clip!r} and {regulariser!r}"
            )
        check_norm(norm, use_bn)
        self.arguments = {"clip": clip, "regulariser": regulariser, "norm": norm, "use_bn": use_bn}
        self.clip, self.regulariser = clip, regulariser
        self.encoder = encoder
        self.prior_critic = None
        five, seven = encoder.side_channels[5], encoder.side_channels[7]
        self.head_five = Head(five, encoder.summary_dim, norm, use_bn)
        self.head_seven = Head(seven, encoder.summary_dim, norm, use_bn)

    def forward(
        self, *views: Images, generator: Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor], Features]:
        """Return the loss to minimise, its parts (bounds in nats) and the first view's features."""
        first, second = views
        at = draw_places(2 * self.shares.world * len(first), generator).to(
            first.device, non_blocking=True
        )
        scales = self.encoder.scales(torch.cat((first, second)))
        five, seven = self.head_five(scales.five), self.head_seven(scales.seven)
        one, five, seven = map(self.whole, (scales.features.y, five, seven))
        check_batch(one.chunk(2)[0])
        place = places_at(five, at)
        tasks: dict[Task, tuple[Tensor, Tensor]] = {
            "1to5": (one, five),
            "1to7": (one, seven),
            "5to5": (place, five),
        }
        parts: dict[str, Tensor] = {}
        squares = []
        for task, (source, target) in tasks.items():
            bounds = []
            for own, other in ((0, 1), (1, 0)):
                scores_IJP = score(source.chunk(2)[own], target.chunk(2)[other])
                squares.append(scores_IJP.square().mean())
                bounds.append(infonce(split_diagonal(clipped(scores_IJP, self.clip))))
            parts[f"{task}_bound"] = torch.stack(bounds).mean()
        parts["squared_score"] = torch.stack(squares).sum() / 2
        bound = torch.stack([parts[f"{task}_bound"] for task in TASKS]).sum()
        loss = self.regulariser * parts["squared_score"] - bound
        return loss, parts, Features(*(part.chunk(2)[0] for part in scales.features))

    def whole(self, both: Tensor) -> Tensor:
        """Both views of the whole batch, where `both` has those of this process's share."""
        return torch.cat([self.shares.gather(view) for view in both.chunk(2)])


class Head(nn.Module):
    """From a map into the shared embedding: [1x1 - ReLU - 1x1] + shortcut, then batch norm.

    The second convolution starts at 0 and the shortcut, where it has room, as the identity with
    U(-0.01, 0.01) off the diagonal (authors' code).
    """

    def __init__(self, channels: int, units: int, norm: str, use_bn: bool) -> None:
        super().__init__()
        last = nn.Conv2d(units, units, 1, bias=False)
        nn.init.zeros_(last.weight)
        self.hidden = nn.Sequential(
            nn.Conv2d(channels, units, 1, bias=False), *norm_if(use_bn, units), nn.ReLU(), last
        )
        self.shortcut = nn.Conv2d(channels, units, 1)
        self.norm = nn.BatchNorm2d(units) if norm == "batch" else nn.Identity()
        if units >= channels:
            with torch.no_grad():
                self.shortcut.weight.uniform_(-0.01, 0.01)
                self.shortcut.weight[:, :, 0, 0].fill_diagonal_(1.0)

    def forward(self, maps: FeatureMaps) -> Float[Tensor, "images units side side"]:
        """Embed every place of every map."""
        embedded: Tensor = self.norm(self.hidden(maps) + self.shortcut(maps))
        return embedded


def draw_places(images: int, generator: Generator | None) -> Int64[Tensor, " images"]:
    """One of the 5 x 5 places for each image, on the generator's device."""
    device = generator.device if generator is not None else "cpu"
    return torch.randint(25, (images,), generator=generator, device=device)


def places_at(
    maps: Float[Tensor, "images units side side"], at: Int64[Tensor, " images"]
) -> Summaries:
    """The place with that number, row by row, of each map."""
    index = at[:, None, None].expand(-1, maps.shape[1], 1)
    return maps.flatten(2).gather(2, index).squeeze(2)


def score(source_IU: SourceRows, target_JUMM: TargetMaps) -> AllScores:
    """Every source against every place of every map, divided by sqrt(units), in fp32."""
    rows = target_JUMM.permute(0, 2, 3, 1).flatten(0, 2)
    scores = (source_IU @ rows.to(source_IU.dtype).T).float() / source_IU.shape[1] ** 0.5
    return scores.unflatten(1, (len(target_JUMM), -1))


def clipped(scores: AllScores, clip: float) -> AllScores:
    """Bound scores to (-clip, clip) without losing their gradient: clip * tanh(score / clip)."""
    return clip * torch.tanh(scores / clip)
