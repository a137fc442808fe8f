"""POST /mi-score: how much one image's summary tells of another's map, by the critics."""

import asyncio

import numpy as np
import orjson

from service import accept, answers, pictures
from service.backend import Backend
from service.engine import Floats
from service.errors import BadOption, NoCritics
from service.exchange import Answer, Exchange
from service.options import MiScoreOptions, read_options
from service.pairing import Pairing, choose_pairs
from service.routes.direct import Direct, errors, takes_images
from service.routes.direct import answers as documented
from service.schemas import MiScoreAnswer
from service.scoring import MatrixScores, PairScores, score_matrix, score_pairs

OFFERS = (accept.JSON, accept.NPY, accept.OCTETS, accept.PNG)
HEADS = frozenset(("y", "map"))


def routes(backend: Backend) -> list[Direct]:
    """The route."""
    engine = backend.engine

    async def mi_score(exchange: Exchange) -> Answer:
        """Score pairs of images: those in `pairs`, every `a` against every `b`, or all (`matrix`).

        One image alone gives its self-score: low means unlike anything in training. Asked for
        image/png, it paints each pair's map of p, or the matrix.
        """
        media_type = accept.choose(exchange.headers.get(b"accept"), OFFERS)
        upload = await backend.read(exchange, ("images", "a", "b"))
        options = read_options(MiScoreOptions, exchange.query, upload.options)
        if media_type == accept.PNG and not options.matrix:
            options = options.model_copy(update={"map": True})
        _check_critic(backend, options)
        pairing = choose_pairs(upload, options, backend.limits)
        encoded = await backend.encode(exchange, upload, HEADS)
        y, maps = encoded["y"], encoded["map"]
        deadline, images = backend.deadline(exchange), len(y)
        if pairing is None:
            steps = score_matrix(engine, options.critic, y, maps)
            matrix: MatrixScores = await backend.batcher.run(steps, deadline, images)
            return await asyncio.to_thread(
                write_matrix, engine.card.name, matrix, options, media_type
            )
        scores: PairScores = await backend.batcher.run(
            score_pairs(engine, options.critic, y, maps, pairing.pairs), deadline, images
        )
        side = engine.critics[options.critic].side
        write = (engine.card.name, scores, pairing, side, options, media_type)
        if len(pairing.pairs) <= 16 and media_type != accept.PNG:
            return write_pairs(*write)
        return await asyncio.to_thread(write_pairs, *write)

    return [
        Direct(
            "/mi-score",
            mi_score,
            "POST",
            summary="Score mutual information",
            tags=["images"],
            openapi_extra=takes_images(MiScoreOptions, compares=True),
            responses=documented(MiScoreAnswer, "Scores of pairs, or a matrix.", pictures=True)
            | errors(400, 406, 408, 413, 415, 422, 500, 503, 504),
        )
    ]


def _check_critic(backend: Backend, options: MiScoreOptions) -> None:
    served = backend.engine.critics
    if not served:
        raise NoCritics(
            "This checkpoint has no critics to score with; /embed and /feature-map work."
        )
    if options.critic not in served:
        known = ", ".join(sorted(served))
        raise BadOption(f"This checkpoint has no {options.critic} critic; it has: {known}.")
    if options.map and served[options.critic].side == 1:
        raise BadOption(f"The {options.critic} critic has no map; ask for critic=local.")


def write_matrix(
    model: str, matrix: MatrixScores, options: MiScoreOptions, media_type: str
) -> Answer:
    """Give the (N, N) scores in the form that was asked for."""
    chosen: Floats = getattr(matrix, options.score)
    if media_type == accept.PNG:
        if options.score != "p":
            chosen = pictures.stretch(chosen.reshape(1, -1)).reshape(chosen.shape)
        return Answer(pictures.paint_shades(chosen[None]), accept.PNG)
    if media_type != accept.JSON:
        return answers.to_binary(media_type, chosen)
    document = {
        "model": model,
        "critic": options.critic,
        "matrix": {name: np.ascontiguousarray(table) for name, table in matrix._asdict().items()},
    }
    return Answer(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))


def write_pairs(
    model: str,
    scores: PairScores,
    pairing: Pairing,
    side: int,
    options: MiScoreOptions,
    media_type: str,
) -> Answer:
    """Give the pairs' scores in the form that was asked for; `side` is that of the critic's map."""
    maps = scores.forward_map.reshape(-1, side, side)
    if media_type == accept.PNG:
        return Answer(pictures.paint_shades(maps), accept.PNG)
    if media_type != accept.JSON:
        chosen: Floats = maps if options.map else getattr(scores, options.score)
        return answers.to_binary(media_type, chosen)
    backward_maps = scores.backward_map.reshape(-1, side, side)
    pairs = []
    for q, (a, b) in enumerate(pairing.shown):
        forward = {"t": scores.forward_t[q], "p": scores.forward_p[q]}
        backward = {"t": scores.backward_t[q], "p": scores.backward_p[q]}
        pair = {"a": a, "b": b, "t": scores.t[q], "p": scores.p[q], "jsd": scores.jsd[q]}
        pair |= {"forward": forward, "backward": backward}
        if options.map:
            pair["map"], backward["map"] = maps[q], backward_maps[q]
        pairs.append(pair)
    document = {"model": model, "critic": options.critic, "pairs": pairs}
    return Answer(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))
