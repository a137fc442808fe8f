"""The page on a run: whole, self-contained, and right in what its pictures and figures say."""

import argparse
import base64
import io
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from models.card import RetrievalRow, VerdictCard
from models.checkpoint import load_checkpoint
from models.inference import encode, prepare
from tests.models.toy_checkpoint import EVALUATION, trained
from tests.training.picture_folder import draw, two_classes
from training.config import TrainConfig
from training.images import NO_LABEL, ImageSet
from training.report.command import add_arguments, run
from training.report.plane import groups, neighbour_plane, principal_plane
from training.report.sheets import belief, chance, chosen_rows, nearest, same_class
from training.report.shown import Shown, show
from training.report.sources import Sample, gather, read_run

CPU = torch.device("cpu")
VERDICT = VerdictCard(
    answer="no",
    sentence="Training did not pay off, because <nothing> was learned.",
    findings=["The local bound is 4.40 nats & memory."],
    protocol="12 images",
    rows=[RetrievalRow(encoder="trained", representation="y", recall=0.25)],
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    trained().save(tmp_path / "toy")
    return tmp_path / "toy"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    two_classes(tmp_path / "pictures", 9, "train")
    return two_classes(tmp_path / "pictures", 6, "test")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A finished run as `train` leaves it."""
    folder = tmp_path / "run"
    folder.mkdir()
    trained().save(folder / "checkpoint")
    config = TrainConfig(encoder="basic28x28", colour="grey", views="flip_crop", objective="jsd")
    data = {"name": "pictures", "fingerprint": "ab" * 32, "images": 18, "skipped": 1}
    described = {"config": config.model_dump(mode="json"), "data": data}
    (folder / "run.json").write_text(json.dumps(described))
    log = [
        {"step": step, "epoch": step / 9, "loss": -step / 90, "local_bound": step / 100}
        for step in range(1, 91)
    ]
    log[-1]["images_per_s"] = 123.0
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    look = {"rankme": 3.2, "spread": 0.7, "dead_share": 0.0, "uniformity": -2.1}
    look |= {"alignment": None, "bounds": {"local_bound": 0.4}, "held_out": True}
    health = [{"step": step, **look} for step in (50, 90)]
    (folder / "health.jsonl").write_text("".join(json.dumps(line) + "\n" for line in health))
    (folder / "verdict.json").write_text(VERDICT.model_dump_json())
    return folder


def report(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([*words, "--device", "cpu"]))


def written(folder: Path, pictures: Path, out: Path) -> str:
    assert report(str(folder), "--data", str(pictures), "--out", str(out)) == 0
    return out.read_text()


# ------------------------------------------------------------------------------------ the page


def test_the_page_of_a_run_has_every_section(run_folder, pictures, tmp_path):
    page = written(run_folder, pictures, tmp_path / "page.html")
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Curves",
        "Did it pay off?",
        "Views as trained",
        "Nearest neighbours",
        "What the encoder sees where",
        "Where two images agree",
        "The embedding in two dimensions",
        "What was run",
    ]
    charts = re.findall(r"<h3>(.*?)</h3>", page)
    assert "Bounds, nats" in charts
    assert "Effective rank of Y (RankMe)" in charts
    assert "Alignment of two views (lower: closer)" not in charts  # it was never measured
    for words in ("at most 1.39", "local bound, held out", "18 of pictures, 1 files skipped"):
        assert words in page
    assert page.count('class="missing"') == 1  # not evaluated with labels


def test_the_page_loads_nothing_and_runs_nothing(run_folder, pictures, tmp_path):
    page = written(run_folder, pictures, tmp_path / "page.html")
    assert not re.search(r"https?:|<script|url\(|@import|<iframe|<object", page)
    references = re.findall(r'(?:src|href|data|poster|srcset)="([^"]*)"', page)
    assert len(references) > 50
    assert all(reference.startswith("data:") for reference in references)
    assert "default-src 'none'" in page  # and the browser is told so


def test_every_picture_is_a_png_with_a_description(run_folder, pictures, tmp_path):
    page = written(run_folder, pictures, tmp_path / "page.html")
    images = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)">', page)
    assert len(images) == page.count("<img")
    sides = {Image.open(io.BytesIO(base64.b64decode(data))).size for data, _ in images}
    assert sides == {(28, 28), (7, 7)}  # images, and maps at a pixel a place


def test_names_and_sentences_cannot_become_markup(run_folder, tmp_path):
    evil = "a<script>&\"'"
    for number in range(4):
        draw(tmp_path / "odd" / "test" / evil.replace("/", "") / f"{number}.png", (28, 28))
        draw(tmp_path / "odd" / "test" / "plain" / f"{number}.png", (28, 28))
        draw(tmp_path / "odd" / "train" / "plain" / f"{number}.png", (28, 28))
    page = written(run_folder, tmp_path / "odd", tmp_path / "page.html")
    assert "<script" not in page
    assert "a&lt;script&gt;" in page
    assert "because &lt;nothing&gt; was learned" in page
    assert "4.40 nats &amp; memory" in page


def test_the_labelled_table_goes_before_the_verdict_without_labels(run_folder, pictures, tmp_path):
    made = trained()
    rows = [
        {"encoder": name, "representation": of, "probe": "knn", "accuracy": accuracy}
        for name, of, accuracy in (
            ("trained", "y", 0.9),
            ("random", "y", 0.5),
            ("pixels_pca", "pixels", 0.6),
        )
    ]
    rows[0] |= {"seeds": 3, "spread": 0.012}
    about = {"encoder": "trained", "representation": "y", "note": ""}
    measures = [{**about, "measure": "mine", "value": 3.456, "unit": "nats"}]
    table = {**EVALUATION.model_dump(), "rows": rows, "measures": measures}
    made.card = made.card.model_copy(update={"evaluation": type(EVALUATION).model_validate(table)})
    shutil.rmtree(run_folder / "checkpoint")
    made.save(run_folder / "checkpoint")
    page = written(run_folder, pictures, tmp_path / "page.html")
    box = page[page.index('class="verdict') : page.index("<section>")]
    assert box.startswith('class="verdict yes"')
    assert "<strong>90.0 ± 1.2</strong>" in page
    assert "3.46 nats" in page
    assert box.index("By the labels of noise: Training paid off") < box.index("Without labels:")


# -------------------------------------------------------------------- what there is to show


def test_a_checkpoint_alone_says_what_cannot_be_shown(checkpoint, pictures, tmp_path):
    page = written(checkpoint, pictures, tmp_path / "page.html")
    assert "this is a checkpoint alone: no curves" in page
    assert "Not judged without labels" in page
    assert "Nearest neighbours" in page


def test_without_images_the_page_says_how_to_name_them(run_folder, capsys):
    assert report(str(run_folder)) == 0
    page = (run_folder / "report.html").read_text()
    assert "No pictures: name the images with --data FOLDER (pictures was its name)." in page
    assert "Nearest neighbours" not in page
    assert "name the images with --data" in capsys.readouterr().out


def test_a_run_that_goes_on_has_curves_and_no_verdict_yet(run_folder):
    shutil.rmtree(run_folder / "checkpoint")
    (run_folder / "verdict.json").unlink()
    with (run_folder / "log.jsonl").open("a") as log:
        log.write('{"step": 91, "lo')  # being written
    assert report(str(run_folder)) == 0
    page = (run_folder / "report.html").read_text()
    assert "No verdict yet: training has not finished" in page
    assert "Bounds, nats" in page
    assert "the run has no checkpoint yet" in page


def test_a_runs_own_checkpoint_is_reported_with_its_logs(run_folder):
    assert read_run(run_folder / "checkpoint").log == read_run(run_folder).log
    assert len(read_run(run_folder).log) == 90


def test_what_is_no_run_is_an_error_with_the_remedy(tmp_path, capsys):
    assert report(str(tmp_path)) == 2
    assert "name the folder given to `train --out`" in capsys.readouterr().err


def test_images_that_were_asked_for_and_are_not_there_are_an_error(run_folder, tmp_path, capsys):
    assert report(str(run_folder), "--data", str(tmp_path / "nowhere")) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not (run_folder / "report.html").exists()


# ------------------------------------------------------------------- whether it is right


def image_set(count: int, labels: list[int] | None, names: list[str]) -> ImageSet:
    return ImageSet(
        pixels=torch.arange(count * 4).reshape(count, 2, 2, 1).to(torch.uint8),
        labels=None if labels is None else torch.tensor(labels),
        paths=None,
        name="set",
        fingerprint="",
        skipped=0,
        class_names=None if labels is None else names,
    )


def sample_of(labels: list[int]) -> Sample:
    part = image_set(len(labels), labels, ["a", "b", "c"])
    assert part.labels is not None
    return Sample(part.pixels, part.labels, ["a", "b", "c"], "a set", len(labels))


def test_splits_that_number_their_classes_differently_are_shown_with_one_numbering() -> None:
    held = image_set(2, [0, NO_LABEL], ["cat"])
    training = image_set(3, [0, 1, 1], ["ant", "cat"])
    sample = gather([held, training])
    by_pixels = {int(p.flatten()[0]): sample.label(i) for i, p in enumerate(sample.pixels)}
    assert sample.held_out == 2
    assert sorted(sample.label(i) for i in range(2)) == ["", "cat"]
    assert sorted(sample.label(i) for i in range(2, 5)) == ["ant", "cat", "cat"]
    assert set(by_pixels) == {0, 4, 8}


def test_rows_show_one_image_of_each_class_before_a_second_of_any() -> None:
    assert chosen_rows(sample_of([0, 0, 0, 1, 0, 2, 1]), 5) == [0, 3, 5, 1, 6]


def test_neighbours_equal_a_loop_over_cosines() -> None:
    y = torch.randn(15, 4)
    rows = y.tolist()

    def cosine(i: int, j: int) -> float:
        dot = sum(a * b for a, b in zip(rows[i], rows[j], strict=True))
        return dot / (math.hypot(*rows[i]) * math.hypot(*rows[j]))

    for query, found in zip([2, 9], nearest(y, [2, 9], 3).tolist(), strict=True):
        others = [place for place in range(15) if place != query]
        assert found == sorted(others, key=lambda place: -cosine(query, place))[:3]


def test_the_share_of_neighbours_of_ones_class_is_counted_right() -> None:
    sample = sample_of([0, 0, 1, 1, 2])
    angles = torch.tensor([0.0, 0.1, 0.25, 0.45, 3.0])
    y = torch.stack([angles.cos(), angles.sin()], dim=1)
    shown = Shown(sample, y, torch.nn.Identity(), trained().card.preprocessing)
    # nearest: 0-1, 1-0, 2-1 (0.15 before 0.2), 3-2, 4-3
    assert same_class(shown, 1) == (pytest.approx(3 / 5), pytest.approx(3 / 5))
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    labels = [0, 0, 1, 1, 2]
    assert chance(sample) == sum(labels[i] == labels[j] for i, j in pairs) / len(pairs)


def test_a_map_of_agreement_is_what_the_critic_says_of_the_pair(checkpoint) -> None:
    loaded = load_checkpoint(checkpoint)
    pixels = torch.randint(0, 256, (5, 28, 28, 1), dtype=torch.uint8)
    sample = Sample(pixels, None, [], "noise", 5)
    shown = show(loaded, sample, CPU)
    critic = loaded.critics["local"]
    features = encode(prepare(loaded.encoder), pixels, loaded.card.preprocessing)
    with torch.no_grad():
        scores: Tensor = critic(features.y.clone(), features.map.clone())
    found = belief(critic, shown.y[3], shown.maps([1])[0])
    assert found.shape == (7, 7)
    assert torch.allclose(found.flatten(), scores[3, 1].sigmoid(), atol=1e-5)


def test_the_plane_holds_the_share_of_variance_it_says() -> None:
    y = torch.randn(40, 6) * torch.tensor([9.0, 5.0, 1.0, 1.0, 0.5, 0.1]) + 3
    plane, share = principal_plane(y)
    wanted = torch.linalg.eigvalsh(torch.cov(y.T.double())).flip(0)
    assert share == pytest.approx(float(wanted[:2].sum() / wanted.sum()), rel=1e-6)
    assert torch.allclose(plane.double().var(0), wanted[:2], rtol=1e-4)


@pytest.mark.slow
def test_umap_lays_clusters_apart_where_it_is_installed() -> None:
    pytest.importorskip("umap", reason="needs the extra umap")
    labels = torch.arange(120) % 3
    y = torch.eye(3)[labels].repeat(1, 4) + 0.05 * torch.randn(120, 12)
    plane = neighbour_plane(y)
    assert plane is not None
    middles = torch.stack([plane[labels == label].mean(0) for label in range(3)])
    nearest_middle = torch.cdist(plane, middles).argmin(1)
    assert torch.equal(nearest_middle, labels)


def test_more_classes_than_colours_leave_the_smallest_as_others() -> None:
    labels = [number for number in range(12) for _ in range(number + 1)]
    names = [f"class {number}" for number in range(12)]
    sample = replace(sample_of([0] * len(labels)), labels=torch.tensor(labels), class_names=names)
    found = groups(torch.randn(len(labels), 2), sample)
    assert [group.name for group in found] == [*names[3:], "others"]
    assert len(found[-1].points) == 1 + 2 + 3


# -------------------------------------------------------------------------------- a browser


def console_of(page: Path) -> tuple[str, list[str]]:
    """The page's document after loading in a browser without a network, and its complaints."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"),
            *("--enable-logging=stderr", f"--user-data-dir={page.parent / 'profile'}"),
            *("--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_a_browser_without_network_shows_the_page_and_complains_of_nothing(
    run_folder, pictures, tmp_path
):
    written(run_folder, pictures, tmp_path / "page.html")
    document, complaints = console_of(tmp_path / "page.html")
    assert complaints == []
    assert document.count("<img") > 50
    assert "Where two images agree" in document


def test_a_page_that_loads_something_would_be_noticed(run_folder, pictures, tmp_path):
    page = written(run_folder, pictures, tmp_path / "page.html")
    bad = page.replace("<h1>", '<img src="http://127.0.0.1:9/picture.png" alt=""><h1>')
    (tmp_path / "bad.html").write_text(bad)
    assert console_of(tmp_path / "bad.html")[1]
