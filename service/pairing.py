"""Which images /mi-score compares: listed pairs, a against b, two images, or one with itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import BadOption, BadRequest
from service.limits import Limits
from service.options import MiScoreOptions
from service.reading import Upload


@dataclass(frozen=True, slots=True)
class Pairing:
    """Pairs twice: by position among all images, and as the caller counts them.

    pairs  (Q, 2), positions among all uploaded images
    shown  (Q, 2), positions within `a` and `b` if those were sent, else the same as `pairs`
    """

    pairs: NDArray[np.int64]
    shown: NDArray[np.int64]


def choose_pairs(upload: Upload, options: MiScoreOptions, limits: Limits) -> Pairing | None:
    """Give the pairs a request asks for, or None if it asks for the whole matrix.

    Raises BadOption, BadRequest or TooManyPairs.
    """
    a, b, plain = (len(upload.fields.get(name, ())) for name in ("a", "b", "images"))
    if a or b:
        _check_sides(a, b, plain, options)
        limits.check_pairs(a * b)
        shown = np.stack(np.divmod(np.arange(a * b, dtype=np.int64), b), axis=1)
        return Pairing(shown + np.array((0, a), np.int64), shown)
    if options.matrix:
        if options.pairs is not None or options.map:
            raise BadOption("matrix=true goes without pairs and without map.")
        return None
    pairs = _listed(options, plain)
    limits.check_pairs(len(pairs))
    return Pairing(pairs, pairs)


def _check_sides(a: int, b: int, plain: int, options: MiScoreOptions) -> None:
    if not (a and b) or plain:
        raise BadRequest("Send images either in both a and b, or in neither.")
    if options.matrix or options.pairs is not None:
        raise BadOption("a and b go without pairs and without matrix: every a meets every b.")


def _listed(options: MiScoreOptions, images: int) -> NDArray[np.int64]:
    if options.pairs is None:
        if images > 2:
            raise BadRequest(f"{images} images make many pairs: say pairs=0-1,0-2 or matrix=true.")
        return np.array([[0, images - 1]], np.int64)
    if not options.pairs:
        raise BadOption("pairs must list one pair at least.")
    if max(max(pair) for pair in options.pairs) >= images:
        raise BadOption(f"pairs must hold positions below {images}, the number of images.")
    return np.array(options.pairs, np.int64)
