"""Shadow models: what each is trained on, and the attacks and distances that they make possible.

They come in pairs of complementary halves of a pool: the training arm and as many never-seen samples beside
the targets. The first of a pair is trained on the targets and half of the rest, and so has the size and the
class balance of the model before; the second on the other half, and so has R0's. Every stage is applied to
the first ones. So the second ones, and R0 applied to the first ones, are models of the same kind, and every other
sample of the pool lies in half of the shadow models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from vestige import membership, metrics, verify
from vestige.outputs import Answers, Array, Key, Outputs, Value, as_measures, of_ranks
from vestige.random import stream
from vestige.types import InputError, ShadowRun, Split
from vestige.verify import Measure

ON_SHADOWS: tuple[Key, ...] = (
    ("target", "lira_auc"), ("member", "lira_auc"), ("member", "lira_tpr_at_1pct_fpr"),
    ("target", "lira_offline_auc"), ("member", "lira_offline_auc"),
    ("target", "rmia_auc"), ("member", "rmia_auc"), ("member", "rmia_tpr_at_1pct_fpr"),
)  # fmt: skip
ON_UNLEARNED: tuple[Key, ...] = (
    ("target", "u_lira_auc"), ("target", "klom"), ("near", "klom"), ("test", "klom"), ("target", "forgetting_quality"),
)  # fmt: skip


def population(split: Split, training: str, labels: Mapping[str, int]) -> tuple[str, ...]:
    """Never-seen samples, per class as many as the arm has beside its targets.

    Raises InputError where there are too few, or where a target is all that its class has.
    """
    wanted = Counter(labels[name] for name in split.training(training))
    wanted.subtract(labels[name] for name in split.target)
    chosen: list[str] = []
    for label, count in sorted(wanted.items()):
        if count == 0:
            raise InputError(f"shadow models need more of class {label} than its target; raise data.per_class")
        there = [name for name in split.never_seen if labels[name] == label]
        if len(there) < count:
            raise InputError(
                f"shadow models need {count} never-seen samples of class {label}, there are {len(there)}; raise "
                f"data.never_seen to {count * len(wanted)}"
            )
        chosen += there[:count]
    return tuple(chosen)


def trained_on(run: ShadowRun, split: Split, labels: Mapping[str, int]) -> tuple[str, ...]:
    """The ids that this shadow model is trained on; those of even index hold the targets."""
    import torch

    draw = stream(run.seed, f"shadow {run.index // 2}")
    rest = [name for name in split.training(run.training) if name not in split.target]
    rest += population(split, run.training, labels)
    halves: tuple[list[str], list[str]] = ([], [])
    for label in sorted({labels[name] for name in rest}):
        ids = [name for name in rest if labels[name] == label]
        order = torch.randperm(len(ids), generator=draw).tolist()
        for place, position in enumerate(order):
            halves[place % 2].append(ids[position])
    return split.target + tuple(halves[0]) if run.index % 2 == 0 else tuple(halves[1])


def seed_of(run: ShadowRun) -> int:
    """A seed of its own for each shadow model's initial weights and methods, far from those of any study."""
    return 10**6 * (run.seed + 1) + run.index


def measure(
    own: Outputs,
    shadows: Sequence[Answers] | str,
    unlearned: Sequence[Answers] | str,
    split: Split,
    training: str,
    *,
    gamma: float,
) -> list[Measure]:
    """The metrics that need shadow models, of one model.

    shadows: those trained, by index. unlearned: those of even index after the same stage as this model.
    Either may be the reason why they are not there.
    """
    found: dict[Key, Value | str] = {}
    if isinstance(shadows, str):
        return as_measures(dict.fromkeys((*ON_SHADOWS, *ON_UNLEARNED), shadows))
    if own.answers.is_finite:
        found |= _attacks(own.answers, shadows, split, training, gamma)
    else:
        found |= dict.fromkeys(ON_SHADOWS, verify.DIVERGED)
    if isinstance(unlearned, str):
        return as_measures(found | dict.fromkeys(ON_UNLEARNED, unlearned))
    diverged = sum(not answers.is_finite for answers in unlearned)
    if diverged:
        why = f"{diverged} of {len(unlearned)} unlearned shadow models diverged"
        return as_measures(found | dict.fromkeys(ON_UNLEARNED, why))
    return as_measures(found | _distances(unlearned, shadows[1::2], split))


def _attacks(
    own: Answers, shadows: Sequence[Answers], split: Split, training: str, gamma: float
) -> dict[Key, Value | str]:
    labels = dict(zip(own.ids, own.labels.tolist(), strict=True))
    null = population(split, training, labels)
    pool = (*split.training(training), *null)
    log_p = np.stack([-metrics.losses(*answers.of(pool)) for answers in shadows])
    fitted = membership.Shadows(
        tuple(answers.name for answers in shadows),
        np.stack([metrics.margins(*answers.of(pool)) for answers in shadows]),
        np.array([[name in members for name in pool] for members in (set(a.trained_on) for a in shadows)]),
    )
    margins = metrics.margins(*own.of(pool))
    where = range(len(pool) - len(null), len(pool))
    scores = {
        "lira": membership.lira(fitted, own.name, margins),
        "lira_offline": membership.lira_offline(fitted, own.name, margins),
        "rmia": membership.rmia(fitted, own.name, -metrics.losses(*own.of(pool)), log_p, where, gamma),
    }
    found: dict[Key, Value | str] = {}
    for name, values in scores.items():
        score = dict(zip(pool, values.tolist(), strict=True))
        auc, tpr, target = of_ranks(score, own.trained_on, null, split, labels)
        found |= {("target", f"{name}_auc"): target, ("member", f"{name}_auc"): auc}
        if name != "lira_offline":
            found["member", f"{name}_tpr_at_1pct_fpr"] = tpr
    return found


def _distances(unlearned: Sequence[Answers], retrained: Sequence[Answers], split: Split) -> dict[Key, Value | str]:
    """How far the unlearned shadow models are from those that never saw the targets."""

    def margins(ids: Sequence[str]) -> tuple[Array, Array]:
        of_unlearned, of_retrained = (
            np.stack([metrics.margins(*model.of(ids)) for model in models]) for models in (unlearned, retrained)
        )
        return of_unlearned, of_retrained

    targets = margins(split.target)
    half = len(unlearned) // 2
    first, second = range(half), range(half, len(unlearned))
    told = (membership.u_lira(*targets, first, second) + membership.u_lira(*targets, second, first)) / 2
    qualities = [metrics.forgetting_quality([eps]) for eps in metrics.epsilons(*targets)]
    found: dict[Key, Value | str] = {
        ("target", "u_lira_auc"): (*verify.mean_interval(told, (0.0, 1.0)), len(told)),
        ("target", "forgetting_quality"): (*verify.mean_interval(qualities, (0.0, 1.0)), len(qualities)),
    }
    for group, ids in {"target": split.target, "near": split.all_near(), "test": split.test}.items():
        found[group, "klom"] = "this study has no such samples"
        if ids:
            mean = verify.mean_interval(metrics.klom(*margins(ids)), verify.BOUNDS["klom"])
            found[group, "klom"] = (*mean, len(ids))
    return found
