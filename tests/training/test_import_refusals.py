"""What `import` refuses, and that it says what to do."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.source_models import Convnet, DuaneEncoder, OldBasic32, save_foreign
from training.__main__ import main
from training.interchange import dim, duanenielsen
from training.interchange.errors import (
    BadArguments,
    CodeInside,
    SourceUnreadable,
    WrongLayout,
    WrongTensors,
)
from training.interchange.foreign_files import read_foreign, state_of

State = dict[str, torch.Tensor]
ARGUMENTS = {"summary_dim": 8, "fc_dim": 16}


class Runner:
    """An object whose reading would make a file: what a hostile checkpoint holds."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run_and_the_user_is_told_what_to_save(
    zipped: bool, tmp_path: Path
) -> None:
    file, mark = tmp_path / "hostile.pt", tmp_path / "mark"
    content = {"c0.weight": torch.zeros(1), "more": Runner(mark)}
    save_foreign(content, file, zipped)
    with pytest.raises(CodeInside, match=r"posix\.mkdir.*state_dict\(\)"):
        read_foreign(file)
    assert not mark.exists()
    torch.load(file, weights_only=False)  # noqa: TID251 - the file is what it is said to be
    assert mark.exists()


def test_a_whole_module_is_refused_by_name(tmp_path: Path) -> None:
    save_foreign({"nets": {"Controller.encoder": nn.Linear(2, 2)}}, tmp_path / "final.t7")
    with pytest.raises(CodeInside, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_foreign(tmp_path / "final.t7")


@pytest.mark.parametrize("content", [b"", b"no checkpoint" * 99, b"PK\x03\x04" + bytes(200)])
def test_a_damaged_file_is_called_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "cut.pt").write_bytes(content)
    with pytest.raises(SourceUnreadable, match="damaged"):
        read_foreign(tmp_path / "cut.pt")
    with pytest.raises(SourceUnreadable, match="There is no file"):
        read_foreign(tmp_path / "absent.pt")


@pytest.mark.parametrize("value", [[], {}, {"epoch": 3}, {3: torch.zeros(1)}, torch.zeros(2)])
def test_what_is_no_state_dict_is_refused(value: object) -> None:
    with pytest.raises(WrongLayout, match=r"state_dict\(\)"):
        state_of(value, "x.pt")


def without(state: State, name: str) -> State:
    return {key: tensor for key, tensor in state.items() if key != name}


CHANGES = [
    (lambda s: without(s, "layers.layer1.bn.weight"), "has no layers.layer1.bn.weight"),
    (lambda s: s | {"layers.layer9.weight": torch.zeros(1)}, "has layers.layer9.weight, which"),
    (lambda s: s | {"layers.layer5.weight": torch.zeros(4, 16)}, r"\(4, 16\).*\(8, 16\)"),
]


@pytest.mark.parametrize(("change", "sentence"), CHANGES)
def test_tensors_that_are_missing_unknown_or_of_another_shape_are_named(
    change: Callable[[State], State], sentence: str, tmp_path: Path
) -> None:
    state = Convnet("basic32x32", 3, 32, hidden=16, summary=8).state_dict()
    save_foreign(change(state), tmp_path / "x.pt")
    with pytest.raises(WrongTensors, match=f"^x.pt.*{sentence}.*Check"):
        dim.read(tmp_path / "x.pt", "basic32x32", None, ARGUMENTS)


def test_batch_norms_may_lack_the_counter_that_old_torch_did_not_have(tmp_path: Path) -> None:
    state = Convnet("basic32x32", 3, 32, hidden=16, summary=8).state_dict()
    kept = {name: tensor for name, tensor in state.items() if "num_batches" not in name}
    assert len(kept) < len(state)
    save_foreign(kept, tmp_path / "x.pt")
    assert dim.read(tmp_path / "x.pt", "basic32x32", None, ARGUMENTS).encoder.summary_dim == 8


@pytest.mark.parametrize(
    ("encoder", "arguments"),
    [
        ("basic64x64", ARGUMENTS),
        ("basic32x32", {"summary_dim": 9, "fc_dim": 16}),
        ("basic32x32", {"summary_dim": 8, "fc_dim": 16, "image_channels": 1}),
    ],
)
def test_another_architecture_than_was_trained_is_refused(
    encoder: str, arguments: dict[str, int], tmp_path: Path
) -> None:
    for number, network in enumerate(
        (Convnet("basic32x32", 3, 32, hidden=16, summary=8), OldBasic32(hidden=16, summary=8))
    ):
        save_foreign(network.state_dict(), tmp_path / f"{number}.pt")
        with pytest.raises(WrongTensors):
            dim.read(tmp_path / f"{number}.pt", encoder, None, arguments)


def test_files_of_another_layout_are_refused(tmp_path: Path) -> None:
    with torch.device("meta"):
        names = DuaneEncoder().state_dict()
    save_foreign({name: torch.zeros(1) for name in names}, tmp_path / "encoder1.wgt")
    with pytest.raises(WrongLayout, match=r"it holds c0\.weight"):
        dim.read(tmp_path / "encoder1.wgt", "basic32x32", None, ARGUMENTS)
    state = Convnet("basic32x32", 3, 32, hidden=16, summary=8).state_dict()
    save_foreign(state, tmp_path / "encoder2.wgt")
    with pytest.raises(WrongTensors, match=r"It holds layers\.layer0"):
        duanenielsen.read(tmp_path / "encoder2.wgt", None, None, {})


def test_losses_of_another_shape_are_refused_by_name(tmp_path: Path) -> None:
    encoder = duanenielsen.blank_encoder("dense32", {})
    good = {"local_d.c0.weight": torch.zeros(512, 100, 1, 1)}
    save_foreign(good, tmp_path / "loss1.wgt")
    with pytest.raises(WrongTensors, match=r"local_d\) has c0.weight.*192 inputs \(128 \+ 64\)"):
        duanenielsen.read_critics(tmp_path / "loss1.wgt", encoder)
    save_foreign({"c0.weight": torch.zeros(1)}, tmp_path / "loss2.wgt")
    with pytest.raises(WrongLayout, match="local_d, global_d and prior_d"):
        duanenielsen.read_critics(tmp_path / "loss2.wgt", encoder)


@pytest.mark.parametrize(
    ("encoder", "arguments", "sentence"),
    [
        (None, {}, "needs --encoder.*basic28x28, basic32x32"),
        ("fold32x32", {}, "needs --encoder"),
        ("basic32x32", {"summry_dim": 8}, "did you mean summary_dim"),
        ("basic32x32", {"summary_dim": 0}, "positive integer"),
    ],
)
def test_architecture_arguments_are_checked(
    encoder: str | None, arguments: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    state = Convnet("basic32x32", 3, 32, hidden=16, summary=8).state_dict()
    save_foreign(state, tmp_path / "x.pt")
    with pytest.raises(BadArguments, match=sentence):
        dim.read(tmp_path / "x.pt", encoder, None, arguments)


def test_the_command_says_the_fault_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", "--layout", "duanenielsen", "--out", str(tmp_path / "out"), "--from"]
    assert main([*words, str(tmp_path)]) == 2
    assert "should hold one encoder*.wgt" in capsys.readouterr().err
    assert main([*words, str(tmp_path), "depth"]) == 2
    assert "'depth' is not key=value" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
