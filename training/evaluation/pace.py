"""How much of an evaluation is left, so that the display can tell the time.

The costs are rough counts of arithmetic, good enough to weigh a probe on 4,096 numbers against one
on 64. Nothing but the time left is made from them.
"""

from collections.abc import Callable

from training.evaluation.images import LabelledImages
from training.evaluation.plan import SUMMARY_PARTS, Plan
from training.evaluation.probes import ProbeSettings
from training.evaluation.retrieval import MOST_QUERIES
from training.evaluation.svm import SEEDS, STRENGTHS
from training.images import Progress

WHOLE = "evaluation"  # the line that stands for all parts
STEP_COST = 1e7  # of an update of any network, however small
SVM_PASSES = 60  # over the features, for one machine
SUMMED_AT_ONCE = 1e8  # of an image through a small critic or decoder and back
DRAWN_COST = 1e9  # of the MS-SSIM of an image


class Pace:
    """Tells `progress` of each part, and of the whole in thousandths."""

    def __init__(self, progress: Progress | None, total: float) -> None:
        self.progress, self.total = progress, total
        self.done = self.current = 0.0

    def part(self, what: str, cost: float) -> Callable[[int, int], None]:
        """Begin a part of that cost; what is returned gets steps done and their number."""
        self.done += self.current
        self.current = cost

        def tell(done: int, total: int) -> None:
            if self.progress is not None:
                share = (self.done + cost * done / total) / self.total
                self.progress(WHOLE, min(1000, round(1000 * share)), 1000)
                self.progress(what, done, total)

        return tell


def cost(part: str, dim: int, images: LabelledImages, plan: Plan) -> float:
    """Roughly what a part costs on features of that dimension, in floating-point operations."""
    train, test = len(images.train), len(images.test)
    classes = len(images.class_names)
    fitted = plan.fit.steps * (plan.fit.batch_size * SUMMED_AT_ONCE + STEP_COST)
    every = train + test
    costs = {
        "encode": every * dim * 1e4,
        "knn": train * test * (2 * dim + 50.0),
        "duplicates": train * test * (2 * dim + 50.0),
        "class_retrieval": min(test, MOST_QUERIES) * test * (2 * dim + 500.0),
        "group_retrieval": min(every, MOST_QUERIES) * every * (2 * dim + 500.0),
        "mlp200": plan.seeds * _probe(train, dim * 200, plan.mlp200),
        "linear": plan.seeds * _probe(train, dim * classes, plan.linear),
        "svm": SEEDS * len(STRENGTHS) * SVM_PASSES * train * (dim * classes * 4.0 + 30 * dim),
        "mine": fitted,
        "ndm": 2 * plan.fit.steps * (plan.fit.batch_size * (dim + 200) * 1.2e4 + STEP_COST),
        "ms_ssim": fitted + test * DRAWN_COST,
    }
    return costs[part]


def whole_cost(
    dims: dict[str, int],
    components: set[int],
    of_summary: int,
    images: LabelledImages,
    plan: Plan,
) -> float:
    """All parts of a plan: on two encoders' conv, fc and y, and on the components of the pixels."""
    columns = [(dim, name == "y") for name, dim in dims.items()] * 2
    columns += [(count, count == of_summary) for count in components]
    return 2 * cost("encode", dims["conv"], images, plan) + sum(
        cost(part, dim, images, plan)
        for dim, is_summary in columns
        for part in plan.parts
        if is_summary or part not in SUMMARY_PARTS
    )


def _probe(images: int, weights: int, settings: ProbeSettings) -> float:
    steps = settings.epochs * images / settings.batch_size
    return settings.epochs * images * weights * 6.0 + steps * STEP_COST
