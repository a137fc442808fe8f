"""What the reports claim follows from what was measured."""

from benchmarks import serving_report, training_report
from benchmarks.contenders import LitserveSetting, form, litserve, naive, ours
from benchmarks.images import ImageFile
from benchmarks.load import Measured
from benchmarks.report import ratio
from benchmarks.serving_report import Findings
from benchmarks.training_report import OURS, STREAMED
from service.multipart import boundary_of, split_parts


def measured(requests_per_s: float, p50_ms: float = 1.0) -> Measured:
    return Measured(requests_per_s, p50_ms, p99_ms=2.0, errors=0, wrk_cores=0.1)


def serving(**rates: tuple[float, float]) -> Findings:
    """Findings of one round: name=(requests/s, p50 in ms), alike for all numbers of clients."""
    return Findings(
        contenders=[ours(), naive(), litserve(LitserveSetting(32, 0.005, 1))],
        runs={(name, n): [measured(*rate)] for n in (1, 32) for name, rate in rates.items()},
        limits=[1000.0],
        arrangement="batches of 32",
        tried={},
        seconds=1,
        corpus="1 image",
    )


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    assert ratio([2, 30, 4], [1, 10, 4]) == 2


def test_targets_are_met_exactly_where_the_figures_say_so() -> None:
    good = serving(ours=(600, 2.0), naive=(400, 1.6), litserve=(300, 5.0))
    assert [line.endswith(": met") for line in serving_report.targets(good)[:3]] == [True] * 3
    bad = serving(ours=(590, 2.0), naive=(400, 1.4), litserve=(400, 5.0))
    assert [line.endswith("missed**") for line in serving_report.targets(bad)[:3]] == [True] * 3


def test_the_serving_report_has_a_row_for_every_server_and_number_of_clients() -> None:
    found = serving(ours=(600, 2.0), naive=(400, 1.6), litserve=(300, 5.0))
    text = serving_report.write("command", {"Machine": "this"}, found)
    assert text.count("\n| ours |") == text.count("\n| litserve |") == 2
    assert "600 requests/s, 1.5 times naive and 2.0 times litserve, 60% of" in text


def test_the_training_report_compares_with_the_better_loader() -> None:
    rates = {(OURS, "flip"): [300.0], (STREAMED, "flip"): [280.0]}
    rates |= {("slow", "flip"): [100.0], ("quick", "flip"): [200.0]}
    found = training_report.Findings(rates, rates, [310.0], {}, "noise", 3)
    text = training_report.write("command", {}, found)
    assert "1.50 times (flip)" in text
    assert "96.8% of a step on a constant tensor (at least 95%): met" in text
    assert "1.5 times quick (at least 3): **missed**" in text


def test_a_form_is_read_back_as_the_file_it_was_made_of() -> None:
    image = ImageFile("0.png", "image/png", b"\x89PNG\r\n--not the boundary\r\n")
    contender = ours()
    (part,) = split_parts(contender.body(image), boundary_of(contender.content_type), 1)
    assert bytes(part.content) == image.content
    assert (part.name, part.is_file) == ("files", True)
    assert b'name="file"' in form("file", image)
