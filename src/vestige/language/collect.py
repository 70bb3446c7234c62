"""What the finished runs of a language study add up to: measures per target, records, answers. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vestige import utility
from vestige.language.laboratory import Kept, TextLaboratory
from vestige.metrics import relearn_time
from vestige.types import Run
from vestige.verify import BOUNDS, Measure, auc, mean_interval, residual

SCORES = {
    "rougeL_recall": "rougeL_recall", "rougeL": "rougeL", "rouge1": "rouge1", "probability": "probability",
    "extraction_strength": "extraction_strength", "min_k": "min_k", "answer_loss": "loss", "gibberish": "gibberish",
}  # fmt: skip
"""Metric → its name in the evidence of `text.recover`."""
KM = "rougeL_recall"
"""Knowledge memorisation, KM (paper, 3.1.1): ROUGE-L recall of the true answer in what the model says."""
ABOUT = ("target", "similar", "held_out")
"""Groups that unlearning is meant for."""
REMAINING = ("near", "other")
"""Groups that it should leave as they are."""

Finished = Mapping[Run, Kept]
Means = Mapping[Run, Mapping[str, float]]
ByPlace = Mapping[tuple[str, str, str, str], Mapping[tuple[int, str], Measure]]
"""(training, stage, group, metric) → (seed, target) → the measure."""


def take(laboratory: TextLaboratory, runs: Iterable[Run]) -> dict[Run, Kept]:
    """What each finished run left, one entry per target: a model that serves all targets stands once for each."""
    found: dict[Run, Kept] = {}
    for run in runs:
        if laboratory.is_done(run):
            kept = laboratory.kept(run)
            for target in kept.targets:
                number = str(kept.split.target.index(target) + 1)
                found[replace(run, target=number)] = replace(kept, targets=(target,))
    return found


def groups(kept: Kept, asked: Iterable[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Group → the ids that were asked, of one target. asked: by default those whose answers were scored."""
    split, (target,) = kept.split, kept.targets
    near = set(split.all_near())
    there = set(kept.scores.ids if asked is None else asked)
    named = {
        "target": (target,),
        "similar": split.similar[target],
        "held_out": split.held_out[target],
        "near": split.near.get(target, ()),
        "other": tuple(name for name in split.other if name not in near),
        "never_seen": split.never_seen,
    }
    found = {group: tuple(name for name in ids if name in there) for group, ids in named.items()}
    return {group: ids for group, ids in found.items() if ids}


def means(finished: Finished) -> Means:
    """Run and target → group → its mean KM."""
    return {
        run: {group: float(np.mean(kept.scores.of(ids, KM))) for group, ids in groups(kept).items()}
        for run, kept in finished.items()
    }


def measures(finished: Finished, means: Means) -> dict[Run, list[Measure]]:
    """Every measure of each run and target; what unlearning changed is told against the base model and before."""
    found = {}
    for run, kept in finished.items():
        found[run] = [
            Measure(group, metric, *mean_interval(kept.scores.of(ids, name), BOUNDS[metric]), len(ids))
            for group, ids in groups(kept).items()
            for metric, name in SCORES.items()
        ]
        found[run] += [
            Measure(group, "worst_recall", float(kept.scores.of(ids, KM).max()), None, None, len(ids))
            for group, ids in groups(kept).items()
            if group in ABOUT
        ]
        if run.stage != "base":
            found[run] += _changes(run, means)
        found[run] += _membership(kept, finished.get(replace(run, stage="base")))
        found[run] += _returns(kept, means[run]["target"])
        if kept.utility:
            found[run] += _utility(kept, _before(finished, run))
    return found


def _before(finished: Finished, run: Run) -> Kept | None:
    """What the model before unlearning left, of the same seed, arm and target; None for itself and for base."""
    return None if run.stage in ("base", "before") else finished.get(replace(run, stage="before"))


def _utility(kept: Kept, before: Kept | None) -> list[Measure]:
    """What the model is still good for, and what changed since the model before, question by question."""
    asked = kept.utility.get("remaining")
    pairs = groups(kept, asked.ids) if asked else {}
    remaining = {group: ids for group, ids in pairs.items() if group in REMAINING}
    found = utility.measures(kept.utility, before.utility if before else None, remaining)
    if before:
        for group, ids in groups(kept).items():
            if group in REMAINING:
                apart = kept.scores.of(ids, KM) - before.scores.of(ids, KM)
                found.append(Measure(group, "recall_change", *mean_interval(apart, BOUNDS["recall_change"]), len(ids)))
    return found


