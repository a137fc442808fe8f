"""The parts of `paper` and `all`, put together: plan, card, report, command."""

import argparse
import csv
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.card import Card, EvaluationCard, EvaluationMeasure, EvaluationRow
from models.checkpoint import read_card
from tests.models.toy_checkpoint import trained
from tests.training.picture_folder import two_classes
from training.datasets import NAMED_SETS
from training.display import time_left
from training.evaluation.command import add_arguments, run
from training.evaluation.evaluate import evaluate
from training.evaluation.images import pair
from training.evaluation.pace import WHOLE, Pace
from training.evaluation.plan import PARTS, Request, make_plan
from training.evaluation.probes import ProbeSettings, paper_settings, probe_accuracy
from training.evaluation.protocol import protocol
from training.evaluation.report import MEASURES, to_markdown, verdict
from training.images import DataError, ImageSet


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    trained().save(tmp_path / "checkpoint")
    two_classes(tmp_path / "pictures", 12, "train")
    return two_classes(tmp_path / "pictures", 7, "test")


def measured(tmp_path: Path, data: Path, request: Request, progress=None) -> EvaluationCard:
    return evaluate(
        tmp_path / "checkpoint",
        str(data),
        request=request,
        progress=progress,
        tell=lambda sentence: None,
    )


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([*words, "--device", "cpu"]))


# ---------------------------------------------------------------------------------- what is done


@pytest.fixture(scope="module")
def everything(tmp_path_factory) -> tuple[EvaluationCard, list[tuple[str, int, int]]]:
    """One evaluation with all parts, and what its progress told."""
    folder, told = tmp_path_factory.mktemp("everything"), []
    trained().save(folder / "checkpoint")
    two_classes(folder / "pictures", 12, "train")
    two_classes(folder / "pictures", 7, "test")
    request = Request("all", probe_epochs=3, steps=1, seeds=2)
    card = measured(folder, folder / "pictures", request, lambda *step: told.append(step))
    return card, told


def test_all_has_every_probe_and_the_measures_of_y(everything):
    card, _ = everything
    rows = {(row.encoder, row.representation): [] for row in card.rows}
    for row in card.rows:
        rows[row.encoder, row.representation].append(row.probe)
    assert len(rows) == 7  # two encoders' conv, fc and y; 4 and 24 components are noted alike
    assert rows["trained", "conv"] == rows["random", "y"] == ["mlp200", "linear", "svm", "knn"]
    taken = {(each.encoder, each.representation, each.measure) for each in card.measures}
    of_classes, of_y = {"class_recall_at_1", "class_map"}, {"mine", "ndm", "ndm_sigmoid", "ms_ssim"}
    assert taken == {
        (encoder, representation, measure)
        for encoder in ("trained", "random")
        for representation in ("conv", "fc", "y")
        for measure in of_classes | (of_y if representation == "y" else set())
    } | {("pixels_pca", "pixels", measure) for measure in of_classes | of_y - {"ndm_sigmoid"}}


def test_the_machine_has_five_seeds_and_the_probes_as_many_as_asked(everything):
    card, _ = everything
    seeds = {row.probe: row.seeds for row in card.rows}
    assert seeds == {"mlp200": 2, "linear": 2, "svm": 5, "knn": 1}
    assert {row.probe for row in card.rows if row.spread is None} == {"knn"}


def test_the_protocol_tells_how_each_number_was_made(everything):
    card, _ = everything
    for words in (
        "Adam at 0.0001, batch 64, 3 epochs",
        "the mean over the last 2 epochs is reported (the paper: 1e-4, batch 64, 150 epochs",
        "conv, fc and y as they are",
        "linear: one Linear on features standardised",
        "From 2 seeds each",
        "5 seeds draw the tenth",
        "1 updates of 256",
        "log n nats",
        "trained with the f-GAN bound on KL",
        "smaller than 176 pixels enlarged",
        "test images of the same class",
    ):
        assert words in card.protocol


