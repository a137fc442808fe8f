"""Imported weights give what the network they were trained in gives."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from models.checkpoint import Checkpoint, load_checkpoint
from models.inference import encode
from tests.training.source_models import (
    MAP_LAYER,
    BigEncoder,
    Convnet,
    DuaneEncoder,
    DuaneLoss,
    OldBasic32,
    save_foreign,
    shaken,
)
from training.__main__ import main
from training.interchange import duanenielsen
from training.interchange.errors import WrongLayout

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def bring(source: Path, layout: str, *words: str) -> Checkpoint:
    """Import as the command line does, and load the result with its golden outputs checked."""
    out = source.parent / "imported"
    status = main(["import", "--from", str(source), "--layout", layout, "--out", str(out), *words])
    assert status == 0
    return load_checkpoint(out)


def saved(network: nn.Module, file: Path) -> Path:
    return save_foreign(network.state_dict(), file)


def pixels_for(checkpoint: Checkpoint, images: int = 3) -> torch.Tensor:
    side, channels = checkpoint.encoder.image_size, checkpoint.encoder.image_channels
    return torch.randint(0, 256, (images, side, side, channels), dtype=torch.uint8)


def scaled(pixels: torch.Tensor, mean: float, std: float) -> torch.Tensor:
    """What the source's own transforms make of the pixels: ToTensor, Normalize."""
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


# ---- rdevon/DIM ----


@pytest.mark.parametrize(
    ("encoder", "size", "channels"),
    [("basic28x28", 28, 1), ("basic32x32", 32, 3), ("basic64x64", 64, 3), ("alex64x64", 64, 3)],
)
def test_an_encoder_of_rdevon_dim_gives_what_it_gave(
    encoder: str, size: int, channels: int, tmp_path: Path
) -> None:
    source = shaken(Convnet(encoder, channels, size, hidden=16, summary=8))
    words = ["summary_dim=8", "fc_dim=16", f"image_channels={channels}"]
    file = saved(source, tmp_path / "encoder.pt")
    checkpoint = bring(file, "dim", "--encoder", encoder, *words)
    pixels = pixels_for(checkpoint)
    features = encode(checkpoint.encoder, pixels, checkpoint.card.preprocessing)
    with torch.no_grad():
        layers = source(scaled(pixels, 0.5, 0.5))
    flat = next(n for n, layer in enumerate(source.layers) if isinstance(layer, nn.Flatten))
    torch.testing.assert_close(features.y, layers[-1], **CLOSE)
    torch.testing.assert_close(features.map, layers[MAP_LAYER[encoder]], **CLOSE)
    torch.testing.assert_close(features.fc, layers[-2], **CLOSE)
    torch.testing.assert_close(features.conv, layers[flat], **CLOSE)
    assert checkpoint.critics == {}


def test_the_layout_before_april_2019_is_read_too(tmp_path: Path) -> None:
    source = shaken(OldBasic32(hidden=16, summary=8))
    file = saved(source, tmp_path / "encoder.pt")
    words = ("--encoder", "basic32x32", "summary_dim=8", "fc_dim=16")
    checkpoint = bring(file, "dim", *words)
    pixels = pixels_for(checkpoint)
    y = encode(checkpoint.encoder, pixels, checkpoint.card.preprocessing).y
    with torch.no_grad():
        torch.testing.assert_close(y, source(scaled(pixels, 0.5, 0.5)), **CLOSE)


@pytest.fixture
def big(tmp_path: Path) -> tuple[BigEncoder, Path]:
    """A whole BigEncoder behind DataParallel, as cortex trains it."""
    source = shaken(BigEncoder(Convnet("basic32x32", 3, 32, hidden=16, summary=8), 8, units=24))
    return source, saved(nn.DataParallel(source), tmp_path / "big.pt")


BASIC = ("--encoder", "basic32x32", "summary_dim=8", "fc_dim=16")


