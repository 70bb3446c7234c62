"""Neighbours: which samples are similar to a given one. Direct neighbours only, no chaining."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vestige.image import search
from vestige.image.ssim import ssim
from vestige.index import Hits
from vestige.measures import Measure, fuse
from vestige.random import stream
from vestige.types import InputError, Samples

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Neighbour", "beside_pairs", "check_targets", "neighbours", "null_pairs", "ssim", "threshold", "top_k"]

NULL = 2000
"""Random pairs that stand beside the values."""
ENOUGH = 0.5
"""Share of the random pairs that must be left when those among a record's own neighbours are not counted."""


def top_k(targets: Samples, pool: Samples, k: int, *, by: str = "ssim") -> dict[str, tuple[str, ...]]:
    """The k most similar samples of the pool for each target, nearest first, by exact search.

    A target is not its own neighbour. Ties go to the earlier sample of the pool.
    Raises InputError if the pool has fewer than k other samples.
    """
    _check_by(by)
    skip = _own(targets, pool)
    for name, own in zip(targets.ids, skip.tolist(), strict=True):
        others = len(pool) - (own >= 0)
        if others < k:
            raise InputError(f"{k} similar samples of {name!r} were asked for, only {others} others are there")
    if k == 0 or len(targets) == 0:
        return dict.fromkeys(targets.ids, ())
    return _names(search.nearest(targets.x.cpu(), pool.x.cpu(), k, skip=skip), targets, pool)


def threshold(targets: Samples, pool: Samples, tau: float, *, by: str = "ssim") -> dict[str, tuple[str, ...]]:
    """T(x) = {x_j : similarity(x, x_j) ≥ tau} for each target, nearest first (paper, eq. 2)."""
    _check_by(by)
    if len(targets) == 0 or len(pool) == 0:
        return dict.fromkeys(targets.ids, ())
    return _names(search.within(targets.x.cpu(), pool.x.cpu(), tau, skip=_own(targets, pool)), targets, pool)


@dataclass(frozen=True)
class Neighbour:
    """A similar record. rank: from 1. values: measure → similarity. beyond: measure → random pairs that reach it."""

    id: str
    rank: int
    values: Mapping[str, float]
    beyond: Mapping[str, int]


def check_targets(samples: Samples, ids: Sequence[str], *, k: int | None, tau: float | None, by: str) -> Tensor:
    """The positions of the targets. Raises InputError for what cannot be searched: see the messages."""
    if not ids:
        raise InputError("no targets were given; name some with --ids a,b or --ids-file FILE")
    where = {name: position for position, name in enumerate(samples.ids)}
    unknown = [name for name in ids if name not in where]
    if unknown:
        close = difflib.get_close_matches(unknown[0], samples.ids[:100_000], 3, 0.6) or samples.ids[:3]
        raise InputError(
            f"no record is called {unknown[0]!r} ({len(unknown)} of {len(ids)} ids are unknown); "
            f"close ones: {', '.join(close)}"
        )
    if (k is None) == (tau is None):
        raise InputError("give --k or --tau, not both" if k is not None else "give --k or --tau")
    if k is not None and not 1 <= k < len(samples):
        raise InputError(f"--k {k}: the data set has {len(samples) - 1} other records; k is 1 to {len(samples) - 1}")
    if tau is not None:
        if by == "all":
            raise InputError("--tau needs one measure: all joins rankings, which have no common scale; use --k")
        if not (math.isfinite(tau) and -1 <= tau <= 1):
            raise InputError(f"--tau {tau:g}: similarities lie in [-1, 1]")
    return torch.tensor([where[name] for name in dict.fromkeys(ids)])


