"""Results as tables that can be analysed: samples, algorithms and seeds in one array each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.difficulty.factors import FACTORS
from vestige.difficulty.rank import mean
from vestige.difficulty.score import FLOOR
from vestige.types import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What unlearning did to the samples of one data set and model, algorithm by algorithm, seed by seed.

    name: of data set and model, "mnist cnn". ids: N samples. algorithms: A names. seeds: S. h: the score (A, S, N), NaN
    where a run failed. gap: |p_before − p_ref| (A, S, N), the same for all algorithms that start from one model.
    before: factor → (S, N). after: symptom → (A, S, N); NaN where a value does not exist. Raises InputError for shapes
    that do not fit, and names that FACTORS does not have in that group.
    """

    name: str
    ids: tuple[str, ...]
    algorithms: tuple[str, ...]
    seeds: tuple[int, ...]
    h: Array
    gap: Array
    before: Mapping[str, Array]
    after: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.algorithms), len(self.seeds), len(self.ids))
        parts: dict[str, tuple[Array, tuple[int, ...]]] = {"h": (self.h, shape), "gap": (self.gap, shape)}
        parts |= {name: (values, shape[1:]) for name, values in self.before.items()}
        parts |= {name: (values, shape) for name, values in self.after.items()}
        for name, (values, wanted) in parts.items():
            if values.shape != wanted:
                raise InputError(f"{self.name}: {name} must have shape {wanted}, got {values.shape}")
        if 0 in shape:
            raise InputError(f"{self.name}: samples, algorithms and seeds are needed, at least one of each")
        for group, table in (("before", self.before), ("after", self.after)):
            unknown = [name for name in table if name not in FACTORS or FACTORS[name].group != group]
            if unknown:
                known = ", ".join(name for name, factor in FACTORS.items() if factor.group == group)
                raise InputError(f"{unknown[0]!r} is no factor {group} unlearning; known: {known}")

    @property
    def erasable(self) -> NDArray[np.bool_]:
        """Where there is something to erase: a mean gap over seeds of at least 0.05, (A, N). All else is left out."""
        return np.asarray(mean(self.gap, 1) >= FLOOR - 1e-12)

    @property
    def runs(self) -> Array:
        """1 − h (A, S, N), NaN where there is nothing to erase."""
        return np.where(self.erasable[:, None], 1 - self.h, np.nan)

    @property
    def difficulty(self) -> Array:
        """The mean of `runs` over the seeds that did not fail, (A, N)."""
        return mean(self.runs, 1)

    @property
    def overall(self) -> Array:
        """The mean of `difficulty` over the algorithms (N,); NaN where one lacks it that has it elsewhere."""
        each = self.difficulty
        return np.asarray(each[~np.isnan(each).all(1)].mean(0)) if (~np.isnan(each)).any() else each[0]

    def factors(self, group: str = "before") -> dict[str, Array]:
        """Factor → its mean over seeds, (N,), or of a symptom (A, N)."""
        table, axis = (self.before, 0) if group == "before" else (self.after, 1)
        return {name: mean(values, axis) for name, values in table.items()}


@dataclass(frozen=True)
class Doses:
    """Difficulty of the same targets with 0, 1, … constructed similar samples in training.

    name, algorithms: as in `Measured`. targets: T ids. doses: D numbers of similar samples. difficulty: mean over
    seeds, (A, T, D), NaN where it does not exist. Raises InputError for another shape and fewer than two doses.
    """

    name: str
    algorithms: tuple[str, ...]
    targets: tuple[str, ...]
    doses: tuple[int, ...]
    difficulty: Array

    def __post_init__(self) -> None:
        shape = (len(self.algorithms), len(self.targets), len(self.doses))
        if self.difficulty.shape != shape:
            raise InputError(f"{self.name}: difficulty must have shape {shape}, got {self.difficulty.shape}")
        if len(self.doses) < 2:
            raise InputError(f"{self.name}: a trend needs at least two doses, got {len(self.doses)}")


def measured(result: Mapping[str, Any]) -> Measured:
    """The table of a result.json (`difficulty.record.Result`), without constructed similar samples (dose 0)."""
    ids, algorithms, seeds = tuple(result["ids"]), tuple(result["algorithms"]), tuple(result["seeds"])
    samples = {(line["learner"], line["seed"], line["id"]): line for line in result["samples"] if line["dose"] == 0}
    runs = {(line["algorithm"], line["seed"], line["id"]): line for line in result["runs"] if line["dose"] == 0}
    learner = {line["algorithm"]: line["learner"] for line in result["runs"]}
    factors = sorted({name for line in samples.values() for name in line["factors"]}, key=list(FACTORS).index)
    symptoms = sorted({name for line in runs.values() for name in line["symptoms"]}, key=list(FACTORS).index)

    def of_runs(read: Any) -> Array:
        return np.array(
            [[[_number(read, runs.get((a, s, name))) for name in ids] for s in seeds] for a in algorithms], np.float64
        )

    def of_samples(read: Any, kind: str) -> Array:
        return np.array([[_number(read, samples.get((kind, s, name))) for name in ids] for s in seeds], np.float64)

    return Measured(
        result["name"],
        ids,
        algorithms,
        seeds,
        h=of_runs(lambda line: line["H"]),
        gap=np.stack([of_samples(_gap, learner.get(name, "one")) for name in algorithms]),
        before={name: of_samples(lambda line, name=name: line["factors"].get(name), "one") for name in factors},
        after={name: of_runs(lambda line, name=name: line["symptoms"].get(name)) for name in symptoms},
    )


def doses(result: Mapping[str, Any]) -> Doses | None:
    """The same targets with 0, 1, … constructed similar samples; None where a result has no doses."""
    targets, amounts = tuple(result["dosed"]), tuple(sorted({0, *result["doses"]}))
    if len(amounts) < 2 or not targets:
        return None
    gaps: dict[tuple[str, int, str], list[float]] = {}
    for line in result["samples"]:
        gaps.setdefault((line["learner"], line["dose"], line["id"]), []).append(_gap(line))
    found: dict[tuple[str, int, str], list[float]] = {}
    for line in result["runs"]:
        if np.mean(gaps[line["learner"], line["dose"], line["id"]]) >= FLOOR - 1e-12:
            found.setdefault((line["algorithm"], line["dose"], line["id"]), []).append(1 - line["H"])
    table = [
        [[np.mean(found.get((name, amount, target), [np.nan])) for amount in amounts] for target in targets]
        for name in result["algorithms"]
    ]
    return Doses(result["name"], tuple(result["algorithms"]), targets, amounts, np.array(table, np.float64))


def _gap(line: Mapping[str, Any]) -> float:
    return abs(float(line["p_before"]) - float(line["p_ref"]))


def _number(read: Any, line: Mapping[str, Any] | None) -> float:
    value = None if line is None else read(line)
    return float("nan") if value is None else float(value)
