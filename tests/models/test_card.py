import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from models.card import WEIGHTS_FILE, Card, Component, EvaluationRow, Preprocessing


def small_card(**changes: object) -> Card:
    facts: dict[str, object] = {
        "name": "toy",
        "created": "2026-01-02T03:04:05+00:00",
        "encoder": {"name": "basic32x32", "arguments": {"units": 64, "rate": 0.5, "on": True}},
        "critics": {
            "local": {
                "name": "local_dot",
                "arguments": {"sizes": [1, 2]},
                "objective": "jsd",
                "calibration": {
                    "ece": 0.01,
                    "ece_places": 0.02,
                    "auc": 0.9,
                    "pairs": 100,
                    "description": "held out",
                },
            }
        },
        "preprocessing": {"size": 32},
        "objective": {
            "name": "infonce",
            "negatives": "all",
            "alpha": 0.0,
            "beta": 1.0,
            "gamma": 0.1,
            "prior": "uniform",
        },
        "data": {"name": "toy", "fingerprint": "ab" * 32, "images": 10, "skipped": 1},
        "training": {
            "steps": 3,
            "images_seen": 30,
            "epochs": 3.0,
            "seconds": 1.5,
            "device": "cpu",
            "precision": "fp32",
            "versions": {"torch": "2.14.1"},
            "git_commit": None,
            "seed": 7,
            "recipe": {"steps": 3, "nested": {"a": [1, "b"]}},
        },
    }
    return Card.model_validate({**facts, **changes})


def test_a_card_survives_json_unchanged():
    card = small_card()
    assert Card.model_validate_json(card.model_dump_json()) == card
    assert Card.model_validate_json(card.model_dump_json(indent=2)) == card


def test_arguments_keep_their_types_through_json():
    arguments = {"whole": 1, "real": 1.0, "yes": True, "none": None, "text": "1", "list": [1, 2.0]}
    back = Component.model_validate_json(Component(name="x", arguments=arguments).model_dump_json())
    assert {k: type(v) for k, v in back.arguments.items()} == {
        k: type(v) for k, v in arguments.items()
    }
    assert [type(v) for v in back.arguments["list"]] == [int, float]


def test_a_card_cannot_be_changed_after_it_is_made():
    with pytest.raises(ValidationError, match="frozen"):
        small_card().name = "other"


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"schema_version": 2},
        {"created": "yesterday"},
        {"critics": {"prior": {"name": "p", "arguments": {}}}},
        {"critics": {"local": {"name": "local_dot", "arguments": {}, "objective": "infonce"}}},
        {"encoder": {"name": 5, "arguments": {}}},
        {"encoder": {"name": "a", "arguments": {"x": {"nested": 1}}}},
        {"weights_dtype": "bfloat16"},
        {"files": {WEIGHTS_FILE: "123"}},
        {"files": {WEIGHTS_FILE: "AB" * 32}},
        {"data": {"name": "x", "fingerprint": "y", "images": -1}},
        {"data": {"name": "x", "fingerprint": "y", "images": "1"}},
    ],
    ids=lambda change: repr(change)[:60],
)
def test_a_card_refuses_what_it_does_not_know(change: dict[str, object]):
    with pytest.raises(ValidationError):
        small_card(**change)


@pytest.mark.parametrize("accuracy", [-0.1, 1.1, float("nan"), float("inf")])
def test_an_accuracy_is_a_fraction(accuracy: float):
    with pytest.raises(ValidationError):
        EvaluationRow(encoder="trained", representation="y", probe="knn", accuracy=accuracy)


def test_preprocessing_defaults_put_the_input_between_minus_one_and_one():
    assert Preprocessing(size=32).mean == (0.5, 0.5, 0.5) == Preprocessing(size=32).std
    assert Preprocessing(size=28, colour="grey").mean == (0.5,)
    assert Preprocessing(size=28, colour="grey").channels == 1
    assert Preprocessing(size=32).channels == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mean": (0.5,)}, "one number a channel"),
        ({"colour": "grey", "std": (1.0, 1.0, 1.0)}, "one number a channel"),
        ({"std": (0.0, 1.0, 1.0)}, "above 0"),
        ({"mean": (float("nan"), 0.0, 0.0)}, "finite"),
        ({"size": 0}, "greater than"),
        ({"size": 10**9}, "less than"),
        ({"resize": "stretch"}, "squash"),
    ],
)
def test_preprocessing_refuses_numbers_that_cannot_be_meant(change: dict[str, object], sentence):
    with pytest.raises(ValidationError, match=sentence):
        Preprocessing.model_validate({"size": 32, **change})


def test_the_identity_follows_weights_encoder_and_preprocessing_only():
    saved = small_card(files={WEIGHTS_FILE: "ab" * 32})
    assert len(saved.identity) == 12
    assert saved.model_copy(update={"name": "other", "evaluation": None}).identity == saved.identity
    others = [
        small_card(files={WEIGHTS_FILE: "ac" * 32}),
        saved.model_copy(update={"preprocessing": Preprocessing(size=32, resize="squash")}),
        saved.model_copy(update={"encoder": Component(name="basic32x32")}),
    ]
    assert len({saved.identity, *(other.identity for other in others)}) == 4


def test_a_card_that_was_never_saved_has_no_identity():
    with pytest.raises(ValueError, match="save its checkpoint first"):
        _ = small_card().identity


def test_cards_and_pixels_import_neither_torch_nor_a_web_framework(repository: Path):
    program = (
        "import sys, models.card, models.pixels;"
        "print([m for m in ('torch', 'fastapi', 'starlette') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
