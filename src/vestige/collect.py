"""What the finished runs of a study add up to: one tidy table, and paired differences. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vestige import influence, outputs, shadow, verify
from vestige.experiment import Laboratory, labels_of
from vestige.store import read_json
from vestige.types import Run, Scores, ShadowRun, Split, split_of

Recalls = Mapping[str, Mapping[str, float]]
"""Group → sample → NCC, of one run."""
Measures = Mapping[Run, Sequence[verify.Measure]]
"""All measures of each finished run."""


def collect(laboratory: Laboratory, runs: Iterable[Run]) -> tuple[list[dict[str, Any]], dict[Run, Recalls]]:
    """The tidy table of all finished runs, and the NCC of each sample of each group in each run."""
    measures, recalls = take(laboratory, runs)
    return rows(measures, laboratory.config.stages, tuple(laboratory.config.variants)), recalls


def take(laboratory: Laboratory, runs: Iterable[Run]) -> tuple[dict[Run, list[verify.Measure]], dict[Run, Recalls]]:
    """Every measure of all finished runs, and, where recall is measured, the NCC of each sample of each group."""
    measure = laboratory.config.measure
    measures: dict[Run, list[verify.Measure]] = {}
    recalls: dict[Run, Recalls] = {}
    for run in runs:
        if not laboratory.is_done(run):
            continue
        manifest = laboratory.store.load("data", laboratory.data_name(run.seed, run.variant))
        split, labels = split_of(manifest.facts["split"]), labels_of(manifest)
        model = laboratory.store.load("models", laboratory.model_name(run)).facts
        diverged = verify.has_diverged(model)
        if "recall" in measure and diverged:
            measures[run] = verify.unmeasured(split, run.training, model)
        elif "recall" in measure:
            entry = laboratory.store.load("scores", laboratory.scores_name(run))
            evidence = {name: array for name, array in entry.arrays.items() if name != "value"}
            scores = Scores(tuple(entry.facts["ids"]), entry.arrays["value"], evidence, entry.facts["facts"])
            recalls[run] = {
                group: dict(zip(ids, scores.of(ids, "ncc").tolist(), strict=True))
                for group, ids in verify.groups(split, run.training).items()
            }
            measures[run] = verify.measure(scores, split, run.training, labels, model)
        else:
            measures[run] = verify.of_accuracy(model) + verify.of_removal(model, split)
        if "influence" in measure and diverged:
            measures[run] += verify.uninfluenced(run.training)
        elif "influence" in measure:
            first = replace(run, stage="before")
            there = laboratory.is_done(first) and not laboratory.has_diverged(first)
            before = _influence(laboratory, first, split) if there else None
            kept = _influence(laboratory, run, split)
            measures[run] += verify.of_influence(kept, before, split, run.training, labels, model)
        if "outputs" in measure:
            own = _outputs(laboratory, run, labels)
            others = {
                name: _outputs(laboratory, other, labels)
                for name in ("before", "R0", "R1")
                if laboratory.is_done(other := replace(run, stage=name))
            }
            measures[run] += outputs.measure(own, others, split, run.training)
            if "membership" in measure:
                count, gamma = laboratory.config.shadow.models, laboratory.config.shadow.gamma
                trained = _shadows(laboratory, run, "before", range(count), labels)
                unlearned = _shadows(laboratory, run, run.stage, range(0, count, 2), labels)
                measures[run] += shadow.measure(own, trained, unlearned, split, run.training, gamma=gamma)
    for run, value in _residuals(recalls).items():
        measures[run].append(verify.Measure("target", "residual", value, None, None, len(recalls[run]["target"])))
    return measures, recalls


def rows(measures: Measures, stages: Sequence[str], variants: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One row per variant × training arm × stage × group × metric, for all metrics that exist, in the order given.

    Several seeds: the mean of the replicates' values with a t interval over them. One seed: that replicate's
    own interval, over its samples. A study with one run per target: over its runs.
    """
    cells: dict[tuple[str, str, str, str, str], list[verify.Measure]] = {}
    seeds: dict[tuple[str, str, str, str, str], set[int]] = {}
    for run, found in measures.items():
        for one in found:
            if one.value is not None:
                key = (run.variant, run.training, run.stage, one.group, one.metric)
                cells.setdefault(key, []).append(one)
                seeds.setdefault(key, set()).add(run.seed)
    made = [{**_row(*key, cell), "seeds": len(seeds[key])} for key, cell in cells.items()]
    order = {name: position for position, name in enumerate(stages)}
    places = {name: position for position, name in enumerate(("", *variants))}
    made.sort(
        key=lambda row: (
            places.get(row["variant"], len(places)),
            row["training"] != "without",
            order.get(row["stage"], len(order)),
            row["stage"],
        )
    )
    return made


