"""Which form an answer takes: the caller's Accept header against what a route offers."""

from collections.abc import Sequence

from service.errors import NotAcceptable

JSON = "application/json"
NPY = "application/x-npy"
OCTETS = "application/octet-stream"
PNG = "image/png"


def choose(accept: bytes | None, offers: Sequence[str]) -> str:
    """Give the offer the caller likes best; the first of equals, and the first if nothing is asked.

    Raises NotAcceptable.
    """
    if not accept or accept == b"*/*":
        return offers[0]
    ranges = _ranges(accept.decode("latin-1"))
    ranked = [(_quality(offer, ranges), -place, offer) for place, offer in enumerate(offers)]
    quality, _, best = max(ranked)
    if quality <= 0:
        raise NotAcceptable(f"This route answers as {', '.join(offers)}; ask for one of them.")
    return best


def _ranges(accept: str) -> dict[str, float]:
    ranges = {}
    for part in accept[:1000].split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                quality = _number(parameter[2:])
        ranges[kind] = quality
    return ranges


def _number(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def _quality(offer: str, ranges: dict[str, float]) -> float:
    """The most specific range that matches decides (RFC 9110, section 12.5.1)."""
    for kind in (offer, offer.partition("/")[0] + "/*", "*/*"):
        if kind in ranges:
            return ranges[kind]
    return 0.0
