"""From what models said, as it is stored, to the evidence on each record: pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vestige.audit.verdict import Evidence, Null, Reading

Asked = Mapping[str, np.ndarray]
"""What `Subject.ask` says, by name: a test's values (records,), of controls (records, n) under "TEST of controls"."""


@dataclass(frozen=True)
class Said:
    """What all models said. without, free: those trained without the records, and without similar ones too.

    hid: the copies of the model before in which the audit hid the records, NaN of those it could not hide.
    """

    after: Asked
    before: Asked
    without: Sequence[Asked]
    free: Sequence[Asked]
    hid: Sequence[Asked]


def of_record(
    name: str, at: int, levels: Sequence[str], null: Null, kept: int | None,
    retrained: bool, said: Said,
) -> Evidence:  # fmt: skip
    """The evidence on record number `at`.

    levels: the level tests. kept: similar records that stay in training, None where nobody could look. A number that
    is not finite, as a model that diverged answers, is no evidence: its test has none, and says why.
    """

    def several(models: Sequence[Asked], test: str) -> tuple[float, ...]:
        return tuple(float(one[test][at]) for one in models if test in one)

    readings = []
    for test, level in [*((test, True) for test in levels), ("rebound", False)]:
        value, first = _of(said.after, test, at), _of(said.before, test, at)
        hid = tuple(_of(one, test, at) for one in said.hid)
        beside: dict[str, tuple[float, ...]] = {
            "without": several(said.without, test),
            "free": several(said.free, test),
        }
        if null == "controls":
            beside = {what: tuple(map(float, asked.get(f"{test} of controls", np.empty((at + 1, 0)))[at]))
                      for what, asked in (("without", said.after), ("before_null", said.before))}  # fmt: skip
        why = ""
        if value is None:
            there = test in said.after
            why = "the model answers with what is no number" if there else "this model does not allow the test"
        elif not all(map(math.isfinite, (one for lot in beside.values() for one in lot))):
            value, why = None, "what it stands beside is no number"
        if value is None:
            beside = {}
        readings.append(Reading(test, level, value, first, beside.pop("without", ()), why=why, hid=hid, **beside))
    near = None
    if null == "references":
        value, first = _of(said.after, "near", at), _of(said.before, "near", at)
        if value is not None and first is not None:
            near = Reading("near", True, value, first, several(said.without, "near"), several(said.free, "near"))
    accuracy = [_of(asked, "near_accuracy", at) for asked in (said.before, said.after)]
    both = None if accuracy[0] is None or accuracy[1] is None else (accuracy[0], accuracy[1])
    return Evidence(name, null, kept, retrained, tuple(readings), near, both)


def never_seen(null: Sequence[Asked], before: Asked) -> np.ndarray:
    """How models that never saw the records answer them or, without such, how the model before answers controls."""
    levels: np.ndarray = np.mean([one["answer"] for one in null], 0) if null else before["answer of controls"].mean(1)
    return levels


def hidden(asked: Asked, levels: np.ndarray) -> Asked:
    """What a copy says in which the records were to be hidden; NaN of those still answered above these levels."""
    lot = {test: values for test, values in asked.items() if values.shape == levels.shape}
    return {test: np.where(asked["answer"] <= levels, values, np.nan) for test, values in lot.items()}


def utility_of(before: Asked, after: Asked) -> dict[str, Any]:
    """What the model does on other records and on the records' neighbours, before and after; None: not measured."""
    record: dict[str, Any] = {"n": len(after["utility"]), "before": None, "after": None, "near_drop": None}
    if len(after["utility"]):
        record |= {"before": float(before["utility"].mean()), "after": float(after["utility"].mean())}
    drops = before["near_accuracy"] - after["near_accuracy"]
    if np.isfinite(drops).any():
        record["near_drop"] = float(np.nanmean(drops))
    return record


def recall_of(before: Asked, after: Asked) -> list[dict[str, float]] | None:
    """How much of each record the model gives when it is asked, before and after; None where none can be asked."""
    if "recall" not in before or "recall" not in after:
        return None
    return [{"before": float(a), "after": float(b)} for a, b in zip(before["recall"], after["recall"], strict=True)]


def unmoved(before: Asked, after: Asked) -> bool:
    """Whether two models answer everything that was asked alike, to the bit: as far as that shows, they are one."""
    there = [name for name in before if before[name].size]
    return bool(there) and all(name in after and np.array_equal(before[name], after[name], equal_nan=True)
                               for name in there)  # fmt: skip


def _of(asked: Asked, test: str, at: int) -> float | None:
    """What a model said of one record, None where it said nothing, or what is no number."""
    value = float(asked[test][at]) if test in asked else math.nan
    return value if math.isfinite(value) else None
