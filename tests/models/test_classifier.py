"""Classifiers on frozen representations give logits and have the published layers."""

import pytest
import torch
from torch import nn

from models.classifier import DenseClassifier, PaperProbe


def linear_sizes(module):
    return [(m.in_features, m.out_features) for m in module.modules() if isinstance(m, nn.Linear)]


def test_dense32s_classifier_is_64_15_10_10():
    assert linear_sizes(DenseClassifier()) == [(64, 15), (15, 10), (10, 10)]


def test_the_papers_probe_has_one_hidden_layer_of_200_units():
    probe = PaperProbe(1024, 10)
    assert linear_sizes(probe) == [(1024, 200), (200, 10)]
    kinds = [type(layer) for layer in probe]
    assert kinds == [nn.Linear, nn.Dropout, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert probe[1].p == 0.1


@pytest.mark.parametrize("kind", [DenseClassifier, PaperProbe])
def test_classifiers_give_logits_not_probabilities(kind):
    logits = kind(8, 3)(torch.randn(50, 8))
    assert logits.shape == (50, 3)
    assert logits.min() < 0
    assert (logits.sum(1) - 1).abs().max() > 0.01


@pytest.mark.parametrize("kind", [DenseClassifier, PaperProbe])
def test_a_classifier_learns_what_is_linearly_there(kind):
    classifier = kind(8, 3)
    features = torch.randn(300, 8)
    labels = features[:, :3].argmax(1)
    optimiser = torch.optim.Adam(classifier.parameters(), 1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(classifier(features), labels).backward()
        optimiser.step()
    accuracy = (classifier.eval()(features).argmax(1) == labels).float().mean()
    assert accuracy > 0.9
