import pytest
import torch
from torch import nn

from training.evaluation.fitting import FitSettings, fit, set_aside


def test_a_tenth_is_set_aside_and_never_in_both():
    rows, held = set_aside(1000)
    assert len(held) == 100
    assert sorted([*rows.tolist(), *held.tolist()]) == list(range(1000))
    assert len(set_aside(100_000)[1]) == 5_000
    assert len(set_aside(4)[1]) == 2


def test_three_images_cannot_be_split():
    with pytest.raises(ValueError, match="at least 4"):
        set_aside(3)


def test_the_best_state_is_kept_and_not_the_last():
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(0.0)
    # The loss pushes the weight up for ever; the judge likes it best near 0.5.
    fitted = fit(
        network,
        torch.arange(8),
        lambda rows: -network.weight.sum(),
        lambda: -abs(network.weight.item() - 0.5),
        FitSettings(steps=100, learning_rate=0.01),
    )
    assert fitted.step == 50
    assert network.weight.item() == pytest.approx(0.5, abs=0.01)
    assert not network.training


def test_a_network_that_only_gets_worse_is_left_as_it_was():
    network = nn.Linear(1, 1, bias=False)
    before = network.weight.item()
    fitted = fit(
        network,
        torch.arange(8),
        lambda rows: -network.weight.sum(),
        lambda: -network.weight.item(),
        FitSettings(steps=20),
    )
    assert (fitted.step, network.weight.item()) == (0, before)


def test_every_image_is_trained_on_before_any_comes_twice():
    seen = []
    network = nn.Linear(1, 1)

    def loss(rows):
        assert network.training
        seen.append(rows.tolist())
        return network.weight.sum()

    rows, told = torch.tensor([2, 3, 5, 7, 11, 13]), []
    fit(network, rows, loss, lambda: 0.0, FitSettings(3, 2), lambda *step: told.append(step))
    assert sorted(number for batch in seen for number in batch) == rows.tolist()
    assert told == [(1, 3), (2, 3), (3, 3)]
