"""Whether the paper's order of methods is found again: computed from the cells, both ways open.

A difference of two accuracies counts where it is above two standard errors of counting right
answers on so many test images, as if both counts were independent. That is cautious (both see the
same images), and it says nothing about the luck of a seed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.paper import CIFAR10, REPRESENTATIONS

PROBE = "mlp200"  # the paper's
STANDARD_ERRORS = 2.0
SHOWN = {"conv": "conv", "fc": "fc", "y": "Y"}
PAIRS = (
    ("dim-l-jsd", "dim-g"),
    ("dim-l-infonce", "dim-l-jsd"),
    ("dim-l-tasks", "dim-l-infonce"),
)

Outcome = Literal["the paper's order", "the opposite of the paper's order", "undecided"]
Cells = Mapping[str, Mapping[str, float]]  # method -> representation -> per cent


@dataclass(frozen=True)
class Comparison:
    """One method against another in one cell, in points."""

    one: str
    other: str
    representation: str
    here: float
    paper: float
    error: float  # standard error of `here`

    @property
    def outcome(self) -> Outcome:
        """Which way it went, if any."""
        if abs(self.here) <= STANDARD_ERRORS * self.error:
            return "undecided"
        if (self.here > 0) == (self.paper > 0):
            return "the paper's order"
        return "the opposite of the paper's order"


def comparisons(cells: Cells, test_images: int) -> list[Comparison]:
    """Every pair of methods that is there, in every cell that the paper has for both."""
    found = []
    for one, other in PAIRS:
        for representation in REPRESENTATIONS:
            ours = [cells.get(name, {}).get(representation) for name in (one, other)]
            theirs = [CIFAR10[name].get(representation) for name in (one, other)]
            if None not in ours and None not in theirs:
                first, second = (value for value in ours if value is not None)
                paper_first, paper_second = (value for value in theirs if value is not None)
                found.append(
                    Comparison(
                        one,
                        other,
                        representation,
                        here=first - second,
                        paper=paper_first - paper_second,
                        error=standard_error(first, second, test_images),
                    )
                )
    return found


def standard_error(first: float, second: float, images: int) -> float:
    """Of the difference of two accuracies in per cent, each counted on so many images."""
    variances = [share / 100 * (1 - share / 100) / images for share in (first, second)]
    return 100 * math.sqrt(sum(variances))


def sentences(found: Sequence[Comparison], titles: Mapping[str, str]) -> list[str]:
    """One line a pair, cell by cell, with the paper's difference beside ours."""
    lines = []
    for one, other in PAIRS:
        pair = [each for each in found if (each.one, each.other) == (one, other)]
        if pair:
            told = "; ".join(
                f"{SHOWN[each.representation]} {each.here:+.2f} (the paper {each.paper:+.2f}):"
                f" {each.outcome}"
                for each in pair
            )
            lines.append(f"* {titles[one]} against {titles[other]}: {told}.")
    return lines


def summary(found: Sequence[Comparison]) -> str:
    """The one sentence."""
    if not found:
        return "Nothing can be said of the paper's order: the methods it compares are not all here."
    count = {
        outcome: sum(each.outcome == outcome for each in found)
        for outcome in ("the paper's order", "the opposite of the paper's order", "undecided")
    }
    same, opposite = count["the paper's order"], count["the opposite of the paper's order"]
    if same == len(found):
        verdict = "The paper's order is found again in every cell that can be compared"
    elif opposite > same:
        verdict = "The paper's order is not found again at this budget"
    elif opposite:
        verdict = "The paper's order is found again in part"
    elif same:
        verdict = "Nothing contradicts the paper's order"
    else:
        verdict = "The paper's order is neither found again nor contradicted"
    return (
        f"{verdict}: of {len(found)} cells {same} have it, {opposite} have the opposite, and in"
        f" {count['undecided']} the difference is within {STANDARD_ERRORS:g} standard errors."
    )
