"""The chapter's questions 1, 2, 3 and 5, each a function of the measured table, with intervals; 4 is in `predict`.

Every number with an interval is a record {"value", "low", "high", "n"}, low and high None where there is none: 95 %
percentile intervals of 2,000 bootstrap draws of samples. Records are plain: what is returned can be written as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
DRAWS = 2000


@dataclass(frozen=True)
class Measured:
    """What unlearning did to the samples of one data set and model, algorithm by algorithm, seed by seed.

    name: of data set and model, "mnist cnn". ids: N samples. algorithms: A names. seeds: S. h: the score (A, S, N), NaN
    where a run failed. gap: |p_before − p_ref| (S, N). before: factor → (S, N). after: symptom → (A, S, N); NaN where a
    value does not exist. Raises InputError for shapes that do not fit, or names that FACTORS does not have.
    """

    name: str
    ids: tuple[str, ...]
    algorithms: tuple[str, ...]
    seeds: tuple[int, ...]
    h: Array
    gap: Array
    before: Mapping[str, Array]
    after: Mapping[str, Array] = field(default_factory=dict)

    @property
    def erasable(self) -> NDArray[np.bool_]:
        """The samples with something to erase: a mean gap over seeds of at least 0.05, (N,). All analyses are of these."""
        raise NotImplementedError

    @property
    def difficulty(self) -> Array:
        """1 − h, the mean over seeds that did not fail, (A, N)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Doses:
    """Difficulty of the same targets with 0, 1, … constructed similar samples in training.

    name, algorithms: as in `Measured`. targets: T ids. doses: D numbers of similar samples. difficulty: mean over seeds,
    (A, T, D), NaN where it does not exist.
    """

    name: str
    algorithms: tuple[str, ...]
    targets: tuple[str, ...]
    doses: tuple[int, ...]
    difficulty: Array


def inequality(measured: Measured) -> dict[str, Any]:
    """Question 1: how unequal is difficulty, and which samples are hard?

    {"data", "n", "asked", "nothing_to_erase": ids, "overall": spread, "algorithms": {name: spread}, "ranking": [{"id",
    "difficulty", "low", "high", "rank", "algorithms": {name: difficulty}}, … hardest first]}. A spread is {"mean",
    "gini": records; "quantiles": {"0", "0.1", "0.25", "0.5", "0.75", "0.9", "1"}; "ceiling", "floor": share of samples
    with difficulty ≤ 0.01 and ≥ 0.99; "histogram": counts in ten equal bins of 0…1}. overall: of the mean over algorithms,
    so that none counts double; low and high of a ranked sample: t interval over the algorithms.
    """
    raise NotImplementedError


def agreement(measured: Measured) -> dict[str, Any]:
    """Question 2: does it depend on the algorithm? Spearman between algorithms beside that between seeds of one.

    {"data", "n", "algorithms": those whose difficulty varies, "constant": the others, "matrix": mean Spearman over
    pairs of *different* seeds for each pair of algorithms (its diagonal is the seed ceiling of one), "same_seed": the
    same matrix for equal seeds (diagonal None), "cross", "ceiling", "cross_same_seed", "ratio" (cross/ceiling),
    "disattenuated" (mean of r_ab / √(r_aa r_bb)): records}. Two runs of one seed share the model before; cross and
    ceiling both compare runs of different seeds, so that they can be compared. With one seed, there is no ceiling.
    """
    raise NotImplementedError


def holding(measured: Sequence[Measured], group: str = "before") -> dict[str, Any]:
    """Question 3: which factors hold? Spearman of each with 1 − H in every (algorithm, data) cell.

    {"group", "tests", "cells": [[data, algorithm]…], "undefined": [[data, algorithm]…], "factors": [{"name", "what",
    "expected", "holds", "sign", "share" (of the cells, significant with that sign), "against" (significant with the
    other), "effect": record of the mean over cells, "cells": [{"data", "algorithm", "value", "low", "high", "n", "p",
    "adjusted"}…]}…, strongest first]}. p: two-sided, of atanh ρ over its bootstrap standard error; adjusted: by Holm over
    all tests of the group. Holds: significant at 0.05 with one sign in ≥ 80 % of the cells and with the other in none.
    """
    raise NotImplementedError


def natural(measured: Measured, factor: str = "similar_mass") -> dict[str, Any]:
    """Question 5, natural similar samples: does difficulty rise with the similarity mass that the data happen to have?

    {"data", "factor", "n", "algorithms": {name: {"spearman", "slope": records}}, "overall": the same of the mean over
    algorithms, "points": [{"id", "mass", "difficulty"}…]}. slope: difficulty per doubling of 1 + mass, least squares.
    """
    raise NotImplementedError


def constructed(doses: Doses) -> dict[str, Any]:
    """Question 5, constructed similar samples: difficulty of the same targets with 0, 1, … of them.

    {"data", "targets": n, "doses", "algorithms": {name: curve}, "overall": curve}, a curve {"means": [record per dose],
    "slope": record (difficulty per similar sample, the mean of each target's least-squares slope), "spearman": record
    (mean over targets of that between dose and difficulty)}. Bootstrap over targets, all doses of one together.
    """
    raise NotImplementedError


def holm(p: Sequence[float] | Array) -> Array:
    """p values adjusted by Holm (1979): p_(i) ↦ max over k ≤ i of min(1, (m − k + 1) p_(k)). NaN stays and does not count.

    0.01, 0.04, 0.03 ↦ 0.03, 0.06, 0.06.
    """
    raise NotImplementedError


def gini(values: Array) -> float:
    """Σ_ij |x_i − x_j| / (2 n² mean): 0 where all are equal, 1 − 1/n where one has all; NaN where the sum is 0."""
    raise NotImplementedError


def spearman(rows: Array, draws: int = DRAWS, seed: int = 0) -> tuple[Array, Array]:
    """Rank correlations of V variables over N samples, and in bootstrap draws of the samples: (V, V), (draws, V, V).

    rows: (V, N) finite. Ties get the mean of their ranks, in each draw anew. NaN where a variable is constant.
    """
    raise NotImplementedError
