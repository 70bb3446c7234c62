"""Rank correlations and slopes with bootstrap draws, many at once. Pure functions of numbers."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DRAWS = 2000
HELD = 20_000_000
"""Ranks that are held at once: bounds the memory."""


def spearman(a: Array, b: Array, *, draws: int = DRAWS, seed: int = 0) -> tuple[Array, Array]:
    """Rank correlations of V with W variables over N samples, and the same in bootstrap draws of the samples.

    a: (V, N), b: (W, N). Returns (V, W) and (draws, V, W). A pair is compared on the samples where neither is NaN. Ties
    get the mean of their ranks, in each draw anew (Spearman 1904; Efron 1979). NaN where one of the two is constant, or
    fewer than two samples are there. One seed and N mean the same draws in every call.
    """
    n = a.shape[1]
    counts = np.concatenate([np.ones((n, 1)), resamples(n, draws, seed)], 1)
    found = np.full((len(a), len(b), counts.shape[1]), np.nan)
    for rows, first in _alike(a):
        for columns, second in _alike(b):
            there = first & second
            if there.sum() > 1:
                found[rows[:, None], columns] = _correlations(a[rows][:, there], b[columns][:, there], counts[there])
    return found[..., 0], np.moveaxis(found[..., 1:], 2, 0)


def slopes(x: Array, y: Array, *, draws: int = DRAWS, seed: int = 0) -> tuple[float, Array]:
    """The least-squares slope of y on x, (N,) each, and those in bootstrap draws; NaN samples are left out."""
    counts = np.concatenate([np.ones((len(x), 1)), resamples(len(x), draws, seed)], 1)
    there = ~np.isnan(x) & ~np.isnan(y)
    w, x, y = counts[there].T, x[there], y[there]
    total = np.maximum(w.sum(1), 1)
    mean_x, mean_y = w @ x / total, w @ y / total
    above, below = w @ (x * y) / total - mean_x * mean_y, w @ (x * x) / total - mean_x**2
    found = np.divide(above, below, out=np.full(len(w), np.nan), where=below > 1e-12)
    return float(found[0]), found[1:]


@lru_cache(maxsize=8)
def resamples(n: int, draws: int, seed: int) -> Array:
    """How often each of n samples is drawn, (n, draws); read only."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), draws)
    counts = np.ascontiguousarray(drawn.T.astype(np.float64))
    counts.flags.writeable = False
    return counts


def interval(value: float, draws: Array, n: int) -> dict[str, Any]:
    """{"value", "low", "high", "n"}: 95 % percentile interval, None for a value that does not exist."""
    if math.isnan(value):
        return {"value": None, "low": None, "high": None, "n": n}
    there = draws[~np.isnan(draws)]
    low, high = np.percentile(there, [2.5, 97.5]).tolist() if len(there) and n > 1 else (None, None)
    return {"value": float(value), "low": low, "high": high, "n": n}


def mean(values: Array, axis: int) -> Array:
    """The mean over this axis of what is not NaN; NaN where nothing is."""
    counts = (~np.isnan(values)).sum(axis)
    return np.asarray(np.divide(np.nansum(values, axis), counts, out=np.full(counts.shape, np.nan), where=counts > 0))


def ranks(values: Array, counts: Array) -> Array:
    """Mid-ranks of n values in B samples that hold value i counts[i, b] times, (n, B)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] > ordered[:-1]))
    sizes = np.add.reduceat(counts[order], starts, axis=0)
    middle = np.cumsum(sizes, 0) - sizes / 2 + 0.5
    group = np.empty(len(values), np.int64)
    group[order] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(values))))
    return np.asarray(middle[group])


def _correlations(a: Array, b: Array, counts: Array) -> Array:
    """(V, W, B) of variables without NaN."""
    step = max(1, HELD // ((len(a) + len(b)) * a.shape[1]))
    parts = []
    for at in range(0, counts.shape[1], step):
        w = np.ascontiguousarray(counts[:, at : at + step])
        first, second = _scaled(a, w), _scaled(b, w)
        parts.append(np.stack([np.einsum("vnb,nb->vb", first, row) for row in second], 1))
    return np.concatenate(parts, 2)


def _scaled(values: Array, counts: Array) -> Array:
    """Ranks (V, n, B), centred, of unit length in each draw; NaN where all are equal."""
    found = np.stack([ranks(row, counts) for row in values])
    found -= np.einsum("vnb,nb->vb", found, counts)[:, None] / np.maximum(counts.sum(0), 1)
    found *= np.sqrt(counts)
    length = np.sqrt(np.einsum("vnb,vnb->vb", found, found))[:, None]
    return np.asarray(np.divide(found, length, out=np.full_like(found, np.nan), where=length > 1e-9))


def _alike(values: Array) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Rows that exist for the same samples, and these samples."""
    there = ~np.isnan(values)
    groups: dict[bytes, list[int]] = {}
    for row, mask in enumerate(there):
        groups.setdefault(mask.tobytes(), []).append(row)
    return [(np.array(rows), there[rows[0]]) for rows in groups.values()]
