"""What the finished runs of a study add up to: one tidy table, and paired differences. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vestige import verify
from vestige.dataset import split_of
from vestige.experiment import Laboratory
from vestige.types import Run, Scores


def collect(laboratory: Laboratory, runs: Iterable[Run]) -> tuple[list[dict[str, Any]], dict[Run, dict[str, float]]]:
    """The tidy table of all finished runs, and the NCC of each target in each run.

    One row per training arm × stage × group × metric. Several seeds: the mean of the replicates' values
    with a t interval over them. One seed: that replicate's own interval, over its samples.
    """
    cells: dict[tuple[str, str, str, str], list[verify.Measure]] = {}
    targets: dict[Run, dict[str, float]] = {}
    for run in runs:
        if not laboratory.is_done(run):
            continue
        manifest = laboratory.store.load("data", laboratory.data_name(run.seed))
        split = split_of(manifest.facts["split"])
        labels = dict(zip(manifest.facts["ids"], manifest.arrays["y"].tolist(), strict=True))
        model = laboratory.store.load("models", laboratory.model_name(run)).facts
        entry = laboratory.store.load("scores", laboratory.scores_name(run))
        evidence = {name: array for name, array in entry.arrays.items() if name != "value"}
        scores = Scores(tuple(entry.facts["ids"]), entry.arrays["value"], evidence, entry.facts["facts"])
        targets[run] = dict(zip(split.target, scores.of(split.target, "ncc").tolist(), strict=True))
        for found in verify.measure(scores, split, run.training, labels, model):
            cells.setdefault((run.training, run.stage, found.group, found.metric), []).append(found)
    for run, value in _residuals(targets).items():
        found = verify.Measure("target", "residual", value, None, None, len(targets[run]))
        cells.setdefault((run.training, run.stage, "target", "residual"), []).append(found)
    rows = [_row(*key, measures) for key, measures in cells.items()]
    order = {name: position for position, name in enumerate(laboratory.config.stages)}
    rows.sort(key=lambda row: (row["training"] != "without", order.get(row["stage"], len(order)), row["stage"]))
    return rows, targets


def contrast(
    targets: Mapping[Run, Mapping[str, float]], training: str, first: str, second: str
) -> verify.Measure | None:
    """How much larger the targets' NCC is at the first stage than at the second, paired by target.

    Several seeds: a t interval over the replicates' means; one seed: over its targets. None without data.
    """
    per_seed: list[list[float]] = []
    for run, values in targets.items():
        other = Run(run.seed, training, second)
        if run == Run(run.seed, training, first) and other in targets:
            per_seed.append([values[name] - targets[other][name] for name in values])
    if not per_seed:
        return None
    units = [float(np.mean(values)) for values in per_seed] if len(per_seed) > 1 else per_seed[0]
    n = sum(len(values) for values in per_seed)
    return verify.Measure("target", f"ncc {first} − {second}", *verify.mean_interval(units), n)


def _row(training: str, stage: str, group: str, metric: str, measures: list[verify.Measure]) -> dict[str, Any]:
    if len(measures) > 1:
        mean, low, high = verify.mean_interval(
            [measure.value for measure in measures], verify.BOUNDS.get(metric, (-math.inf, math.inf))
        )
    else:
        mean, low, high = measures[0].value, measures[0].low, measures[0].high
    return {
        "training": training,
        "stage": stage,
        "group": group,
        "metric": metric,
        "mean": mean,
        "low": low,
        "high": high,
        "n": sum(measure.n for measure in measures),
        "seeds": len(measures),
    }


def _residuals(targets: Mapping[Run, Mapping[str, float]]) -> dict[Run, float]:
    """Residual recall of the targets per run, where both its references are there and apart."""
    found = {}
    for run, values in targets.items():
        before = targets.get(Run(run.seed, run.training, "before"))
        reference = targets.get(Run(run.seed, run.training, "R1" if run.training == "with" else "R0"))
        if before and reference:
            after, start, end = (float(np.mean(list(part.values()))) for part in (values, before, reference))
            value = verify.residual(after, start, end)
            if value is not None:
                found[run] = value
    return found
