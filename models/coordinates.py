"""Coordinate tasks: say from Y and a place's features where the place lies.

arXiv 1808.06670, section 4.4: maximise log p(i, j | Y, C(X)_ij), and for pairs of places
log p(i - i', j - j' | Y, C(X)_ij, C(X)_i'j'). Rows and columns are independent categories, so a
loss is the sum of two cross-entropies, in nats; knowing nothing costs 2 log M for an absolute one.

Both heads are the paper's: two hidden layers, batch normalisation, ReLU. The authors' code has the
absolute task alone, on one residual layer whose output it passes through a LayerNorm over rows
and columns together, which limits how sure an answer can be; here the logits are free. It averages
over all places, as here.

Letters: I images, P places, M the map's side, D dimensions of Y, C channels (models/types.py).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.critics import check_shapes
from models.occlusion import device_of
from models.shares import WHOLE, Shares
from models.types import FeatureMaps, Summaries

Loss = Float[Tensor, ""]


class PlaceClassifier(nn.Module):
    """[Y, places] -> units BN ReLU -> units BN ReLU -> classes of the row and of the column.

    The first layer is a sum of products, one for Y and one for each place it is told, so that Y's
    is computed once an image.
    """

    def __init__(
        self, summary_dim: int, channels: int, places: int, classes: int, units: int
    ) -> None:
        super().__init__()
        self.of_summary = nn.Linear(summary_dim, units, bias=False)
        self.of_places = nn.ModuleList(
            nn.Linear(channels, units, bias=False) for _ in range(places)
        )
        width = summary_dim + places * channels
        for side in (self.of_summary, *self.of_places):
            nn.init.uniform_(side.weight, -(width**-0.5), width**-0.5)
        self.rest = nn.Sequential(
            nn.BatchNorm1d(units),
            nn.ReLU(),
            nn.Linear(units, units, bias=False),
            nn.BatchNorm1d(units),
            nn.ReLU(),
            nn.Linear(units, 2 * classes),
        )

    def forward(
        self, y_ID: Summaries, *places_IPC: Float[Tensor, "images places channels"]
    ) -> tuple[Float[Tensor, "rows classes"], Float[Tensor, "rows classes"]]:
        """Logits of the row's class and of the column's, image by image and place by place."""
        hidden_IPU = self.of_summary(y_ID)[:, None]
        for layer, place_IPC in zip(self.of_places, places_IPC, strict=True):
            hidden_IPU = hidden_IPU + layer(place_IPC)
        row, column = self.rest(hidden_IPU.flatten(0, 1)).float().chunk(2, dim=1)
        return row, column


class CoordinateHead(nn.Module):
    """Predicts the row and the column of every place of the map."""

    def __init__(self, summary_dim: int, map_shape: Sequence[int], units: int = 512) -> None:
        super().__init__()
        channels, self.side = check_map(summary_dim, map_shape, units)
        self.classifier = PlaceClassifier(summary_dim, channels, 1, self.side, units)

    def forward(
        self,
        y_ID: Summaries,
        map_ICMM: FeatureMaps,
        generator: torch.Generator | None = None,  # noqa: ARG002 - one signature for both heads
        shares: Shares = WHOLE,
    ) -> Loss:
        """Cross-entropy of row and column in nats, a mean over all places of all images."""
        row, column = self.classifier(y_ID, as_rows(map_ICMM))
        place = torch.arange(self.side**2, device=row.device).repeat(len(y_ID))
        return shares.mean(of_both(row, column, place // self.side, place % self.side))


class RelativeCoordinateHead(nn.Module):
    """Predicts how many rows and columns lie between two places of one map.

    Every place is compared with one other, drawn for each place and image.
    """

    def __init__(self, summary_dim: int, map_shape: Sequence[int], units: int = 512) -> None:
        super().__init__()
        channels, self.side = check_map(summary_dim, map_shape, units)
        self.classifier = PlaceClassifier(summary_dim, channels, 2, 2 * self.side - 1, units)

    def forward(
        self,
        y_ID: Summaries,
        map_ICMM: FeatureMaps,
        generator: torch.Generator | None = None,
        shares: Shares = WHOLE,
    ) -> Loss:
        """Cross-entropy of both offsets in nats, a mean over every place with its drawn partner."""
        places_IPC = as_rows(map_ICMM)
        place_P = torch.arange(self.side**2, device=y_ID.device)
        drawn = draw_others(shares.world * len(y_ID), self.side**2, generator)
        other_IP = shares.own(drawn).to(y_ID.device, non_blocking=True)
        partners_IPC = places_IPC.gather(1, other_IP[..., None].expand_as(places_IPC))
        rows = place_P // self.side - other_IP // self.side + self.side - 1  # 0 to 2 (M - 1)
        columns = place_P % self.side - other_IP % self.side + self.side - 1
        row, column = self.classifier(y_ID, places_IPC, partners_IPC)
        return shares.mean(of_both(row, column, rows.flatten(), columns.flatten()))


def draw_others(
    images: int, places: int, generator: torch.Generator | None = None
) -> Int64[Tensor, "images places"]:
    """Another place for every place of every image, never itself."""
    device = device_of(generator)
    step = torch.randint(1, places, (images, places), generator=generator, device=device)
    return (torch.arange(places, device=device) + step) % places


def of_both(row: Tensor, column: Tensor, true_row: Tensor, true_column: Tensor) -> Loss:
    """The sum of the two mean cross-entropies."""
    return cross_entropy(row, true_row) + cross_entropy(column, true_column)


def as_rows(map_ICMM: FeatureMaps) -> Float[Tensor, "images places channels"]:
    """The places of each map in row-major order."""
    return map_ICMM.flatten(2).transpose(1, 2)


def check_map(summary_dim: int, map_shape: Sequence[int], units: int) -> tuple[int, int]:
    """Return (channels, side); ValueError for a map of one place, which lies nowhere else."""
    channels, side = check_shapes(summary_dim, map_shape, units)
    if side < 2:
        raise ValueError(
            "coordinates need a feature map of several places; choose another encoder or set"
            " coordinates and relative_coordinates to 0"
        )
    return channels, side
