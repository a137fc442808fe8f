"""The verdict without labels, on encoders of which we know whether they are any good."""

import json
import math
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from models.card import Card, RetrievalRow, VerdictCard
from models.checkpoint import read_card
from models.encoders import Encoder, build_encoder
from tests.models.toy_checkpoint import trained
from training.diagnosis import Finding
from training.evaluation.imagenet import Backbone, load_backbone
from training.images import DataError
from training.retrieval import clearly_above, hits, make_trial, recall
from training.verdict import judge
from training.watch import Held

SIZES = {"summary_dim": 16, "image_channels": 1, "fc_dim": 32}
CARD = trained("basic28x28", {}, **SIZES).card
CPU = torch.device("cpu")


def pictures(count: int, seed: int = 3) -> Tensor:
    """Smooth random pictures, (N, 28, 28, 1) uint8."""
    coarse = torch.rand(count, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    fine = nn.functional.interpolate(coarse, size=28, mode="bilinear")
    return (fine * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


# ---------------------------------------------------------------------------------- retrieval


def test_hits_equal_a_loop_over_queries_and_images() -> None:
    gallery, views = torch.randn(30, 4), torch.randn(20, 4)
    views[:12] = gallery[:12] * 3 + 0.4 * torch.randn(12, 4)

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    wanted = []
    for place, view in enumerate(views.tolist()):
        likeness = [cosine(view, image) for image in gallery.tolist()]
        wanted.append(max(range(30), key=lambda i: likeness[i]) == place)
    assert hits(gallery, views).tolist() == wanted
    assert 5 < sum(wanted) < 20


def test_images_that_all_look_alike_to_an_encoder_are_never_found() -> None:
    assert not hits(torch.ones(6, 3), torch.ones(4, 3)).any()


def test_a_trial_seeks_held_out_images_among_themselves_and_training_images() -> None:
    held, training = pictures(12), pictures(30, seed=4)
    trial = make_trial(held, training)
    assert (trial.queries, trial.gallery, len(trial.pixels)) == (12, 42, 42 + 2 * 12)
    again = make_trial(held, training)
    assert torch.equal(trial.pixels, again.pixels)
    flat = trial.pixels.flatten(1).float()
    assert float(recall(trial, flat - flat.mean()).mean()) > 0.2  # chance: one in 42


def test_the_share_of_views_that_find_an_image_is_counted_for_each_image() -> None:
    trial = make_trial(pictures(3), pictures(2, seed=4))
    gallery = torch.eye(5)
    views = [torch.eye(5)[[0, 2, 2]], torch.eye(5)[[0, 1, 4]]]
    assert recall(trial, torch.cat([gallery, *views])).tolist() == [1.0, 0.5, 0.5]


def test_a_difference_within_two_standard_errors_is_not_clear() -> None:
    ours = torch.zeros(100, dtype=torch.float64)
    theirs = ours.clone()
    ours[:3] = 1  # 3 points, standard error 1.7
    assert not clearly_above(ours, theirs)
    ours[:6] = 1  # 6 points, standard error 2.4
    assert clearly_above(ours, theirs)
    assert not clearly_above(theirs, ours)
    assert not clearly_above(theirs, theirs)


# ------------------------------------------------------------------------------------ verdict


class TinyCopy(Encoder):
    """An encoder that sees what the changes of a view leave alone: sorted, standardised pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.image_size, self.image_channels = 28, 1
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor):
        from models.types import Features

        edges = nn.functional.avg_pool2d(images, 4)[:, 0]
        both = edges + edges.flip(2)  # a mirrored image is the same
        rows = (both - both.mean((1, 2), keepdim=True)).flatten(1)
        unit = nn.functional.normalize(rows, dim=1)
        return Features(unit[:, :16], images[:, :, ::4, ::4], unit, unit)


def judged(encoder: Encoder, findings: tuple[Finding, ...] = ()) -> VerdictCard:
    held = Held(pictures(60, seed=9), "held-out images", held_out=True)
    return judge(encoder, CARD, pictures(150), held, findings)


def test_an_untrained_encoder_is_told_that_it_does_not_beat_pca() -> None:
    torch.manual_seed(77)
    verdict = judged(build_encoder("basic28x28", **SIZES))
    assert verdict.answer == "no"
    assert verdict.sentence.startswith("Training did not pay off, because")
    assert "Train longer" in verdict.sentence
    assert {(row.encoder, row.representation) for row in verdict.rows} == {
        *((name, each) for name in ("trained", "random") for each in ("conv", "fc", "y")),
        ("pixels_pca", "pixels"),
    }
    assert "60 of held-out images" in verdict.protocol


def test_an_encoder_that_ignores_what_views_change_pays_off() -> None:
    verdict = judged(TinyCopy())
    by_name = {(row.encoder, row.representation): row.recall for row in verdict.rows}
    assert by_name["trained", "fc"] > by_name["pixels_pca", "pixels"] + 0.1
    assert verdict.answer in {"yes", "in part"}
    assert verdict.sentence.startswith("Training paid off")
    assert f"{by_name['trained', 'fc']:.1%} (fc)" in verdict.sentence


def test_a_collapsed_encoder_failed_whatever_its_figures() -> None:
    collapse = Finding("collapsed", "Collapsed: all is one. Start again.")
    verdict = judged(TinyCopy(), (collapse,))
    assert verdict.answer == "failed"
    assert verdict.sentence.startswith("Training failed. Collapsed: all is one.")
    assert verdict.findings == [collapse.sentence]


def test_without_held_out_images_the_training_images_are_sought_among_themselves() -> None:
    images = pictures(20)
    encoder = build_encoder("basic28x28", **SIZES)
    held = Held(images, "the training images, for want of held-out ones", held_out=False)
    verdict = judge(encoder, CARD, images, held, ())
    assert "among 20 images (0 of them from training)" in verdict.protocol


# ----------------------------------------------------------------------------------- ImageNet


def resnet_file(folder: Path, name: str) -> Path:
    """A state dict with random weights, laid out as torchvision publishes them."""
    state = torchvision.models.get_model(name, weights=None).state_dict()
    torch.save(state, folder / f"{name}.pth")  # noqa: TID251 - as torchvision's files are
    return folder / f"{name}.pth"


def test_a_resnet_on_disk_is_recognised_and_gives_the_mean_of_its_last_map(tmp_path: Path) -> None:
    backbone = load_backbone(resnet_file(tmp_path, "resnet18"))
    assert backbone.name == "resnet18"
    pixels = torch.randint(0, 256, (2, 40, 40, 3), dtype=torch.uint8)
    torch.manual_seed(0)
    whole = torchvision.models.resnet18(weights=None)
    state = torch.load(tmp_path / "resnet18.pth", weights_only=True)  # noqa: TID251 - the oracle
    whole.load_state_dict(state)
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    published = weights.transforms(crop_size=224, resize_size=224, antialias=True)
    with torch.no_grad():
        wanted = published(pixels.permute(0, 3, 1, 2))
        for name, part in whole.eval().named_children():
            wanted = wanted if name == "fc" else part(wanted)
    assert torch.allclose(backbone.encode(pixels, CPU), wanted.flatten(1), atol=2e-2)


def test_a_file_that_is_no_resnet_is_refused_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, file)  # noqa: TID251 - as torchvision's files are
    with pytest.raises(DataError, match=r"none of resnet18.*name a file that torchvision"):
        load_backbone(file)
    with pytest.raises(DataError, match="no file"):
        load_backbone(tmp_path / "nowhere.pth")


def test_a_ready_made_network_is_reported_and_decides_nothing(tmp_path: Path) -> None:
    class Blind(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.ones(len(images), 8)

    held = Held(pictures(20, seed=9), "held-out images", held_out=True)
    alone = judge(TinyCopy(), CARD, pictures(50), held, ())
    rival = Backbone("resnet18", Blind())
    verdict = judge(TinyCopy(), CARD, pictures(50), held, (), rival)
    assert verdict.answer == alone.answer
    assert verdict.rows[:-1] == alone.rows
    assert (verdict.rows[-1].encoder, verdict.rows[-1].recall) == ("imagenet", 0.0)
    assert "a resnet18 trained on ImageNet: 0.0%, clearly less" in verdict.sentence


# --------------------------------------------------------------------------------------- card


def test_a_card_with_a_verdict_is_read_back_and_one_without_still_loads(tmp_path: Path) -> None:
    made = trained()
    old = json.loads(made.card.model_dump_json())
    del old["verdict"]  # as written before there were verdicts
    assert Card.model_validate_json(json.dumps(old)) == made.card
    verdict = VerdictCard(
        answer="no",
        sentence="Training did not pay off.",
        findings=[],
        protocol="200 images",
        rows=[RetrievalRow(encoder="trained", representation="y", recall=0.25)],
    )
    made.card = made.card.model_copy(update={"verdict": verdict})
    made.save(tmp_path / "checkpoint")
    assert read_card(tmp_path / "checkpoint").verdict == verdict


@pytest.mark.parametrize("recall_given", [-0.1, 1.5, math.nan])
def test_a_recall_outside_0_to_1_is_refused(recall_given: float) -> None:
    with pytest.raises(ValueError, match="recall"):
        RetrievalRow(encoder="trained", representation="y", recall=recall_given)
