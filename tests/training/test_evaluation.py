import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from models.card import Component, EvaluationCard
from models.checkpoint import load_checkpoint, read_card
from models.inference import encode, prepare
from tests.models.toy_checkpoint import Trained, trained
from tests.training.picture_folder import draw, two_classes
from training.evaluation.baselines import principal_components, random_encoder
from training.evaluation.command import add_arguments, run
from training.evaluation.evaluate import evaluate
from training.evaluation.features import encode_all
from training.evaluation.images import pair
from training.evaluation.plan import Request
from training.evaluation.report import margins, to_markdown, verdict
from training.images import DataError, ImageSet

CPU = torch.device("cpu")


@pytest.fixture
def made(tmp_path: Path) -> Trained:
    made = trained()
    made.save(tmp_path / "checkpoint")
    return made


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    two_classes(tmp_path / "pictures", 12, "train")
    return two_classes(tmp_path / "pictures", 7, "test")


def command(tmp_path: Path, data: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    given = ["--checkpoint", str(tmp_path / "checkpoint"), "--data", str(data), "--device", "cpu"]
    return run(parser.parse_args([*given, "--probe-epochs", "3", *words]))


# ------------------------------------------------------------------------------------ together


def test_every_cell_is_measured_for_the_encoder_and_its_baselines(tmp_path, made, pictures):
    card = evaluate(
        tmp_path / "checkpoint",
        str(pictures),
        request=Request(probe_epochs=3),
        tell=lambda sentence: None,
    )
    probes = {"mlp200", "linear", "knn"}
    cells = {(row.encoder, row.representation, row.probe, row.note) for row in card.rows}
    assert cells == {
        (encoder, representation, probe, "")
        for encoder in ("trained", "random")
        for representation in ("conv", "fc", "y")
        for probe in probes
    } | {
        ("pixels_pca", "pixels", probe, f"{count} components")
        for count in (4, 24)  # as many as y has; 100, but there are only 24 training images
        for probe in probes
    }
    assert len(card.rows) == len(cells)
    assert (card.data.train, card.data.test) == (24, 14)
    for words in (
        "all 14 test images",
        "3 epochs",
        "eval()",
        "last 1 epochs",
        "labels are used by the probes",
    ):
        assert words in card.protocol


def test_the_command_puts_the_table_into_the_card_and_into_markdown(
    tmp_path, made, pictures, capsys
):
    before = read_card(tmp_path / "checkpoint")
    assert command(tmp_path, pictures, "--out", str(tmp_path / "table.md")) == 0
    after = load_checkpoint(tmp_path / "checkpoint").card
    assert after.model_copy(update={"evaluation": None}) == before
    assert after.identity == before.identity
    table = (tmp_path / "table.md").read_text()
    assert table == to_markdown("toy", after.evaluation)
    assert table in capsys.readouterr().out


def test_a_folder_without_a_test_split_holds_images_out_and_says_so(tmp_path, made):
    two_classes(tmp_path / "pictures", 20)
    card = evaluate(
        tmp_path / "checkpoint",
        str(tmp_path / "pictures"),
        request=Request(probe_epochs=1),
        tell=lambda sentence: None,
    )
    assert card.data.train + card.data.test == 40
    assert "20% of the folder's images, chosen by a hash of each path" in card.protocol


def test_images_without_classes_are_an_error_that_names_the_layout(tmp_path, made, capsys):
    for number in range(9):
        draw(tmp_path / "flat" / f"{number}.png")
    assert command(tmp_path, tmp_path / "flat") == 2
    assert "FOLDER/train/cat" in capsys.readouterr().err
    assert read_card(tmp_path / "checkpoint").evaluation is None


def test_a_missing_checkpoint_is_told_before_any_image_is_read(tmp_path, capsys):
    assert command(tmp_path, tmp_path / "nothing") == 2
    captured = capsys.readouterr()
    assert "checkpoint" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("words", [["--probe-epochs", "0"], ["--probe-batch", "1"]])
def test_numbers_that_train_nothing_are_refused(tmp_path, words, capsys):
    with pytest.raises(SystemExit):
        command(tmp_path, tmp_path, *words)
    assert "must be at least" in capsys.readouterr().err


# -------------------------------------------------------------------------------------- images


def labelled(names: list[str], labels: list[int]) -> ImageSet:
    return ImageSet(
        pixels=torch.zeros(len(labels), 2, 2, 1, dtype=torch.uint8),
        labels=torch.tensor(labels),
        paths=None,
        name="toy",
        fingerprint="ab",
        skipped=0,
        class_names=names,
    )


def test_test_classes_get_the_numbers_of_the_training_classes():
    images = pair(labelled(["a", "b", "c"], [0, 1, 2]), labelled(["b", "c"], [0, 1, 1]))
    assert images.test_labels.tolist() == [1, 2, 2]
    assert images.class_names == ["a", "b", "c"]


def test_a_class_that_training_lacks_is_named():
    with pytest.raises(DataError, match="zebra"):
        pair(labelled(["a", "b"], [0, 1]), labelled(["a", "zebra"], [0, 1]))


# ------------------------------------------------------------------------------------ features


def test_features_are_those_of_each_image_alone(made: Trained):
    pixels = torch.randint(0, 256, (300, 28, 28, 1), dtype=torch.uint8)
    made.encoder.train()
    encoder = prepare(made.encoder)
    steps = []
    features = encode_all(
        encoder, pixels, made.card.preprocessing, CPU, lambda *step: steps.append(step)
    )
    for place in (0, 255, 256, 299):
        alone = encode(encoder, pixels[place : place + 1], made.card.preprocessing)
        for name, vectors in features.items():
            assert torch.allclose(vectors[place], getattr(alone, name)[0], rtol=1e-4, atol=1e-5)
    assert steps == [("encoding", 256, 300), ("encoding", 300, 300)]


def test_features_that_do_not_fit_are_refused(made: Trained, monkeypatch):
    monkeypatch.setattr("training.evaluation.features.available_bytes", lambda: 1000)
    pixels = torch.zeros(10, 28, 28, 1, dtype=torch.uint8)
    with pytest.raises(DataError, match="more memory"):
        encode_all(prepare(made.encoder), pixels, made.card.preprocessing, CPU)


# ----------------------------------------------------------------------------------- baselines


def test_the_random_baseline_has_the_architecture_and_other_weights(made: Trained):
    component = made.card.encoder
    state = torch.get_rng_state()
    baseline = random_encoder(component)
    assert torch.equal(state, torch.get_rng_state())
    assert baseline.arguments == made.encoder.arguments
    assert not baseline.training
    weights, others = baseline.state_dict(), made.encoder.state_dict()
    assert weights.keys() == others.keys()
    assert not torch.equal(next(baseline.parameters()), next(made.encoder.parameters()))
    again = random_encoder(Component(name=component.name, arguments=component.arguments))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in weights.items())


