"""An exported ONNX file gives what the checkpoint gives, for every encoder and any batch."""

import contextlib
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from models.checkpoint import Checkpoint, load_checkpoint
from models.encoders import ENCODERS
from tests.training.untrained_checkpoint import untrained
from training.__main__ import main
from training.interchange import onnx_file
from training.interchange.errors import ExportRefused


def check_equal(file: Path, checkpoint: Checkpoint) -> None:
    """Compare with torch on images normalised by hand, for one image and for three."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    encoder, preprocessing = checkpoint.encoder, checkpoint.card.preprocessing
    side, channels = encoder.image_size, encoder.image_channels
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    for images in (1, 3):
        draw = np.random.default_rng(images)
        pixels = draw.integers(0, 256, (images, side, side, channels), np.uint8)
        normalised = ((pixels / 255 - mean) / std).astype(np.float32).transpose(0, 3, 1, 2)
        with torch.no_grad():
            expected = encoder(torch.from_numpy(np.ascontiguousarray(normalised)))
        outputs = session.run(["y", "map", "fc", "conv"], {"pixels": pixels})
        for ours, torchs in zip(outputs, expected, strict=True):
            largest = max(1.0, float(torchs.abs().max()))
            np.testing.assert_allclose(ours, torchs.numpy(), rtol=0, atol=1e-4 * largest)


NAMES = [
    pytest.param(name, marks=pytest.mark.slow if name == "resnet50" else ())
    for name in ENCODERS
    if name != "basic28x28"  # below
]


@pytest.mark.parametrize("name", NAMES)
def test_onnxruntime_gives_what_torch_gives(name: str, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(untrained(tmp_path / "checkpoint", name))
    assert onnx_file.export_onnx(checkpoint, tmp_path / "encoder.onnx") <= 1e-4
    check_equal(tmp_path / "encoder.onnx", checkpoint)


@dataclass(frozen=True)
class Exported:
    """A checkpoint of grey images, the file that the command wrote, and what it printed."""

    checkpoint: Checkpoint
    file: Path
    printed: str

    def save(self, destination: Path, *, external_data: bool) -> None:
        """Write the file again, as a program of torch.onnx does."""
        assert not external_data
        destination.write_bytes(self.file.read_bytes())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder, printed = tmp_path_factory.mktemp("onnx"), io.StringIO()
    checkpoint = untrained(folder / "checkpoint", "basic28x28", image_channels=1)
    with contextlib.redirect_stdout(printed):
        words = ["--checkpoint", str(checkpoint), "--onnx", str(folder / "a.onnx")]
        assert main(["export", *words]) == 0
    return Exported(load_checkpoint(checkpoint), folder / "a.onnx", printed.getvalue())


@pytest.fixture
def other(tmp_path: Path) -> Checkpoint:
    """A checkpoint of the same architecture with other weights."""
    torch.manual_seed(99)
    return load_checkpoint(untrained(tmp_path / "other", "basic28x28", image_channels=1))


def test_the_same_holds_for_grey_images_and_basic28x28(exported: Exported) -> None:
    check_equal(exported.file, exported.checkpoint)


def test_the_largest_error_is_told(exported: Exported) -> None:
    told = re.search(r"Largest error against torch (\S+) ", exported.printed)
    assert told
    assert 0 <= float(told[1]) <= 1e-4


def test_the_file_says_what_it_is_and_nothing_of_the_machine(exported: Exported) -> None:
    model = onnx.load(exported.file)
    onnx.checker.check_model(model, full_check=True)
    about = {prop.key: prop.value for prop in model.metadata_props}
    assert about["infomax.model"] == exported.checkpoint.card.identity
    assert json.loads(about["infomax.preprocessing"])["colour"] == "grey"
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "pixels": ["images", 28, 28, 1],
        "y": ["images", 8],
        "map": ["images", 128, 7, 7],
        "fc": ["images", 16],
        "conv": ["images", 128 * 49],
    }
    content = exported.file.read_bytes()
    for trace in (b"stack_trace", b".py", str(Path(__file__).parents[2]).encode()):
        assert trace not in content


def test_a_file_of_other_weights_is_refused_and_the_old_file_stays(
    exported: Exported, other: Checkpoint, tmp_path: Path
) -> None:
    file = tmp_path / "b.onnx"
    assert onnx_file.save_if_equal(exported, exported.checkpoint, file) <= 1e-4
    file.write_bytes(b"the file before")
    with pytest.raises(ExportRefused, match=r"differ from torch's by .* was not written"):
        onnx_file.save_if_equal(exported, other, file)
    assert file.read_bytes() == b"the file before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.onnx", "other"]


def test_missing_packages_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "PACKAGES", ("onnx", "a_package_nobody_has"))
    with pytest.raises(ExportRefused, match=r"needs a_package_nobody_has: .*infomax\[onnx\]"):
        onnx_file.require_packages()
