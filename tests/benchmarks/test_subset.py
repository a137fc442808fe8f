"""A smaller set is the same for everybody and keeps the classes."""

from pathlib import Path

from benchmarks.subset import subset
from models.card import Preprocessing
from tests.training.picture_folder import two_classes
from training.evaluation.images import load_labelled


def test_so_many_images_are_kept_with_their_classes(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    two_classes(pictures, 20, "train")
    two_classes(pictures, 15, "test")
    drawn = subset(str(pictures), tmp_path, 12, tmp_path / "runs")
    images = load_labelled(drawn, Preprocessing(size=32))
    assert (len(images.train), len(images.test)) == (12, 12)
    assert images.class_names == ["dark", "light"]
    for pixels, labels in (
        (images.train, images.train_labels),
        (images.test, images.test_labels),
    ):
        bright = pixels.float().mean(dim=(1, 2, 3)) > 125
        assert bright.long().tolist() == labels.tolist()
    assert subset(str(pictures), tmp_path, 12, tmp_path / "runs") == drawn


def test_a_set_that_is_no_larger_is_used_as_it_is(tmp_path: Path) -> None:
    two_classes(tmp_path, 20, "train")
    two_classes(tmp_path, 5, "test")
    assert subset(str(tmp_path), tmp_path, 40, tmp_path / "runs") == str(tmp_path)
