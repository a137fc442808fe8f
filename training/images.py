"""What a data set is once it is loaded: one tensor of pixels, and where they came from."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Int64
from torch import Tensor

from models.types import Pixels

NO_LABEL = -1  # the label of an image that has none, in a set where others have one

# What is being done, how many of them are done, how many there are.
Progress = Callable[[str, int, int], None]
# Where sentences for the user go: `print`, a rich console's `print`, or a list's `append` in tests.
Tell = Callable[[str], None]


class DataError(Exception):
    """The images cannot be used as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Unusable:
    """A file or folder that cannot be used: its path relative to the data folder, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class ImageSet:
    """Images in memory, already resized to what the encoder takes.

    pixels       (N, H, W, C) uint8
    labels       (N,) int64 index into `class_names`, `NO_LABEL` where an image has none; None when
                 no image has one. Training an encoder never reads them.
    paths        where each image was, relative to the data folder; None for the named sets
    fingerprint  sha256 of what was loaded: names and bytes of the files, or the published pixels
    skipped      number of files that could not be used; `unusable` says which, and why
    streamed     whether the pixels are in a file, mapped, to be read ahead of each step
    origin       one sentence on which images these are, for the protocol of an evaluation
    """

    pixels: Pixels
    labels: Int64[Tensor, " images"] | None
    paths: list[str] | None
    name: str
    fingerprint: str
    skipped: int
    class_names: list[str] | None
    unusable: tuple[Unusable, ...] = ()
    origin: str = ""
    streamed: bool = False

    def classes(self) -> tuple[Int64[Tensor, " images"], list[str]]:
        """Labels and class names. DataError, with the layout needed, where there are none."""
        if self.labels is None or self.class_names is None:
            raise DataError(
                f"{self.name} has no classes to evaluate with. Put the images of each class into "
                "a folder of their own (FOLDER/cat/1.jpg, FOLDER/dog/2.jpg), at least two; or into "
                "FOLDER/train/cat/..., FOLDER/test/cat/... for a test split of your own."
            )
        return self.labels, self.class_names

    def __len__(self) -> int:
        return int(self.pixels.shape[0])
