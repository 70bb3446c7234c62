"""What the finished runs of a study add up to: one tidy table, and paired differences. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vestige import verify
from vestige.dataset import split_of
from vestige.experiment import Laboratory
from vestige.types import Run, Scores

Recalls = Mapping[str, Mapping[str, float]]
"""Group → sample → NCC, of one run."""


def collect(laboratory: Laboratory, runs: Iterable[Run]) -> tuple[list[dict[str, Any]], dict[Run, Recalls]]:
    """The tidy table of all finished runs, and the NCC of each sample of each group in each run.

    One row per variant × training arm × stage × group × metric. Several seeds: the mean of the replicates' values
    with a t interval over them. One seed: that replicate's own interval, over its samples.
    """
    cells: dict[tuple[str, str, str, str, str], list[verify.Measure]] = {}
    recalls: dict[Run, Recalls] = {}
    for run in runs:
        if not laboratory.is_done(run):
            continue
        manifest = laboratory.store.load("data", laboratory.data_name(run.seed, run.variant))
        split = split_of(manifest.facts["split"])
        labels = dict(zip(manifest.facts["ids"], manifest.arrays["y"].tolist(), strict=True))
        model = laboratory.store.load("models", laboratory.model_name(run)).facts
        entry = laboratory.store.load("scores", laboratory.scores_name(run))
        evidence = {name: array for name, array in entry.arrays.items() if name != "value"}
        scores = Scores(tuple(entry.facts["ids"]), entry.arrays["value"], evidence, entry.facts["facts"])
        recalls[run] = {
            group: dict(zip(ids, scores.of(ids, "ncc").tolist(), strict=True))
            for group, ids in verify.groups(split, run.training).items()
        }
        for found in verify.measure(scores, split, run.training, labels, model):
            cells.setdefault((run.variant, run.training, run.stage, found.group, found.metric), []).append(found)
    for run, value in _residuals(recalls).items():
        found = verify.Measure("target", "residual", value, None, None, len(recalls[run]["target"]))
        cells.setdefault((run.variant, run.training, run.stage, "target", "residual"), []).append(found)
    rows = [_row(*key, measures) for key, measures in cells.items()]
    order = {name: position for position, name in enumerate(laboratory.config.stages)}
    variants = {name: position for position, name in enumerate(("", *laboratory.config.variants))}
    rows.sort(
        key=lambda row: (
            variants.get(row["variant"], len(variants)),
            row["training"] != "without",
            order.get(row["stage"], len(order)),
            row["stage"],
        )
    )
    return rows, recalls


def contrast(
    recalls: Mapping[Run, Recalls],
    group: str,
    training: str,
    first: str,
    second: str,
    variants: tuple[str, str] = ("", ""),
) -> tuple[verify.Measure, int] | None:
    """How much larger a group's NCC is at the first stage than at the second, paired by sample, and the seeds.

    variants: those of the first and of the second; a seed's targets are the same samples in all.
    Several seeds: a t interval over the replicates' means; one seed: over its samples. None without data.
    """
    per_seed: list[list[float]] = []
    for run, groups in recalls.items():
        other = Run(run.seed, training, second, variants[1])
        if run == Run(run.seed, training, first, variants[0]) and other in recalls and group in groups:
            per_seed.append([value - recalls[other][group][name] for name, value in groups[group].items()])
    if not per_seed:
        return None
    units = [float(np.mean(values)) for values in per_seed] if len(per_seed) > 1 else per_seed[0]
    n = sum(len(values) for values in per_seed)
    return verify.Measure(group, f"ncc {first} − {second}", *verify.mean_interval(units), n), len(per_seed)


def _row(
    variant: str, training: str, stage: str, group: str, metric: str, measures: list[verify.Measure]
) -> dict[str, Any]:
    if len(measures) > 1:
        mean, low, high = verify.mean_interval(
            [measure.value for measure in measures], verify.BOUNDS.get(metric, (-math.inf, math.inf))
        )
    else:
        mean, low, high = measures[0].value, measures[0].low, measures[0].high
    return {
        "variant": variant,
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


def _residuals(recalls: Mapping[Run, Recalls]) -> dict[Run, float]:
    """Residual recall of the targets per run, where both its references are there and apart."""
    means = {run: float(np.mean(list(groups["target"].values()))) for run, groups in recalls.items()}
    found = {}
    for run, after in means.items():
        before = means.get(replace(run, stage="before"))
        reference = means.get(replace(run, stage="R1" if run.training == "with" else "R0"))
        if before is not None and reference is not None:
            value = verify.residual(after, before, reference)
            if value is not None:
                found[run] = value
    return found