def missing(measures: Measures) -> list[dict[str, Any]]:
    """The metrics that do not exist, each with the seed and why."""
    return [
        {
            "seed": run.seed, "variant": run.variant, "training": run.training, "stage": run.stage,
            "group": one.group, "metric": one.metric, "why": one.why,
        }
        for run, found in measures.items()
        for one in found
        if one.value is None
    ]  # fmt: skip


def gaps(measures: Measures, references: Sequence[str] = ("R0", "R1")) -> list[dict[str, Any]]:
    """How far each stage is from each reference in every metric that is best there, paired by seed.

    Signed: above 0 where the stage's value is larger. Intervals over seeds, none for one.
    """
    cells: dict[tuple[str, str, str, str, str, str], list[float]] = {}
    for run, found in measures.items():
        for name in references:
            reference = measures.get(replace(run, stage=name), ())
            theirs = {(one.group, one.metric): one.value for one in reference}
            for one in found:
                other = theirs.get((one.group, one.metric))
                if one.value is not None and other is not None and verify.METRICS[one.metric]["better"] == "reference":
                    key = (run.variant, run.training, run.stage, name, one.group, one.metric)
                    cells.setdefault(key, []).append(one.value - other)
    keys = ("variant", "training", "stage", "reference", "group", "metric")
    return [
        {
            **dict(zip(keys, key, strict=True)),
            **dict(zip(("mean", "low", "high"), verify.mean_interval(values), strict=True)),
            "seeds": len(values),
        }
        for key, values in cells.items()
    ]


def times(laboratory: Laboratory, runs: Iterable[Run]) -> list[dict[str, Any]]:
    """RTE: each stage's processor time as a ratio to R0's of the same seed and arm. Not reproducible to the bit."""
    spent = {
        run: float(read_json(laboratory.store.folder("models", name) / "run.json").get("method_seconds", math.nan))
        for run in runs
        if laboratory.store.has("models", name := laboratory.model_name(run))
    }
    cells: dict[tuple[str, str, str], list[float]] = {}
    for run, seconds in spent.items():
        reference = spent.get(replace(run, stage="R0"), 0.0)
        if reference > 0 and seconds >= 0:
            cells.setdefault((run.variant, run.training, run.stage), []).append(seconds / reference)
    return [
        _row(*key, "model", "rte", [verify.Measure("model", "rte", value, None, None, 1) for value in values])
        for key, values in cells.items()
    ]


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


def difference(
    measures: Measures,
    group: str,
    metric: str,
    training: str,
    first: str,
    second: str,
    variants: tuple[str, str] = ("", ""),
) -> tuple[verify.Measure, int] | None:
    """How much larger a metric is at the first stage than at the second, paired by seed, and the seeds.

    variants: those of the first and of the second. The interval is over seeds, none for one. None where no seed has
    both.
    """

    def values(stage: str, variant: str) -> dict[int, tuple[float, int]]:
        return {
            run.seed: (one.value, one.n)
            for run, found in measures.items()
            if (run.training, run.stage, run.variant) == (training, stage, variant)
            for one in found
            if (one.group, one.metric) == (group, metric) and one.value is not None
        }

    ours, theirs = values(first, variants[0]), values(second, variants[1])
    both = [seed for seed in ours if seed in theirs]
    if not both:
        return None
    units = [ours[seed][0] - theirs[seed][0] for seed in both]
    n = sum(ours[seed][1] for seed in both)
    return verify.Measure(group, f"{metric} {first} − {second}", *verify.mean_interval(units), n), len(both)


