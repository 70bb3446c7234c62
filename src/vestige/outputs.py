"""What one model answers, kept once; and the metrics that follow from it beside before, R0 and R1."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vestige import membership, metrics, verify
from vestige.config import OutputsConfig, Recipe
from vestige.random import stream
from vestige.types import Samples, Split
from vestige.verify import Measure

if TYPE_CHECKING:
    from torch import nn

    from vestige.modality import Modality

Array = NDArray[np.float64]
Key = tuple[str, str]
"""Group and metric."""
Value = tuple[float, float | None, float | None, int]
Found = Mapping[Key, Value | str]
"""Mean, interval and n of each metric, or why there is none."""

ALONE: tuple[Key, ...] = (
    ("model", "UA"), ("model", "RA"), ("model", "TA"), ("target", "mia_efficacy"), ("target", "zrf"),
    ("member", "loss_auc"), ("member", "loss_tpr_at_1pct_fpr"), ("target", "loss_auc"), ("member", "mentr_auc"),
    ("target", "mentr_auc"),
)  # fmt: skip
RELEARNED: tuple[Key, ...] = (("target", "relearn_time"), ("target", "relearn_time_loss"))
BESIDE = ("average_gap", "tow", "js", "activation_distance", "residual_knowledge")
"""Metrics that need a reference; their group is vs_R0 or vs_R1."""


@dataclass(frozen=True)
class Answers:
    """The logits (N, classes) of one model for some samples, with their labels (N,) and what it was trained on."""

    name: str
    ids: tuple[str, ...]
    logits: Array
    labels: NDArray[np.int64]
    trained_on: tuple[str, ...]

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.logits).all())

    def of(self, ids: Iterable[str]) -> tuple[Array, NDArray[np.int64]]:
        """Logits and labels of these samples, in this order."""
        where = {name: position for position, name in enumerate(self.ids)}
        rows = [where[name] for name in ids]
        return self.logits[rows].astype(np.float64), self.labels[rows]


@dataclass(frozen=True)
class Outputs:
    """What is kept of one model.

    untrained: logits of the untrained network on the targets. right: whether it is right at each random
    neighbour of each target, (targets, draws). accuracy, loss: on the targets while a copy relearns them,
    before any step and after each.
    """

    answers: Answers
    untrained: Array
    right: NDArray[np.bool_]
    accuracy: Array
    loss: Array


def asked(split: Split, training: str) -> tuple[str, ...]:
    """The ids whose answers are kept: the whole original training arm, every null, and the test samples."""
    return verify.asked(split, training) + split.test


def ask(
    model: nn.Module,
    samples: Samples,
    split: Split,
    training: str,
    *,
    modality: Modality,
    recipe: Recipe,
    config: OutputsConfig,
    seed: int,
) -> dict[str, np.ndarray]:
    """What `Outputs` holds, by field (`logits` for the answers). The model is left as it was."""
    import torch

    targets = samples.take(split.target)
    untrained = modality.build(
        recipe.model, samples.take(split.training(training)), generator=stream(seed, "train")
    ).eval()
    around = modality.jitter(targets, config.draws, radius=config.radius, generator=stream(seed, "jitter"))
    with torch.no_grad():
        arrays = {
            "logits": modality.logits(model, samples.take(asked(split, training))).cpu().numpy(),
            "untrained": modality.logits(untrained, targets).cpu().numpy(),
            "right": np.stack([(modality.logits(model, near).argmax(1) == near.y).cpu().numpy() for near in around]),
        }
    return arrays | relearn(model, targets, modality=modality, recipe=recipe, config=config)


def relearn(
    model: nn.Module, targets: Samples, *, modality: Modality, recipe: Recipe, config: OutputsConfig
) -> dict[str, np.ndarray]:
    """Accuracy and mean loss on the targets while a *copy* of the model is trained on them: (steps + 1,) each."""
    import torch

    from vestige.train import descend

    learner = copy.deepcopy(model).eval().requires_grad_()
    curve: dict[str, list[float]] = {"accuracy": [], "loss": []}
    for step in range(config.relearn_steps + 1):
        if step:
            descend(
                learner,
                lambda now, _: modality.losses(now, targets).mean(),
                steps=1,
                lr=config.relearn_lr,
                weight_decay=recipe.train.weight_decay,
                seed=step,
            )
        with torch.no_grad():
            right = modality.logits(learner, targets).argmax(1) == targets.y
            curve["accuracy"].append(float(right.double().mean()))
            curve["loss"].append(float(modality.losses(learner, targets).double().mean()))
    return {name: np.array(values) for name, values in curve.items()}


def measure(own: Outputs, others: Mapping[str, Outputs], split: Split, training: str) -> list[Measure]:
    """The metrics of one model. others: the stages before, R0 and R1 of the same seed and arm, where they were run."""
    if not own.answers.is_finite:
        found: dict[Key, Value | str] = dict.fromkeys((*ALONE, *RELEARNED), verify.DIVERGED)
    else:
        found = {**_alone(own, split, training), **_relearned(own, others)}
    for name in ("R0", "R1") if training == "with" else ("R0",):
        keys = [(f"vs_{name}", metric) for metric in BESIDE]
        other = others.get(name)
        if other is None:
            found |= dict.fromkeys(keys, f"the stage {name} was not finished")
        elif not own.answers.is_finite:
            found |= dict.fromkeys(keys, verify.DIVERGED)
        elif not other.answers.is_finite:
            found |= dict.fromkeys(keys, f"{name} diverged")
        else:
            found |= _beside(own, other, split, training, f"vs_{name}")
    return as_measures(found)


def as_measures(found: Found) -> list[Measure]:
    """One measure per metric, also for those that do not exist."""
    return [
        Measure(group, metric, *((None, None, None, 0, value) if isinstance(value, str) else value))
        for (group, metric), value in found.items()
    ]


def of_ranks(
    score: Mapping[str, float], members: Sequence[str], null: Sequence[str], split: Split, labels: Mapping[str, int]
) -> tuple[Value, Value, Value]:
    """AUC of the members against the null, their TPR at 1 % FPR, and AUC of each target against its own class.

    score: sample → how much it looks like a member.
    """
    inside, outside = (np.array([score[name] for name in ids]) for ids in (members, null))
    hits = round(verify.tpr_at_fpr(inside, outside) * len(inside))
    ranks = [
        verify.auc(
            np.array([score[target]]), np.array([score[name] for name in null if labels[name] == labels[target]])
        )
        for target in split.target
    ]
    return (
        (*verify.auc_interval(inside, outside), len(inside)),
        (*verify.share_interval(hits, len(inside)), len(inside)),
        (*verify.mean_interval(ranks, (0.0, 1.0)), len(ranks)),
    )


def restore(
    name: str, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray], labels: Mapping[str, int]
) -> Answers:
    """The answers as they were kept; labels: class of each sample."""
    ids = tuple(facts["ids"])
    return Answers(name, ids, arrays["logits"], np.array([labels[i] for i in ids]), tuple(facts["trained_on"]))


def _alone(own: Outputs, split: Split, training: str) -> dict[Key, Value | str]:
    answers = own.answers
    found: dict[Key, Value | str] = {}
    for name, ids in _parts(split, training).items():
        right = round(metrics.accuracy(*answers.of(ids)) * len(ids))
        found["model", name] = (*verify.share_interval(len(ids) - right if name == "UA" else right, len(ids)), len(ids))
    forgotten = _judged_forgotten(answers, split, training)
    found["target", "mia_efficacy"] = (*verify.share_interval(int(forgotten.sum()), len(forgotten)), len(forgotten))
    targets = metrics.softmax(answers.of(split.target)[0])
    found["target", "zrf"] = _mean(metrics.zrf(targets, metrics.softmax(own.untrained)), "zrf")
    members = answers.trained_on
    labels = dict(zip(answers.ids, answers.labels.tolist(), strict=True))
    ids = (*members, *split.target, *split.never_seen)
    for name, of in (("loss", metrics.losses), ("mentr", metrics.modified_entropy)):
        score = dict(zip(ids, (-of(*answers.of(ids))).tolist(), strict=True))
        ranks = of_ranks(score, members, split.never_seen, split, labels)
        found["member", f"{name}_auc"], found["target", f"{name}_auc"] = ranks[0], ranks[2]
        if name == "loss":
            found["member", "loss_tpr_at_1pct_fpr"] = ranks[1]
    return found


def _relearned(own: Outputs, others: Mapping[str, Outputs]) -> dict[Key, Value | str]:
    before = others.get("before")
    if before is None:
        return dict.fromkeys(RELEARNED, "the stage before was not finished")
    if not (np.isfinite(before.loss[0]) and np.isfinite(own.loss).all()):
        return dict.fromkeys(RELEARNED, "the model before, or the copy that relearns, diverged")
    times = (
        metrics.relearn_time(own.accuracy, before.accuracy[0]),
        metrics.relearn_time(-own.loss, -before.loss[0]),
    )
    late = f"it was not reached within {len(own.loss) - 1} steps"
    n = own.right.shape[0]
    return {
        key: late if time is None else (float(time), None, None, n) for key, time in zip(RELEARNED, times, strict=True)
    }


def _beside(own: Outputs, other: Outputs, split: Split, training: str, group: str) -> dict[Key, Value | str]:
    n = len(split.target)
    ours, theirs = (_basics(outputs.answers, split, training) for outputs in (own, other))
    p, q = (metrics.softmax(outputs.answers.of(split.target)[0]) for outputs in (own, other))
    ratios = metrics.residual_knowledge(own.right, other.right)
    defined = ratios[np.isfinite(ratios)]
    accuracies = [{name: value for name, value in part.items() if name != "MIA"} for part in (ours, theirs)]
    return {
        (group, "average_gap"): (metrics.average_gap(ours, theirs), None, None, n),
        (group, "tow"): (metrics.tug_of_war(*accuracies), None, None, n),
        (group, "js"): _mean(metrics.jensen_shannon(p, q), "js"),
        (group, "activation_distance"): _mean(metrics.activation_distance(p, q), "activation_distance"),
        (group, "residual_knowledge"): _mean(defined, "residual_knowledge")
        if len(defined)
        else "the reference is never right near any target",
    }


def _parts(split: Split, training: str) -> dict[str, tuple[str, ...]]:
    """D_f, D_r and D_test. D_r is the same at every stage: the arm without its targets."""
    retained = tuple(name for name in split.training(training) if name not in split.target)
    return {"UA": split.target, "RA": retained, "TA": split.test}


def _basics(answers: Answers, split: Split, training: str) -> dict[str, float]:
    found = {name: metrics.accuracy(*answers.of(ids)) for name, ids in _parts(split, training).items()}
    return found | {"UA": 1 - found["UA"], "MIA": float(_judged_forgotten(answers, split, training).mean())}


def _judged_forgotten(answers: Answers, split: Split, training: str) -> NDArray[np.bool_]:
    parts = _parts(split, training)
    shares = (np.exp(-metrics.losses(*answers.of(parts[name]))) for name in ("RA", "TA", "UA"))
    return membership.mia_efficacy(*shares)


def _mean(values: Array, metric: str) -> Value:
    return (*verify.mean_interval(values, verify.BOUNDS[metric]), len(values))
