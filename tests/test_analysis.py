"""Measures of similarity: hand-worked values, an independent silhouette, nulls that cover what is random."""

import numpy as np
import pytest

from vestige import analysis
from vestige.analysis import Group
from vestige.random import stream
from vestige.types import InputError


def unit(angles):
    """Points on the circle, given in degrees."""
    turns = np.deg2rad(np.asarray(angles, float))
    return np.stack([np.cos(turns), np.sin(turns)], 1).astype(np.float32)


def test_ranks_by_hand():
    """From 0°: 10° is nearest, then −20°, then 90°."""
    found = analysis.ranks(unit([0, 10, -20, 90]))
    assert found[0].tolist() == [0, 1, 2, 3]
    assert found[3].tolist() == [2, 1, 3, 0]


def test_purity_and_rank_by_hand():
    """Similar samples at 10° and 90°, a stranger at 20° between them: ranks 1 and 3, one of the two nearest."""
    found = analysis.ranks(unit([0, 10, 90, 20]))
    groups = [Group(0, (1, 2))]
    assert analysis.purity(found, groups).tolist() == [0.5]
    assert analysis.mean_rank(found, groups).tolist() == [2.0]


def test_silhouette_is_that_of_scikit_learn_with_lone_samples_as_groups():
    from sklearn.metrics import silhouette_samples

    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 5))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    groups = [Group(0, (1, 2)), Group(3, (4,)), Group(5, (6, 7, 8, 9))]
    labels = np.arange(30)
    labels[[1, 2]], labels[4], labels[[6, 7, 8, 9]] = 0, 3, 5
    reference = silhouette_samples(features, labels, metric="cosine")
    expected = [reference[[0, 1, 2]].mean(), reference[[3, 4]].mean(), reference[5:10].mean()]
    assert analysis.silhouette(features, groups) == pytest.approx(expected, abs=1e-6)


def test_no_label_agrees_with_none():
    labels = np.array([2, 2, 1, -1, -1])
    assert analysis.agreement(labels, [Group(0, (1, 2)), Group(3, (4,))]).tolist() == [0.5, 0.0]


def test_the_null_keeps_classes_and_tells_a_real_group_from_chance():
    """Two classes on two arcs; the group of three lies together, a random one does not."""
    rng = np.random.default_rng(1)
    angles = np.concatenate([rng.uniform(0, 60, 40), rng.uniform(120, 180, 40)])
    angles[:3] = [30, 30.1, 29.9]
    found, strata = analysis.ranks(unit(angles)), np.repeat([0, 1], 40)
    groups = [Group(0, (1, 2))]

    def of(which):
        return analysis.beside_null(
            "purity", lambda some: analysis.purity(found, some), which, strata, draws=100, generator=stream(0, "null")
        )

    record = of(groups)
    assert record["mean"] == 1.0
    assert record["null"]["high"] < 1.0
    assert record["null"]["mean"] == pytest.approx(2 / 39, abs=0.05), "two of 39 of the class, by chance"
    assert (record["n"], record["low"]) == (1, None), "one target gives no interval"
    assert of(groups) == record, "the same stream gives the same null"
    for group in analysis._shuffled(groups * 3, strata, stream(5, "x")):
        assert all(row < 40 for row in (group.target, *group.similar))


def test_similar_samples_share_a_cluster_and_a_place_on_the_map():
    rng = np.random.default_rng(2)
    features = np.concatenate([centre + 0.05 * rng.normal(size=(12, 8)) for centre in 3 * np.eye(8)[:3]])
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    clusters = analysis.cluster(features, 3, 0)
    assert [len(set(clusters[start : start + 12])) for start in (0, 12, 24)] == [1, 1, 1]
    places = analysis.project(features, 0)
    assert places.shape == (36, 2)
    assert (places == analysis.project(features, 0)).all()
    centres = [places[start : start + 12].mean(0) for start in (0, 12, 24)]
    assert np.linalg.norm(centres[0] - centres[1]) > places[:12].std(0).max()


def test_lengths_are_words():
    """2, 4 and 3 words: mean 3, sample variance 1."""
    found = analysis.lengths(["one two", "a  b\nc d", "x y z"])
    assert (found["mean"], found["variance"], found["least"], found["most"]) == (3.0, 1.0, 2, 4)
    assert analysis.lengths(["one"])["variance"] is None


@pytest.mark.parametrize(
    ("count", "groups", "message"),
    [
        (1, [Group(0, ())], "at least 5 samples, found 1"),
        (10_001, [Group(0, (1,))], "at most 10,000 samples, found 10,001; use --limit"),
        (50, [Group(0, ())], "no target has a similar sample"),
    ],
)
def test_what_cannot_be_analysed(count, groups, message):
    with pytest.raises(InputError, match=message):
        analysis.check(count, groups)
