"""How similar are similar samples: purity, ranks, silhouette, clusters and a map; tables of numbers, no pictures.

A group is a target with its similar samples, as rows of a matrix of features of unit length. Every measure stands
beside its null: the same measure when it is shuffled who belongs to whom, among samples of the same class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige.types import InputError
from vestige.verify import mean_interval

if TYPE_CHECKING:
    import torch

LEAST, MOST = 5, 10_000
"""Fewer samples make no map; all pairs of more do not fit into memory."""
COMPONENTS, PERPLEXITY = 50, 30.0
MEASURES: dict[str, dict[str, str]] = {
    "purity": {
        "unit": "0…1", "better": "1: all",
        "what": "share of a target’s k nearest neighbours that are its k similar samples",
    },
    "rank": {
        "unit": "rank", "better": "low",
        "what": "mean rank of the similar samples among all neighbours of their target; 1 is the nearest",
    },
    "silhouette": {
        "unit": "−1…1", "better": "1: apart",
        "what": "silhouette of target and similar samples; a sample without a group is one of its own",
    },
    "same_cluster": {
        "unit": "0…1", "better": "1: all", "what": "share of the similar samples in their target’s K-means cluster",
    },
    "same_topic": {
        "unit": "0…1", "better": "1: all", "what": "share of the similar samples in the topic of their target",
    },
    "whole_topic": {
        "unit": "0…1", "better": "1: all", "what": "share of the targets with every similar sample in their topic",
    },
}  # fmt: skip
"""Every measure: its unit, which way is more alike, and what it is."""


@dataclass(frozen=True)
class Group:
    """A target and its similar samples, as rows."""

    target: int
    similar: tuple[int, ...]


def check(count: int, groups: Sequence[Group]) -> None:
    """Raise InputError where there are too few or too many samples, or no similar ones, for an analysis."""
    if count < LEAST:
        raise InputError(f"an analysis needs at least {LEAST} samples, found {count}")
    if count > MOST:
        raise InputError(f"an analysis compares all pairs of at most {MOST:,} samples, found {count:,}; use --limit")
    if not any(group.similar for group in groups):
        raise InputError("no target has a similar sample: the data know no families and data.similar is 0")


def ranks(features: np.ndarray) -> np.ndarray:
    """The rank of every sample among the neighbours of every other by cosine similarity, 1 for the nearest.

    features: (N, d), rows of unit length. Returns (N, N) int32, 0 on the diagonal. Ties go to the earlier row.
    """
    near = features @ features.T
    np.fill_diagonal(near, np.inf)
    order = np.argsort(-near, axis=1, kind="stable")
    found = np.empty(order.shape, np.int32)
    np.put_along_axis(found, order, np.arange(len(order), dtype=np.int32)[None], axis=1)
    return found


def purity(found: np.ndarray, groups: Sequence[Group]) -> np.ndarray:
    """Per target, the share of its k nearest neighbours that are its k similar samples. found: see `ranks`."""
    return np.array([(found[group.target, group.similar] <= len(group.similar)).mean() for group in groups])


def mean_rank(found: np.ndarray, groups: Sequence[Group]) -> np.ndarray:
    """Per target, the mean rank of its k similar samples among all others: (k + 1) / 2 at best. found: see `ranks`."""
    return np.array([found[group.target, group.similar].mean() for group in groups])


def silhouette(features: np.ndarray, groups: Sequence[Group]) -> np.ndarray:
    """Per target, the mean silhouette of its group by cosine distance (Rousseeuw 1987).

    (b − a) / max(a, b) of each member: a its mean distance to the rest of its group, b to the nearest other group. A
    sample in no group is one of its own, so that b is strict. Returns values in [−1, 1].
    """
    rows = [np.array([group.target, *group.similar]) for group in groups]
    members = np.concatenate(rows)
    alone = np.setdiff1d(np.arange(len(features)), members)
    sums = np.stack([features[own].sum(0) for own in rows])
    sizes = np.array([len(own) for own in rows])
    whose = np.repeat(np.arange(len(rows)), sizes)
    near = features[members] @ sums.T
    # a member's similarity to itself is taken out of its own group's sum
    itself = (features[members] ** 2).sum(1)
    a = 1 - (near[np.arange(len(members)), whose] - itself) / np.maximum(sizes[whose] - 1, 1)
    others = 1 - near / sizes
    others[np.arange(len(members)), whose] = np.inf
    b = others.min(1)
    if len(alone):
        b = np.minimum(b, 1 - (features[members] @ features[alone].T).max(1))
    top = np.maximum(a, b)
    value = np.where(top > 1e-6, (b - a) / np.maximum(top, 1e-6), 0.0)
    return np.array([part.mean() for part in np.split(value, np.cumsum(sizes)[:-1])])


def agreement(labels: np.ndarray, groups: Sequence[Group]) -> np.ndarray:
    """Per target, the share of its similar samples that bear its label; −1 is no label and agrees with none."""
    return np.array(
        [
            ((labels[list(group.similar)] == labels[group.target]) & (labels[group.target] >= 0)).mean()
            for group in groups
        ]
    )


def beside_null(
    name: str,
    measure: Callable[[Sequence[Group]], np.ndarray],
    groups: Sequence[Group],
    strata: np.ndarray,
    *,
    draws: int,
    generator: torch.Generator,
) -> dict[str, Any]:
    """A measure's mean over the targets with its 95 % t interval, beside its null.

    measure: groups → one value per target. strata: (N,) int, the class of each sample. Null: samples change places with
    others of their class, `draws` times; its mean, and its 2.5th and 97.5th percentile.
    """
    bounds = {"rank": (1.0, np.inf), "silhouette": (-1.0, 1.0)}.get(name, (0.0, 1.0))
    values = measure(groups)
    mean, low, high = mean_interval(values, bounds)
    null = [float(measure(_shuffled(groups, strata, generator)).mean()) for _ in range(draws)]
    edges = np.percentile(null, (2.5, 97.5))
    return {
        "name": name, **MEASURES[name], "mean": brief(mean), "low": brief(low), "high": brief(high), "n": len(values),
        "null": {"mean": brief(np.mean(null)), "low": brief(edges[0]), "high": brief(edges[1]), "draws": draws},
        "values": [brief(value) for value in values],
    }  # fmt: skip


def project(features: np.ndarray, seed: int) -> np.ndarray:
    """A map in two dimensions: PCA to at most 50, then t-SNE (van der Maaten and Hinton 2008). Returns (N, 2)."""
    from sklearn.manifold import TSNE

    reduced = reduce(features, seed)
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    found = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(reduced)
    return np.asarray(found, np.float64)


def cluster(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    """K-means on the PCA of the features, the best of ten starts. Returns a cluster per sample, (N,) int."""
    from sklearn.cluster import KMeans

    found = KMeans(min(count, len(features)), n_init=10, random_state=seed).fit_predict(reduce(features, seed))
    return np.asarray(found, np.int64)


def reduce(features: np.ndarray, seed: int) -> np.ndarray:
    """The first principal components, at most 50. Returns (N, ≤ 50) float64."""
    from sklearn.decomposition import PCA

    parts = min(COMPONENTS, len(features), features.shape[1])
    found = PCA(parts, random_state=seed).fit_transform(np.asarray(features, np.float64))
    return np.asarray(found)


def lengths(texts: Sequence[str]) -> dict[str, Any]:
    """How many words the texts have: mean, variance (of the sample; None for one text), least and most."""
    counts = np.array([len(text.split()) for text in texts])
    spread = brief(counts.var(ddof=1)) if len(counts) > 1 else None
    return {"mean": brief(counts.mean()), "variance": spread, "least": int(counts.min()), "most": int(counts.max()),
            "counts": counts.tolist()}  # fmt: skip


def brief(value: Any) -> float | None:
    """A number of a result: five significant digits are more than an analysis knows."""
    return None if value is None else float(f"{float(value):.5g}")


def _shuffled(groups: Sequence[Group], strata: np.ndarray, generator: torch.Generator) -> list[Group]:
    """The groups when all samples of a class change places with each other."""
    import torch

    place = np.arange(len(strata))
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        place[rows] = rows[torch.randperm(len(rows), generator=generator).numpy()]
    return [Group(int(place[group.target]), tuple(place[list(group.similar)].tolist())) for group in groups]
