"""Mutual information between images, from the critics: the scores behind /mi-score.

Each function is a generator that runs in the model's thread and gives way to batches at every
`yield`, so that a large table of pairs holds nobody up; its return value is the result.
Letters: Q pairs, N images, P places of a map; see models/types.py for the others.
"""

from collections.abc import Generator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models.pairs import directed, jsd_matrix, jsd_pairs
from service.engine import Engine, Floats

PAIRS_A_STEP = 256  # of critics that visit each pair

Indices = NDArray[np.int64]


class PairScores(NamedTuple):
    """Scores of pairs (a, b), each array (Q,) but the maps (Q, P).

    forward   the summary of a against the map of b; the map of p lies over b
    backward  the summary of b against the map of a
    """

    forward_t: Floats
    forward_p: Floats
    forward_map: Floats
    backward_t: Floats
    backward_p: Floats
    backward_map: Floats
    jsd: Floats

    @property
    def t(self) -> Floats:
        """Mean critic logit of both directions."""
        return _mean(self.forward_t, self.backward_t)

    @property
    def p(self) -> Floats:
        """Mean sigmoid(T) of both directions."""
        return _mean(self.forward_p, self.backward_p)


class MatrixScores(NamedTuple):
    """The same scores of every image with every other, (N, N) and symmetric."""

    t: Floats
    p: Floats
    jsd: Floats


def score_pairs(
    engine: Engine, role: str, y: Floats, maps: Floats, pairs: Indices
) -> Generator[None, None, PairScores]:
    """Score the pairs (Q, 2) of images whose summaries are (N, D) and maps (N, C, M, M)."""
    images, places = np.unique(pairs, return_inverse=True)
    first, second = places.reshape(pairs.shape).T
    wanted = np.concatenate(
        [
            np.stack(both, 1)
            for both in ((first, second), (second, first), (first, first), (second, second))
        ]
    )
    scores = yield from _score(engine, role, y[images], maps[images], wanted)
    ab, ba, aa, bb = torch.from_numpy(scores).chunk(4)
    forward, backward = directed(ab[None]), directed(ba[None])
    return PairScores(
        forward.t[0].numpy(),
        forward.p[0].numpy(),
        ab.sigmoid().numpy(),
        backward.t[0].numpy(),
        backward.p[0].numpy(),
        ba.sigmoid().numpy(),
        jsd_pairs(aa, bb, ab, ba).numpy(),
    )


def score_matrix(
    engine: Engine, role: str, y: Floats, maps: Floats
) -> Generator[None, None, MatrixScores]:
    """Score every image with every other, both directions averaged."""
    if engine.critics[role].product:
        scores = engine.score_all(role, y, maps)
    else:
        rows = []
        step = max(1, PAIRS_A_STEP // len(y))
        for start in range(0, len(y), step):
            rows.append(engine.score_all(role, y[start : start + step], maps))
            yield
        scores = np.concatenate(rows)
    table = torch.from_numpy(scores)
    t, p = directed(table)
    return MatrixScores(((t + t.T) / 2).numpy(), ((p + p.T) / 2).numpy(), jsd_matrix(table).numpy())


def _score(
    engine: Engine, role: str, y: Floats, maps: Floats, wanted: Indices
) -> Generator[None, None, Floats]:
    """Score summary i against map j for every wanted (i, j): (wanted, P)."""
    if engine.critics[role].product:
        table = engine.score_all(role, y, maps)
        return table[wanted[:, 0], wanted[:, 1]]
    visits, places = np.unique(wanted, axis=0, return_inverse=True)
    rows = []
    for start in range(0, len(visits), PAIRS_A_STEP):
        i, j = visits[start : start + PAIRS_A_STEP].T
        rows.append(engine.score_paired(role, y[i], maps[j]))
        yield
    return np.concatenate(rows)[places.reshape(-1)]


def _mean(first: Floats, second: Floats) -> Floats:
    return (first + second) * np.float32(0.5)
