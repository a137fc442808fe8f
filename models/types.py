"""The values that pass between encoders, critics and objectives.

Letters of the axis suffixes used in this package:
I  images whose summary is scored      D  dimensions of the summary
J  images whose feature map is scored  C  channels of the feature map
K  negatives of one image              M  side of the (square) feature map
P  places of a map (M * M, or 1)       U  units of a critic's embedding
"""

from typing import NamedTuple

from jaxtyping import Float, UInt8
from torch import Tensor

# One-axis shapes carry a leading space so that linters do not read them as forward references.
Pixels = UInt8[Tensor, "images height width channels"]
Images = Float[Tensor, "images channels height width"]
Summaries = Float[Tensor, "images dim"]
FeatureMaps = Float[Tensor, "images channels side side"]


class Features(NamedTuple):
    """Everything one forward pass of an encoder gives.

    y     (images, D)        the summary vector Y, no nonlinearity
    map   (images, C, M, M)  the feature map C(X), after its ReLU where there is one: the locals
    fc    (images, units)    the last hidden layer before Y
    conv  (images, units)    the last convolution's map, flattened
    """

    y: Summaries
    map: FeatureMaps
    fc: Summaries
    conv: Summaries


class Scores(NamedTuple):
    """A critic's raw scores T (logits), split into draws from the joint and from the marginals.

    positive  (I, P)     T(Y_i, C(X_i)_p)
    negative  (I, K, P)  T(Y_i, C(X_j)_p) with j != i, K negatives an image
    """

    positive: Float[Tensor, "images places"]
    negative: Float[Tensor, "images negatives places"]
