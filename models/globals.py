"""Several globals: Y is G vectors side by side, and each is scored against the map on its own.

The authors' code scores n globals x n locals of each image pair. There the globals are the places
of a later feature map; here they are equal parts of Y, so that what is served stays one vector,
their concatenation. As there, one critic serves all of them, and each global competes in a
contrast of its own: to an objective, an image with G globals is G images.
"""

from jaxtyping import Float
from torch import Tensor

from models.critics import Critic, EmbeddedMaps, EmbeddedSummaries, OtherMaps
from models.types import Scores, Summaries

AllGlobalScores = Float[Tensor, "images maps globals_places"]
PairedGlobalScores = Float[Tensor, "images globals_places"]


class EachGlobal(Critic):
    """A critic of one global as a critic of the whole Y: its places are globals x places."""

    def __init__(self, critic: Critic, num_globals: int) -> None:
        super().__init__(**critic.arguments)
        self.critic, self.num_globals = critic, num_globals
        self.places = critic.places

    def embed_summary(self, y_ID: Summaries) -> EmbeddedSummaries:
        """Embed each global; they lie side by side again."""
        return self.critic.embed_summary(self.split(y_ID)).unflatten(0, (len(y_ID), -1)).flatten(1)

    def embed_map(self, map_JCMM: OtherMaps) -> EmbeddedMaps:
        """Embed every place once, however many globals meet it."""
        return self.critic.embed_map(map_JCMM)

    def score_all(self, y_IU: EmbeddedSummaries, map_JPU: EmbeddedMaps) -> AllGlobalScores:
        """Score every summary's globals against every map."""
        scores = self.critic.score_all(self.split(y_IU), map_JPU)  # (I * G, J, P)
        return scores.unflatten(0, (len(y_IU), -1)).transpose(1, 2).flatten(2)

    def score_paired(self, y_IU: EmbeddedSummaries, map_IPU: EmbeddedMaps) -> PairedGlobalScores:
        """Score the globals of summary i against map i only."""
        repeated = map_IPU.repeat_interleave(self.num_globals, 0)
        scores = self.critic.score_paired(self.split(y_IU), repeated)
        return scores.unflatten(0, (len(y_IU), -1)).flatten(1)

    def split(self, y_ID: Summaries) -> Tensor:
        """One row a global, image by image."""
        return y_ID.unflatten(1, (self.num_globals, -1)).flatten(0, 1)


def over_globals(critic: Critic | None, num_globals: int) -> Critic | None:
    """The critic as it meets the whole Y."""
    return critic if critic is None or num_globals == 1 else EachGlobal(critic, num_globals)


def as_images(scores: Scores, num_globals: int) -> Scores:
    """Scores of globals x places as scores of places, one image a global."""
    if num_globals == 1:
        return scores
    positive = scores.positive.unflatten(1, (num_globals, -1)).flatten(0, 1)
    negative = scores.negative.unflatten(2, (num_globals, -1)).transpose(1, 2).flatten(0, 1)
    return Scores(positive, negative)
