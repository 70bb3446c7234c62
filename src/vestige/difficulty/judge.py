"""Question 4: can difficulty be told before unlearning? The predictor's AUC on what it was never trained on.

Nothing is tuned: the predictors are fixed beforehand (`predict`; boosted trees beside it). The linear one is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.difficulty.predict import FEWEST, HARD, doubled, hardest, logistic, place, usable
from vestige.difficulty.rank import DRAWS, interval, mean, resamples
from vestige.difficulty.table import Measured
from vestige.types import InputError

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

FOLDS = 5
GRID = np.linspace(0, 1, 51)
"""False-positive rates at which a ROC is drawn."""
WAYS = {
    "sample": ("sample",),
    "algorithm": ("algorithm",),
    "algorithm and sample": ("algorithm", "sample"),
    "data": ("data",),
}
"""What is held out: which of samples, algorithms and data sets are others in training."""

Scorer = Callable[[Array], Array]
"""Places (N, K) → scores (N,), larger for harder."""


@dataclass(frozen=True)
class _Cells:
    """One data set. values: (S, N, K). hard: (A, N), 1, 0, NaN where it is not known. fold: of each sample, (N,)."""

    name: str
    algorithms: tuple[str, ...]
    values: Array
    hard: Array
    fold: NDArray[np.int64]


@dataclass(frozen=True)
class _Split:
    """What is learned from and what is judged, per data set: (A, N) each."""

    train: list[Bools]
    test: list[Bools]


def evaluate(measured: Sequence[Measured]) -> dict[str, Any]:
    """How well the hardest quartile is predicted from factors before unlearning, on what was never trained on.

    Hard: `predict.hardest` of an algorithm's difficulty (its mean over seeds) on a data set. A case is a sample in the
    model of one seed. by "sample": 5 folds of samples, each with all its seeds and algorithms in one; "algorithm": one
    left out, its samples known from the others; "algorithm and sample": both; "data": one data set left out.
    Returns {"factors", "hard": 0.25, "folds", "by": {way: result}}, a result {"linear", "boosted", "informed": {"auc":
    record, "cells": [{"data", "algorithm", "auc", "n"}…], "roc": {"fpr", "tpr"}}, "single": [{"factor", "auc":
    record}…, best first]}, or {"missing": why}. linear and boosted see what one trained model tells, the "factors";
    informed is the linear one with those that need more (memorisation, the trajectory). auc: the mean over (data,
    algorithm, seed); its interval: 2,000 bootstrap draws of samples. single: each factor alone, those included that
    need more, its sign learned where the predictors learn. Raises InputError where the data sets have no factor in
    common, or no algorithm's difficulty varies over 20 samples.
    """
    names, alone = usable(measured), usable(measured, references=True)
    tables = [_cells(one, alone) for one in measured]
    if not names or all(np.isnan(table.hard).all() for table in tables):
        raise InputError(f"prediction needs a common factor, and {FEWEST} samples whose difficulty varies")
    columns = [alone.index(name) for name in names]
    by = {way: _judged(tables, way, columns, alone) for way in WAYS}
    return {"factors": list(names), "hard": HARD, "folds": FOLDS, "by": by}


def auc_draws(scores: Array, hard: Array, counts: Array) -> Array:
    """AUC, ties counted half, in B samples that hold case i counts[i, b] times, (B,).

    scores: (n,). hard: (n,), 1 or 0. NaN where a draw has cases of one kind only.
    """
    chosen = hard == 1
    members, null = counts[chosen], counts[~chosen]
    away = scores[chosen][:, None] - scores[~chosen]
    wins = (away > 0) + 0.5 * (away == 0)
    pairs = members.sum(0) * null.sum(0)
    above = ((wins.T @ members) * null).sum(0)
    return np.asarray(np.divide(above, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))


def _cells(one: Measured, names: Sequence[str]) -> _Cells:
    values = np.stack([one.before[name] for name in names], -1)
    hard = hardest(one.difficulty)
    known = np.flatnonzero(~np.isnan(hard).all(0))
    fold = np.full(len(one.ids), -1)
    fold[np.random.default_rng(0).permutation(known)] = np.arange(len(known)) % FOLDS
    return _Cells(one.name, one.algorithms, values, hard, fold)


def _splits(tables: Sequence[_Cells], way: str) -> Iterator[_Split]:
    """Every case is judged once, by what was learned without its sample, algorithm or data set."""
    parts = WAYS[way]
    names = sorted({name for table in tables for name in table.algorithms}) if "algorithm" in parts else [""]
    folds = range(FOLDS) if "sample" in parts else range(1)
    data = range(len(tables)) if "data" in parts else range(1)
    for name, fold, out in product(names, folds, data):
        train, test = [], []
        for number, table in enumerate(tables):
            known = ~np.isnan(table.hard)
            own = {
                "algorithm": np.array([other == name for other in table.algorithms])[:, None] & known,
                "sample": (table.fold == fold) & known,
                "data": np.full(known.shape, number == out),
            }
            train.append(known & np.logical_and.reduce([~own[part] for part in parts]))
            test.append(known & np.logical_and.reduce([own[part] for part in parts]))
        yield _Split(train, test)


def _judged(tables: Sequence[_Cells], way: str, columns: list[int], alone: Sequence[str]) -> dict[str, Any]:
    """Scores of all cases by every predictor, and what they are worth."""
    if "data" in WAYS[way] and len(tables) < 2:
        return {"missing": "one data set only: there is none to leave out"}
    if "algorithm" in WAYS[way] and len({name for table in tables for name in table.algorithms}) < 2:
        return {"missing": "one algorithm only: there is none to leave out"}
    blank = [np.full((len(t.algorithms), len(t.values), t.hard.shape[1]), np.nan) for t in tables]
    scores = {name: [each.copy() for each in blank] for name in ("linear", "boosted", "informed", *alone)}
    for split in _splits(tables, way):
        places, hard, easy = _training(tables, split)
        if hard.sum() == 0 or easy.sum() == 0:
            continue
        learned: dict[str, Scorer] = {
            "linear": _columns(columns, _linear(places[:, columns], hard, easy)),
            "boosted": _columns(columns, _boosted(places[:, columns], hard, easy)),
            "informed": _linear(places, hard, easy),
        }
        learned |= {name: _single(places, hard, easy, number) for number, name in enumerate(alone)}
        for number, (table, asked) in enumerate(zip(tables, split.test, strict=True)):
            rows = np.flatnonzero(asked.any(0))
            known = np.flatnonzero(split.train[number].any(0))
            for seed, values in enumerate(table.values if len(rows) else ()):
                cases = _placed(values[rows], values[known if len(known) else rows])
                for name, scorer in learned.items():
                    given = scorer(cases)
                    for algorithm in np.flatnonzero(asked.any(1)):
                        there = asked[algorithm, rows]
                        scores[name][number][algorithm, seed, rows[there]] = given[there]
    worth = {name: _worth(tables, of) for name, of in scores.items()}
    single = [{"factor": name, "auc": worth[name]["auc"]} for name in alone if worth[name]["auc"]["value"] is not None]
    single.sort(key=lambda line: (-line["auc"]["value"], line["factor"]))
    return {kind: worth[kind] for kind in ("linear", "boosted", "informed")} | {"single": single}


def _training(tables: Sequence[_Cells], split: _Split) -> tuple[Array, Array, Array]:
    """Cases (N, K), and for how many algorithms each is hard, and is not."""
    cases, hard, easy = [np.zeros((0, tables[0].values.shape[2]))], [np.zeros(0)], [np.zeros(0)]
    for table, there in zip(tables, split.train, strict=True):
        rows = np.flatnonzero(there.any(0))
        for values in table.values:
            cases.append(_placed(values[rows], values[rows]))
            hard.append((there & (table.hard == 1)).sum(0)[rows])
            easy.append((there & (table.hard == 0)).sum(0)[rows])
    return np.concatenate(cases), np.concatenate(hard), np.concatenate(easy)


def _placed(values: Array, population: Array) -> Array:
    return np.stack([place(x, y) for x, y in zip(values.T, population.T, strict=True)], 1)


def _columns(columns: list[int], scorer: Scorer) -> Scorer:
    return lambda places: scorer(places[:, columns])


def _linear(places: Array, hard: Array, easy: Array) -> Scorer:
    model = logistic(places, hard, easy)
    return lambda asked: np.asarray(asked @ model.coef_[0], np.float64)


def _boosted(places: Array, hard: Array, easy: Array) -> Scorer:
    """50 small trees, at scikit-learn's learning rate."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=8, early_stopping=False, random_state=0)
    cases, labels, counts = doubled(places, hard, easy)
    model.fit(cases, labels, sample_weight=counts)
    return lambda asked: np.asarray(model.decision_function(asked), np.float64)