def carriers(laboratory: Laboratory, runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Who carries the margin of each target in each finished run: its parts in logits, their ranges, who carries most.

    why: the reason where parts cannot be told (`influence.why_not`), else "". Empty where not measured.
    """
    if "influence" not in laboratory.config.measure:
        return []
    found = []
    for run in runs:
        if not laboratory.is_done(run) or laboratory.has_diverged(run):
            continue
        manifest = laboratory.store.load("data", laboratory.data_name(run.seed, run.variant))
        kept = _influence(laboratory, run, split_of(manifest.facts["split"]))
        found += [
            {
                "seed": run.seed, "variant": run.variant, "training": run.training, "stage": run.stage,
                **influence.record(share, kept.contributions, kept.explained),
            }
            for share in kept.shares
        ]  # fmt: skip
    return found


def carried(carriers: Sequence[Mapping[str, Any]], part: str) -> dict[Run, Recalls]:
    """Run → "target" → each target's part of its margin, in units of the targets' mean margin before unlearning."""
    lots: dict[Run, dict[str, Mapping[str, Any]]] = {}
    for one in carriers:
        if not one["why"]:
            run = Run(one["seed"], one["training"], one["stage"], one["variant"])
            lots.setdefault(run, {})[one["target"]] = one
    found: dict[Run, Recalls] = {}
    for run, targets in lots.items():
        before = lots.get(replace(run, stage="before"), {})
        scale = float(np.mean([one["margin"] for one in before.values()])) if before else 0.0
        if scale > 0:
            found[run] = {"target": {name: one["parts"][part] / scale for name, one in targets.items()}}
    return found


def _influence(laboratory: Laboratory, run: Run, split: Split) -> influence.Kept:
    entry = laboratory.store.load("influence", laboratory.influence_name(run))
    return influence.restore(entry.facts, entry.arrays, split, run.training)


def _outputs(laboratory: Laboratory, run: Run, labels: Mapping[str, int]) -> outputs.Outputs:
    entry = laboratory.store.load("outputs", laboratory.outputs_name(run))
    arrays = {name: array for name, array in entry.arrays.items() if name != "logits"}
    return outputs.Outputs(outputs.restore(entry.facts["model"], entry.facts, entry.arrays, labels), **arrays)


def _shadows(
    laboratory: Laboratory, run: Run, stage: str, indices: Iterable[int], labels: Mapping[str, int]
) -> list[outputs.Answers] | str:
    """What these shadow models answer at a stage, or why that cannot be told: one that is missing spoils the design."""
    found, lost, every = [], 0, list(indices)
    for index in every:
        name = laboratory.shadow_name(ShadowRun(run.seed, run.training, index, (stage,), run.variant), stage)
        if laboratory.store.has("shadows", name):
            entry = laboratory.store.load("shadows", name)
            found.append(outputs.restore(name, entry.facts, entry.arrays, labels))
        else:
            lost += 1
    return f"{lost} of {len(every)} shadow models failed or are missing" if lost else found


def _row(
    variant: str, training: str, stage: str, group: str, metric: str, measures: list[verify.Measure]
) -> dict[str, Any]:
    values = [one.value for one in measures if one.value is not None]
    if len(values) > 1:
        mean, low, high = verify.mean_interval(values, verify.BOUNDS.get(metric, (-math.inf, math.inf)))
    else:
        mean, low, high = values[0], measures[0].low, measures[0].high
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
