"""Results as the benchmarks keep them, with figures chosen by a test."""

from benchmarks.shelf import Result, Trained
from models.card import EvaluationData, EvaluationRow

TEST_IMAGES = 10_000


def rows(encoder: str = "trained", **cells: float) -> list[EvaluationRow]:
    """y_mlp200=70 is a row of Y by that probe, in per cent."""
    return [
        EvaluationRow(
            encoder=encoder,
            representation=name.split("_")[0],
            probe=name.split("_")[1],
            accuracy=value / 100,
        )
        for name, value in cells.items()
    ]


def result(
    name: str,
    *,
    minutes: float | None = 15.0,
    protocol: str = "as written",
    numbers: dict[str, float] | None = None,
    recipe: dict[str, object] | None = None,
    test: int = TEST_IMAGES,
    encoder: str = "trained",
    **cells: float,
) -> Result:
    """A result of that method; without minutes it is a baseline."""
    trained = Trained(
        steps=100,
        images_seen=12_800,
        epochs=0.256,
        seconds=900.0,
        precision="fp32",
        bounds={"local_bound": 3.25},
        recipe=recipe or {},
    )
    return Result(
        name=name,
        title=f"the {name}",
        minutes=minutes,
        data=EvaluationData(name="cifar10", fingerprint="0" * 64, train=50_000, test=test),
        rows=rows(encoder, **cells),
        numbers=numbers or {},
        trained=trained if minutes else None,
        protocol=protocol,
        evaluation_s=200.0,
        facts={"Machine": "a machine", "Date": "2026-01-01"},
    )
