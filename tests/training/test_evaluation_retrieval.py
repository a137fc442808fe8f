from pathlib import Path

import numpy as np
import pytest
import torch

from training.evaluation.retrieval import NO_GROUP, queries_of, read_groups, retrieve
from training.images import DataError


def slow_retrieval(vectors, groups):
    """recall@1 and mAP by sorting all others of each query, equals with the wrong group first."""
    firsts, averages = [], []
    for query in range(len(vectors)):
        ranked = []
        for other in range(len(vectors)):
            if other != query:
                cosine = vectors[query] @ vectors[other]
                cosine /= np.linalg.norm(vectors[query]) * np.linalg.norm(vectors[other])
                ranked.append((-cosine, groups[other] == groups[query]))
        ranked.sort()
        hits, precisions = 0, []
        for place, (_, relevant) in enumerate(ranked, start=1):
            if relevant:
                hits += 1
                precisions.append(hits / place)
        if precisions:
            firsts.append(ranked[0][1])
            averages.append(np.mean(precisions))
    return np.mean(firsts), np.mean(averages)


def test_both_figures_are_those_of_a_loop_nobody_could_get_wrong():
    groups = torch.randint(0, 12, (70,))
    groups[0] = 99  # alone in its group: not asked, but in everybody's way
    vectors = torch.randn(70, 6) + 1.5 * torch.randn(100, 6)[groups]
    recall, precision = slow_retrieval(vectors.double().numpy(), groups.tolist())
    found = retrieve(vectors, groups)
    assert 0.2 < recall < 0.98
    assert found.recall_at_1 == pytest.approx(recall)
    assert found.mean_average_precision == pytest.approx(precision, abs=1e-6)
    assert found.queries == sum((groups == group).sum() > 1 for group in groups)


def test_groups_that_are_found_first_score_one():
    groups = torch.arange(30) % 3
    found = retrieve(torch.eye(3)[groups] * torch.rand(30, 1), groups)
    assert (found.recall_at_1, found.mean_average_precision) == (1, 1)


def test_an_encoder_that_says_the_same_of_all_images_gets_the_worst_ranks():
    groups = torch.tensor([0, 0, 1, 1])
    found = retrieve(torch.ones(4, 8), groups)
    assert found.recall_at_1 == 0
    assert found.mean_average_precision == pytest.approx(1 / 3)  # the one relevant comes last


def test_images_without_a_group_take_no_part():
    groups = torch.tensor([0, NO_GROUP, 0, 1, 1])
    vectors = torch.tensor([[1.0, 0], [1, 0], [1, 0.1], [0, 1], [0, 1]])
    found = retrieve(vectors, groups)
    assert (found.recall_at_1, found.queries) == (1, 4)


def test_of_very_many_queries_the_same_are_drawn_each_time(monkeypatch):
    monkeypatch.setattr("training.evaluation.retrieval.MOST_QUERIES", 10)
    groups = torch.arange(50) // 2
    drawn = queries_of(groups)
    assert len(set(drawn.tolist())) == 10
    assert torch.equal(drawn, queries_of(groups))


def test_groups_of_one_image_each_are_an_error_that_names_the_option():
    with pytest.raises(DataError, match="--group-by"):
        retrieve(torch.randn(5, 2), torch.arange(5))


# ------------------------------------------------------------------------------- the CSV file

TRACKS = "name,class,track\na/1,0,7\na/2,0,7\nb/1,1,7\nb/2,1,\n"


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "tracks.csv"
    file.write_text(text)
    return file


def test_several_columns_make_a_group_and_the_suffix_may_be_missing(tmp_path):
    paths = ["a/1.png", "a/2.jpeg", "b/1.png", "b/2.png", "c/9.png"]
    groups = read_groups(written(tmp_path, TRACKS), ("class", "track"), paths)
    first, second, third, *rest = groups.numbers.tolist()
    assert first == second != third
    assert rest == [NO_GROUP, NO_GROUP]  # an empty column; not listed
    assert groups.description == "images with the same class, track in tracks.csv"


def test_a_name_with_a_dot_is_found_as_it_is(tmp_path):
    file = written(tmp_path, "path,group\nx.1.png,a\nx.2.png,a\n")
    assert read_groups(file, ("group",), ["x.1.png", "x.2.png"]).numbers.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        (TRACKS, ("group",), "no column group; it has name, class, track"),
        ("name,group\nz/1,0\n", ("group",), "lists none of the 1 images"),
        ("", ("group",), "no column group"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error_with_the_remedy(tmp_path, text, columns, words):
    with pytest.raises(DataError, match=words):
        read_groups(written(tmp_path, text), columns, ["a/1.png"])


def test_a_missing_file_is_an_error_with_the_remedy(tmp_path):
    with pytest.raises(DataError, match="--groups"):
        read_groups(tmp_path / "none.csv", ("group",), ["a.png"])
