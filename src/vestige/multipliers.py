"""Non-negative least squares from a Gram matrix: min over λ ≥ 0 of λᵀKλ − 2bᵀλ, and how far λ may move.

With K = GᵀG and b = Gᵀθ this is min ‖θ − Gλ‖². Pure functions of numbers; nothing here knows of models.
"""

from __future__ import annotations

import numpy as np

RIDGE = 1e-10
"""Added to the unit diagonal: keeps the factorisation stable, and lets identical samples share evenly."""

SMALL = 1e-10
"""What counts as 0, as a share of the largest entry."""

TINY = 1e-300
"""Keeps a division by nothing from being one by 0."""

PATIENCE = 10
"""Exchanges that may fail to bring fewer infeasible entries before another algorithm takes over."""

TIGHT = 0.01
"""How near to its slack a range is taken, as a share of it."""


def solve(gram: np.ndarray, slope: np.ndarray, *, start: np.ndarray | None = None) -> np.ndarray:
    """λ ≥ 0 (n,) that minimises λᵀKλ − 2bᵀλ, by block principal pivoting (Portugal et al. 1994; Kim and Park 2011).

    gram: K (n, n), positive semidefinite; where its diagonal is 0, λ is. slope: b (n,). start: an earlier λ, whose
    support is tried first. Every step solves for a whole support, so a few steps do, and the result is exact up to
    rounding (see `violation`). Where gradients depend on each other so much that supports go round in circles, Lawson
    and Hanson's algorithm finishes: slower, but sure.
    """
    from scipy.linalg import cho_factor, cho_solve

    scale = _lengths(gram)
    aim = slope / scale
    free = aim > 0 if start is None else start > 0
    fewest, patience = len(aim) + 1, PATIENCE
    while patience > 0:
        inside = np.flatnonzero(free)
        found = np.zeros(len(aim))
        if len(inside):
            factor = cho_factor(_unit(gram, scale, inside), lower=True, overwrite_a=True, check_finite=False)
            found[inside] = cho_solve(factor, aim[inside], check_finite=False)
        left = (slope - gram[:, inside] @ (found / scale)[inside]) / scale
        below, above = -SMALL * np.abs(found).max(initial=0.0), SMALL * np.abs(aim).max(initial=0.0)
        wrong = np.where(free, found < below, left > above)
        count = int(wrong.sum())
        if count == 0:
            return np.asarray(np.maximum(found, 0.0) / scale)
        patience = PATIENCE if count < fewest else patience - 1
        fewest = min(fewest, count)
        free = free ^ wrong
    return _surely(gram, aim, scale)


def _lengths(gram: np.ndarray) -> np.ndarray:
    """The length of each gradient; 1 for one that is 0, which then explains nothing and stays out."""
    lengths = np.sqrt(np.diag(gram))
    return np.asarray(np.where(lengths > 0, lengths, 1.0))


def _surely(gram: np.ndarray, aim: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The same minimum by active sets, one entry at a time (Lawson and Hanson 1974)."""
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    root = np.linalg.cholesky(_unit(gram, scale, np.arange(len(aim))))
    found, _ = nnls(root.T, solve_triangular(root, aim, lower=True), maxiter=100 * len(aim))
    return np.asarray(found / scale)


def _unit(gram: np.ndarray, scale: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The part of K that belongs to these entries, as of gradients of length 1, with its ridge."""
    block = gram[np.ix_(inside, inside)] / np.outer(scale[inside], scale[inside])
    block[np.diag_indices_from(block)] += RIDGE
    return np.asarray(block)


def violation(gram: np.ndarray, slope: np.ndarray, found: np.ndarray) -> float:
    """By how much λ misses the conditions that hold at the minimum and nowhere else (Karush, Kuhn, Tucker).

    With w = b − Kλ: w ≤ 0 where λ = 0, and w = 0 where λ > 0. The largest breach, each in units of its gradient's
    length, as a share of the largest |b| in the same units: 0 at the minimum, 1 at λ = 0.
    """
    scale = _lengths(gram)
    left = (slope - gram @ found) / scale
    breach = np.where(found > 0, np.abs(left), np.maximum(left, 0.0))
    return float(breach.max(initial=0.0) / np.abs(slope / scale).max(initial=TINY))


def objective(gram: np.ndarray, slope: np.ndarray, found: np.ndarray) -> float:
    """λᵀKλ − 2bᵀλ."""
    return float(found @ (gram @ found) - 2 * slope @ found)


def extremes(
    gram: np.ndarray, slope: np.ndarray, found: np.ndarray, direction: np.ndarray, slack: float
) -> tuple[float, float]:
    """The smallest and the largest cᵀλ of all λ ≥ 0 whose objective is within `slack` of the smallest.

    found: the minimiser. direction: c (n,). slack: above 0, in units of the objective. Minimising the objective plus
    2s·cᵀλ gives the extreme for the slack that it uses up; s is searched until that is `slack` (to 1 %, from below).
    """
    c = np.where(np.diag(gram) > 0, direction, 0.0)
    if not c.any():
        return 0.0, 0.0
    return _extreme(gram, slope, found, c, slack), -_extreme(gram, slope, found, -c, slack)


def gains(gram: np.ndarray, found: np.ndarray, cross: np.ndarray, slope: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """By how much the objective would fall if one more sample were let in, for each of M others; (M,), ≥ 0.

    gram, found: of the samples that are in. cross: their kernel with the others, (n, M). slope, norms: b and the
    diagonal of K of the others, (M,). The support stays as it is; its multipliers adjust.
    """
    from scipy.linalg import cho_factor, cho_solve

    inside = np.flatnonzero(found > 0)
    if not len(inside):
        return np.asarray(np.maximum(slope, 0.0) ** 2 / np.maximum(norms, TINY))
    block, part = gram[np.ix_(inside, inside)].copy(), cross[inside]
    block[np.diag_indices_from(block)] *= 1 + RIDGE
    new = norms - (part * cho_solve(cho_factor(block, lower=True), part)).sum(0)
    left = slope - cross.T @ found
    return np.asarray(np.maximum(left, 0.0) ** 2 / np.maximum(np.maximum(new, RIDGE * norms), TINY))


def _extreme(gram: np.ndarray, slope: np.ndarray, found: np.ndarray, c: np.ndarray, slack: float) -> float:
    """The smallest cᵀλ within the slack."""
    best = objective(gram, slope, found)
    kept, inner, outer = found, 0.0, np.inf
    push = float(np.sqrt(slack / max(float((c / _lengths(gram)) @ (c / _lengths(gram))), TINY)))
    used = 0.0
    for _ in range(60):
        trial = solve(gram, slope - push * c, start=kept)
        spent = objective(gram, slope, trial) - best
        if spent <= slack:
            kept, inner, used = trial, push, spent
            if spent >= (1 - TIGHT) * slack or not (np.abs(c) * trial).any():
                break
        else:
            outer = push
        # Within one support the slack used grows as s².
        guess = push * float(np.sqrt(slack * (1 - TIGHT / 2) / spent)) if spent > 0 else 4 * push
        if not inner < guess < outer:
            guess = (inner + outer) / 2 if np.isfinite(outer) else 4 * push
        if used > 0 and np.isfinite(outer) and outer - inner < 1e-6 * outer:
            break
        push = guess
    return float(c @ kept)
