"""The folder for a model hub: a checkpoint still, a model card, and a loader without infomax."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from models.checkpoint import load_checkpoint, read_card
from models.inference import encode
from tests.training.untrained_checkpoint import untrained
from training.__main__ import main
from training.interchange import hub_folder
from training.interchange.errors import ExportRefused
from training.interchange.model_card import write_model_card


@pytest.fixture(scope="module")
def shipped(repository: Path) -> Path:
    return repository / "checkpoints" / "dim-cifar10"


@pytest.fixture(scope="module")
def hub(shipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped checkpoint's folder for a hub, as the command writes it."""
    folder = tmp_path_factory.mktemp("hub") / "dim-cifar10"
    words = ["--checkpoint", str(shipped), "--hub", str(folder), "--licence", "apache-2.0"]
    assert main(["export", *words]) == 0
    return folder


def front_matter(text: str) -> dict[str, object]:
    empty, front, _ = text.split("---\n", 2)
    assert empty == ""
    facts = yaml.safe_load(front)
    assert isinstance(facts, dict)
    return facts


def without_infomax(folder: Path, program: str) -> str:
    """Run Python where importing any of our packages fails."""
    blocked = "import sys; sys.modules.update(models=None, training=None, service=None)\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_still_the_same_checkpoint(hub: Path, shipped: Path) -> None:
    assert {path.name for path in hub.iterdir()} == {
        *("README.md", "card.json", "weights.safetensors", "golden.safetensors"),
        "load_without_infomax.py",
    }
    for path in shipped.iterdir():
        assert (hub / path.name).read_bytes() == path.read_bytes()
    assert load_checkpoint(hub).card.identity == read_card(shipped).identity


def test_its_front_matter_says_what_the_card_says(hub: Path, shipped: Path) -> None:
    facts = front_matter((hub / "README.md").read_text())
    evaluation = read_card(shipped).evaluation
    assert evaluation is not None
    assert facts["license"] == "apache-2.0"
    assert "self-supervised" in facts["tags"]
    (model,) = facts["model-index"]
    assert model["name"] == "dim-cifar10"
    (result,) = model["results"]
    told = {metric["name"]: metric["value"] for metric in result["metrics"]}
    trained = [row for row in evaluation.rows if row.encoder == "trained"]
    assert len(told) == len(trained)
    for row in trained:
        accuracy = told[f"top-1, {row.probe} on {row.representation}"]
        assert accuracy == pytest.approx(100 * row.accuracy, abs=0.005)


def test_its_readme_shows_every_row_of_the_evaluation(hub: Path, shipped: Path) -> None:
    text, evaluation = (hub / "README.md").read_text(), read_card(shipped).evaluation
    assert evaluation is not None
    for row in evaluation.rows:
        cells = f"| {row.encoder} | {row.representation} | {row.probe} | {100 * row.accuracy:.2f}"
        assert cells in text
    assert evaluation.protocol in text


def test_the_loader_gives_our_y_without_importing_us(hub: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(hub)
    images = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    save_file({"images": images}, tmp_path / "images.safetensors")
    program = (
        "from load_without_infomax import load_encoder\n"
        "from safetensors.torch import load_file, save_file\n"
        f"images = load_file({str(tmp_path / 'images.safetensors')!r})['images']\n"
        f"save_file({{'y': load_encoder('.')(images)}}, {str(tmp_path / 'y.safetensors')!r})\n"
        "print(sorted({'models', 'training', 'service', 'jaxtyping'} & {"
        "name.split('.')[0] for name, module in sys.modules.items() if module}))\n"
        "import runpy; sys.argv = ['', '.']\n"
        "runpy.run_path('load_without_infomax.py', run_name='__main__')"
    )
    imported, proof = without_infomax(hub, program).splitlines()
    assert imported == "[]"
    assert float(proof.split()[-1]) < 1e-4  # on the golden images
    ours = encode(checkpoint.encoder, images, checkpoint.card.preprocessing).y
    theirs = load_file(tmp_path / "y.safetensors")["y"]
    torch.testing.assert_close(theirs, ours.clone(), rtol=1e-5, atol=1e-5)


def test_the_readmes_examples_run(hub: Path, repository: Path) -> None:
    blocks = (hub / "README.md").read_text().split("```python\n")[1:]
    with_us, alone = (block.split("```")[0] for block in blocks)
    done = subprocess.run(
        [sys.executable, "-c", with_us],
        cwd=hub,
        env={**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == without_infomax(hub, alone).strip() == "torch.Size([8, 64])"


def test_the_loader_is_documented_as_short_as_it_is() -> None:
    source = hub_folder.LOADER.read_text()
    body = source.split('to Y (N, D)."""\n')[1].split('\n\nif __name__ == "__main__"')[0]
    assert len([line for line in body.splitlines() if line.strip()]) <= 15


def test_another_encoder_has_no_loader_and_may_have_no_evaluation(tmp_path: Path) -> None:
    source = untrained(tmp_path / "source", "basic28x28", image_channels=1)
    out = tmp_path / "hub"
    names = hub_folder.export_hub(source, load_checkpoint(source), "other", out)
    assert "load_without_infomax.py" not in names
    text = (out / "README.md").read_text()
    assert "It was not evaluated." in text
    assert "model-index" not in front_matter(text)
    assert "load_without_infomax" not in text


@pytest.mark.parametrize("name", ['quotes " and: colons', "- dash #hash", "ünï\u2028code"])
def test_no_name_breaks_the_front_matter(name: str, shipped: Path) -> None:
    checkpoint = load_checkpoint(shipped, verify=False)
    card = checkpoint.card.model_copy(update={"name": name})
    facts = front_matter(write_model_card(card, checkpoint.encoder, "other", None))
    assert facts["model-index"][0]["name"] == name


def test_where_imported_weights_come_from_is_said(shipped: Path) -> None:
    checkpoint = load_checkpoint(shipped, verify=False)
    origin = "Imported from encoder860.wgt."
    card = checkpoint.card.model_copy(update={"origin": origin})
    text = write_model_card(card, checkpoint.encoder, "other", None)
    assert origin in text
    assert "19,500 steps" not in text


def test_a_folder_of_other_things_is_left_alone(shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ExportRefused, match=r"holiday\.jpg"):
        hub_folder.export_hub(shipped, load_checkpoint(shipped, verify=False), "other", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_clone_of_the_hub_is_renewed_in_place(hub: Path, shipped: Path, tmp_path: Path) -> None:
    out = tmp_path / "clone"
    (out / ".git").mkdir(parents=True)
    (out / ".git" / "HEAD").write_text("ref: refs/heads/main")
    (out / "README.md").write_text("an older one")
    hub_folder.export_hub(shipped, load_checkpoint(shipped, verify=False), "apache-2.0", out)
    assert (out / ".git" / "HEAD").read_text() == "ref: refs/heads/main"
    assert (out / "README.md").read_text() == (hub / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "Nothing to export"),
        (("--hub", "x"), "asks for a licence"),
        (("--onnx", "/nowhere/x.onnx"), "There is no folder /nowhere"),
    ],
)
def test_the_command_says_what_it_lacks(
    words: tuple[str, ...], sentence: str, shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--checkpoint", str(shipped), *words]) == 2
    assert sentence in capsys.readouterr().err
