"""The served critics' sigmoid is a probability, measured by figures that a loop confirms."""

import copy
import random

import pytest
import torch
from torch import nn

from models.card import Preprocessing
from models.critics import CRITICS, build_critic
from models.encoders import Encoder
from models.types import Features, Images
from training.building import served_critics
from training.calibrate import (
    FACTORS,
    LabelledPairs,
    area_under_curve,
    best_factor,
    calibration_of,
    expected_calibration_error,
    fit_critics,
    set_aside,
)
from training.config import TrainConfig


def test_the_calibration_error_equals_a_plain_loop() -> None:
    draw = random.Random(1)
    p = [draw.random() for _ in range(400)] + [0.0, 1.0]
    truth = [float(draw.random() < x) for x in p]
    wrong = 0.0
    for index in range(15):
        inside = [i for i, x in enumerate(p) if min(int(x * 15), 14) == index]
        if inside:
            belief = sum(p[i] for i in inside) / len(inside)
            frequency = sum(truth[i] for i in inside) / len(inside)
            wrong += abs(belief - frequency) * len(inside) / len(p)
    ours = expected_calibration_error(torch.tensor(p), torch.tensor(truth))
    assert ours == pytest.approx(wrong, abs=1e-6)


def test_the_area_under_the_curve_equals_a_plain_loop_with_ties() -> None:
    draw = random.Random(2)
    p = [draw.randrange(8) / 8 for _ in range(60)]
    truth = [float(draw.random() < x) for x in p]
    wins = [
        (a > b) + (a == b) / 2
        for a, real in zip(p, truth, strict=True)
        for b, other in zip(p, truth, strict=True)
        if real and not other
    ]
    ours = area_under_curve(torch.tensor(p), torch.tensor(truth))
    assert ours == pytest.approx(sum(wins) / len(wins))


def test_the_factor_undoes_a_wrong_scale_of_the_scores() -> None:
    torch.manual_seed(3)
    logit = torch.randn(20_000, 1) * 2
    truth = (torch.rand(20_000) < logit[:, 0].sigmoid()).float()
    step = float(FACTORS[1] / FACTORS[0])
    for scale in (0.25, 1.0, 4.0):
        factor = best_factor(LabelledPairs(logit * scale, truth))
        assert 1 / step**2 < factor * scale < step**2


@pytest.mark.parametrize("name", sorted(CRITICS))
def test_a_factor_folds_into_the_weights_of_every_critic(name: str) -> None:
    critic = build_critic(name, summary_dim=4, map_shape=[3, 5, 5], units=8).eval()
    y, feature_map = torch.randn(6, 4), torch.randn(6, 3, 5, 5)
    before, paired = critic(y, feature_map), critic.paired(y, feature_map)
    critic.multiply_scores(2.5)
    torch.testing.assert_close(critic(y, feature_map), 2.5 * before)
    torch.testing.assert_close(critic.paired(y, feature_map), 2.5 * paired)


def test_the_parts_set_aside_fit_small_and_large_sets() -> None:
    assert [set_aside(n) for n in (8, 100, 50_000, 10**6)] == [2, 10, 5_000, 5_000]


class ShadeEncoder(Encoder):
    """Y is the image's mean colour, the map its colours on a 4 x 4 grid: nothing is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.summary_dim, self.map_shape = 3, (3, 4, 4)
        self.colours = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.colours.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, images: Images) -> Features:
        """Average the colours."""
        feature_map = nn.functional.avg_pool2d(self.colours(images), images.shape[-1] // 4)
        y = feature_map.mean((2, 3))
        return Features(y=y, map=feature_map, fc=y, conv=y)


def test_fitted_critics_tell_own_pairs_from_others_and_leave_the_encoder_alone() -> None:
    """Pictures of one random shade each: the summary and every place tell the shade."""
    shades = torch.randint(0, 256, (1200, 1, 1, 3), generator=torch.Generator().manual_seed(5))
    pixels = shades.to(torch.uint8).expand(-1, 8, 8, -1).contiguous()
    preprocessing = Preprocessing(size=8)
    encoder = ShadeEncoder()
    before = copy.deepcopy(encoder.state_dict())
    config = TrainConfig(
        calibrate_epochs=60,
        calibrate_learning_rate=1e-2,
        served_local_units=16,
        served_global_units=16,
        views="none",
    )
    critics = served_critics(config, encoder)
    told: list[str] = []
    fit_critics(config, encoder, critics, pixels[:1000], preprocessing, told.append)
    assert sum("scores times" in sentence for sentence in told) == 2
    for critic in critics.values():
        calibration = calibration_of(critic, encoder, pixels[1000:], preprocessing, "toys", 0)
        assert calibration.auc > 0.9
        assert calibration.ece < 0.15
        assert calibration.pairs == 400
        assert calibration.description == "200 joint and as many product pairs of toys"
    for key, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, before[key]), key
