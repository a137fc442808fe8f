"""Coordinate heads beside plain loops, and what can and cannot be known of a place."""

import math

import pytest
import torch

from models.coordinates import CoordinateHead, RelativeCoordinateHead, draw_others
from models.dim import DeepInfoMax, DimTerms
from models.encoders import build_encoder

DIM, CHANNELS, SIDE = 6, 5, 3
HEADS = [CoordinateHead, RelativeCoordinateHead]


def a_head(kind, units=16):
    return kind(DIM, (CHANNELS, SIDE, SIDE), units)


def features(images=4):
    return torch.randn(images, DIM), torch.randn(images, CHANNELS, SIDE, SIDE)


def surprise(logits, truth):
    """-log softmax(logits)[truth], by hand."""
    return math.log(sum(math.exp(logit) for logit in logits)) - logits[truth]


def answers(head, y, *places):
    """The head's logits for one image and one place (or two), without its split first layer."""
    known = head.classifier
    weight = torch.cat([known.of_summary.weight, *(layer.weight for layer in known.of_places)], 1)
    logits = known.rest(torch.cat([y, *places])[None] @ weight.T)[0].tolist()
    return logits[: len(logits) // 2], logits[len(logits) // 2 :]


def test_the_absolute_loss_is_that_of_a_loop():
    head, (y, maps) = a_head(CoordinateHead).eval(), features()
    total = 0.0
    for i in range(len(y)):
        for row in range(SIDE):
            for column in range(SIDE):
                of_row, of_column = answers(head, y[i], maps[i, :, row, column])
                total += surprise(of_row, row) + surprise(of_column, column)
    assert head(y, maps).item() == pytest.approx(total / (len(y) * SIDE**2), rel=1e-5)


def test_the_relative_loss_is_that_of_a_loop_over_the_same_draws():
    head, (y, maps) = a_head(RelativeCoordinateHead).eval(), features()
    others = draw_others(len(y), SIDE**2, torch.Generator().manual_seed(2)).tolist()
    total = 0.0
    for i in range(len(y)):
        for place, other in enumerate(others[i]):
            (row, column), (its_row, its_column) = divmod(place, SIDE), divmod(other, SIDE)
            pair = maps[i, :, row, column], maps[i, :, its_row, its_column]
            of_rows, of_columns = answers(head, y[i], *pair)
            total += surprise(of_rows, row - its_row + SIDE - 1)
            total += surprise(of_columns, column - its_column + SIDE - 1)
    given = head(y, maps, torch.Generator().manual_seed(2)).item()
    assert given == pytest.approx(total / (len(y) * SIDE**2), rel=1e-5)


def test_every_place_is_compared_with_every_other_and_never_with_itself():
    others = draw_others(500, 9, torch.Generator().manual_seed(0))
    for place in range(9):
        assert set(others[:, place].tolist()) == set(range(9)) - {place}


def learn(head, places, steps=40):
    """The loss after training on fresh summaries and the places given by `places(images)`."""
    optimiser = torch.optim.Adam(head.parameters(), 3e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        loss = head(torch.randn(16, DIM), places(16), generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss.item()


@pytest.mark.parametrize("kind", HEADS)
def test_places_that_say_where_they_lie_cost_nothing_in_the_end(kind):
    telling = torch.zeros(CHANNELS, SIDE, SIDE)
    telling[0], telling[1] = torch.arange(3.0)[:, None], torch.arange(3.0)[None]
    assert learn(a_head(kind, 32), lambda images: telling.expand(images, -1, -1, -1)) < 0.15


def test_places_that_say_nothing_cost_two_logarithms_of_the_side():
    learned = learn(
        a_head(CoordinateHead), lambda images: torch.randn(images, CHANNELS, SIDE, SIDE)
    )
    assert learned == pytest.approx(2 * math.log(SIDE), abs=0.25)


@pytest.mark.parametrize("kind", HEADS)
def test_a_map_of_one_place_is_refused(kind):
    with pytest.raises(ValueError, match="several places"):
        kind(DIM, (CHANNELS, 1, 1))


@pytest.mark.parametrize("task", ["coordinates", "relative_coordinates"])
def test_a_task_reaches_the_whole_encoder_and_is_weighed(task):
    encoder = build_encoder("basic28x28", summary_dim=DIM, image_channels=1, fc_dim=16)
    heads = {
        "coordinate_head": CoordinateHead(DIM, encoder.map_shape, 16),
        "relative_coordinate_head": RelativeCoordinateHead(DIM, encoder.map_shape, 16),
    }
    model = DeepInfoMax(encoder, DimTerms(beta=0.0, gamma=0.0, **{task: 0.5}), **heads)
    loss, parts, _ = model(torch.randn(4, 1, 28, 28))
    assert set(parts) == {f"{task}_loss"}
    assert loss.item() == pytest.approx(0.5 * parts[f"{task}_loss"].item())
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


@pytest.mark.parametrize("task", ["coordinates", "relative_coordinates"])
def test_a_weight_without_its_head_is_refused_with_the_remedy(task):
    encoder = build_encoder("basic28x28", summary_dim=DIM, fc_dim=8)
    with pytest.raises(ValueError, match=f"{task} is 0.5, so its head is needed"):
        DeepInfoMax(encoder, DimTerms(beta=0.0, gamma=0.0, **{task: 0.5}))
