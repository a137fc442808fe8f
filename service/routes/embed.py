"""POST /embed: the embedding of each image."""

import asyncio

from service import accept, answers
from service.answers import INLINE_NUMBERS, Array
from service.backend import Backend
from service.exchange import Answer, Exchange
from service.options import EmbedOptions, read_options
from service.routes.direct import Direct, errors, takes_images
from service.routes.direct import answers as documented
from service.schemas import EmbedAnswer

OFFERS = (accept.JSON, accept.NPY, accept.OCTETS)
HEAD_OF = {"y": "y", "y_sigmoid": "y", "fc": "fc", "conv": "conv"}


def routes(backend: Backend) -> list[Direct]:
    """The route."""

    async def embed(exchange: Exchange) -> Answer:
        """Embed each image: the summary Y by default, one vector an image, in their order."""
        media_type = accept.choose(exchange.headers.get(b"accept"), OFFERS)
        upload = await backend.read(exchange, ("images",))
        options = read_options(EmbedOptions, exchange.query, upload.options)
        answers.refuse_encoding(media_type, options.encoding)
        head = HEAD_OF[options.representation]
        vectors = (await backend.encode(exchange, upload, frozenset((head,))))[head]
        write = (backend.engine.card.name, vectors, options, media_type)
        if vectors.size <= INLINE_NUMBERS:
            return write_embeddings(*write)
        return await asyncio.to_thread(write_embeddings, *write)

    return [
        Direct(
            "/embed",
            embed,
            "POST",
            summary="Embed images",
            tags=["images"],
            openapi_extra=takes_images(EmbedOptions),
            responses=documented(EmbedAnswer, "One embedding an image.")
            | errors(400, 406, 408, 413, 415, 422, 500, 503, 504),
        )
    ]


def write_embeddings(model: str, vectors: Array, options: EmbedOptions, media_type: str) -> Answer:
    """Give vectors (N, d) in the encoding and form that were asked for."""
    threshold = 0.5 if options.representation == "y_sigmoid" else 0.0
    if options.representation == "y_sigmoid":
        vectors = answers.sigmoid(vectors)
    if (
        options.encoding == "ubinary"
    ):  # before normalizing: signs survive it, the threshold does not
        return _written(model, answers.to_ubinary(vectors, threshold), vectors, options, media_type)
    if options.normalize:
        vectors = answers.normalized(vectors)
    if options.encoding != "int8":
        return _written(model, vectors, vectors, options, media_type)
    numbers, scales = answers.to_int8(vectors)
    return _written(model, numbers, vectors, options, media_type, scales)


def _written(
    model: str,
    encoded: Array,
    vectors: Array,
    options: EmbedOptions,
    media_type: str,
    scales: Array | None = None,
) -> Answer:
    if media_type != accept.JSON:
        listed = () if scales is None else ((b"x-scales", _listed(scales)),)
        return answers.to_binary(media_type, encoded, listed)
    document: dict[str, object] = {
        "model": model,
        "dimensions": vectors.shape[1],
        "representation": options.representation,
        "encoding": options.encoding,
    }
    if scales is not None:
        document["scales"] = scales.tolist()
    rows = answers.base64_rows(encoded) if options.encoding == "base64" else encoded
    return answers.to_json(document, "embeddings", rows)


def _listed(scales: Array) -> bytes:
    return ",".join(f"{scale:.7g}" for scale in scales).encode()
