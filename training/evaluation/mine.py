"""MINE: how many nats of the image are in Y, by a critic on image and Y (arXiv 1801.04062).

What the figure is. The Donsker-Varadhan bound E_joint[T] - log E_product[e^T] is at most I(X; Y)
for every critic T, up to the error of the sample it is taken on. The critic is trained on the
training images and the bound is taken on the test images, over all their pairs.

What it is not. Y is a function of the image, so the true I(X; Y) is as large as the entropy of the
images: what is measured is how much of it this critic finds within its updates. And no sample of n
product pairs can certify more than about log n nats (McAllester and Stratos, 1811.04251): 18 nats
on the 10^8 pairs of 10,000 images. The paper's 45 to 102 nats lie beyond what such a sample can
show and are not to be compared with; the ordering of encoders under one critic is what counts.

Letters: I images that give Y, J images that are seen, U units.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.mine import NOTHING_AVERAGED, mine
from models.types import Images, Scores, Summaries
from training.evaluation.fitting import SEED, FitSettings, fit, set_aside

UNITS = 256
LARGEST_SIDE = 32  # larger images are averaged down, which can only lower the bound
AVERAGE_RATE = 0.01  # of the moving average in the gradient's denominator
ROWS_AT_ONCE = 500

Prepare = Callable[[Tensor], Images]  # rows of the pixels become the critic's input


class PairCritic(nn.Module):
    """T(X_j, Y_i) = u(X_j) . v(Y_i) / sqrt(units): all pairs of a batch in one product.

    Image side: 4x4 convolutions of stride 2 down to at most 4 pixels, then Linear. Y side: one
    hidden layer. MINE joins image and Y in the first layer; this form cannot express every T, and
    is chosen because each image then has all others as negatives.
    """

    def __init__(self, channels: int, side: int, summary_dim: int, units: int = UNITS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = channels
        while side > 4:
            wider = min(256, 64 if not layers else 2 * width)
            layers += [nn.Conv2d(width, wider, 4, stride=2, padding=1), nn.ReLU()]
            width, side = wider, side // 2
        self.image = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(width * side * side, units),
            nn.ReLU(),
            nn.Linear(units, units),
        )
        self.summary = nn.Sequential(
            nn.Linear(summary_dim, units), nn.ReLU(), nn.Linear(units, units)
        )
        self.scale = 1 / math.sqrt(units)

    def forward(
        self,
        images: Float[Tensor, "images_J channels height width"],
        y: Float[Tensor, "images_I dim"],
    ) -> Float[Tensor, "images_I images_J"]:
        """Scores of every Y (rows) with every image (columns)."""
        scores: Tensor = self.summary(y) @ self.image(images).T
        return scores.float() * self.scale


def information_in_y(
    train: tuple[Tensor, Float[Tensor, "train dim"]],
    test: tuple[Tensor, Float[Tensor, "test dim"]],
    prepare: Prepare,
    settings: FitSettings,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """The bound on I(X; Y), in nats, on the test images; each pair is (pixels, Y).

    `prepare` makes the critic's input of rows of the pixels. Y is standardised by the training
    images, which changes no information.
    """
    device = train[1].device
    deviation, mean = torch.std_mean(train[1], dim=0, correction=0)
    y, test_y = ((part - mean) / deviation.clamp_min(1e-6) for part in (train[1], test[1]))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SEED)
        first = shrunk(prepare(train[0][:1]))
        critic = PairCritic(first.shape[1], first.shape[2], y.shape[1]).to(device)
        rows, held = set_aside(len(y))
        log_average = torch.tensor(NOTHING_AVERAGED, device=device)

        def loss(batch: Tensor) -> Tensor:
            nonlocal log_average
            scores = critic(shrunk(prepare(train[0][batch])), y[batch.to(device)])
            surrogate, log_average = mine(split(scores), log_average, AVERAGE_RATE)
            return -surrogate

        def goodness() -> float:
            return dv_of_all_pairs(critic, prepare, train[0][held], y[held.to(device)])

        fit(critic, rows, loss, goodness, settings, progress)
        with torch.inference_mode():
            return dv_of_all_pairs(critic, prepare, test[0], test_y)


def split(scores: Float[Tensor, "images images"]) -> Scores:
    """A matrix of all pairs as the objectives take it: the diagonal is the joint, one place."""
    others = ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    return Scores(scores.diagonal()[:, None], scores[others].reshape(len(scores), -1, 1))


def dv_of_all_pairs(critic: PairCritic, prepare: Prepare, pixels: Tensor, y: Summaries) -> float:
    """Plain Donsker-Varadhan on all pairs of these images, in nats, a block of rows at a time."""
    images = torch.cat([critic.image(shrunk(prepare(part))) for part in pixels.split(ROWS_AT_ONCE)])
    joint, product = [], []
    for start in range(0, len(y), ROWS_AT_ONCE):
        scores = (critic.summary(y[start : start + ROWS_AT_ONCE]) @ images.T).double()
        scores *= critic.scale
        places = torch.arange(len(scores), device=scores.device)
        joint.append(scores[places, places + start])
        scores[places, places + start] = -math.inf
        product.append(scores.logsumexp((0, 1)))
    pairs = len(y) * (len(y) - 1)
    log_mean = torch.stack(product).logsumexp(0) - math.log(pairs)
    return float(torch.cat(joint).mean() - log_mean)


def shrunk(images: Images) -> Float[Tensor, "images channels rows columns"]:
    """Images of at most 32 pixels a side: a function of the image holds no more information."""
    if images.shape[2] <= LARGEST_SIDE:
        return images
    return F.adaptive_avg_pool2d(images, LARGEST_SIDE)
