"""What a step draws depends on the seed and the step, and on nothing else."""

import torch

from training.config import TrainConfig
from training.draws import STREAMS, seeded, step_rows, steps_an_epoch

CONFIG = TrainConfig(batch_size=4)


def test_an_epoch_sees_each_image_at_most_once_and_the_next_in_another_order() -> None:
    steps = steps_an_epoch(CONFIG, 23)
    assert steps == 5
    first, second = (
        torch.cat([step_rows(CONFIG, 23, epoch * steps + place) for place in range(steps)])
        for epoch in range(2)
    )
    assert len(set(first.tolist())) == 20
    assert set(first.tolist()) <= set(range(23))
    assert not torch.equal(first, second)


def test_the_rows_of_a_step_do_not_depend_on_what_was_asked_before() -> None:
    forwards = [step_rows(CONFIG, 23, number) for number in range(12)]
    backwards = [step_rows(CONFIG, 23, number) for number in reversed(range(12))]
    for one, other in zip(forwards, reversed(backwards), strict=True):
        assert torch.equal(one, other)


def test_the_shares_of_all_ranks_are_the_batch_of_one_process() -> None:
    for world in (1, 2, 3, 4):
        shares = [step_rows(CONFIG, 23, 7, rank=rank, world=world) for rank in range(world)]
        assert torch.equal(torch.cat(shares), step_rows(CONFIG, 23, 7))


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    assert sorted(step_rows(CONFIG, 3, 5).tolist()) == [0, 1, 2]


def test_streams_steps_and_seeds_draw_different_numbers() -> None:
    drawn = {
        float(torch.rand((), generator=seeded(seed, stream, number)))
        for seed in range(3)
        for stream in STREAMS
        for number in range(3)
    }
    assert len(drawn) == 3 * 4 * 3
