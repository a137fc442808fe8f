"""Checkpoints of amdim-public give what they gave, with their own hyper-parameters."""

from pathlib import Path

import pytest
import torch

from models.checkpoint import load_checkpoint
from models.inference import encode
from tests.training.source_amdim import AmdimEncoder, AmdimModel
from tests.training.source_models import save_foreign, shaken
from training.__main__ import main
from training.interchange import amdim
from training.interchange.errors import BadArguments, WrongLayout, WrongTensors

N, R, DEPTH = 4, 20, 2
ARGUMENTS = {"channels": N, "rkhs": R, "depth": DEPTH, "use_bn": False}
NORMALISED = {  # by the data set that an encoder of this size was for
    32: ((125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255)),
    64: ((0.43, 0.42, 0.39), (0.27, 0.26, 0.27)),
    128: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def saved(
    file: Path, size: int = 32, use_bn: bool = False, r: int = R
) -> tuple[AmdimEncoder, dict[str, object]]:
    """An encoder, and what is saved of it."""
    encoder = AmdimEncoder(size, N, r, DEPTH, use_bn)
    content: dict[str, object] = {
        "model": shaken(AmdimModel(encoder)).state_dict(),
        "hyperparams": {
            "ndf": N,
            "n_classes": 10,
            "n_rkhs": r,
            "tclip": 15.0,
            "n_depth": DEPTH,
            "encoder_size": size,
            "use_bn": use_bn,
        },
        "cursor": {"info_epoch": 3, "info_step": 100},
    }
    save_foreign(content, file)
    return encoder, content


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("use_bn", [False, True])
def test_an_encoder_gives_what_it_gave(size: int, use_bn: bool, tmp_path: Path) -> None:
    r = 8 if size == 32 else R  # fewer than 4 n channels: the last shortcut is a convolution
    source, _ = saved(tmp_path / "amdim_cpt.pth", size, use_bn, r)
    words = ["--from", str(tmp_path / "amdim_cpt.pth"), "--out", str(tmp_path / "out")]
    assert main(["import", "--layout", "amdim", *words]) == 0
    checkpoint = load_checkpoint(tmp_path / "out")
    pixels = torch.randint(0, 256, (3, size, size, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in NORMALISED[size])
    with torch.no_grad():
        y, last, seven = source((pixels.permute(0, 3, 1, 2) / 255 - mean) / std)
    features = encode(checkpoint.encoder, pixels, checkpoint.card.preprocessing)
    torch.testing.assert_close(features.y, y.flatten(1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(features.map, seven, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(features.conv, last.flatten(1), rtol=1e-5, atol=1e-5)


def test_the_card_keeps_every_hyper_parameter_that_the_file_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path / "amdim_cpt.pth", use_bn=True)
    words = ["--from", str(tmp_path / "amdim_cpt.pth"), "--out", str(tmp_path / "out")]
    assert main(["import", "--layout", "amdim", *words]) == 0
    printed = capsys.readouterr().out
    assert "Left out: evaluator" in printed
    assert "Left out: rkhs_block_5" in printed
    card = load_checkpoint(tmp_path / "out").card
    assert card.critics == {}
    assert card.objective.method == "amdim"
    assert card.objective.arguments["clip"] == 15.0
    assert card.objective.arguments["use_bn"] is True
    assert ARGUMENTS.items() - {("use_bn", False)} <= card.encoder.arguments.items()
    assert card.encoder.arguments["use_bn"] is True


def test_a_file_without_hyper_parameters_is_read_as_the_user_says(tmp_path: Path) -> None:
    _, content = saved(tmp_path / "new.pth")
    file = save_foreign({"model": content["model"], "info_epochs": 3}, tmp_path / "old.pth")
    with pytest.raises(BadArguments, match=r"give --encoder .*channels= depth= rkhs= use_bn="):
        amdim.read(file, None, None, {})
    with pytest.raises(BadArguments, match="give --encoder"):
        amdim.read(file, "amdim32", None, {"channels": N})
    assert amdim.read(file, "amdim32", None, ARGUMENTS).encoder.summary_dim == R
    with pytest.raises(WrongTensors, match=r"has no layer_list\.1\.layer_list\.0"):
        amdim.read(file, "amdim64", None, ARGUMENTS)


def test_what_the_file_tells_is_not_told_twice(tmp_path: Path) -> None:
    saved(tmp_path / "x.pth")
    with pytest.raises(BadArguments, match="holds its own hyperparams"):
        amdim.read(tmp_path / "x.pth", None, None, {"rkhs": R})
    with pytest.raises(BadArguments, match="trained by infonce"):
        amdim.read(tmp_path / "x.pth", None, "jsd", {})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hyperparams": {"ndf": N}}, "should be encoder_size, n_depth"),
        ({"hyperparams": {"encoder_size": 48}}, "should be|not 32, 64 or 128"),
        ({"model": torch.zeros(1)}, "not a dict"),
    ],
)
def test_what_is_not_of_the_layout_is_refused(
    change: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    _, content = saved(tmp_path / "x.pth")
    file = save_foreign(content | change, tmp_path / "changed.pth")
    with pytest.raises(WrongLayout, match=sentence):
        amdim.read(file, None, None, {})
    with pytest.raises(WrongLayout, match="no checkpoint of amdim-public"):
        amdim.read(save_foreign({"a": torch.zeros(1)}, tmp_path / "b.pth"), None, None, {})


@pytest.mark.parametrize(
    ("name", "tensor", "sentence"),
    [
        ("encoder.module.layer_list.9.conv.weight", torch.zeros(1), r"has layer_list\.9\.conv"),
        ("encoder.module.layer_list.2.layer_list.1.conv2.weight", None, r"has no layer_list\.2"),
        ("encoder.module.layer_list.0.conv.weight", torch.zeros(N, 3, 5, 5), r"\(4, 3, 3, 3\)"),
        ("something.else", torch.zeros(1), r"something\.else|has no layer_list"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    name: str, tensor: torch.Tensor | None, sentence: str, tmp_path: Path
) -> None:
    _, content = saved(tmp_path / "x.pth")
    state = content["model"]
    assert isinstance(state, dict)
    changed = {key: value for key, value in state.items() if key != name}
    changed |= {} if tensor is None else {name: tensor}
    file = save_foreign(content | {"model": changed}, tmp_path / "changed.pth")
    with pytest.raises(WrongTensors, match=sentence):
        amdim.read(file, None, None, {})
