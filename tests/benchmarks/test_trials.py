"""What was measured is not measured again, and what failed does not stop the rest."""

import signal
import sys
from pathlib import Path

import pytest

from benchmarks.failures import BenchmarkError
from benchmarks.shelf import Result, Shelf, common_facts
from benchmarks.trials import LAST_STEPS, Place, Trial, last_bounds, measure_missing, train
from tests.benchmarks.measured import result

RECIPE = Path("recipe.toml")


class Bench:
    """Counts what it is asked to measure."""

    def __init__(self, *failing: str) -> None:
        self.asked: list[str] = []
        self.failing = failing

    def measure(self, trial: Trial) -> Result:
        self.asked.append(trial.name)
        if trial.name in self.failing:
            raise BenchmarkError("it diverged")
        return result(trial.name, y_mlp200=50)


class Program(Trial):
    """A trial whose title is the program that stands for its training."""

    def words(self, place: Place) -> list[str]:
        return [sys.executable, "-c", self.title]


def trials(*names: str) -> list[Trial]:
    return [Trial(name, name, RECIPE) for name in names]


def place(folder: Path) -> Place:
    return Place("cifar10", folder, folder / "runs")


def test_a_measured_trial_is_skipped_the_next_time(tmp_path: Path) -> None:
    shelf, bench = Shelf(tmp_path / "out"), Bench()
    measure_missing(trials("a"), place(tmp_path), shelf, bench.measure)
    measure_missing(trials("a", "b"), place(tmp_path), shelf, bench.measure)
    assert bench.asked == ["a", "b"]
    assert [each.name for each in shelf.read(["b", "c", "a"])] == ["b", "a"]


def test_a_failed_trial_is_named_and_the_rest_is_measured(tmp_path: Path) -> None:
    shelf, bench = Shelf(tmp_path / "out"), Bench("a")
    assert measure_missing(trials("a", "b"), place(tmp_path), shelf, bench.measure) == ["a"]
    assert (shelf.has("a"), shelf.has("b")) == (False, True)


def test_again_removes_the_run_and_measures_anew(tmp_path: Path) -> None:
    shelf, bench = Shelf(tmp_path / "out"), Bench()
    measure_missing(trials("a"), place(tmp_path), shelf, bench.measure)
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    measure_missing(trials("a"), place(tmp_path), shelf, bench.measure, again=True)
    assert bench.asked == ["a", "a"]
    assert not run.exists()


def test_a_result_is_read_back_as_it_was(tmp_path: Path) -> None:
    kept = result("a", numbers={"ndm": 0.5}, recipe={"betas": [0.5, 0.999]}, y_mlp200=50)
    Shelf(tmp_path).put(kept)
    assert list(Shelf(tmp_path).read(["a"])) == [kept]


def test_a_damaged_result_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(BenchmarkError, match="delete it to measure a again"):
        list(Shelf(tmp_path).read(["a"]))


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    checkpoint = tmp_path / "runs" / "a" / "checkpoint"
    checkpoint.mkdir(parents=True)
    assert train(Trial("a", "a", RECIPE, command="no such command"), place(tmp_path)) == checkpoint


def test_a_training_that_fails_is_an_error_with_its_run(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"its training failed.*runs/a"):
        train(Program("a", "raise SystemExit(2)", RECIPE), place(tmp_path))


def test_a_training_that_was_stopped_is_an_error_that_says_it_goes_on(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="stopped; the same command goes on"):
        train(Program("a", "pass", RECIPE), place(tmp_path))


def test_an_interrupt_lets_the_training_save_before_it_is_passed_on(tmp_path: Path) -> None:
    started, saved = tmp_path / "started", tmp_path / "saved"
    waiting = (
        "import pathlib, signal, sys, time\n"
        f"save = lambda *_: (pathlib.Path({str(saved)!r}).touch(), sys.exit(0))\n"
        "signal.signal(signal.SIGTERM, save)\n"
        f"pathlib.Path({str(started)!r}).touch()\n"
        "time.sleep(600)\n"
    )

    def interrupt(number: int, frame: object) -> None:
        if not started.exists():
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            return
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(Program("a", waiting, RECIPE), place(tmp_path))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert saved.exists()


def test_the_bound_is_the_mean_of_the_last_steps(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    early = ['{"step": 1, "loss": 9, "local_bound": -7}'] * 50
    late = [f'{{"step": 2, "loss": 9, "local_bound": {step % 2}}}' for step in range(LAST_STEPS)]
    log.write_text("\n".join(early + late))
    assert last_bounds(log) == {"local_bound": 0.5}


def test_facts_that_differ_between_results_are_all_told() -> None:
    other = result("b").model_copy(update={"facts": {"Machine": "another", "Date": "2026-01-03"}})
    facts = common_facts([result("a"), other, result("c")])
    assert facts == {"Machine": "a machine; another", "Date": "2026-01-01 to 2026-01-03"}
