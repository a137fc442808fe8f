"""Critics: networks that score how well a summary Y and a feature map C(X) belong together.

Every critic gives raw scores T (logits, linear last layer, free to be negative). A local critic
scores each place of the map; a global critic scores the map as one place. Sources: Deep InfoMax
(arXiv 1808.06670, Figures 2 and 3, Appendix A). Axis letters: see models/types.py.

Layers run on places as rows: a 1x1 convolution *is* a linear layer there, and faster on a CPU.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.encoders.base import check_positive
from models.registry import build
from models.types import FeatureMaps, Summaries

OtherMaps = Float[Tensor, "maps channels side side"]  # not necessarily of the same images
AllScores = Float[Tensor, "images maps places"]
PairedScores = Float[Tensor, "images places"]
EmbeddedSummaries = Float[Tensor, "images width"]  # units, of each global
EmbeddedMaps = Float[Tensor, "maps places units"]


class Critic(nn.Module):
    """T(Y, C(X)); `places` is the grid of scores: (M, M) for a local critic, (1, 1) for a global.

    Each side is embedded on its own, once an image, however many partners it then meets.
    `arguments` holds every constructor argument, so that a checkpoint's card can rebuild it.
    """

    places: tuple[int, int]

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = arguments

    def forward(self, y_ID: Summaries, map_JCMM: OtherMaps) -> AllScores:
        """Score every summary against every map."""
        return self.score_all(self.embed_summary(y_ID), self.embed_map(map_JCMM))

    def paired(self, y_ID: Summaries, map_ICMM: FeatureMaps) -> PairedScores:
        """Score summary i against map i only."""
        return self.score_paired(self.embed_summary(y_ID), self.embed_map(map_ICMM))

    def embed_summary(self, y_ID: Summaries) -> EmbeddedSummaries:
        """The summary's part of its scores."""
        raise NotImplementedError(f"{type(self).__name__} does not define embed_summary")

    def embed_map(self, map_JCMM: OtherMaps) -> EmbeddedMaps:
        """Every place's part of its scores."""
        raise NotImplementedError(f"{type(self).__name__} does not define embed_map")

    def score_all(self, y_IU: EmbeddedSummaries, map_JPU: EmbeddedMaps) -> AllScores:
        """Score every embedded summary against every embedded map."""
        raise NotImplementedError(f"{type(self).__name__} does not define score_all")

    def score_paired(self, y_IU: EmbeddedSummaries, map_IPU: EmbeddedMaps) -> PairedScores:
        """Score embedded summary i against embedded map i only."""
        raise NotImplementedError(f"{type(self).__name__} does not define score_paired")

    def linear_in_score(self) -> nn.LayerNorm | nn.Linear:
        """The layer in whose weight and bias every score is linear."""
        raise NotImplementedError(f"{type(self).__name__} does not define linear_in_score")

    @torch.no_grad()
    def multiply_scores(self, factor: float) -> None:
        """Multiply every score by `factor` for good, folded into the weights."""
        layer = self.linear_in_score()
        layer.weight.mul_(factor)
        layer.bias.mul_(factor)


