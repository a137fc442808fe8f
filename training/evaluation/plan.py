"""What an evaluation measures: the parts that `quick`, `paper` and `all` stand for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.evaluation.duplicates import Pairs, read_pairs
from training.evaluation.fitting import FEWEST_IMAGES, FitSettings
from training.evaluation.images import LabelledImages
from training.evaluation.probes import ProbeSettings, paper_settings, settings_for
from training.evaluation.retrieval import (
    NO_GROUP,
    Groups,
    class_groups,
    queries_of,
    read_groups,
)
from training.images import DataError

What = Literal["quick", "paper", "all"]

PARTS: dict[What, tuple[str, ...]] = {
    "quick": ("knn", "mlp200", "linear"),
    "paper": ("mine", "ndm", "ms_ssim", "mlp200", "svm"),
    "all": ("knn", "class_retrieval", "mine", "ndm", "ms_ssim", "mlp200", "linear", "svm"),
}
SUMMARY_PARTS = ("mine", "ndm", "ms_ssim")  # of Y alone, not of conv and fc
DEFAULT_GROUP_BY = ("group",)


@dataclass(frozen=True)
class Request:
    """What the user asked for, before the images are read.

    probe_epochs, probe_batch  as `what` has them where None
    seeds                      of the 200-unit and the linear probe
    steps                      updates of each critic and decoder
    retrieval                  by class, as a part more
    duplicates                 a CSV file of judged pairs, training.evaluation.duplicates
    groups, group_by           a CSV file and its columns, training.evaluation.retrieval
    """

    what: What = "quick"
    probe_epochs: int | None = None
    probe_batch: int | None = None
    seeds: int = 1
    steps: int = FitSettings.steps
    retrieval: bool = False
    duplicates: Path | None = None
    groups: Path | None = None
    group_by: tuple[str, ...] = DEFAULT_GROUP_BY


@dataclass(frozen=True)
class Plan:
    """The parts in the order they are taken, and what each of them needs to know.

    groups  by part, "class_retrieval" over the test images and "group_retrieval" over all, the
            training images first
    """

    what: What
    parts: tuple[str, ...]
    mlp200: ProbeSettings
    linear: ProbeSettings
    seeds: int
    fit: FitSettings
    pairs: Pairs | None
    groups: dict[str, Groups]

    @property
    def to_the_letter(self) -> bool:
        """Whether the 200-unit probe gets the features as they are, as in the paper."""
        return self.what != "quick"


def make_plan(request: Request, images: LabelledImages) -> Plan:
    """The plan for these images. Raises DataError where a file does not belong to them."""
    parts = list(PARTS[request.what])
    if request.retrieval and "class_retrieval" not in parts:
        parts.insert(0, "class_retrieval")
    if request.groups is not None:
        parts.insert(0, "group_retrieval")
    if request.duplicates is not None:
        parts.insert(0, "duplicates")
    if request.what != "quick" and min(len(images.train), len(images.test)) < FEWEST_IMAGES:
        raise DataError(
            f"{request.what} trains critics and needs {FEWEST_IMAGES} images in each split; "
            "give more images, or use --what quick"
        )
    count = len(images.train)
    choose = settings_for if request.what == "quick" else paper_settings
    return Plan(
        what=request.what,
        parts=tuple(parts),
        mlp200=choose(count, request.probe_epochs, request.probe_batch),
        linear=settings_for(count, request.probe_epochs, request.probe_batch),
        seeds=request.seeds,
        fit=FitSettings(steps=request.steps),
        pairs=_pairs(request, images),
        groups=_groups(request, parts, images),
    )


def _pairs(request: Request, images: LabelledImages) -> Pairs | None:
    if request.duplicates is None:
        return None
    if images.train_paths is not None:
        raise DataError(
            "--duplicates names images by their number in a published order, which a folder has "
            "not; use it with a named set such as cifar10"
        )
    return read_pairs(request.duplicates, test=len(images.test), train=len(images.train))


def _groups(request: Request, parts: list[str], images: LabelledImages) -> dict[str, Groups]:
    found = {}
    if "class_retrieval" in parts:
        found["class_retrieval"] = class_groups(images.test_labels)
    if request.groups is not None:
        if images.train_paths is None or images.test_paths is None:
            raise DataError("--groups names images by their path, so --data must be a folder")
        paths = images.train_paths + images.test_paths
        found["group_retrieval"] = read_groups(request.groups, request.group_by, paths)
    for groups in found.values():
        queries_of(groups.numbers[groups.numbers != NO_GROUP])  # raises before anything is encoded
    return found
