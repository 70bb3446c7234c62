"""A predictor of who is among the hardest quartile, from factors before unlearning; `judge` says how good it is.

Chosen beforehand, and never tuned on what is reported: a factor counts by where its value lies among training samples
of the same model, so that neither its unit nor its scale carries over; the predictor is a logistic regression with an
L2 penalty of C = 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, ValidationError, model_validator

from vestige.config.base import Settings
from vestige.difficulty.factors import BEFORE, FACTORS
from vestige.difficulty.table import Measured
from vestige.types import InputError, MissingError

Array = NDArray[np.float64]

HARD = 0.25
"""The share of samples that counts as hard."""
FEWEST = 20
"""Samples of a cell, at least, for its hardest quartile to be asked for."""
PACKAGED = Path(__file__).with_name("predictor.json")
"""The predictor that comes with vestige: `vestige difficulty join` on the studies that docs/results/ reports."""


class Worth(Settings):
    """An AUC on n samples with its interval, as `judge.evaluate` gives it; None where there is none."""

    value: FiniteFloat | None
    low: FiniteFloat | None
    high: FiniteFloat | None
    n: int


class Learned(Settings):
    """What a predictor was fitted to. data: S studies; seeds, samples: of each. hard: the share that counts as it."""

    data: tuple[str, ...]
    algorithms: tuple[str, ...]
    seeds: tuple[tuple[int, ...], ...]
    samples: tuple[int, ...]
    hard: float


class Predictor(Settings):
    """A linear predictor that can be kept as JSON.

    factors: which ones, K. weights: (K,), of where a value lies in its population, −0.5…0.5. intercept: of log-odds.
    trained_on: what it learned from.
    judged: how good such predictions were, by what was held out (`judge.WAYS`).
    """

    kind: Literal["vestige difficulty predictor"] = "vestige difficulty predictor"
    factors: tuple[str, ...]
    weights: tuple[FiniteFloat, ...]
    intercept: FiniteFloat
    trained_on: Learned
    judged: dict[str, Worth] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        unknown = [name for name in self.factors if name not in BEFORE]
        if unknown or len(self.factors) != len(self.weights):
            wrong = f"the factor {unknown[0]!r} is unknown" if unknown else "each factor needs one weight"
            raise ValueError(wrong)
        return self


def usable(measured: Sequence[Measured], *, references: bool = False) -> tuple[str, ...]:
    """The factors that all these data sets have. references: also those that need more than one trained model."""
    one = {name for name in BEFORE if references or FACTORS[name].needs in ("", "pixels")}
    return tuple(name for name in BEFORE if name in one and all(name in table.before for table in measured))


def hardest(difficulty: Array) -> Array:
    """Who is in the hardest quartile of an algorithm, (A, N): 1, 0, or NaN where that is not known.

    difficulty: (A, N), NaN where there is none. Ties at the border count as hard, unless all would be. NaN for an
    algorithm with fewer than 20 samples, and for one whose difficulty does not vary.
    """
    found = np.full(difficulty.shape, np.nan)
    for row, each in enumerate(difficulty):
        there = ~np.isnan(each)
        if there.sum() < FEWEST or each[there].std() < 1e-9:
            continue
        border = np.quantile(each[there], 1 - HARD)
        chosen = each[there] >= border
        found[row, there] = each[there] > border if chosen.all() else chosen
    return found


def fit(measured: Sequence[Measured], judged: Mapping[str, Worth] | None = None) -> Predictor:
    """The predictor from factors of one model, fitted to everything that was measured.

    judged: what to keep with it of how good it is. Raises InputError where the data sets have no factor in
    common, or no algorithm's difficulty varies over 20 samples.
    """
    names = usable(measured)
    cases, hard, easy = [], [], []
    for one in measured:
        known = hardest(one.difficulty)
        for number in range(len(one.seeds)):
            of = [place(one.before[name][number], one.before[name][number]) for name in names]
            cases.append(np.stack(of, 1) if of else np.zeros((len(one.ids), 0)))
            hard.append((known == 1).sum(0))
            easy.append((known == 0).sum(0))
    if not names or not sum(map(np.sum, hard)):
        raise InputError(f"a predictor needs a common factor, and {FEWEST} samples whose difficulty varies")
    model = logistic(np.concatenate(cases), np.concatenate(hard), np.concatenate(easy))
    learned = Learned(
        data=tuple(one.name for one in measured),
        algorithms=tuple(sorted({name for one in measured for name in one.algorithms})),
        seeds=tuple(one.seeds for one in measured),
        samples=tuple(len(one.ids) for one in measured),
        hard=HARD,
    )
    weights = tuple(float(weight) for weight in model.coef_[0])
    return Predictor(factors=names, weights=weights, intercept=float(model.intercept_[0]), trained_on=learned,
                     judged=dict(judged or {}))  # fmt: skip


def logistic(places: Array, hard: Array, easy: Array) -> Any:
    """A logistic regression on cases (N, K), each counted as often hard and as often easy as said, (N,)."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, max_iter=1000).fit(*doubled(places, hard, easy))