def test_each_number_stands_in_the_report_under_a_title(everything):
    card, _ = everything
    text = to_markdown("toy", card)
    assert all(MEASURES[each.measure] in text for each in card.measures)


def test_progress_of_the_whole_begins_low_never_falls_and_ends_full(everything):
    _, told = everything
    whole = [done for what, done, _ in told if what == WHOLE]
    assert whole == sorted(whole)
    assert whole[0] < 200
    assert whole[-1] == 1000
    assert {"svm on conv (random)", "mine on pixels (pixels_pca)"} <= {what for what, _, _ in told}


def test_paper_leaves_out_what_the_paper_has_not_and_says_nothing_of_it():
    images = pair(*(load(count) for count in (40, 20)))
    plan = make_plan(Request("paper"), images)
    assert {*PARTS["all"]} - {*plan.parts} == {"knn", "class_retrieval", "linear"}
    assert plan.mlp200 == paper_settings(40)
    text = protocol(images, plan)
    assert "Adam at 0.0001, batch 64, 150 epochs, rate x0.1 after 50 and 100" in text
    assert "the mean over the last 100 epochs is reported" in text
    assert "linear: one" not in text
    assert "knn:" not in text


def load(count: int) -> ImageSet:
    return ImageSet(
        pixels=torch.zeros(count, 2, 2, 1, dtype=torch.uint8),
        labels=torch.arange(count) % 2,
        paths=None,
        name="toy",
        fingerprint="ab",
        skipped=0,
        class_names=["a", "b"],
    )


def test_two_seeds_give_their_mean_and_spread(tmp_path, pictures):
    one = measured(tmp_path, pictures, Request(probe_epochs=1, probe_batch=8))
    two = measured(tmp_path, pictures, Request(probe_epochs=1, probe_batch=8, seeds=2))
    for first, row in zip(one.rows, two.rows, strict=True):
        if row.probe == "knn":
            assert row == first
        else:
            assert (row.seeds, first.seeds, first.spread) == (2, 1, None)
            # of a and b: mean (a + b) / 2, deviation |a - b| / sqrt 2
            assert abs(first.accuracy - row.accuracy) == pytest.approx(row.spread / math.sqrt(2))
    assert any(row.spread for row in two.rows)


def test_the_pace_weighs_parts_by_their_cost():
    told = []
    pace = Pace(lambda *step: told.append(step), total=40.0)
    pace.part("long", 30.0)(1, 2)
    pace.part("short", 10.0)(1, 1)
    assert told == [(WHOLE, 375, 1000), ("long", 1, 2), (WHOLE, 1000, 1000), ("short", 1, 1)]


@pytest.mark.parametrize(
    ("elapsed_s", "done", "left", "text"),
    [
        (10.0, 5, 20, ", about 40 s left"),
        (60.0, 1, 10, ", about 10 min left"),
        (9.0, 0, 5, ""),
        (9.0, 5, 0, ""),
    ],
)
def test_the_time_left_is_at_the_rate_so_far(elapsed_s, done, left, text):
    assert time_left(elapsed_s, done, left) == text


def test_near_duplicates_of_a_named_set_are_found_by_every_encoder(tmp_path, monkeypatch):
    trained().save(tmp_path / "checkpoint")
    train = np.random.default_rng(1).integers(0, 256, (30, 28, 28, 1), np.uint8)
    test = np.random.default_rng(2).integers(0, 256, (12, 28, 28, 1), np.uint8)
    test[:6] = train[5:11]  # test image n is a copy of training image n + 5

    def read(root: Path, split: str, download: bool):
        pixels = test if split == "test" else train
        return pixels, np.arange(len(pixels)) % 2, ["a", "b"]

    monkeypatch.setitem(NAMED_SETS, "copies", read)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("TestID,TrainID,Judgment\n" + "".join(f"{n},{n + 5},0\n" for n in range(6)))
    card = measured(tmp_path, "copies", Request(probe_epochs=1, duplicates=pairs))
    found = [each for each in card.measures if each.measure == "duplicates_ap"]
    assert {each.encoder for each in found} == {"trained", "random", "pixels_pca"}
    assert all(each.value == pytest.approx(1) for each in found)
    assert "6 listed pairs" in card.protocol
    assert all(MEASURES[each.measure] in to_markdown("toy", card) for each in card.measures)