def test_components_are_those_of_the_exact_decomposition():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(260, 6, generator=generator) * torch.tensor([9.0, 7, 5, 4, 3, 2])
    mixed = hidden @ torch.randn(6, 75, generator=generator) + torch.randn(260, 75) + 120
    pixels = mixed.clamp(0, 255).to(torch.uint8).reshape(260, 5, 5, 3)
    train, test = principal_components(pixels[:200], pixels[200:], 6, CPU)
    flat = pixels.reshape(260, 75).double().numpy() / 255
    centred = flat - flat[:200].mean(0)
    axes = np.linalg.svd(centred[:200], full_matrices=False)[2][:6].T
    for ours, rows in ((train, centred[:200]), (test, centred[200:])):
        assert np.allclose(np.abs(ours.numpy()), np.abs(rows @ axes), atol=2e-3)


def test_there_are_no_more_components_than_images_or_pixels():
    pixels = torch.randint(0, 256, (9, 8, 8, 1), dtype=torch.uint8)
    train, test = principal_components(pixels[:5], pixels[5:], 100, CPU)
    assert (train.shape, test.shape) == ((5, 5), (4, 5))


# -------------------------------------------------------------------------------------- report


def table(trained_accuracy: float, other_accuracy: float = 0.9) -> EvaluationCard:
    def row(encoder, representation, accuracy, note=""):
        return {
            "encoder": encoder,
            "representation": representation,
            "probe": "knn",
            "accuracy": accuracy,
            "note": note,
        }

    return EvaluationCard.model_validate(
        {
            "protocol": "by hand",
            "data": {"name": "toy", "fingerprint": "ab", "train": 8, "test": 2},
            "rows": [
                row("trained", "y", trained_accuracy),
                row("random", "y", 0.25),
                row("trained", "fc", other_accuracy),
                row("random", "fc", 0.5),
                row("pixels_pca", "pixels", 0.375, "100 components"),
                row("pixels_pca", "pixels", 0.3125, "4 components"),
            ],
            "seconds": 12.0,
        }
    )


def test_margins_are_over_the_same_cell_and_over_the_better_pca():
    found = [(row.representation, random, pca) for row, random, pca in margins(table(0.75))]
    assert found == [("y", 0.25, 0.375), ("fc", 0.5, 0.375)]


def test_the_table_shows_each_cell_with_its_margins():
    text = to_markdown("toy", table(0.75))
    assert "| y | kNN | **75.00** | 25.00 | +50.00 | 37.50 | +37.50 |" in text
    assert "4 components, kNN 31.25" in text
    assert "by hand" in text


@pytest.mark.parametrize(
    ("ours", "other", "words"),
    [
        (0.75, 0.9, "Training paid off: every cell is above both baselines, by at least +40.00"),
        (0.3, 0.9, "paid off in part: not above both baselines in y (kNN)"),
        (0.3, 0.4, "has not paid off"),
    ],
)
def test_the_verdict_follows_the_margins(ours: float, other: float, words: str):
    assert words in verdict(table(ours, other))
