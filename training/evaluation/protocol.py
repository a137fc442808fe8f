"""All that must be known to repeat an evaluation or to compare it with another, in sentences."""

from collections.abc import Callable

from training.evaluation.baselines import COMPONENTS
from training.evaluation.fitting import CHECKS, MOST_SET_ASIDE
from training.evaluation.images import LabelledImages
from training.evaluation.knn import NEIGHBOURS, TEMPERATURE
from training.evaluation.mine import LARGEST_SIDE
from training.evaluation.ndm import SHUFFLES
from training.evaluation.plan import SUMMARY_PARTS, Plan
from training.evaluation.probes import ProbeSettings
from training.evaluation.retrieval import MOST_QUERIES
from training.evaluation.similarity import SMALLEST_SIDE
from training.evaluation.svm import SEEDS, STRENGTHS

PAPER = "1e-4, batch 64, 150 epochs, x0.1 after 50 and 100, mean of the last 100"


def protocol(images: LabelledImages, plan: Plan) -> str:
    """One text, with a sentence or more for each part of the plan."""
    sentences = [
        _table(images, plan),
        _probes(plan),
        *(SENTENCES[part](plan) for part in plan.parts if part in SENTENCES),
        _fitted(plan),
        _baselines(),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _table(images: LabelledImages, plan: Plan) -> str:
    users = "the probes and the vote of neighbours alone" if "knn" in plan.parts else "probes alone"
    return (
        f"Top-1 accuracy on all {len(images.test):,} test images ({images.test_origin}) after "
        f"training on {len(images.train):,} ({images.train_origin}); labels are used by {users}. "
        "The encoder is frozen, in eval(); conv, fc and y (before any sigmoid) are computed once, "
        "without augmentation."
    )


def _probes(plan: Plan) -> str:
    """The 200-unit and the linear probe: together where they are trained alike."""
    layers = (
        "mlp200: Linear to 200, Dropout 0.1, BatchNorm, ReLU, Linear (Deep InfoMax, arXiv "
        "1808.06670)"
    )
    scaled = "features standardised by the training images' mean and deviation"
    how = f"{_trained(plan.mlp200)} (the paper: {PAPER})."
    if plan.to_the_letter:
        found = f"{layers}, on conv, fc and y as they are and on {scaled} for pixels_pca, {how}"
        if "linear" in plan.parts:
            found += f" linear: one Linear on {scaled}, {_trained(plan.linear)}."
    else:
        found = f"{layers}; linear: one Linear; both on {scaled}, {how}"
    if plan.seeds > 1:
        found += f" From {plan.seeds} seeds each: mean and standard deviation (n - 1)."
    return found


def _trained(settings: ProbeSettings) -> str:
    first, second = settings.drops
    return (
        f"cross-entropy, Adam at {settings.learning_rate:.2g}, batch {settings.batch_size}, "
        f"{settings.epochs} epochs, rate x0.1 after {first} and {second}; the mean over the last "
        f"{settings.counted} epochs is reported"
    )


def _knn(_: Plan) -> str:
    return (
        f"knn: weighted vote of {NEIGHBOURS} training images by cosine similarity, temperature "
        f"{TEMPERATURE}, features as they are."
    )


def _svm(_: Plan) -> str:
    strengths = ", ".join(f"{strength:g}" for strength in STRENGTHS)
    return (
        "svm: linear, squared hinge, one class against the rest, solved to the optimum on "
        f"standardised features of nine tenths of the training images; {SEEDS} seeds draw the "
        f"tenth that chooses the shrinking among {strengths}, mean and standard deviation (n - 1)."
    )


def _mine(_: Plan) -> str:
    return (
        "mine: Donsker-Varadhan bound on I(X; Y) in nats over all pairs of test images, critic "
        f"u(X).v(Y) trained with MINE's moving average on images of at most {LARGEST_SIDE} pixels; "
        "n pairs certify about log n nats at most, and the true value is the entropy of the images."
    )


def _ndm(_: Plan) -> str:
    return (
        "ndm: total correlation of y in nats, before and after the sigmoid (the truth is the same "
        "for both), 0 for independent dimensions; critic 1000-200-1 on standardised y, trained "
        "with the f-GAN bound on KL, reported with Donsker-Varadhan over "
        f"{SHUFFLES} shuffles of the test images."
    )


def _ms_ssim(_: Plan) -> str:
    return (
        "ms_ssim: of test images with what a decoder trained on y by squared error draws of them; "
        "five scales, 11 x 11 window, values and data range from 0 to 1, images smaller than "
        f"{SMALLEST_SIDE} pixels enlarged to it bilinearly, so not to be compared with figures of "
        "larger photographs."
    )


def _fitted(plan: Plan) -> str:
    """How the critics and the decoder are trained."""
    names = [part for part in plan.parts if part in SUMMARY_PARTS]
    if not names:
        return ""
    return (
        f"{', '.join(names)}: Adam at {plan.fit.learning_rate:g}, {plan.fit.steps:,} updates of "
        f"{plan.fit.batch_size} training images; of {CHECKS + 1} states on the way the best on a "
        f"tenth of them set aside (at most {MOST_SET_ASIDE:,}); y standardised."
    )


def _baselines() -> str:
    return (
        "random: the same architecture with new random weights. pixels_pca: principal components "
        f"of the training images' pixels, {COMPONENTS} and as many as y has."
    )


def _duplicates(plan: Plan) -> str:
    listed = 0 if plan.pairs is None else len(plan.pairs)
    return (
        f"duplicates: {listed:,} listed pairs of a test and a training image among all pairs, "
        "found where the cosine of the features as they are reaches a threshold; average "
        "precision, highest recall at a precision, and the threshold of the best F1."
    )


def _retrieval(part: str) -> Callable[[Plan], str]:
    name = part.removesuffix("_retrieval")

    def sentence(plan: Plan) -> str:
        return (
            f"{name}_recall_at_1, {name}_map: retrieval of {plan.groups[part].description} among "
            "all others by cosine of the features as they are, the query itself left out, equals "
            f"counted against it, at most {MOST_QUERIES:,} queries."
        )

    return sentence


SENTENCES: dict[str, Callable[[Plan], str]] = {
    "knn": _knn,
    "svm": _svm,
    "mine": _mine,
    "ndm": _ndm,
    "ms_ssim": _ms_ssim,
    "duplicates": _duplicates,
    "class_retrieval": _retrieval("class_retrieval"),
    "group_retrieval": _retrieval("group_retrieval"),
}