def by_place(measures: Mapping[Run, Iterable[Measure]]) -> ByPlace:
    """The same measures by what is measured where, target by target."""
    found: dict[tuple[str, str, str, str], dict[tuple[int, str], Measure]] = {}
    for run, lot in measures.items():
        for one in lot:
            found.setdefault((run.training, run.stage, one.group, one.metric), {})[run.seed, run.target] = one
    return found


def _membership(kept: Kept, base: Kept | None) -> list[Measure]:
    """Whether the target's true answer looks trained on beside those of pairs that never were, by three signs."""
    if kept.membership is None:
        return []
    target, null, of = kept.targets, kept.split.never_seen, kept.membership.of
    signs = {"loss_auc": [-of(ids, "loss") for ids in (target, null)],
             "min_k_auc": [of(ids, "min_k") for ids in (target, null)]}  # fmt: skip
    if base is not None and base.membership is not None:
        signs["calibrated_auc"] = [base.membership.of(ids, "loss") - of(ids, "loss") for ids in (target, null)]
    return [Measure("target", name, auc(*both), None, None, 1) for name, both in signs.items()]


def _returns(kept: Kept, after: float) -> list[Measure]:
    """Whether the target comes back, where that was measured. after: its KM as the model is."""
    found = kept.returns.get(kept.targets[0])
    if found is None:
        return []
    steps = relearn_time(found["curve"], found["level"])
    why = "" if steps is not None else f"not back within {len(found['curve']) - 1} steps"
    return [
        Measure("target", "relearn_steps", steps, None, None, int(steps is not None), why),
        *(Measure("target", f"returned_{bits}bit", found[f"{bits}bit"] - after, None, None, 1) for bits in (8, 4)),
    ]


def _changes(run: Run, means: Means) -> list[Measure]:
    """KM against that of the base model and of the model before, and what is left of the difference."""
    base, before = (means.get(replace(run, stage=stage)) for stage in ("base", "before"))
    made = []
    for group, now in means[run].items():
        if group not in ABOUT:
            continue
        if base is not None:
            made.append(Measure(group, "km_left", now - base[group], None, None, 1))
        if before is not None and run.stage != "before":
            made.append(Measure(group, "km_drop", now - before[group], None, None, 1))
        if base is not None and before is not None and run.stage != "before":
            value = residual(now, before[group], base[group])
            why = (
                "" if value is not None else "KM before is within 0.05 of the base model's: there was nothing to forget"
            )
            made.append(Measure(group, "text_residual", value, None, None, int(value is not None), why))
    return made


def records(finished: Finished) -> list[dict[str, Any]]:
    """One record per run, target and group: the means of what was scored, and the worst case over the group."""
    return [
        {
            "seed": run.seed, "training": run.training, "stage": run.stage, "target": kept.targets[0], "group": group,
            "n": len(ids),
            **{name: float(np.mean(kept.scores.of(ids, name))) for name in SCORES.values()},
            "worst": float(kept.scores.of(ids, KM).max()),
        }
        for run, kept in finished.items()
        for group, ids in groups(kept).items()
    ]  # fmt: skip


def answers(finished: Finished, samples: Mapping[int, Mapping[str, tuple[str, str]]]) -> list[dict[str, Any]]:
    """What each model said to each target, and to one paraphrase of each kind.

    samples: seed → id → question and answer.
    """
    found: dict[tuple[int, str, str], dict[str, Any]] = {}
    for run, kept in finished.items():
        for role in ABOUT:
            for name in groups(kept).get(role, ())[:1]:
                question, truth = samples[run.seed][name]
                entry = found.setdefault(
                    (run.seed, run.training, name),
                    {
                        "seed": run.seed, "training": run.training, "target": kept.targets[0], "role": role,
                        "id": name, "question": question, "truth": truth, "said": {},
                    },
                )  # fmt: skip
                said, score = (kept.scores.of([name], what)[0] for what in ("answer", KM))
                entry["said"][run.stage] = {"answer": str(said), "rougeL_recall": float(score)}
    return list(found.values())