def test_a_local_critic_that_was_trained_by_jsd_is_served(
    big: tuple[BigEncoder, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source, file = big
    checkpoint = bring(file, "dim", *BASIC, "--objective", "jsd")
    assert "glob_local_net" in capsys.readouterr().out
    assert checkpoint.critics.keys() == {"local"}
    assert checkpoint.card.critics["local"].calibration is None
    pixels = pixels_for(checkpoint)
    features = encode(checkpoint.encoder, pixels, checkpoint.card.preprocessing)
    ours = checkpoint.critics["local"](features.y, features.map)
    with torch.no_grad():
        layers = source.encoder(scaled(pixels, 0.5, 0.5))
        places = source.local_local_net(layers[1])
        summaries = source.local_global_net(layers[-1][:, :, None, None])
        for i in range(3):
            for j in range(3):
                for p in range(64):
                    theirs = summaries[i, :, 0, 0] @ places[j, :, p // 8, p % 8]
                    torch.testing.assert_close(ours[i, j, p], theirs, rtol=1e-5, atol=1e-5)


def test_a_critic_of_an_unnamed_bound_is_left_out_and_said_so(
    big: tuple[BigEncoder, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ((), ("--objective", "infonce")):
        checkpoint = bring(big[1], "dim", *BASIC, *words)
        printed = capsys.readouterr().out
        assert checkpoint.critics == {}
        assert "Left out: local_local_net" in printed
        assert "/mi-score will refuse" in printed


# ---- DuaneNielsen/DeepInfomaxPytorch ----


@dataclass(frozen=True)
class Duane:
    """A folder as its training leaves it, the networks behind it, and what `import` makes of it."""

    encoder: DuaneEncoder
    loss: DuaneLoss
    folder: Path
    checkpoint: Checkpoint


@pytest.fixture(scope="module")
def duane(tmp_path_factory: pytest.TempPathFactory) -> Duane:
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("duane") / "run5"
    folder.mkdir()
    encoder, loss = shaken(DuaneEncoder()), shaken(DuaneLoss())
    saved(encoder, folder / "encoder860.wgt")
    saved(loss, folder / "loss860.wgt")
    return Duane(encoder, loss, folder, bring(folder, "duanenielsen", "--name", "run5"))


def test_encoder_and_critics_of_duanenielsen_give_what_they_gave(duane: Duane) -> None:
    pixels = pixels_for(duane.checkpoint)
    features = encode(duane.checkpoint.encoder, pixels, duane.checkpoint.card.preprocessing)
    with torch.no_grad():
        y, maps = duane.encoder(scaled(pixels, 0.0, 1.0))
        torch.testing.assert_close(features.y, y, **CLOSE)
        torch.testing.assert_close(features.map, maps, **CLOSE)
        local = duane.checkpoint.critics["local"](features.y, features.map)
        whole = duane.checkpoint.critics["global"](features.y, features.map)
        for i in range(3):
            for j in range(3):
                pair = y[i : i + 1], maps[j : j + 1]
                torch.testing.assert_close(local[i, j], duane.loss.local(*pair)[0], **CLOSE)
                torch.testing.assert_close(whole[i, j], duane.loss.whole(*pair)[0], **CLOSE)


def test_the_card_says_where_the_weights_come_from_and_makes_nothing_up(duane: Duane) -> None:
    card = duane.checkpoint.card
    assert card.name == "run5"
    assert card.origin is not None
    assert "encoder860.wgt and loss860.wgt" in card.origin
    assert (card.training.steps, card.training.images_seen, card.data.images) == (0, 0, 0)
    assert (card.objective.name, card.objective.negatives) == ("jsd", "roll")
    assert {critic.calibration for critic in card.critics.values()} == {None}
    assert isinstance(card.training.recipe["sha256"], dict)
    assert set(card.training.recipe["sha256"]) == {"encoder860.wgt", "loss860.wgt"}


def test_an_encoder_without_its_losses_has_no_critics(duane: Duane, tmp_path: Path) -> None:
    alone = tmp_path / "encoder860.wgt"
    alone.symlink_to(duane.folder / alone.name)
    assert duanenielsen.read(alone, None, None, {}).critics == {}


def test_a_folder_of_several_epochs_is_not_chosen_from(duane: Duane, tmp_path: Path) -> None:
    for epoch in (850, 860):
        (tmp_path / f"encoder{epoch}.wgt").symlink_to(duane.folder / "encoder860.wgt")
    with pytest.raises(WrongLayout, match=r"encoder850.wgt, encoder860.wgt. Name the file itself"):
        duanenielsen.read(tmp_path, None, None, {})


# ---- critics fitted on the user's images ----


def test_critics_are_fitted_and_measured_where_images_are_given(tmp_path: Path) -> None:
    source = shaken(Convnet("basic28x28", 1, 28, hidden=16, summary=8))
    file = saved(source, tmp_path / "encoder.pt")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(20):
        shade = torch.randint(0, 256, (4, 4), dtype=torch.uint8).numpy()
        Image.fromarray(shade).resize((28, 28)).save(pictures / f"{number}.png")
    words = ("--encoder", "basic28x28", "summary_dim=8", "fc_dim=16", "image_channels=1")
    checkpoint = bring(file, "dim", *words, "--data", str(pictures))
    card = checkpoint.card
    assert card.critics.keys() == checkpoint.critics.keys() == {"local", "global"}
    for critic in card.critics.values():
        assert critic.calibration is not None
    assert card.data.name == "pictures"
    assert 8 <= card.data.images <= 20
