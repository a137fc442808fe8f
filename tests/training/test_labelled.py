"""Learning from labels: which labels, the same steps after a stop, and what is written."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.card import Card, Component, Preprocessing
from models.checkpoint import load_checkpoint, read_card
from models.classifier import ClassifiedSummary
from models.encoders import build_encoder
from models.inference import encode
from tests.training.picture_folder import two_classes
from training.__main__ import main
from training.building import build_encoder_on_meta
from training.config import ConfigError, TrainConfig, make_config
from training.data import load_images
from training.finetune import finetune_config
from training.images import DataError
from training.labelled import (
    FEWEST_STEPS,
    accuracy,
    choose_labels,
    fit_labels,
    require_used,
    with_epochs,
)
from training.runs import LOG_FILE, RESUME_FILE

CPU = torch.device("cpu")
PREPROCESSING = Preprocessing(size=28, colour="grey")
SMALL = TrainConfig(encoder="basic28x28", colour="grey", batch_size=8, epochs=5, views="flip_crop")
SERVED = ["served_local_units=8", "served_global_units=8", "calibrate_epochs=1"]


def network(classes: int = 2) -> ClassifiedSummary:
    """Build a small network, the same every time."""
    torch.manual_seed(4)
    encoder = build_encoder("basic28x28", summary_dim=8, image_channels=1, fc_dim=16)
    return ClassifiedSummary(encoder, classes)


def toy(images: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Dark images of class 0 and bright ones of class 1, with noise."""
    draw = torch.Generator().manual_seed(1)
    labels = torch.arange(images) % 2
    noise = torch.randint(0, 80, (images, 28, 28, 1), generator=draw)
    return (noise + 120 * labels[:, None, None, None]).to(torch.uint8), labels


def test_so_many_labels_of_each_class_are_chosen_and_the_same_again() -> None:
    labels = torch.tensor([0] * 30 + [1] * 10 + [2] * 20)
    chosen = choose_labels(labels, 7, None, seed=3)
    assert labels[chosen].bincount().tolist() == [7, 7, 7]
    assert chosen.unique().tolist() == chosen.tolist()
    assert torch.equal(chosen, choose_labels(labels, 7, None, seed=3))
    assert not torch.equal(chosen, choose_labels(labels, 7, None, seed=4))


@pytest.mark.parametrize(("fraction", "each"), [(0.1, [3, 1, 2]), (0.001, [1, 1, 1]), (1.0, None)])
def test_a_share_of_each_class_is_chosen_and_never_none(
    fraction: float, each: list[int] | None
) -> None:
    labels = torch.tensor([0] * 30 + [1] * 10 + [2] * 20)
    chosen = choose_labels(labels, None, fraction, seed=0)
    assert labels[chosen].bincount().tolist() == (each or [30, 10, 20])


def test_without_a_number_every_label_is_used() -> None:
    assert choose_labels(torch.tensor([1, 0, 1]), None, None, seed=0).tolist() == [0, 1, 2]


def test_more_labels_than_a_class_has_are_refused() -> None:
    with pytest.raises(DataError, match="a class has 2 training images, fewer than"):
        choose_labels(torch.tensor([0, 0, 0, 1, 1]), 3, None, seed=0)


def test_few_labels_get_many_epochs_unless_they_are_given() -> None:
    assert with_epochs(TrainConfig(), 100).epochs == FEWEST_STEPS
    assert with_epochs(TrainConfig(), 50_000).epochs == TrainConfig().epochs
    assert with_epochs(make_config({"epochs": 2}), 100).epochs == 2


@pytest.mark.parametrize("key", ["objective", "occlusion", "num_globals", "local_units"])
def test_a_setting_that_does_nothing_here_is_refused(key: str) -> None:
    given = make_config({key: getattr(TrainConfig(), key)})
    with pytest.raises(ConfigError, match=f"{key} does nothing where labels are learned"):
        require_used(given)


def test_ten_steps_are_five_and_five_more_bit_for_bit(tmp_path: Path) -> None:
    pixels, labels = toy()
    for name, stops in (("whole", [None]), ("halves", [5, None])):
        (tmp_path / name).mkdir()
        for stop in stops:
            out = tmp_path / name
            outcome = fit_labels(
                SMALL, network(), pixels, labels, PREPROCESSING, out, stop_after_steps=stop
            )
            assert outcome.steps == (stop or 10)
    one, other = (load_file(tmp_path / name / RESUME_FILE) for name in ("whole", "halves"))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())
    logged = [(tmp_path / name / LOG_FILE).read_text() for name in ("whole", "halves")]
    losses = [[json.loads(line)["loss"] for line in log.splitlines()] for log in logged]
    assert losses[0] == losses[1]


def test_accuracy_is_that_of_a_loop_over_single_images_in_eval() -> None:
    pixels, labels = toy(20)
    net = network()
    net(torch.randn(9, 1, 28, 28))  # running statistics that are not the batch's
    net.eval()
    right = 0
    for image, label in zip(pixels, labels, strict=True):
        logits = net.classifier(encode(net.encoder, image[None], PREPROCESSING).y.clone())
        right += int(logits[0].argmax()) == int(label)
    assert accuracy(net.train(), pixels, labels, PREPROCESSING) == right / 20
    assert 0 < right < 20


