"""Neighbours: which samples are similar to a given one. Direct neighbours only, no chaining."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vestige.image.ssim import ssim, ssim_matrix
from vestige.types import InputError, Samples

__all__ = ["SIMILARITIES", "ssim", "threshold", "top_k"]

Similarity = Callable[[Tensor, Tensor], Tensor]
SIMILARITIES: dict[str, Similarity] = {"ssim": ssim_matrix}
"""Name → function of inputs (N, …) and (M, …) that gives the (N, M) similarities, larger is nearer."""


def top_k(targets: Samples, pool: Samples, k: int, *, by: str = "ssim") -> dict[str, tuple[str, ...]]:
    """The k most similar samples of the pool for each target, nearest first, by exact search.

    A target is not its own neighbour. Ties go to the earlier sample of the pool.
    Raises InputError if the pool has fewer than k other samples.
    """
    scores = _scores(targets, pool, by)
    found = {}
    for name, row in zip(targets.ids, scores, strict=True):
        order = torch.sort(row, descending=True, stable=True).indices.tolist()
        others = [pool.ids[position] for position in order if pool.ids[position] != name]
        if len(others) < k:
            raise InputError(f"{k} similar samples of {name!r} were asked for, only {len(others)} others are there")
        found[name] = tuple(others[:k])
    return found


def threshold(targets: Samples, pool: Samples, tau: float, *, by: str = "ssim") -> dict[str, tuple[str, ...]]:
    """T(x) = {x_j : similarity(x, x_j) ≥ tau} for each target, nearest first (paper, eq. 2)."""
    scores = _scores(targets, pool, by)
    found = {}
    for name, row in zip(targets.ids, scores, strict=True):
        order = torch.sort(row, descending=True, stable=True).indices.tolist()
        found[name] = tuple(pool.ids[at] for at in order if row[at] >= tau and pool.ids[at] != name)
    return found


def _scores(targets: Samples, pool: Samples, by: str) -> Tensor:
    if by not in SIMILARITIES:
        raise InputError(f"unknown similarity {by!r}; known: {', '.join(SIMILARITIES)}")
    return SIMILARITIES[by](targets.x, pool.x)
