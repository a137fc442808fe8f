"""POST /feature-map: the map of local features of each image, whole or reduced to a picture."""

import asyncio

import numpy as np
from numpy.typing import NDArray

from service import accept, answers, pictures
from service.answers import INLINE_NUMBERS
from service.backend import Backend
from service.engine import Floats
from service.errors import BadOption
from service.exchange import Answer, Exchange
from service.options import FeatureMapOptions, read_options
from service.routes.direct import Direct, errors, takes_images
from service.routes.direct import answers as documented
from service.schemas import FeatureMapAnswer

OFFERS = (accept.JSON, accept.NPY, accept.OCTETS, accept.PNG)


def routes(backend: Backend) -> list[Direct]:
    """The route."""

    async def feature_map(exchange: Exchange) -> Answer:
        """Give each image's feature map, C x M x M, or a reduction of it that people can look at.

        Asked for image/png, it paints `reduce=norm` unless `reduce=pca` is given.
        """
        media_type = accept.choose(exchange.headers.get(b"accept"), OFFERS)
        upload = await backend.read(exchange, ("images",))
        options = read_options(FeatureMapOptions, exchange.query, upload.options)
        _check(options, media_type)
        maps = (await backend.encode(exchange, upload, frozenset(("map",))))["map"]
        write = (backend.engine.card.name, maps, options, media_type)
        if maps.size <= INLINE_NUMBERS and options.reduce == "none" and media_type != accept.PNG:
            return write_maps(*write)
        return await asyncio.to_thread(write_maps, *write)

    return [
        Direct(
            "/feature-map",
            feature_map,
            "POST",
            summary="Map local features",
            tags=["images"],
            openapi_extra=takes_images(FeatureMapOptions),
            responses=documented(FeatureMapAnswer, "One map an image.", pictures=True)
            | errors(400, 406, 408, 413, 415, 422, 500, 503, 504),
        )
    ]


def _check(options: FeatureMapOptions, media_type: str) -> None:
    answers.refuse_encoding(media_type, options.encoding)
    explicit = "reduce" in options.model_fields_set
    if media_type == accept.PNG and explicit and options.reduce == "none":
        raise BadOption("A picture has at most three channels: ask for reduce=norm or reduce=pca.")


def write_maps(model: str, maps: Floats, options: FeatureMapOptions, media_type: str) -> Answer:
    """Give maps (N, C, M, M) in the reduction and form that were asked for."""
    if media_type == accept.PNG:
        return Answer(paint(maps, options.reduce), accept.PNG)
    reduced = REDUCTIONS[options.reduce](maps)
    if media_type != accept.JSON:
        return answers.to_binary(media_type, reduced)
    document = {
        "model": model,
        "shape": reduced.shape[1:],
        "reduce": options.reduce,
        "encoding": options.encoding,
    }
    rows = answers.base64_rows(reduced) if options.encoding == "base64" else reduced
    return answers.to_json(document, "feature_maps", rows)


def paint(maps: Floats, reduction: str) -> bytes:
    """Paint maps (N, C, M, M): the principal components as colours, or the norm as shades."""
    if reduction == "pca":
        return pictures.paint_colours(components(maps))
    norms = norm(maps)
    return pictures.paint_shades(
        pictures.stretch(norms.reshape(len(norms), -1)).reshape(norms.shape)
    )


def norm(maps: Floats) -> Floats:
    """Length of the local feature at each place: (N, C, M, M) -> (N, M, M)."""
    lengths: Floats = np.linalg.norm(maps, axis=1)
    return lengths


def components(maps: Floats) -> Floats:
    """Three principal components of each image's own places: (N, C, M, M) -> (N, 3, M, M).

    An image's picture does not depend on the others in its request. Signs are fixed, so that the
    channel with the largest weight counts positive.
    """
    return np.stack([_components_of(one) for one in maps])


def _components_of(map_CMM: NDArray[np.float32]) -> NDArray[np.float32]:
    channels, side = map_CMM.shape[:2]
    centred = map_CMM.reshape(channels, -1).T.astype(np.float64)
    centred -= centred.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    three = np.zeros((3, channels))
    three[: len(directions)] = directions[:3]
    largest = np.take_along_axis(three, np.abs(three).argmax(axis=1)[:, None], axis=1)
    three *= np.where(largest < 0, -1.0, 1.0)
    return (centred @ three.T).T.reshape(3, side, side).astype(np.float32)


REDUCTIONS = {"none": lambda maps: maps, "norm": norm, "pca": components}
