"""A source gives the images of the rows it is asked for, in that order."""

import torch

from training.source import Resident, Source


def test_a_resident_set_gives_the_rows_in_the_order_asked() -> None:
    pixels = torch.randint(0, 256, (9, 5, 5, 3), dtype=torch.uint8)
    source = Resident(pixels)
    asked = [torch.tensor([3, 3, 0]), torch.tensor([8]), torch.tensor([1, 7])]
    given = list(source.batches(iter(asked)))
    assert isinstance(source, Source)
    assert len(source) == 9
    for rows, batch in zip(asked, given, strict=True):
        assert torch.equal(batch, pixels[rows])
