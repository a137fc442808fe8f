"""Near-duplicates and retrieval in a whole evaluation, on copies and on real images."""

import csv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.card import EvaluationCard
from tests.models.toy_checkpoint import trained
from tests.training.picture_folder import two_classes
from training.datasets import NAMED_SETS
from training.evaluation.evaluate import evaluate
from training.evaluation.pace import WHOLE
from training.evaluation.plan import Request
from training.evaluation.report import MEASURES, to_markdown
from training.images import DataError


def measured(tmp_path: Path, data: Path, request: Request, progress=None) -> EvaluationCard:
    return evaluate(
        tmp_path / "checkpoint",
        str(data),
        request=request,
        progress=progress,
        tell=lambda sentence: None,
    )


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


def test_groups_without_two_images_are_told_before_anything_is_encoded(tmp_path):
    trained().save(tmp_path / "checkpoint")
    two_classes(tmp_path / "pictures", 4, "train")
    pictures = two_classes(tmp_path / "pictures", 3, "test")
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
