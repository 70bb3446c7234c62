"""Doses: how much the number and the strength of similar samples carry, and what one exact copy weighs in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vestige.collect import Recalls
from vestige.config import StudyConfig
from vestige.types import Run

COUNTS = (1, 2, 3, 5, 7, 10)
STEPS: dict[str, tuple[str, tuple[float, ...]]] = {
    "mask": ("fraction", (0.1, 0.3, 0.5, 0.7)),
    "noise": ("sigma", (0.1, 0.2, 0.4)),
    "shift": ("shift", (1, 2, 4)),
    "crop": ("crop", (0.9, 0.8, 0.6)),
    "jpeg": ("quality", (75, 30, 10)),
    "brightness": ("brightness", (0.2, 0.4, 0.8)),
    "blur": ("blur", (0.5, 1, 2)),
}
"""Transform → its setting and the steps of the study, weakest first."""

DRAWN = 8
"""Copies drawn per target, used or held out, so that a larger dose keeps the copies of a smaller one. A shift by one
pixel has no more."""

APART = 0.05
"""One exact copy must lift recall by this much over none before anything can be counted in it."""

DRAWS = 1000


def grid() -> dict[str, dict[str, Any]]:
    """The variants of the dose study: none, exact copies, ×1…×10 masked by 0.3, and ×5 of each transform and strength.

    The training set has the same size in all of them: a further copy takes the place of an unrelated sample of its
    class. Targets, never-seen and test samples are the same.
    """
    variants = {"none": _variant("mask", "fraction", 0.3, 0)}
    variants |= {f"exact ×{count}": _variant("mask", "fraction", 0.0, count) for count in (1, 5)}
    variants |= {f"mask 0.3 ×{count}": _variant("mask", "fraction", 0.3, count) for count in COUNTS}
    for transform, (setting, steps) in STEPS.items():
        variants |= {f"{transform} {step:g} ×5": _variant(transform, setting, step, 5) for step in steps}
    return variants


def _variant(transform: str, setting: str, strength: float, count: int) -> dict[str, Any]:
    copies = {"similar": count, "held_out": max(DRAWN - count, 0)}
    return {"data": {"transform": transform, setting: strength, **copies}}


def doses(config: StudyConfig) -> dict[str, dict[str, Any]]:
    """Variant → its transform, the settings of its strength, how many copies, and how they are made in words."""
    found = {}
    for name in config.variants:
        data = config.of(name).data
        found[name] = {
            "transform": data.transform,
            "strength": data.strength,
            "copies": data.similar,
            "made": data.made,
            "exact": data.transform == "mask" and data.fraction == 0,
        }
    return found


def equivalents(config: StudyConfig, recalls: Mapping[Run, Recalls]) -> list[dict[str, Any]]:
    """How many fuzzy copies weigh as much as one exact one, for each transform and strength with several counts.

    The level is the targets' NCC under R0 with one exact copy in training; the curve is that with 0, 1, … fuzzy
    copies, linear in between; the equivalent is where it first reaches the level. Means over the targets of the
    seeds that finished every point. Interval: percentile bootstrap over the seeds, or over the targets of one seed,
    1,000 draws of a fixed stream; open upwards (high None) where more than 2.5 % of the draws never reach the level.
    """
    known = doses(config)
    level = next((name for name, dose in known.items() if dose["exact"] and dose["copies"] == 1), None)
    none = next((name for name, dose in known.items() if dose["copies"] == 0), None)
    curves: dict[tuple[Any, ...], list[str]] = {}
    for name, dose in known.items():
        if dose["copies"] and not dose["exact"]:
            curves.setdefault((dose["transform"], *dose["strength"].items()), []).append(name)
    found = []
    for names in curves.values():
        if level is not None and none is not None and len(names) > 1:
            names = [none, *sorted(names, key=lambda name: int(known[name]["copies"]))]
            units = _units(config, recalls, [level, *names])
            counts = [int(known[name]["copies"]) for name in names]
            found.append({**_about(known[names[-1]]), **_equivalent(counts, units, str(known[names[-1]]["made"]))})
    return found


def crossing(counts: Sequence[float], values: Sequence[float], level: float) -> float:
    """Where the line through (counts, values) first reaches the level; infinity where it never does.

    >>> crossing([0, 1, 3], [0.2, 0.4, 0.8], 0.6)
    2.0
    """
    if values[0] >= level:
        return float(counts[0])
    for at in range(1, len(counts)):
        low, high = values[at - 1], values[at]
        if high >= level:
            return counts[at - 1] + (counts[at] - counts[at - 1]) * (level - low) / (high - low)
    return math.inf


def _units(config: StudyConfig, recalls: Mapping[Run, Recalls], variants: Sequence[str]) -> list[np.ndarray]:
    """NCC under R0, one array (variants, targets) per seed that has them all."""
    found = []
    for seed in range(config.seed, config.seed + config.seeds):
        runs = [Run(seed, "with", "R0", variant) for variant in variants]
        if all(run in recalls for run in runs):
            targets = recalls[runs[0]]["target"]
            found.append(np.array([[recalls[run]["target"][name] for name in targets] for run in runs]))
    return found


def _about(dose: Mapping[str, Any]) -> dict[str, Any]:
    return {key: dose[key] for key in ("transform", "strength", "made")}


def _equivalent(counts: Sequence[int], units: Sequence[np.ndarray], made: str) -> dict[str, Any]:
    record: dict[str, Any] = {
        "copies": None, "low": None, "high": None, "most": counts[-1], "level": None, "none": None,
        "reached": None, "n": 0, "seeds": len(units),
    }  # fmt: skip
    if not units:
        return {**record, "sentence": f"not computed because no seed finished every number of copies ({made})"}
    # One column per unit that is drawn anew: seeds, or the targets of the only seed.
    columns = np.stack([unit.mean(1) for unit in units], 1) if len(units) > 1 else units[0]
    level, *curve = columns.mean(1).tolist()
    record |= {"level": level, "none": curve[0], "n": sum(unit.shape[1] for unit in units)}
    if level - curve[0] < APART:
        return {**record, "sentence": f"undefined: one exact copy is recalled hardly better than none ({made})"}
    copies = crossing(counts, curve, level)
    if columns.shape[1] > 1:
        rng = np.random.default_rng(0)
        picks = rng.integers(columns.shape[1], size=(DRAWS, columns.shape[1]))
        drawn = np.sort([crossing(counts, (means := columns[:, pick].mean(1))[1:], means[0]) for pick in picks])
        low, high = drawn[int(0.025 * DRAWS)], drawn[int(0.975 * DRAWS) - 1]
        record |= {"low": _finite(low), "high": _finite(high), "reached": float(np.isfinite(drawn).mean())}
    record["copies"] = _finite(copies)
    return {**record, "sentence": _sentence(record, made)}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _sentence(record: Mapping[str, Any], made: str) -> str:
    if record["copies"] is None:
        return f"{record['most']} copies, {made}, do not weigh as much as one exact copy: not reached"
    low, high = (
        f"more than {record['most']}" if record[key] is None else f"{record[key]:.1f}" for key in ("low", "high")
    )
    interval = "" if record["reached"] is None else f" [{low}, {high}]"
    return f"one exact copy weighs as much as {record['copies']:.1f}{interval} copies, {made}"
