"""Which device does the work, from the words auto, cpu and cuda."""

import torch

from training.images import DataError

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is a GPU where there is one.

    Raises DataError where a GPU is asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise DataError("no GPU can be used here; choose --device cpu, or check the driver")
    return torch.device(name)
