"""Questions 1, 2, 3 and 5 on difficulty, each a function of the measured table, with intervals; 4 is in `predict`.

Every number with an interval is a record {"value", "low", "high", "n"}: n samples, 95 % percentile interval of 2,000
bootstrap draws of them; None where there is none. Records are plain: what is returned can be written as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.difficulty.factors import FACTORS
from vestige.difficulty.rank import DRAWS, interval, mean, slopes, spearman
from vestige.difficulty.score import FLOOR
from vestige.difficulty.table import Doses, Measured
from vestige.types import InputError
from vestige.verify import mean_interval

Array = NDArray[np.float64]

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
ENDS = (0.01, 0.99)
"""Difficulty up to the one counts as "at the floor", from the other on as "at the ceiling"."""
ENOUGH = 0.8
"""The share of cells in which a factor must be significant to hold."""
LEVEL = 0.05
FEWEST = 5
"""Samples that a correlation needs."""


def inequality(measured: Measured) -> dict[str, Any]:
    """Question 1: how unequal is difficulty, and which samples are hard?

    {"data", "n", "asked", "nothing_to_erase": ids with nothing to erase for some algorithm, "overall": spread,
    "algorithms": {name: spread or None}, "ranking": [{"id", "difficulty", "low", "high", "algorithms": {name:
    difficulty or None}}, … hardest first]}. A spread is {"mean", "gini": records, "quantiles": {"0", "0.1", "0.25",
    "0.5", "0.75", "0.9", "1"}, "floor", "ceiling": share of samples with difficulty ≤ 0.01 and ≥ 0.99, "histogram":
    counts in ten equal bins of 0…1}. overall: of the mean over algorithms; a ranked sample has all of them, and its low
    and high are those of a t interval over them.
    """
    each, overall = measured.difficulty, measured.overall
    known = np.flatnonzero(~np.isnan(overall))
    ranking = []
    for row in known[np.argsort(-overall[known], kind="stable")]:
        there = each[:, row][~np.isnan(each[:, row])]
        value, low, high = mean_interval(there, (0.0, 1.0))
        own = {name: _plain(number) for name, number in zip(measured.algorithms, each[:, row], strict=True)}
        line = {"id": measured.ids[row], "difficulty": value, "low": low, "high": high, "algorithms": own}
        ranking.append(line)
    every = np.all(measured.erasable, axis=0)
    nothing = [name for name, there in zip(measured.ids, every.tolist(), strict=True) if not there]
    return {
        "data": measured.name,
        "n": len(known),
        "asked": len(measured.ids),
        "nothing_to_erase": nothing,
        "overall": spread(overall),
        "algorithms": {name: spread(values) for name, values in zip(measured.algorithms, each, strict=True)},
        "ranking": ranking,
    }


def spread(values: Array) -> dict[str, Any] | None:
    """Mean, Gini, quantiles, both ends and histogram of difficulties, NaN left out; None where none is left."""
    x = values[~np.isnan(values)]
    if len(x) == 0:
        return None
    drawn = x[np.random.default_rng(0).integers(len(x), size=(DRAWS, len(x)))]
    return {
        "mean": interval(x.mean(), drawn.mean(1), len(x)),
        "gini": interval(gini(x), gini(drawn), len(x)),
        "quantiles": {f"{q:g}": float(np.quantile(x, q)) for q in QUANTILES},
        "floor": float((x <= ENDS[0]).mean()),
        "ceiling": float((x >= ENDS[1]).mean()),
        "histogram": np.histogram(x, 10, (0, 1))[0].tolist(),
    }


def gini(values: Array) -> Any:
    """Σ_ij |x_i − x_j| / (2 n² mean) over the last axis: 0 where all are equal, 1 − 1/n where one has all.

    0, 0, 1: 2/3. NaN where the sum is 0; x at least 0.
    """
    x = np.sort(values, -1)
    n = x.shape[-1]
    weight = 2 * np.arange(1, n + 1) - n - 1
    sums = x.sum(-1)
    return np.divide((weight * x).sum(-1), n * sums, out=np.full_like(sums, np.nan), where=sums > 0)


def agreement(measured: Measured) -> dict[str, Any]:
    """Question 2: does it depend on the algorithm? Spearman between algorithms beside that between seeds of one.

    {"data", "n", "algorithms": those whose difficulty varies over samples, "constant": the others, "matrix": mean
    Spearman over pairs of *different* seeds for each pair of algorithms (its diagonal is the seed ceiling of one),
    "same_seed": the same for equal seeds (diagonal None), "cross", "ceiling", "cross_same_seed", "disattenuated":
    records}. Two runs of one seed share the model before and its luck; cross and ceiling both compare runs of different
    seeds, so that they can be compared. disattenuated: mean cross over mean √(ceiling_a · ceiling_b) (Spearman 1904): 1
    where all disagreement is noise of the seed; None where the ceilings are below 0.05. With one seed only
    cross_same_seed is there.
    """
    runs = measured.runs
    varies = [_varies(of) for of in runs]
    names = [name for name, there in zip(measured.algorithms, varies, strict=True) if there]
    constant = [name for name, there in zip(measured.algorithms, varies, strict=True) if not there]
    kept = runs[varies]
    A, S, n = len(names), len(measured.seeds), int((~np.isnan(measured.overall)).sum())
    found = {"data": measured.name, "n": n, "algorithms": names, "constant": constant}
    nothing = interval(math.nan, np.full(1, math.nan), n)
    records = dict.fromkeys(("cross", "ceiling", "cross_same_seed", "disattenuated"), nothing)
    if A == 0:
        return found | {"matrix": [], "same_seed": []} | records
    flat = kept.reshape(A * S, -1)
    values, draws = spearman(flat, flat)
    every = np.concatenate([values[None], draws]).reshape(-1, A, S, A, S).transpose(0, 1, 3, 2, 4)
    equal = np.eye(S, dtype=bool)
    same = mean(every[..., equal], -1)
    same[:, np.arange(A), np.arange(A)] = np.nan
    other = mean(every[..., ~equal], -1) if S > 1 else np.full_like(same, np.nan)
    off = ~np.eye(A, dtype=bool)
    ceilings = other[:, np.arange(A), np.arange(A)]
    bound = np.sqrt(np.clip(ceilings, 0, None)[:, :, None] * np.clip(ceilings, 0, None)[:, None])
    cross, best = mean(other[:, off], 1), mean(bound[:, off], 1)
    clean = np.divide(cross, best, out=np.full_like(cross, np.nan), where=best >= FLOOR)
    of = {"cross": cross, "ceiling": mean(ceilings, 1), "cross_same_seed": mean(same[:, off], 1)}
    of["disattenuated"] = clean
    return (
        found
        | {"matrix": _table(other[0]), "same_seed": _table(same[0])}
        | {name: interval(column[0], column[1:], n) for name, column in of.items()}
    )


def holding(measured: Sequence[Measured], group: str = "before") -> dict[str, Any]:
    """Question 3: which factors hold? Spearman of each with difficulty in every (algorithm, data) cell.

    {"group", "tests", "cells": [[data, algorithm]…], "undefined": [[data, algorithm]…], whose difficulty does not vary,
    "factors": [{"name", "what", "expected", "holds", "sign", "share": of its cells, significant with that sign,
    "against": significant with the other, "effect": record of the mean over its cells, "cells": [{"data",
    "algorithm", "value", "low", "high", "n", "p", "adjusted"}…]}…, strongest effect first]}. p: two-sided, of atanh ρ
    over its bootstrap standard error, as 2,000 draws cannot show a p below 1/2,000; adjusted: by Holm over all tests of
    the group. Holds: adjusted p < 0.05 with one sign in ≥ 80 % of the cells and with the other in none.
    """
    cells: list[dict[str, Any]] = []
    drawn: dict[str, list[Array]] = {}
    pairs, undefined = [], []
    for place, one in enumerate(measured):
        difficulty, factors = one.difficulty, one.factors(group)
        varied = [row for row, target in enumerate(difficulty) if _varies(target[None])]
        undefined += [[one.name, name] for row, name in enumerate(one.algorithms) if row not in varied]
        pairs += [[one.name, one.algorithms[row]] for row in varied]
        for names, rows, columns in _cases(factors, varied):
            values, draws = spearman(columns, difficulty[rows], seed=place)
            for (i, name), (j, row) in product(enumerate(names), enumerate(rows)):
                n = int((~np.isnan(columns[i]) & ~np.isnan(difficulty[row])).sum())
                if np.isnan(values[i, j]) or n < FEWEST:
                    continue
                record = interval(values[i, j], draws[:, i, j], n) | {"p": _p_value(values[i, j], draws[:, i, j])}
                cells.append({"name": name, "data": one.name, "algorithm": one.algorithms[row]} | record)
                drawn.setdefault(name, []).append(draws[:, i, j])
    for cell, adjusted in zip(cells, holm([cell["p"] for cell in cells]), strict=True):
        cell["adjusted"] = float(adjusted)
    found = [_factor(name, [cell for cell in cells if cell["name"] == name], drawn[name]) for name in drawn]
    found.sort(key=lambda factor: (-abs(factor["effect"]["value"]), factor["name"]))
    return {"group": group, "tests": len(cells), "cells": pairs, "undefined": undefined, "factors": found}


def _cases(factors: dict[str, Array], rows: list[int]) -> Iterator[tuple[list[str], list[int], Array]]:
    """Names, algorithms and values (names, N) that are compared at once: a symptom has values of its own for each."""
    shared = [name for name, values in factors.items() if values.ndim == 1]
    own = [name for name, values in factors.items() if values.ndim == 2]
    if shared and rows:
        yield shared, rows, np.stack([factors[name] for name in shared])
    for row in rows if own else ():
        yield own, [row], np.stack([factors[name][row] for name in own])


def natural(measured: Measured, factor: str = "similar_mass") -> dict[str, Any]:
    """Question 5, natural similar samples: does difficulty rise with the similarity mass that the data happen to have?

    {"data", "factor", "n", "algorithms": {name: trend}, "overall": trend of the mean over algorithms, "points": [{"id",
    "mass", "difficulty"}…]}, a trend {"spearman", "slope": records}. slope: difficulty per doubling of 1 + mass, least
    squares. Raises InputError where the factor was not measured.
    """
    if factor not in measured.before:
        raise InputError(f"{measured.name}: {factor} was not measured; there are {', '.join(measured.before)}")
    mass, overall = measured.factors()[factor], measured.overall
    there = ~np.isnan(mass) & ~np.isnan(overall)

    def trend(values: Array) -> dict[str, Any]:
        n = int((~np.isnan(values) & ~np.isnan(mass)).sum())
        rho, draws = spearman(mass[None], values[None])
        slope, steps = slopes(np.log2(1 + mass), values)
        return {"spearman": interval(rho[0, 0], draws[:, 0, 0], n), "slope": interval(slope, steps, n)}

    return {
        "data": measured.name,
        "factor": factor,
        "n": int(there.sum()),
        "algorithms": {
            name: trend(values) for name, values in zip(measured.algorithms, measured.difficulty, strict=True)
        },
        "overall": trend(overall),
        "points": [
            {"id": measured.ids[row], "mass": float(mass[row]), "difficulty": float(overall[row])}
            for row in np.flatnonzero(there)
        ],
    }


def constructed(doses: Doses) -> dict[str, Any]:
    """Question 5, constructed similar samples: difficulty of the same targets with 0, 1, … of them.

    {"data", "targets": ids, "doses", "algorithms": {name: curve}, "overall": curve of the mean over algorithms}, a
    curve {"means": [record per dose], "erasable": [record per dose, the share of targets with something to erase],
    "slope": record (difficulty per similar sample, the mean of each target's least-squares slope), "spearman": record
    (the mean of each target's own, over its doses)}. Bootstrap over targets, all doses of one together. Where retained
    similar samples know the target, there is less to erase with every one: such a dose of a target has no difficulty.
    So the means are over other targets at each dose, and the trend is read from slope and spearman, each within one
    target that has a difficulty at two doses at least, for spearman at three.
    """
    x = np.array(doses.doses, np.float64)

    def curve(values: Array) -> dict[str, Any]:
        there = ~np.isnan(values)
        several = values[there.sum(1) >= 2]
        slope = np.array([slopes(x, row, draws=0)[0] for row in several])
        full = values[there.sum(1) >= 3]
        rho = spearman(full, x[None], draws=0)[0][:, 0] if len(full) else np.zeros(0)
        return {
            "means": [_over(column) for column in values.T],
            "erasable": [_over(column) for column in there.T.astype(np.float64)],
            "slope": _over(slope),
            "spearman": _over(rho),
        }

    known = doses.difficulty[~np.isnan(doses.difficulty).all((1, 2))]
    return {
        "data": doses.name,
        "targets": list(doses.targets),
        "doses": list(doses.doses),
        "algorithms": {name: curve(of) for name, of in zip(doses.algorithms, doses.difficulty, strict=True)},
        "overall": curve(known.mean(0) if len(known) else doses.difficulty[0]),
    }


def _over(values: Array) -> dict[str, Any]:
    """The mean of what is not NaN, and its bootstrap interval."""
    x = values[~np.isnan(values)]
    if len(x) == 0:
        return interval(math.nan, values, 0)
    return interval(x.mean(), x[np.random.default_rng(0).integers(len(x), size=(DRAWS, len(x)))].mean(1), len(x))


def holm(p: Sequence[float] | Array) -> Array:
    """p values adjusted by Holm (1979): p_(i) ↦ max over k ≤ i of min(1, (m − k + 1) p_(k)).

    0.01, 0.04, 0.03 ↦ 0.03, 0.06, 0.06.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.minimum(1, (len(values) - np.arange(len(values))) * values[order])
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(stepped) if len(values) else stepped
    return adjusted


def _p_value(value: float, draws: Array) -> float:
    """Two-sided, of atanh ρ as normal with the standard deviation of its bootstrap draws."""
    from scipy.stats import norm

    z = np.arctanh(np.clip(np.append(draws[~np.isnan(draws)], value), -1 + 1e-9, 1 - 1e-9))
    return float(2 * norm.sf(abs(z[-1]) / max(float(z[:-1].std(ddof=1)), 1e-12)))


def _factor(name: str, cells: list[dict[str, Any]], draws: list[Array]) -> dict[str, Any]:
    sure = [math.copysign(1, cell["value"]) for cell in cells if cell["adjusted"] < LEVEL]
    effect = interval(float(np.mean([cell["value"] for cell in cells])), mean(np.stack(draws), 0), len(cells))
    sign = 1 if sum(sure) > 0 or (sum(sure) == 0 and effect["value"] > 0) else -1
    share, against = sure.count(sign) / len(cells), sure.count(-sign) / len(cells)
    return {
        "name": name,
        "what": FACTORS[name].what,
        "expected": FACTORS[name].sign,
        "holds": share >= ENOUGH and against == 0,
        "sign": sign,
        "share": share,
        "against": against,
        "effect": effect,
        "cells": [{key: part for key, part in cell.items() if key != "name"} for cell in cells],
    }


def _varies(runs: Array) -> bool:
    """Whether an algorithm's difficulty (S, N) differs between samples, in some seed."""
    return any(len(x) >= FEWEST and x.std() > 1e-9 for x in (row[~np.isnan(row)] for row in runs))


def _table(values: Array) -> list[list[float | None]]:
    return [[_plain(value) for value in row] for row in values]


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
