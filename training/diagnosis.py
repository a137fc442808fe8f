"""What the numbers of a run mean: findings in sentences that end with what to do."""

import math
from dataclasses import dataclass
from typing import Literal

from training.health import Health, chance

COLLAPSED_ABOVE = 0.5  # share of dead dimensions
ONE_DIRECTION = 1.5  # effective rank under which one direction is all there is
AT_CHANCE = 0.01  # nats above chance that are no knowledge
FALL = 0.5  # nats below chance and below the start that are no noise
NEAR_CEILING = 0.95
MEMORISED = 0.5  # of the bound on training images that is missing on held-out ones
NO_LONGER_YOUNG = 50  # steps after which a bound at chance, or low on held-out images, is a sign:
#                       before, running statistics lag behind the weights

Kind = Literal["collapsed", "diverged", "memorised", "ceiling"]
FAILURES: tuple[Kind, ...] = ("collapsed", "diverged")


@dataclass(frozen=True)
class Finding:
    """Something the numbers show, in a sentence that ends with what to do about it."""

    kind: Kind
    sentence: str


@dataclass(frozen=True)
class Course:
    """How one bound went in training, from the log, in nats.

    first   at the first step: before anything was learned
    lowest  since the last look, at step `lowest_step`
    last    the mean of the last steps
    """

    first: float
    lowest: float
    lowest_step: int
    last: float


def diagnose(
    health: Health,
    courses: dict[str, Course],
    objective: str,
    ceilings: dict[str, float],
    *,
    held_out: bool,
) -> list[Finding]:
    """Everything wrong that one evaluation can see, the worst first.

    Courses are the training bounds by name; `held_out` says that `health` is of images that are
    not trained on.
    """
    found = [*collapse(health), *not_finite(health)]
    base = chance(objective)
    for name, course in courses.items():
        found += divergence(name, course, health.bounds.get(name), base, health.step)
    if any(finding.kind in FAILURES for finding in found):
        return found
    for name, course in courses.items():
        if held_out and health.step >= NO_LONGER_YOUNG:
            found += memorisation(name, course, health.bounds.get(name))
        found += saturation(name, course, ceilings.get(name))
    return found


def collapse(health: Health) -> list[Finding]:
    """Whether images are no longer told apart."""
    if health.dead_share >= COLLAPSED_ABOVE:
        what = f"{health.dead_share:.0%} of Y's dimensions are the same for every image"
    elif health.rankme < ONE_DIRECTION:
        what = f"all images lie along one direction (effective rank {health.rankme:.1f})"
    else:
        return []
    return [
        Finding(
            "collapsed",
            f"Collapsed: {what}. Start again with a tenth of the learning_rate; if gamma is above"
            " its default of 0.1, lower it; raise batch_size where it is below 32.",
        )
    ]


def not_finite(health: Health) -> list[Finding]:
    """Whether features or bounds have left the finite numbers."""
    if all(map(math.isfinite, (health.rankme, *health.bounds.values()))):
        return []
    return [
        Finding(
            "diverged",
            "Diverged: features or bounds are no longer finite numbers. Start again with a tenth of"
            " the learning_rate and precision=fp32.",
        )
    ]


def divergence(
    name: str, course: Course, held_out: float | None, base: float, step: int
) -> list[Finding]:
    """Whether a critic got worse than one that knows nothing, or never got better.

    A bound below chance is no sign in the first steps of an unscaled critic, which starts far
    below; falling below where it began is, unless it was one of the first steps and has passed.
    """
    label = name.replace("_", " ")
    remedy = (
        "Start again with a tenth of the learning_rate; scale=sqrt_units and objective=jsd are the"
        " steadiest."
    )
    came_back = course.last > base + FALL
    fell = course.lowest < min(base, course.first) - FALL
    if fell and not (came_back and course.lowest_step < NO_LONGER_YOUNG):
        back = f"; it has come back to {course.last:.2f}" if came_back else ""
        return [
            Finding(
                "diverged",
                f"Diverged: the {label} fell to {course.lowest:.2f} nats at step"
                f" {course.lowest_step:,}, below chance ({base:.2f}) and below its start"
                f" ({course.first:.2f}){back}. {remedy}",
            )
        ]
    now = course.last if held_out is None else max(course.last, held_out)
    if step >= NO_LONGER_YOUNG and now < base + AT_CHANCE:
        return [
            Finding(
                "diverged",
                f"Diverged: after {step:,} steps the {label} is {now:.2f} nats, no better than"
                f" chance ({base:.2f}): the critic is dead or was thrown off. {remedy}",
            )
        ]
    return []


def memorisation(name: str, course: Course, held_out: float | None) -> list[Finding]:
    """Whether the bound holds for training images only."""
    if held_out is None or course.last - held_out <= MEMORISED * course.last:
        return []
    return [
        Finding(
            "memorised",
            f"The {name.replace('_', ' ')} is {course.last:.2f} nats on training images and"
            f" {held_out:.2f} on held-out ones: much of it is memory. Use more images, stronger"
            " views (views=flip_crop_colour) or fewer epochs.",
        )
    ]


def saturation(name: str, course: Course, most: float | None) -> list[Finding]:
    """Whether the bound is at the most it can say."""
    if most is None or most <= 0 or course.last < NEAR_CEILING * most:
        return []
    return [
        Finding(
            "ceiling",
            f"The {name.replace('_', ' ')} is {course.last:.2f} of at most {most:.2f} nats: it can"
            " hardly teach more. A larger batch_size raises infonce's limit; stronger views make"
            " the task harder.",
        )
    ]
