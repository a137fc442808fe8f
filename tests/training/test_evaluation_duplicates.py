import numpy as np
import pytest
import torch

from training.evaluation.duplicates import find_duplicates, read_pairs
from training.images import DataError


def slow_curve(train, test, pairs):
    """(threshold, precision, recall) at every listed pair's cosine, counting pair by pair."""
    cosine = {}
    for one, query in enumerate(test):
        for other, image in enumerate(train):
            length = np.linalg.norm(query) * np.linalg.norm(image)
            cosine[one, other] = query @ image / length
    listed = {tuple(pair) for pair in pairs}
    curve = []
    for threshold in sorted({cosine[pair] for pair in listed}, reverse=True):
        found = {pair for pair, value in cosine.items() if value >= threshold}
        right = len(found & listed)
        curve.append((threshold, right / len(found), right / len(listed)))
    return curve


def planted(train=60, test=40, copies=15, noise=0.7):
    """Random vectors, some test vectors a noisy copy of a training vector."""
    vectors, queries = torch.randn(train, 5), torch.randn(test, 5)
    pairs = [(number, 3 * number) for number in range(copies)]
    for one, other in pairs:
        queries[one] = 3 * (vectors[other] + noise * torch.randn(5))
    return vectors, queries, torch.tensor(pairs)


def test_the_summary_is_that_of_a_curve_counted_pair_by_pair(monkeypatch):
    monkeypatch.setattr("training.evaluation.duplicates.QUERIES_AT_ONCE", 7)
    train, test, pairs = planted()
    found = find_duplicates(train, test, pairs)
    curve = slow_curve(train.double().numpy(), test.double().numpy(), pairs.tolist())
    average, before = 0.0, 0.0
    for _, precision, recall in curve:
        average += (recall - before) * precision
        before = recall
    assert 0.1 < average < 0.9
    assert found.average_precision == pytest.approx(average)
    for least, recall in found.recall_at.items():
        assert recall == pytest.approx(max([r for _, p, r in curve if p >= least], default=0))
    best = max(curve, key=lambda point: 2 * point[1] * point[2] / (point[1] + point[2]))
    assert (found.threshold, found.precision, found.recall) == pytest.approx(best, abs=1e-6)


def test_exact_copies_are_all_found_and_nothing_else():
    train, test, pairs = planted(noise=0.0)
    found = find_duplicates(train, test, pairs)
    assert found.average_precision == pytest.approx(1)
    assert found.recall_at == {0.5: 1, 0.9: 1}
    assert found.threshold == pytest.approx(1)


def test_an_encoder_that_says_the_same_of_all_images_has_the_precision_of_chance():
    _, _, pairs = planted()
    found = find_duplicates(torch.ones(60, 4), torch.ones(40, 4), pairs)
    assert found.average_precision == pytest.approx(15 / (60 * 40))
    assert found.recall_at == {0.5: 0, 0.9: 0}


HEADER = "TestID,TrainID,Distance,Judgment\n"


def test_pairs_judged_different_are_no_duplicates(tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text(HEADER + "5,7,0.1,0\n2,3,0.2,2\n1,1,0.3,3\n")
    assert read_pairs(file, test=10, train=10).tolist() == [[2, 3], [5, 7]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "columns TestID, TrainID, Judgment"),
        (HEADER + "x,2,0,1\n", "whole numbers"),
        (HEADER + "1,2,0,3\n", "lists no duplicates"),
        (HEADER + "1,12,0,1\n", "another data set"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error_with_the_remedy(tmp_path, text, words):
    file = tmp_path / "pairs.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=words):
        read_pairs(file, test=10, train=10)


def test_the_judged_pairs_of_cifar10_are_read(shared_data):
    pairs = read_pairs(
        shared_data / "cifair-duplicates" / "duplicates_cifar10.csv", test=10_000, train=50_000
    )
    assert len(pairs) == 286
    assert [6611, 49007] in pairs.tolist()
