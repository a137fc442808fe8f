"""A source gives the images of the rows it is asked for, in that order."""

import itertools
import threading

import torch

from training.source import Resident, Source, Streamed


def test_a_resident_set_gives_the_rows_in_the_order_asked() -> None:
    pixels = torch.randint(0, 256, (9, 5, 5, 3), dtype=torch.uint8)
    source = Resident(pixels)
    asked = [torch.tensor([3, 3, 0]), torch.tensor([8]), torch.tensor([1, 7])]
    given = list(source.batches(iter(asked)))
    assert isinstance(source, Source)
    assert len(source) == 9
    for rows, batch in zip(asked, given, strict=True):
        assert torch.equal(batch, pixels[rows])


def test_a_streamed_set_gives_what_a_resident_one_gives_in_the_same_order() -> None:
    pixels = torch.randint(0, 256, (50, 5, 5, 3), dtype=torch.uint8)
    asked = list(torch.randint(0, 50, (40, 7)))
    resident = Resident(pixels).batches(asked)
    streamed = Streamed(pixels, torch.device("cpu")).batches(iter(asked))
    for one, other in zip(resident, streamed, strict=True):
        assert torch.equal(one, other)


def test_closing_a_stream_ends_its_readers() -> None:
    before = threading.active_count()
    batches = Streamed(torch.zeros(9, 2, 2, 1, dtype=torch.uint8), torch.device("cpu")).batches(
        torch.tensor([0, 1]) for _ in itertools.count()
    )
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before
