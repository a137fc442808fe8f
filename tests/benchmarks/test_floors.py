"""What a step has to do is counted as by hand, and its share of the matrix rate follows."""

import pytest
import torch
from torch import nn

from benchmarks.gpu.floors import Floors, Flops, Work, matrix_flops, measure_floors, work_of
from benchmarks.gpu.step_rate import Rate, targets
from benchmarks.gpu.turns import new_step
from training.config import make_config

CPU = torch.device("cpu")
SMALL = {"batch_size": 4, "local_units": 4, "gamma": 0.0, "views": "none", "precision": "fp32"}


def test_a_product_is_counted_as_its_multiplications_and_additions() -> None:
    with Flops() as counted:
        torch.ones(5, 5) @ torch.ones(5, 5)
    by_loops = sum(2 for _row in range(5) for _column in range(5) for _term in range(5))
    assert counted.total == matrix_flops(5) == by_loops


def test_a_layer_learns_with_three_products_where_its_input_wants_a_gradient() -> None:
    layer, given = nn.Linear(6, 7, bias=False), torch.ones(3, 6, requires_grad=True)
    with Flops() as counted:
        layer(given).sum().backward()
    assert counted.total == 3 * 2 * 3 * 6 * 7


def test_a_step_at_the_matrix_rate_has_an_mfu_of_one() -> None:
    floors, work = Floors(flops_per_s=1e9, bytes_per_s=1e9), Work(2 * 10**9, 10**9)
    assert floors.arithmetic_s(work) == 2.0
    assert floors.mfu(work, step_s=2.0) == 1.0
    assert floors.mfu(work, step_s=8.0) == 0.25


def test_the_floor_is_the_slower_of_arithmetic_and_memory() -> None:
    work = Work(10**9, 10**9)
    assert Floors(1e9, 5e8).floor_s(work) == 2.0
    assert Floors(2.5e8, 5e8).floor_s(work) == 4.0


def test_the_work_of_a_step_grows_with_the_batch_but_not_its_weights() -> None:
    config = make_config(SMALL)
    pixels = torch.zeros((8, 32, 32, 3), dtype=torch.uint8)
    four, eight = (work_of(new_step(config, CPU), 0, pixels[:count]) for count in (4, 8))
    weights = sum(each.numel() for each in new_step(config, CPU).model.parameters())
    assert four.moved_bytes > 40 * weights
    doubled = 2 * (four.moved_bytes - 40 * weights)
    assert eight.moved_bytes - 40 * weights == pytest.approx(doubled, rel=0.05)
    convolutions = 2 * (16 * 16 * 48 * 64 + 8 * 8 * 1024 * 128 + 4 * 4 * 2048 * 256)
    assert four.flops > 2 * 4 * convolutions  # forward, and backward to the weights at least


def test_the_prior_games_gradient_penalty_is_counted_too() -> None:
    pixels = torch.zeros((4, 32, 32, 3), dtype=torch.uint8)
    without, with_game = (
        work_of(new_step(make_config(SMALL | {"gamma": gamma}), CPU), 0, pixels).flops
        for gamma in (0.0, 0.1)
    )
    hidden = 2 * 4 * (64 * 1000 + 1000 * 200 + 200)  # one pass of the prior critic
    assert with_game - without > 6 * hidden


def test_rates_are_measured_above_zero() -> None:
    floors = measure_floors(CPU, torch.float32, side=32, copied_bytes=4096)
    assert floors.flops_per_s > 0
    assert floors.bytes_per_s > 0


def test_targets_of_a_gpu_are_judged_on_a_gpu_alone() -> None:
    floors, rate = Floors(1e9, 1e9), Rate(64, Work(10**9, 1), step_s=1.4, loader_s=7.0)
    near, loader = targets(floors, [rate], on_gpu=True)
    assert "1.40 times the floor (at most 1.5): met" in near
    assert "5.00 times the DataLoader (at least 10): **missed**" in loader
    assert all("not judged" in line for line in targets(floors, [rate], on_gpu=False))