class ResidualEmbedding(nn.Module):
    """One side of encode-and-dot: [linear - BN - ReLU - linear] + shortcut, then LayerNorm.

    Where it has room (units >= dim), the shortcut starts as the identity with U(-0.01, 0.01) off
    the diagonal (authors' code).
    """

    def __init__(self, dim: int, units: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Linear(dim, units, bias=False),
            nn.BatchNorm1d(units),
            nn.ReLU(),
            nn.Linear(units, units),
        )
        self.shortcut = nn.Linear(dim, units, bias=False)
        self.norm = nn.LayerNorm(units)
        if units >= dim:
            with torch.no_grad():
                self.shortcut.weight.uniform_(-0.01, 0.01).fill_diagonal_(1.0)

    def forward(self, rows: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows units"]:
        """Embed each row."""
        return self.norm(self.hidden(rows) + self.shortcut(rows))


SCALES = ("none", "sqrt_units")


class DotCritic(Critic):
    """Encode-and-dot: the score is the dot product of two embeddings, so all pairs are one product.

    scale="none" is the paper's unscaled product. scale="sqrt_units" divides by sqrt(units), as
    AMDIM does and DIM does not: unscaled products of LayerNorm-ed vectors start with a standard
    deviation of about sqrt(units), so the first steps are spent shrinking them.
    """

    def __init__(
        self, dim_y: int, dim_map: int, places: tuple[int, int], scale: str, units: int, **kept: Any
    ) -> None:
        super().__init__(**kept, units=units, scale=scale)
        if scale not in SCALES:
            raise ValueError(f"scale must be one of {', '.join(SCALES)}, not {scale!r}")
        self.places = places
        self.factor = 1.0 if scale == "none" else units**-0.5
        self.of_summary = ResidualEmbedding(dim_y, units)
        self.of_place = ResidualEmbedding(dim_map, units)

    def rows(self, map_JCMM: FeatureMaps) -> Float[Tensor, "rows dim"]:
        """Lay the places of all maps out as rows, image by image."""
        raise NotImplementedError(f"{type(self).__name__} does not define rows")

    def linear_in_score(self) -> nn.LayerNorm:
        """The summary's last normalisation."""
        return self.of_summary.norm

    def embed_summary(self, y_ID: Summaries) -> EmbeddedSummaries:
        """Embed summaries, the scale included: the dot product with a place is the score."""
        return self.of_summary(y_ID) * self.factor

    def embed_map(self, map_JCMM: OtherMaps) -> EmbeddedMaps:
        """Embed every place of every map."""
        return self.of_place(self.rows(map_JCMM)).unflatten(0, (len(map_JCMM), -1))

    def score_all(self, y_IU: EmbeddedSummaries, map_JPU: EmbeddedMaps) -> AllScores:
        """All pairs in one matrix product."""
        place_RU = map_JPU.flatten(0, 1).to(y_IU.dtype)
        return (y_IU @ place_RU.T).unflatten(1, map_JPU.shape[:2])

    def score_paired(self, y_IU: EmbeddedSummaries, map_IPU: EmbeddedMaps) -> PairedScores:
        """One product a pair."""
        return torch.einsum("iu,ipu->ip", y_IU, map_IPU.to(y_IU.dtype))


class LocalDot(DotCritic):
    """Local encode-and-dot; the paper uses 2048 units (1024 beside CPC)."""

    def __init__(
        self, summary_dim: int, map_shape: Sequence[int], units: int = 2048, scale: str = "none"
    ) -> None:
        channels, side = check_shapes(summary_dim, map_shape, units)
        kept = {"summary_dim": summary_dim, "map_shape": list(map_shape)}
        super().__init__(summary_dim, channels, (side, side), scale, units, **kept)

    def rows(self, map_JCMM: FeatureMaps) -> Float[Tensor, "rows dim"]:
        """One row a place."""
        return map_JCMM.permute(0, 2, 3, 1).flatten(0, 2)


class GlobalDot(DotCritic):
    """Global encode-and-dot: the flattened map against the summary."""

    def __init__(
        self, summary_dim: int, map_shape: Sequence[int], units: int = 512, scale: str = "none"
    ) -> None:
        channels, side = check_shapes(summary_dim, map_shape, units)
        kept = {"summary_dim": summary_dim, "map_shape": list(map_shape)}
        super().__init__(summary_dim, channels * side * side, (1, 1), scale, units, **kept)

    def rows(self, map_JCMM: FeatureMaps) -> Float[Tensor, "rows dim"]:
        """One row an image."""
        return map_JCMM.flatten(1)


class ConcatScorer(nn.Module):
    """[Y, c] -> units ReLU -> units ReLU -> 1, without batch normalisation, linear output.

    The first layer acts on the concatenation as the sum of two products, one a side. It starts as
    one layer on both sides would.
    """

    def __init__(self, dim_y: int, dim_c: int, units: int) -> None:
        super().__init__()
        self.of_summary = nn.Linear(dim_y, units)
        self.of_place = nn.Linear(dim_c, units, bias=False)
        self.score = nn.Linear(units, 1)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(units, units), nn.ReLU(), self.score)
        bound = (dim_y + dim_c) ** -0.5  # nn.Linear's own for the concatenation
        for side in (self.of_summary.weight, self.of_summary.bias, self.of_place.weight):
            nn.init.uniform_(side, -bound, bound)

    def forward(
        self, y_IU: Float[Tensor, "#images units"], place_IPU: Float[Tensor, "images places units"]
    ) -> PairedScores:
        """Score summary i against the places of map i, given their products."""
        return self.rest(y_IU[:, None] + place_IPU).squeeze(-1)