@pytest.fixture(scope="module")
def supervised_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Train by labels on two classes that brightness tells apart: (images, run)."""
    folder = tmp_path_factory.mktemp("labelled")
    images, out = two_classes(folder / "images", 30), folder / "run"
    words = ["supervised", "--data", str(images), "--out", str(out), "--device", "cpu"]
    words += ["encoder=basic28x28", "epochs=12", "batch_size=16", *SERVED]
    assert main(words) == 0
    return images, out


def test_supervised_beats_chance_and_leaves_a_checkpoint_with_its_classifier(
    supervised_run: tuple[Path, Path],
) -> None:
    images, out = supervised_run
    told = json.loads((out / "accuracy.json").read_text())
    assert told["test_accuracy"] > 0.8
    loaded = load_checkpoint(out / "checkpoint")  # golden outputs and all
    assert loaded.card.objective.name == "cross_entropy"
    assert set(loaded.card.critics) == {"local", "global"}
    test = load_images(str(images), preprocessing=loaded.card.preprocessing, split="test")
    weights = load_file(out / "classifier.safetensors")
    y = encode(loaded.encoder, test.pixels, loaded.card.preprocessing).y
    guessed = (y @ weights["weight"].T + weights["bias"]).argmax(1)
    assert test.labels is not None
    assert (guessed == test.labels).double().mean().item() == pytest.approx(told["test_accuracy"])


def finetune_words(images: Path, start: Path, out: Path, *more: str) -> list[str]:
    """Give the command for a few labels of each class."""
    words = ["finetune", "--checkpoint", str(start / "checkpoint"), "--data", str(images)]
    words += ["--out", str(out), "--labels-per-class", "4", "--device", "cpu"]
    return [*words, "batch_size=8", *SERVED, *more]


def test_finetune_beats_chance_and_says_what_the_labels_are_worth_without_it(
    supervised_run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, start = supervised_run
    out = tmp_path / "run"
    before = load_checkpoint(start / "checkpoint")
    words = finetune_words(images, start, out, "epochs=15")
    assert main(words) == 0
    told = json.loads((out / "accuracy.json").read_text())
    assert told["labels"] == 8
    assert told["test_accuracy"] > 0.8
    assert len(told["beside"]) == 4  # random weights, and frozen conv, fc and y
    assert "the same from random weights" in capsys.readouterr().out
    after = load_checkpoint(out / "checkpoint")
    assert after.card.encoder == before.card.encoder
    assert not torch.equal(after.encoder.to_y.weight, before.encoder.to_y.weight)
    critic = after.critics["local"].state_dict()  # fitted again, for the encoder as it is now
    assert any(
        not torch.equal(v, critic[k]) for k, v in before.critics["local"].state_dict().items()
    )
    assert main(words) == 0  # the same command again finds everything done
    assert json.loads((out / "accuracy.json").read_text())["test_accuracy"] == told["test_accuracy"]


@pytest.mark.parametrize(
    ("encoder", "sizes"),
    [
        ("amdim32", {"channels": 8, "rkhs": 16, "depth": 2, "use_bn": False, "norm": "none"}),
        ("basic32x32", {"summary_dim": 12}),
    ],
)
def test_finetune_takes_every_size_of_the_network_from_the_card(
    encoder: str, sizes: dict[str, int | str]
) -> None:
    checkpoint = a_card(encoder, sizes)
    config = finetune_config(checkpoint, ["epochs=3"])
    assert (config.encoder, config.epochs, config.views) == (encoder, 3, "flip_crop")
    built = build_encoder_on_meta(config)
    assert {key: built.arguments[key] for key in sizes} == sizes
    with pytest.raises(ConfigError, match="summary_dim is decided by the checkpoint"):
        finetune_config(checkpoint, ["summary_dim=8"])


def a_card(encoder: str, sizes: dict[str, int | str]) -> Card:
    """Take the shipped checkpoint's card, with another encoder on it."""
    shipped = read_card(Path(__file__).parents[2] / "checkpoints" / "dim-cifar10")
    return shipped.model_copy(update={"encoder": Component(name=encoder, arguments={**sizes})})


def test_sigterm_saves_and_exits_0(supervised_run: tuple[Path, Path], tmp_path: Path) -> None:
    images, start = supervised_run
    out = tmp_path / "run"

    def terminate() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if (out / LOG_FILE).exists() and (out / LOG_FILE).stat().st_size:
                os.kill(os.getpid(), signal.SIGTERM)  # the log has lines, so the loop is running
                return
            time.sleep(0.02)

    watcher = threading.Thread(target=terminate, daemon=True)
    watcher.start()
    assert main(finetune_words(images, start, out, "epochs=100000")) == 0
    watcher.join()
    steps = [json.loads(line)["step"] for line in (out / LOG_FILE).read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1))
    assert (out / RESUME_FILE).exists()
    assert not (out / "accuracy.json").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["encoder=basic28x28"], "encoder is decided by the checkpoint"),
        (["objective=jsd"], "objective does nothing where labels are learned"),
        (["--labels-per-class", "1000"], "fewer than --labels-per-class 1000"),
    ],
)
def test_what_cannot_be_done_is_said_and_starts_nothing(
    supervised_run: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    images, start = supervised_run
    assert main(finetune_words(images, start, tmp_path / "run", *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "option", ["--labels-per-class=0", "--label-fraction=0", "--label-fraction=2"]
)
def test_numbers_of_labels_that_make_no_sense_are_refused(option: str) -> None:
    with pytest.raises(SystemExit):
        main(["supervised", "--data", "x", "--out", "y", option])
