import numpy as np
import pytest
import torch

from training.evaluation.features import LabelledFeatures
from training.evaluation.svm import STRENGTHS, root_for, svm, svm_accuracies


def everything(count):
    return torch.ones(count, dtype=torch.bool)


def solved(features, labels, strength, used=None, start=None):
    """The solution by the function under test, from zeros unless told otherwise."""
    classes = int(labels.max()) + 1
    signs = 2.0 * torch.nn.functional.one_hot(labels, classes) - 1
    used = everything(len(features)) if used is None else used
    start = torch.zeros(features.shape[1] + 1, classes) if start is None else start
    return svm(features, signs, strength, used, start, root_for(features, strength))


def slow_svm(features, signs, strength, steps=20_000, rate=0.05):
    """Plain gradient descent for one class, image by image in the sum."""
    weights, bias = np.zeros(features.shape[1]), 0.0
    for _ in range(steps):
        slope, shift = strength * weights, 0.0
        margins = 1 - signs * (features @ weights + bias)
        for vector, sign, margin in zip(features, signs, margins, strict=True):
            if margin > 0:
                slope = slope - 2 * margin * sign * vector / len(features)
                shift -= 2 * margin * sign / len(features)
        weights, bias = weights - rate * slope, bias - rate * shift
        if np.abs(slope).max() + abs(shift) < 1e-9:
            break
    return weights, bias


@pytest.mark.parametrize("strength", STRENGTHS)
def test_two_points_have_the_solution_of_a_hand_calculation(strength):
    # strength / 2 w^2 + (1 - w)^2 is least at w = 2 / (2 + strength), and the bias is 0
    features, labels = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
    weights = solved(features, labels, strength, start=torch.full((2, 2), 0.3))
    expected = 2 / (2 + strength)
    assert weights[0].tolist() == pytest.approx([-expected, expected], abs=1e-4)
    assert weights[1].tolist() == pytest.approx([0, 0], abs=1e-4)


def test_every_class_has_the_solution_of_plain_gradient_descent():
    labels = torch.arange(24) % 3
    features = torch.randn(24, 2) + 1.2 * torch.eye(3, 2)[labels]
    weights = solved(features, labels, 0.1)
    for label in range(3):
        signs = np.where(labels.numpy() == label, 1.0, -1.0)
        slope, bias = slow_svm(features.double().numpy(), signs, 0.1)
        assert weights[:2, label].tolist() == pytest.approx(slope.tolist(), abs=1e-3)
        assert weights[2, label].item() == pytest.approx(bias, abs=1e-3)


def test_images_that_are_not_used_and_the_start_have_no_bearing_on_the_solution():
    labels = torch.arange(40) % 2
    features = torch.randn(40, 5)
    used = torch.rand(40) < 0.6
    whole = solved(features, labels, 0.1, used, start=torch.randn(6, 2))
    features[~used] *= 100
    again = solved(features, labels, 0.1, used)
    alone = solved(features[used], labels[used], 0.1, start=again)
    assert torch.allclose(whole, alone, atol=2e-3)
    assert torch.allclose(again, alone, atol=2e-3)


def clusters(train, test, noise=1.0):
    labels = torch.arange(train + test) % 4
    vectors = 3 * torch.eye(4, 10)[labels] + noise * torch.randn(train + test, 10)
    return LabelledFeatures(vectors[:train], labels[:train], vectors[train:], labels[train:], 4)


def test_each_seed_has_its_own_accuracy_and_the_same_seeds_the_same():
    data = clusters(80, 400, noise=3.0)
    accuracies = svm_accuracies(data)
    assert len(accuracies) == 5
    assert len(set(accuracies)) > 1
    assert svm_accuracies(data, seeds=2) == accuracies[:2]
    assert svm_accuracies(clusters(200, 200, noise=0.3), seeds=1) == [1.0]


def test_the_strength_that_the_images_set_aside_prefer_is_used():
    # two hundred directions of pure noise: hardly shrunk, the machine learns them by heart
    labels = torch.arange(360) % 2
    vectors = torch.randn(360, 200)
    vectors[:, 0] += 2.0 * (2 * labels - 1)
    data = LabelledFeatures(vectors[:160], labels[:160], vectors[160:], labels[160:], 2)
    weak = solved(data.train, data.train_labels, STRENGTHS[-1])
    answers = (data.test @ weak[:-1] + weak[-1]).argmax(1)
    overfitted = (answers == data.test_labels).float().mean().item()
    told = []
    accuracies = svm_accuracies(data, lambda done, total: told.append((done, total)))
    assert np.mean(accuracies) > overfitted + 0.02
    assert told[0] == (0, 20)
    assert told[-1] == (20, 20)