class ConcatCritic(Critic):
    """A critic that scores Y concatenated with (a function of) the map.

    It must visit each pair, so train it with negatives "shuffle" or "roll".
    """

    scorer: ConcatScorer

    def linear_in_score(self) -> nn.Linear:
        """The scorer's last layer."""
        return self.scorer.score

    def rows(self, map_JCMM: FeatureMaps) -> Float[Tensor, "maps places features"]:
        """Lay out what is concatenated with Y, place by place."""
        raise NotImplementedError(f"{type(self).__name__} does not define rows")

    def embed_summary(self, y_ID: Summaries) -> EmbeddedSummaries:
        """The first layer's part of the summary."""
        return self.scorer.of_summary(y_ID)

    def embed_map(self, map_JCMM: OtherMaps) -> EmbeddedMaps:
        """The first layer's part of every place."""
        return self.scorer.of_place(self.rows(map_JCMM))

    def score_all(self, y_IU: EmbeddedSummaries, map_JPU: EmbeddedMaps) -> AllScores:
        """Visit every pair; one summary at a time bounds the memory."""
        return torch.stack([self.scorer(y_U[None], map_JPU) for y_U in y_IU])

    def score_paired(self, y_IU: EmbeddedSummaries, map_IPU: EmbeddedMaps) -> PairedScores:
        """Visit each image's own pair."""
        return self.scorer(y_IU, map_IPU)


class LocalConcat(ConcatCritic):
    """Local concat-and-conv: Y beside each place, three 1x1 convolutions chained."""

    def __init__(self, summary_dim: int, map_shape: Sequence[int], units: int = 512) -> None:
        channels, side = check_shapes(summary_dim, map_shape, units)
        super().__init__(summary_dim=summary_dim, map_shape=list(map_shape), units=units)
        self.places = (side, side)
        self.scorer = ConcatScorer(summary_dim, channels, units)

    def rows(self, map_JCMM: FeatureMaps) -> Float[Tensor, "maps places features"]:
        """Every place on its own.

        Contiguous: for strided rows torch picks one kernel where gradients are wanted and another
        where they are not, and the two round differently.
        """
        return map_JCMM.flatten(2).transpose(1, 2).contiguous()


class GlobalConcat(ConcatCritic):
    """The flattened map with Y, through a multi-layer perceptron."""

    def __init__(self, summary_dim: int, map_shape: Sequence[int], units: int = 512) -> None:
        channels, side = check_shapes(summary_dim, map_shape, units)
        super().__init__(summary_dim=summary_dim, map_shape=list(map_shape), units=units)
        self.places = (1, 1)
        self.scorer = ConcatScorer(summary_dim, channels * side * side, units)

    def rows(self, map_JCMM: FeatureMaps) -> Float[Tensor, "maps places features"]:
        """The whole map as one place."""
        return map_JCMM.flatten(1)[:, None]


class GlobalConv(ConcatCritic):
    """dense32's global critic: conv3x3 64 ReLU, conv3x3 32, flattened with Y -> 512 -> 512 -> 1."""

    def __init__(self, summary_dim: int, map_shape: Sequence[int], units: int = 512) -> None:
        channels, side = check_shapes(summary_dim, map_shape, units)
        if side < 5:
            raise ValueError(
                f"global_conv needs a map of at least 5 x 5 places, not {side} x {side};"
                " choose global_concat or global_dot"
            )
        super().__init__(summary_dim=summary_dim, map_shape=list(map_shape), units=units)
        self.places = (1, 1)
        self.trunk = nn.Sequential(nn.Conv2d(channels, 64, 3), nn.ReLU(), nn.Conv2d(64, 32, 3))
        self.scorer = ConcatScorer(summary_dim, 32 * (side - 4) ** 2, units)

    def rows(self, map_JCMM: FeatureMaps) -> Float[Tensor, "maps places features"]:
        """The convolved map as one place."""
        return self.trunk(map_JCMM).flatten(1)[:, None]


CRITICS: dict[str, type[Critic]] = {
    "local_dot": LocalDot,
    "local_concat": LocalConcat,
    "global_dot": GlobalDot,
    "global_concat": GlobalConcat,
    "global_conv": GlobalConv,
}


def build_critic(name: str, **arguments: Any) -> Critic:
    """Build the critic of that name; ValueError for an unknown name or bad arguments."""
    return build("critic", CRITICS, name, arguments)


def check_shapes(summary_dim: int, map_shape: Sequence[int], units: int) -> tuple[int, int]:
    """Return (channels, side) of a square map; ValueError otherwise."""
    check_positive(summary_dim=summary_dim, units=units)
    if len(map_shape) != 3 or map_shape[1] != map_shape[2]:
        raise ValueError(f"map_shape must be (channels, side, side), not {tuple(map_shape)}")
    check_positive(channels=map_shape[0], side=map_shape[1])
    return map_shape[0], map_shape[1]