def neighbours(
    samples: Samples,
    rows: Tensor,
    measures: Mapping[str, Measure],
    null: Mapping[str, Tensor],
    *,
    k: int | None,
    tau: float | None = None,
) -> dict[str, tuple[Neighbour, ...]]:
    """The similar records of those at these positions, nearest first, each with all measures.

    With one measure by it, with several by `fuse`. k nearest, or all with at least tau (one measure only).
    null: measure → values of random pairs (see `null_pairs`).
    """
    first = next(iter(measures.values()))
    if k is None:
        hits = first.within(rows, 1.0 if tau is None else tau)
    else:
        hits = fuse(measures, rows, k) if len(measures) > 1 else first.nearest(rows, k)
    values = {
        name: hits.value if len(measures) == 1 else measure.pairs(rows[hits.query], hits.position)
        for name, measure in measures.items()
    }
    beyond = {name: (null[name][None] >= value[:, None]).sum(1).tolist() for name, value in values.items()}
    numbers = {name: value.tolist() for name, value in values.items()}
    found: dict[str, list[Neighbour]] = {samples.ids[row]: [] for row in rows.tolist()}
    for at, (query, position) in enumerate(zip(hits.query.tolist(), hits.position.tolist(), strict=True)):
        lot = found[samples.ids[rows[query]]]
        lot.append(
            Neighbour(
                samples.ids[position],
                len(lot) + 1,
                {name: numbers[name][at] for name in measures},
                {name: beyond[name][at] for name in measures},
            )
        )
    return {name: tuple(lot) for name, lot in found.items()}


def null_pairs(samples: Samples, seed: int, count: int = NULL) -> tuple[Tensor, Tensor]:
    """Positions of random pairs of different records, of one class where there are classes.

    The first is drawn evenly, among those that have another of its class; the second evenly among these others.
    Raises InputError where there is no such pair.
    """
    draw = stream(seed, "null pairs")
    labels = samples.y.cpu() if samples.classes else torch.zeros(len(samples), dtype=torch.long)
    order = torch.argsort(labels, stable=True)
    sizes = torch.bincount(labels)
    starts = sizes.cumsum(0) - sizes
    able = (sizes[labels] > 1).nonzero().flatten()
    if len(able) == 0:
        raise InputError("no class has two records: there are no random pairs of one class to compare with")
    first = able[torch.randint(len(able), (count,), generator=draw)]
    kind = labels[first]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    step = 1 + (torch.rand(count, generator=draw, dtype=torch.float64) * (sizes[kind] - 1)).long()
    second = order[starts[kind] + (place[first] - starts[kind] + step) % sizes[kind]]
    return first, second


def beside_pairs(
    order: Sequence[int], values: Sequence[float], first: Tensor, second: Tensor, pairs: np.ndarray
) -> tuple[int, list[int], np.ndarray]:
    """How many neighbours of a record are more alike to it than random pairs are.

    A pair between the record and its neighbours, or two of them, is no null for these: a few near-copies in a small
    data set would hide each other. So the first n neighbours count, for the largest n with which no pair other than
    those among the record and these n reaches the n-th, and at least `ENOUGH` of all pairs are other ones.

    order: positions of the record, then of its neighbours, nearest first. values: of each neighbour, falling (k,).
    first, second: positions of the random pairs (P,). pairs: how alike those are (P,). Returns n, how many pairs reach
    each neighbour, and which are pairs among the record and its n (P,).
    """
    place = {position: at for at, position in enumerate(order)}
    outside = len(order)
    joins = np.array([max(place.get(one, outside), place.get(other, outside))
                      for one, other in zip(first.tolist(), second.tolist(), strict=True)])  # fmt: skip
    alike = 0
    for n, value in enumerate(values, 1):
        other = joins > n
        if other.mean() >= ENOUGH and not (pairs[other] >= value).any():
            alike = n
    reaching = [int((pairs[joins > max(n, alike)] >= value).sum()) for n, value in enumerate(values, 1)]
    return alike, reaching, joins <= alike


def _check_by(by: str) -> None:
    if by != "ssim":
        raise InputError(f"unknown similarity {by!r}; known: ssim")


def _own(targets: Samples, pool: Samples) -> Tensor:
    where = {name: position for position, name in enumerate(pool.ids)}
    return torch.tensor([where.get(name, -1) for name in targets.ids], dtype=torch.long)


def _names(hits: Hits, targets: Samples, pool: Samples) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {name: [] for name in targets.ids}
    for query, position in zip(hits.query.tolist(), hits.position.tolist(), strict=True):
        found[targets.ids[query]].append(pool.ids[position])
    return {name: tuple(lot) for name, lot in found.items()}
