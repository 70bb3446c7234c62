"""The ground truth: how well one sample was unlearned, H, and its difficulty 1 − H. Pure functions of numbers.

Nothing here knows the algorithm or the model: all arrays broadcast, one entry per run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vestige.types import InputError

Array = NDArray[np.float64]

FLOOR = 0.05
"""Between p_before and p_ref there must be at least as much for there to be something to erase."""


@dataclass(frozen=True)
class Score:
    """How well samples were unlearned; arrays of one shape, one entry per run.

    erasure, utility: in 0…1, 1 is best. privacy: the same, None where no membership attack was run. h: their harmonic
    mean, 0…1. erasable: whether there was something to erase, |p_before − p_ref| ≥ 0.05. Where there was not, h says
    how still the algorithm kept and not how well it erased: such runs are shown, and left out of every ranking.
    """

    erasure: Array
    utility: Array
    privacy: Array | None
    h: Array
    erasable: NDArray[np.bool_]

    @property
    def difficulty(self) -> Array:
        """1 − h: 0 the easiest, 1 the hardest."""
        return np.asarray(1 - self.h)


def erasure(after: ArrayLike, before: ArrayLike, reference: ArrayLike) -> Array:
    """E = 1 − clip(|p_after − p_ref| / max(|p_before − p_ref|, 0.05), 0, 1) (our own score; docs/methods.md, `H`).

    All three: probability of the true class, in 0…1; reference: the mean over models not trained on the sample. 1: as
    if never seen; 0: as far from that as before, or further, on whichever side. Raises InputError outside 0…1.
    p_before 0.9, p_ref 0.5, p_after 0.6: E = 1 − 0.1/0.4 = 0.75; p_after 0.3: 0.5.
    """
    a, b, r = (_share(values, "a probability") for values in (after, before, reference))
    return np.asarray(1 - np.clip(np.abs(a - r) / np.maximum(np.abs(b - r), FLOOR), 0, 1))


def utility(test: ArrayLike, retained: ArrayLike) -> Array:
    """U = clip(min(test, retained), 0, 1), both accuracies after over before (docs/methods.md, `H`).

    Raises InputError for a ratio below 0 or not finite: an accuracy before of 0 has no ratio.
    """
    a, b = np.asarray(test, np.float64), np.asarray(retained, np.float64)
    for values in (a, b):
        if not np.isfinite(values).all() or (values < 0).any():
            raise InputError("accuracy ratios must be finite and at least 0; was an accuracy before unlearning 0?")
    return np.asarray(np.clip(np.minimum(a, b), 0, 1))


def privacy(auc: ArrayLike) -> Array:
    """P = 1 − |2·AUC − 1|, AUC of a membership attack on the sample: 1 where it guesses, 0 where it always knows."""
    return np.asarray(1 - np.abs(2 * _share(auc, "an AUC") - 1))


def harmonic(*parts: ArrayLike) -> Array:
    """The harmonic mean of shares in 0…1; 0 where one of them is 0. Of 0.5 and 1: 2/3."""
    each = np.stack(np.broadcast_arrays(*(_share(part, "a part of the score") for part in parts)))
    there = each.min(0) > 1e-300  # the inverse of less overflows
    inverse = np.divide(1, each, out=np.ones_like(each), where=there)
    return np.asarray(np.where(there, len(each) / inverse.sum(0), 0.0))


def score(
    before: ArrayLike,
    after: ArrayLike,
    reference: ArrayLike,
    *,
    test: ArrayLike,
    retained: ArrayLike,
    auc: ArrayLike | None = None,
) -> Score:
    """H = 2EU/(E + U), with a membership AUC the harmonic mean of E, U and P; its parts beside it.

    before, after, reference: probabilities of the true class. test, retained: accuracy after over before. All
    broadcast. Raises InputError for numbers outside their ranges.
    """
    e, u = np.broadcast_arrays(erasure(after, before, reference), utility(test, retained))
    p = None if auc is None else np.broadcast_to(privacy(auc), e.shape)
    h = harmonic(e, u) if p is None else harmonic(e, u, p)
    return Score(e, u, p, h, np.broadcast_to(erasable(before, reference), e.shape))


def erasable(before: ArrayLike, reference: ArrayLike) -> NDArray[np.bool_]:
    """Whether there is something to erase: |p_before − p_ref| ≥ 0.05, but for rounding."""
    gap = np.abs(_share(before, "a probability") - _share(reference, "a probability"))
    return np.asarray(gap >= FLOOR - 1e-12)


def _share(values: ArrayLike, what: str) -> Array:
    x = np.asarray(values, np.float64)
    if not ((x >= -1e-6) & (x <= 1 + 1e-6)).all():
        raise InputError(f"{what} must lie in 0…1; a run that diverged has none")
    return np.clip(x, 0, 1)