def _single(places: Array, hard: Array, easy: Array, column: int) -> Scorer:
    """One factor, the other way round where the hard have it smaller."""
    x = places[:, column]
    sign = 1.0 if x @ hard / hard.sum() >= x @ easy / easy.sum() else -1.0
    return lambda asked: sign * asked[:, column]


def _worth(tables: Sequence[_Cells], scores: Sequence[Array]) -> dict[str, Any]:
    """AUC over all cells with its interval, of each cell, and the mean ROC."""
    lines, draws, curves, n = [], [], [], 0
    for number, (table, of) in enumerate(zip(tables, scores, strict=True)):
        size = table.hard.shape[1]
        counts = np.concatenate([np.ones((size, 1)), resamples(size, DRAWS, number)], 1)
        n += int((~np.isnan(of)).any((0, 1)).sum())
        for algorithm, hard, each in zip(table.algorithms, table.hard, of, strict=True):
            found = []
            for given in each:
                there = ~np.isnan(given)
                if len(np.unique(hard[there])) == 2:
                    found.append(auc_draws(given[there], hard[there], counts[there]))
                    curves.append(_roc(given[there], hard[there]))
            if found:
                draws += found
                auc = float(np.mean([one[0] for one in found]))
                lines.append({"data": table.name, "algorithm": algorithm, "auc": auc, "n": int(there.sum())})
    every = mean(np.stack(draws), 0) if draws else np.full(1, np.nan)
    roc = {"fpr": GRID.tolist(), "tpr": np.mean(curves, 0).tolist() if curves else []}
    return {"auc": interval(float(every[0]), every[1:], n), "cells": lines, "roc": roc}


def _roc(scores: Array, hard: Array) -> Array:
    """The true-positive rate at GRID."""
    order = np.argsort(-scores, kind="stable")
    ordered, labels = scores[order], hard[order] == 1
    last = np.append(ordered[1:] < ordered[:-1], True)
    tpr = np.append(0, (np.cumsum(labels) / labels.sum())[last])
    fpr = np.append(0, (np.cumsum(~labels) / (~labels).sum())[last])
    return np.asarray(np.interp(GRID, fpr, tpr))