def doubled(places: Array, hard: Array, easy: Array) -> tuple[Array, NDArray[np.int64], Array]:
    """Each case once as hard and once as easy, its label, and how often it counts; those that never do are left out."""
    counts = np.concatenate([hard, easy]).astype(np.float64)
    labels = np.repeat([1, 0], len(places))
    return np.concatenate([places, places])[counts > 0], labels[counts > 0], counts[counts > 0]


def predict(predictor: Predictor, factors: Mapping[str, Array], population: Mapping[str, Array]) -> Array:
    """The chance to be among the hardest quartile, (N,), of samples with these factors.

    factors: name → (N,). population: the same of training samples to compare them with, name → (M,). The order is what
    was judged; the chance itself holds only where the population is like that of the study. Raises InputError where a
    factor is not there.
    """
    for what, table in (("the samples", factors), ("the population", population)):
        missing = [name for name in predictor.factors if name not in table]
        if missing:
            raise InputError(f"the predictor needs {missing[0]!r}, which {what} do not have")
    places = np.stack([place(factors[name], population[name]) for name in predictor.factors], 1)
    # row by row: the last bits of a product depend on who else is asked
    drawn = (places * np.array(predictor.weights)).sum(1)
    return np.asarray(1 / (1 + np.exp(-(drawn + predictor.intercept))))


def place(values: Array, population: Array) -> Array:
    """Where each value lies among a population, its mid-rank from −0.5 to 0.5; 0 for NaN, or where all are NaN.

    2 among 1, 2, 3: 0; 4: 0.5.
    """
    there = np.sort(population[~np.isnan(population)])
    if len(there) == 0:
        return np.zeros(len(values))
    below, upto = np.searchsorted(there, values, "left"), np.searchsorted(there, values, "right")
    return np.where(np.isnan(values), 0.0, (below + upto) / (2 * len(there)) - 0.5)


def save(predictor: Predictor, path: Path) -> None:
    """Write it as JSON, whole or not at all."""
    from vestige.store import SCHEMA_VERSION, write_json

    write_json(path, {"schema_version": SCHEMA_VERSION, **predictor.model_dump(mode="json")})


def load(path: Path) -> Predictor:
    """Read it. Raises MissingError where there is no file, InputError where it is no predictor or a damaged one."""
    from vestige.store import read_json

    if not path.is_file():
        raise MissingError(f"there is no predictor at {path}; two studies make one: vestige difficulty join RUN RUN")
    record = {name: value for name, value in read_json(path).items() if name != "schema_version"}
    try:
        return Predictor.model_validate_json(json.dumps(record), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".lstrip(": ")
        raise InputError(
            f"{path} is no difficulty predictor that this version can read ({why}); fit it again"
        ) from None