# ------------------------------------------------------------------------- the paper's protocol


def test_the_papers_numbers_hold_for_any_number_of_images():
    for images in (500, 50_000):
        settings = paper_settings(images)
        assert settings == ProbeSettings(150, 64, 1e-4, counted_share=2 / 3)
        assert (settings.drops, settings.counted) == ((50, 100), 100)
    assert paper_settings(500, epochs=9, batch_size=32).counted == 6


def test_the_mean_of_the_last_hundred_of_150_epochs_is_reported(monkeypatch):
    from tests.training.test_evaluation_probes import clusters

    scores = iter(range(100))
    monkeypatch.setattr("training.evaluation.probes.top1", lambda *_: next(scores) / 100)
    found = probe_accuracy("linear", clusters(train=64), paper_settings(64))
    assert found == pytest.approx(0.495)
    assert next(scores, None) is None


# -------------------------------------------------------------------------- what does not fit


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--duplicates", "pairs.csv"], "named set"),
        (["--groups", "none.csv"], "Check --groups"),
    ],
)
def test_a_request_that_does_not_fit_the_images_is_told(
    tmp_path, pictures, capsys, words, sentence
):
    given = ["--checkpoint", str(tmp_path / "checkpoint"), "--data", str(pictures)]
    assert command(*given, *words) == 2
    assert sentence in capsys.readouterr().err
    assert read_card(tmp_path / "checkpoint").evaluation is None


def test_groups_without_two_images_are_told_before_anything_is_encoded(tmp_path, pictures):
    names = [path.relative_to(pictures) for path in sorted(pictures.rglob("*.png"))]
    (tmp_path / "alone.csv").write_text("path,group\n" + "".join(f"{n},{n}\n" for n in names))
    told = []
    with pytest.raises(DataError, match="no two images share one"):
        measured(
            tmp_path,
            pictures,
            Request(groups=tmp_path / "alone.csv"),
            lambda what, *_: told.append(what),
        )
    assert WHOLE not in told


def test_too_few_images_for_a_critic_are_told_before_anything_is_trained(tmp_path):
    trained().save(tmp_path / "checkpoint")
    two_classes(tmp_path / "pictures", 1, "train")
    two_classes(tmp_path / "pictures", 1, "test")
    with pytest.raises(DataError, match="--what quick"):
        measured(tmp_path, tmp_path / "pictures", Request("paper"))


@pytest.mark.parametrize("words", [["--what", "most"], ["--seeds", "0"], ["--steps", "0"]])
def test_words_that_mean_nothing_are_refused(words):
    with pytest.raises(SystemExit):
        command("--checkpoint", "x", "--data", "y", *words)


# --------------------------------------------------------------------------- card and report


def test_cards_from_before_seeds_and_measures_are_still_read(repository):
    text = (repository / "checkpoints" / "dim-cifar10" / "card.json").read_text()
    card = Card.model_validate_json(text)
    assert Card.model_validate_json(card.model_dump_json()) == card
    old = EvaluationCard.model_validate(
        {
            "protocol": "old",
            "data": {"name": "noise", "fingerprint": "cd", "train": 8, "test": 2},
            "rows": [
                {"encoder": "trained", "representation": "y", "probe": "knn", "accuracy": 0.5}
            ],
            "seconds": 2.0,
        }
    )
    assert (old.rows[0].seeds, old.rows[0].spread, old.measures) == (1, None, [])


def row(encoder: str, accuracy: float, spread: float | None = None) -> EvaluationRow:
    return EvaluationRow(
        encoder=encoder,
        representation="pixels" if encoder == "pixels_pca" else "y",
        probe="svm",
        accuracy=accuracy,
        seeds=1 if spread is None else 5,
        spread=spread,
    )


