import math

import numpy as np
import pytest
import torch
from torch import nn

from training.evaluation.features import LabelledFeatures
from training.evaluation.knn import knn_accuracy
from training.evaluation.probes import (
    PROBES,
    ProbeSettings,
    probe_accuracy,
    settings_for,
    top1,
)

QUICK = ProbeSettings(epochs=12, batch_size=32, learning_rate=0.01)


def clusters(train: int = 300, test: int = 90, dim: int = 6, classes: int = 3) -> LabelledFeatures:
    """Classes a linear probe can tell apart: noise of deviation 1 around far centres."""
    centres = 6 * torch.eye(classes, dim)
    labels = torch.arange(train + test) % classes
    vectors = centres[labels] + torch.randn(train + test, dim)
    return LabelledFeatures(
        vectors[:train], labels[:train], vectors[train:], labels[train:], classes
    )


def exclusive_or(count: int = 600) -> LabelledFeatures:
    """Classes no line can tell apart: whether two coordinates have the same sign."""
    vectors = torch.rand(count, 2) * 2 - 1
    labels = (vectors[:, 0] * vectors[:, 1] > 0).long()
    half = count // 2
    return LabelledFeatures(vectors[:half], labels[:half], vectors[half:], labels[half:], 2)


# -------------------------------------------------------------------------------------- probes


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_tells_separated_classes_apart(probe: str):
    assert probe_accuracy(probe, clusters().standardised(), QUICK) > 0.97


def test_only_the_hidden_layer_solves_exclusive_or():
    data = exclusive_or().standardised()
    longer = ProbeSettings(epochs=40, batch_size=32, learning_rate=0.01)
    assert probe_accuracy("mlp200", data, longer) > 0.9
    assert probe_accuracy("linear", data, longer) < 0.7


@pytest.mark.parametrize("probe", PROBES)
def test_the_same_features_give_the_same_number_and_no_random_number_is_taken(probe: str):
    data = exclusive_or().standardised()
    torch.manual_seed(1)
    first = probe_accuracy(probe, data, QUICK)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    torch.manual_seed(2)
    assert probe_accuracy(probe, data, QUICK) == first


def test_test_labels_are_only_counted():
    data = exclusive_or().standardised()
    right = probe_accuracy("mlp200", data, QUICK)
    turned = LabelledFeatures(
        data.train, data.train_labels, data.test, 1 - data.test_labels, data.classes
    )
    assert math.isclose(probe_accuracy("mlp200", turned, QUICK), 1 - right)


def test_the_mean_of_the_last_third_is_reported(monkeypatch):
    scores = iter([0.1, 0.2, 0.6])
    monkeypatch.setattr("training.evaluation.probes.top1", lambda *_: next(scores))
    settings = ProbeSettings(epochs=9, batch_size=64, learning_rate=1e-4)
    assert math.isclose(probe_accuracy("linear", clusters(), settings), 0.3)
    assert next(scores, None) is None


def test_the_rate_falls_to_a_tenth_after_each_third(monkeypatch):
    rates = []
    step = torch.optim.Adam.step

    def noted(self, closure=None):
        rates.append(self.param_groups[0]["lr"])
        return step(self, closure)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    data = clusters(train=60)
    probe_accuracy("linear", data, ProbeSettings(epochs=9, batch_size=64, learning_rate=1e-2))
    assert np.allclose(rates, [1e-2] * 3 + [1e-3] * 3 + [1e-4] * 3)


def test_a_last_batch_of_one_image_is_passed_over():
    data = clusters(train=65)
    assert probe_accuracy("mlp200", data, ProbeSettings(2, 64, 1e-3)) >= 0


def test_every_test_image_counts_and_in_eval():
    class LastIsRight(nn.Module):
        def forward(self, features):
            assert not self.training
            return torch.nn.functional.one_hot(features[:, 0].long(), 2).float()

    features = torch.zeros(4097, 1)
    features[-1] = 1
    assert top1(LastIsRight(), features, torch.ones(4097, dtype=torch.int64)) == 1 / 4097


def test_the_papers_epochs_and_batch_make_the_papers_setting():
    settings = settings_for(50_000, epochs=150, batch_size=64)
    assert math.isclose(settings.learning_rate, 1e-4)
    assert settings.drops == (50, 100)


def test_shorter_training_has_a_higher_rate_and_few_images_more_epochs():
    whole = settings_for(50_000)
    assert (whole.epochs, whole.batch_size) == (30, 256)
    assert math.isclose(whole.learning_rate, 2e-3, rel_tol=0.01)
    assert settings_for(1_000_000).epochs == 30
    assert settings_for(25_000).epochs == 60
    assert settings_for(100).epochs == 100
    assert settings_for(100).learning_rate == 2e-3
    assert settings_for(100, epochs=1).counted == 1


# ------------------------------------------------------------------------------- standardising


def test_standardising_uses_the_training_images_alone():
    data = clusters(dim=4)
    data.train[:, 3] = data.test[:, 3] = 5.0  # never changes, so it says nothing
    train, test = data.train.clone(), data.test.clone()
    scaled = data.standardised()
    expected = (test[:, :3] - train[:, :3].mean(0)) / train[:, :3].std(0, correction=0)
    assert torch.allclose(scaled.test[:, :3], expected, atol=1e-5)
    assert torch.allclose(scaled.train[:, :3].mean(0), torch.zeros(3), atol=1e-5)
    assert bool((scaled.train[:, 3] == 0).all())
    assert bool((scaled.test[:, 3] == 0).all())


# ------------------------------------------------------------------------------------------ knn


def test_neighbours_vote_as_in_a_loop_nobody_could_get_wrong():
    torch.manual_seed(3)
    vectors, labels = torch.randn(180, 5), torch.randint(0, 4, (180,))
    data = LabelledFeatures(vectors[:120], labels[:120], vectors[120:], labels[120:], 4)
    right = 0
    for query, truth in zip(data.test.double().numpy(), data.test_labels.tolist(), strict=True):
        found = []
        for image, label in zip(data.train.double().numpy(), data.train_labels, strict=True):
            cosine = query @ image / np.linalg.norm(query) / np.linalg.norm(image)
            found.append((float(cosine), int(label)))
        votes = [0.0] * 4
        for cosine, label in sorted(found, reverse=True)[:20]:
            votes[label] += math.exp(cosine / 0.07)
        right += votes.index(max(votes)) == truth
    assert knn_accuracy(data) == right / 60


def test_neighbours_do_not_mind_the_length_of_vectors():
    data = clusters()
    scaled = LabelledFeatures(
        data.train * torch.rand(300, 1), data.train_labels, data.test * 9, data.test_labels, 3
    )
    assert knn_accuracy(scaled) == knn_accuracy(data) > 0.97


def test_fewer_images_than_neighbours_vote_all():
    assert knn_accuracy(clusters(train=6, test=1203)) > 0.8