def table(spread: float) -> EvaluationCard:
    def measure(encoder: str, value: float, note: str = "") -> EvaluationMeasure:
        return EvaluationMeasure(
            encoder=encoder,
            representation="pixels" if note else "y",
            measure="mine",
            value=value,
            unit="nats",
            note=note,
        )

    return EvaluationCard.model_validate(
        {
            "protocol": "by hand",
            "data": {"name": "toy", "fingerprint": "ab", "train": 8, "test": 2},
            "rows": [row("trained", 0.75, spread), row("random", 0.5), row("pixels_pca", 0.73)],
            "measures": [
                measure("trained", 4.25),
                measure("random", -0.125),
                measure("pixels_pca", 3.5, "4 components"),
            ],
            "seconds": 12.0,
        }
    )


def test_the_report_shows_spreads_and_measures():
    text = to_markdown("toy", table(0.0125))
    assert "| y | linear SVM | **75.00 ± 1.25** | 50.00 | +25.00 | 73.00 | +2.00 |" in text
    assert "| I(X; Y), MINE, nats | y | **4.25** | -0.12 | 3.50 (4 components) |" in text


def test_a_margin_within_the_spread_over_seeds_is_no_success():
    assert "paid off: every cell" in verdict(table(0.0125))
    assert "has not paid off" in verdict(table(0.025))


# --------------------------------------------------------------------------------- real images


def unpacked_signs(source: Path, target: Path, count: int) -> None:
    """The first traffic signs as files, in the layout of their list: class/track_frame."""
    with (source / "train.csv").open(newline="") as lines:
        names = [line["name"] for line in csv.DictReader(lines)]
    strips = sorted(source.glob("train_*.webp"))
    with Image.open(strips[0]) as strip:
        images = np.asarray(strip.convert("RGB")).reshape(-1, 32, 32, 3)
    for name, image in zip(names[:count], images, strict=False):
        file = target / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)


def test_frames_of_one_sign_find_each_other(tmp_path, repository, shared_data):
    unpacked_signs(shared_data / "gtsrb32-mini", tmp_path / "signs", 400)
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    for file in (repository / "checkpoints" / "dim-cifar10").iterdir():
        (checkpoint / file.name).write_bytes(file.read_bytes())
    card = measured(
        tmp_path,
        tmp_path / "signs",
        Request(
            probe_epochs=1,
            groups=shared_data / "gtsrb32-mini" / "train.csv",
            group_by=("class", "track"),
        ),
    )
    found = {
        (each.encoder, each.representation): each.value
        for each in card.measures
        if each.measure == "group_recall_at_1"
    }
    assert found["trained", "fc"] > 0.8
    assert "same class, track in train.csv" in card.protocol


def test_drawings_of_one_character_are_found_by_columns_of_a_list(tmp_path, shared_data):
    archive = shared_data / "omniglot" / "images_background_small1.zip"
    with zipfile.ZipFile(archive) as zipped:
        drawings = [name for name in zipped.namelist() if name.endswith(".png")]
        zipped.extractall(tmp_path, [*drawings[:160], *drawings[-160:]])  # of two alphabets
    trained().save(tmp_path / "checkpoint")
    folder = tmp_path / "images_background_small1"
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
    with (tmp_path / "list.csv").open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(["path", "character", "drawer"])
        table.writerows([path, path.stem.split("_")[0], path.stem.split("_")[1]] for path in files)
    values = {}
    for columns in (("character",), ("drawer",)):
        card = measured(
            tmp_path,
            folder,
            Request(probe_epochs=1, groups=tmp_path / "list.csv", group_by=columns),
        )
        values[columns[0]] = [each.value for each in card.measures if each.encoder == "pixels_pca"]
    chance = 19 / (len(files) - 1)
    assert values["character"][0] > 4 * chance
    assert values["character"] != values["drawer"]
