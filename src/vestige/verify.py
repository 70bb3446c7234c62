"""Verification: recall of every group beside its null, membership, accuracy. Pure functions of numbers.

Every value carries its n and a 95 % interval. No data is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige import influence, knowledge
from vestige.types import InputError, Samples, Scores, Split

if TYPE_CHECKING:
    from torch import nn

    from vestige.modality import Modality

BOUNDS = {"ncc": (-1.0, 1.0), "ssim": (-1.0, 1.0), "auc": (0.0, 1.0), "tpr_at_1pct_fpr": (0.0, 1.0)}
BOUNDS |= {"outside": (0.0, 1.0), "span_auc": (0.0, 1.0), "span_tpr_at_1pct_fpr": (0.0, 1.0)}
BOUNDS |= dict.fromkeys(("explained", "multiplier_auc", "multiplier_tpr_at_1pct_fpr"), (0.0, 1.0))
BOUNDS |= {f"{part}_accuracy": (0.0, 1.0) for part in ("train", "forget", "near", "test")} | {
    "constructed_copies": (0.0, 1.0)
}
BOUNDS |= dict.fromkeys(
    ("UA", "RA", "TA", "average_gap", "tow", "mia_efficacy", "zrf", "forgetting_quality"), (0.0, 1.0)
)
BOUNDS |= {f"{attack}_auc": (0.0, 1.0) for attack in ("loss", "mentr", "lira", "lira_offline", "rmia", "u_lira")}
BOUNDS |= {f"{attack}_tpr_at_1pct_fpr": (0.0, 1.0) for attack in ("loss", "lira", "rmia")}
BOUNDS |= {"js": (0.0, math.log(2)), "activation_distance": (0.0, math.sqrt(2))}
BOUNDS |= dict.fromkeys(("residual_knowledge", "klom", "relearn_time", "relearn_time_loss", "rte"), (0.0, math.inf))
BOUNDS |= knowledge.BOUNDS
"""Metrics that cannot leave a range."""

SHARE = "share of the margin before"
METRICS: dict[str, dict[str, str]] = knowledge.METRICS | {
    "ncc": {"unit": "−1…1", "better": "reference", "what": "correlation of a sample with its best reconstruction"},
    "ssim": {"unit": "−1…1", "better": "reference", "what": "SSIM of a sample and that reconstruction"},
    "auc": {"unit": "0…1", "better": "0.5", "what": "chance that a member's NCC exceeds that of its null"},
    "tpr_at_1pct_fpr": {"unit": "0…1", "better": "0.01", "what": "members above the null's 1 % threshold"},
    "outside": {"unit": "0…1", "better": "reference", "what": "share of a sample outside the first layer's rows"},
    "span_auc": {"unit": "0…1", "better": "0.5", "what": "chance that a member lies nearer to that span than its null"},
    "span_tpr_at_1pct_fpr": {"unit": "0…1", "better": "0.01", "what": "members nearer than the null's 1 % threshold"},
    "found": {"unit": "images", "better": "reference", "what": "candidates black and white enough to pass for exact"},
    "residual": {"unit": "1 = before, 0 = R1", "better": "0", "what": "NCC of the targets between R1 and before"},
    "own_share": {"unit": SHARE, "better": "reference", "what": "what a target itself carries of its margin"},
    "similar_share": {"unit": SHARE, "better": "reference", "what": "what its similar samples carry of it"},
    "near_share": {"unit": SHARE, "better": "reference", "what": "what its natural neighbours carry of it"},
    "other_share": {"unit": SHARE, "better": "reference", "what": "what all other training samples carry of it"},
    "start_share": {"unit": SHARE, "better": "none", "what": "what is left in it of the weights before training"},
    "unexplained_share": {"unit": SHARE, "better": "none", "what": "what no training sample explains of it"},
    "explained": {"unit": "share of ‖θ‖²", "better": "none", "what": "what Σ λ∇m explains of the weights"},
    "multiplier_auc": {"unit": "0…1", "better": "0.5", "what": "chance that a member's λ exceeds that of its null"},
    "multiplier_tpr_at_1pct_fpr": {"unit": "0…1", "better": "0.01", "what": "members above the null's 1 % λ"},
    "train_accuracy": {"unit": "0…1", "better": "reference", "what": "accuracy on what the model trained on"},
    "forget_accuracy": {"unit": "0…1", "better": "reference", "what": "accuracy on the targets"},
    "near_accuracy": {"unit": "0…1", "better": "reference", "what": "accuracy on the targets' innocent neighbours"},
    "test_accuracy": {"unit": "0…1", "better": "higher", "what": "accuracy on unseen samples"},
    "unexplained": {"unit": "share of ‖θ‖²", "better": "lower", "what": "what the reconstruction leaves unexplained"},
    "removed": {"unit": "samples", "better": "reference", "what": "training samples taken out, targets included"},
    "constructed_copies": {
        "unit": "0…1", "better": "none", "what": "share of the widened set that are the targets' constructed copies"
    },
    "UA": {"unit": "0…1", "better": "reference", "what": "1 − accuracy on the targets"},
    "RA": {"unit": "0…1", "better": "reference", "what": "accuracy on the arm without its targets"},
    "TA": {"unit": "0…1", "better": "reference", "what": "accuracy on unseen samples"},
    "mia_efficacy": {"unit": "0…1", "better": "reference", "what": "targets that an SVC on p_y takes for non-members"},
    "average_gap": {"unit": "0…1", "better": "0", "what": "mean distance of UA, RA, TA, MIA-efficacy to the reference"},
    "tow": {"unit": "0…1", "better": "1", "what": "tug of war: closeness of the three accuracies to the reference's"},
    "js": {"unit": "nats, 0…0.69", "better": "0", "what": "Jensen–Shannon divergence to the reference on the targets"},
    "activation_distance": {"unit": "0…1.41", "better": "0", "what": "‖p − p of the reference‖ on the targets"},
    "residual_knowledge": {"unit": "ratio", "better": "1", "what": "right answers near targets, to the reference's"},
    "zrf": {"unit": "0.31…1", "better": "reference", "what": "likeness to an untrained network on the targets"},
    "relearn_time": {"unit": "steps", "better": "reference", "what": "until the targets' accuracy is as before"},
    "relearn_time_loss": {"unit": "steps", "better": "reference", "what": "until the targets' loss is as before"},
    "loss_auc": {"unit": "0…1", "better": "reference", "what": "chance that a member's loss is below its null's"},
    "loss_tpr_at_1pct_fpr": {"unit": "0…1", "better": "reference", "what": "members below the null's 1 % loss"},
    "mentr_auc": {"unit": "0…1", "better": "reference", "what": "the same by modified entropy"},
    "lira_auc": {"unit": "0…1", "better": "reference", "what": "the same by LiRA's likelihood ratio"},
    "lira_offline_auc": {"unit": "0…1", "better": "reference", "what": "the same by offline LiRA"},
    "lira_tpr_at_1pct_fpr": {"unit": "0…1", "better": "reference", "what": "members above LiRA's 1 % threshold"},
    "rmia_auc": {"unit": "0…1", "better": "reference", "what": "the same by RMIA"},
    "rmia_tpr_at_1pct_fpr": {"unit": "0…1", "better": "reference", "what": "members above RMIA's 1 % threshold"},
    "u_lira_auc": {"unit": "0…1", "better": "0.5", "what": "U-LiRA: unlearned shadow models told from retrained ones"},
    "klom": {"unit": "nats", "better": "reference", "what": "KL of the margins of retrained, unlearned shadow models"},
    "forgetting_quality": {"unit": "0…1", "better": "reference", "what": "that of the NeurIPS 2023 contest"},
    "rte": {"unit": "× R0", "better": "lower", "what": "processor time of the method, as a ratio to retraining (R0)"},
}  # fmt: skip
"""Every metric: its unit, which way is better, and what it is. "reference": as close as possible to R0 or R1."""
DIVERGED = "the model diverged: its answers are not finite numbers"
"""Why there is no number of a model that was destroyed."""


@dataclass(frozen=True)
class Measure:
    """One number with its n and 95 % interval; low and high are None where no interval can be given.

    value is None where the number does not exist; why then says the reason.
    """

    group: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    why: str = ""


def mean_interval(
    values: Sequence[float] | np.ndarray, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float | None, float | None]:
    """The mean and its 95 % t interval, cut off at the bounds of the metric; no interval for fewer than two values.

    Raises InputError for no values: no data is not 0.
    """
    x = np.asarray(values, np.float64)
    if len(x) == 0:
        raise InputError("the mean of no values does not exist")
    mean = float(x.mean())
    if len(x) < 2:
        return mean, None, None
    from scipy.stats import t

    half = float(t.ppf(0.975, len(x) - 1)) * float(x.std(ddof=1)) / math.sqrt(len(x))
    return mean, max(bounds[0], mean - half), min(bounds[1], mean + half)


def share_interval(hits: int, n: int) -> tuple[float, float, float]:
    """A share and its 95 % Wilson interval."""
    if n == 0:
        raise InputError("the share of no samples does not exist")
    z, p = 1.959964, hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return p, max(0.0, middle - half), min(1.0, middle + half)


def auc(members: np.ndarray, null: np.ndarray) -> float:
    """The chance that a member scores above a sample of the null, ties counted half (Mann–Whitney)."""
    return float(_wins(members, null).mean())


def auc_interval(members: np.ndarray, null: np.ndarray, draws: int = 1000) -> tuple[float, float, float]:
    """AUC and its 95 % percentile bootstrap interval over members and null (fixed seed)."""
    wins = _wins(members, null)
    rng = np.random.default_rng(0)
    rows = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), draws) / len(members)
    columns = rng.multinomial(len(null), np.full(len(null), 1 / len(null)), draws) / len(null)
    low, high = np.percentile(((rows @ wins) * columns).sum(1), [2.5, 97.5])
    return float(wins.mean()), float(low), float(high)


def tpr_at_fpr(members: np.ndarray, null: np.ndarray, rate: float = 0.01) -> float:
    """Share of members above the threshold that at most `rate` of the null exceeds.

    With 300 in the null and 1 %, the threshold is its fourth-largest value: three lie above it.
    """
    if len(members) == 0 or len(null) == 0:
        raise InputError("a true-positive rate needs members and a null")
    threshold = np.sort(null)[::-1][min(int(rate * len(null) + 1e-9), len(null) - 1)]
    return float((members > threshold).mean())


def residual(after: float, before: float, reference: float) -> float | None:
    """(after − reference) / (before − reference): 1 as before, 0 as the reference where nothing is left.

    None where before and reference are less than 0.05 apart: there was nothing to forget.
    """
    return (after - reference) / (before - reference) if before - reference >= 0.05 else None


def accuracies(model: nn.Module, parts: Mapping[str, Samples], modality: Modality) -> dict[str, dict[str, int | None]]:
    """Right answers and n on each named part; right is None where the logits are not finite."""
    import torch

    counts: dict[str, dict[str, int | None]] = {}
    with torch.no_grad():
        for name, samples in parts.items():
            logits = modality.logits(model, samples)
            right = int((logits.argmax(1) == samples.y).sum()) if bool(logits.isfinite().all()) else None
            counts[name] = {"right": right, "n": len(samples)}
    return counts


def has_diverged(model: Mapping[str, Any]) -> bool:
    """Whether the answers of the model that these facts were kept with are not finite numbers."""
    return any(count["right"] is None for count in model["accuracy"].values())


def asked(split: Split, training: str) -> tuple[str, ...]:
    """The ids whose recall is measured: the whole original training arm and every null."""
    return split.training(training) + split.all_held_out() + split.never_seen


def groups(split: Split, training: str) -> dict[str, tuple[str, ...]]:
    """Group → its ids, of one training arm; groups that the arm does not have are left out."""
    original = split.training(training)
    named = {
        "target": split.target,
        "similar": split.all_similar() if training == "with" else (),
        "near": split.all_near(),
        "other": tuple(name for name in original if name not in {*split.target, *split.all_similar()}),
        "held_out": split.all_held_out(),
        "never_seen": split.never_seen,
    }
    return {group: ids for group, ids in named.items() if ids}


def measure(
    scores: Scores, split: Split, training: str, labels: Mapping[str, int], model: Mapping[str, Any]
) -> list[Measure]:
    """All measures of one model.

    scores: recall of the ids of `asked`. labels: class of each of them. model: the facts kept with the
    model: `trained_on` (ids), `removed`, `widened` (target → ids) and `accuracy`.
    """
    found = []

    def means(group: str, ids: Sequence[str]) -> list[Measure]:
        return [
            Measure(group, metric, *mean_interval(scores.of(ids, metric), BOUNDS[metric]), len(ids))
            for metric in ("ncc", "ssim", "outside")
        ]

    def ncc(ids: Iterable[str]) -> np.ndarray:
        return scores.of(ids, "ncc")

    def inside(ids: Iterable[str]) -> np.ndarray:
        return -scores.of(ids, "outside")

    def null(target: str) -> list[str]:
        return [name for name in split.never_seen if labels[name] == labels[target]]

    for group, ids in {**groups(split, training), "member": model["trained_on"]}.items():
        found += means(group, ids)
    n = len(model["trained_on"])
    for prefix, score in (("", ncc), ("span_", inside)):
        members, never = score(model["trained_on"]), score(split.never_seen)
        found.append(Measure("member", f"{prefix}auc", *auc_interval(members, never), n))
        hits = round(tpr_at_fpr(members, never) * n)
        found.append(Measure("member", f"{prefix}tpr_at_1pct_fpr", *share_interval(hits, n), n))
        ranks = [auc(score([target]), score(null(target))) for target in split.target]
        found.append(Measure("target", f"{prefix}auc", *mean_interval(ranks, BOUNDS["auc"]), len(ranks)))
    found += means("never_seen_same_class", [name for target in split.target for name in null(target)])
    if training == "with" and split.all_similar() and split.all_held_out():
        ranks = [auc(ncc(split.similar[name]), ncc(split.held_out[name])) for name in split.target]
        found.append(Measure("similar", "auc", *mean_interval(ranks, BOUNDS["auc"]), len(split.all_similar())))

    found += of_accuracy(model)
    found += [Measure("model", fact, scores.facts[fact], None, None, 1) for fact in ("unexplained", "found")]
    return found + of_removal(model, split)


def unmeasured(split: Split, training: str, model: Mapping[str, Any]) -> list[Measure]:
    """As `measure`, of a model that diverged: nothing can be reconstructed from its weights."""
    parts = [*groups(split, training), "member", "never_seen_same_class"]
    keys = [(group, metric) for group in parts for metric in ("ncc", "ssim", "outside")]
    for prefix in ("", "span_"):
        keys += [("member", f"{prefix}auc"), ("member", f"{prefix}tpr_at_1pct_fpr"), ("target", f"{prefix}auc")]
    if training == "with" and split.all_similar() and split.all_held_out():
        keys.append(("similar", "auc"))
    keys += [("model", "unexplained"), ("model", "found")]
    return [*_none(keys), *of_accuracy(model), *of_removal(model, split)]


def of_influence(
    kept: influence.Kept,
    before: influence.Kept | None,
    split: Split,
    training: str,
    labels: Mapping[str, int],
    model: Mapping[str, Any],
) -> list[Measure]:
    """Who carries the targets' margins, and what the multipliers tell of membership.

    before: the same of the model before unlearning, whose mean margin of the targets is the unit of shares, so that
    they can be compared over stages. They are withheld where too little of the weights is explained.
    """
    found = [Measure("model", "explained", kept.explained, None, None, 1)]
    why, scale = _no_shares(kept, before), float(np.mean(list(before.margins.values()))) if before else 0.0
    for part in influence.PARTS:
        if part == "similar" and training != "with":
            continue
        if why:
            found.append(Measure("target", f"{part}_share", None, None, None, 0, why))
            continue
        values = [share.parts[part] / scale for share in kept.shares]
        found.append(Measure("target", f"{part}_share", *mean_interval(values), len(values)))

    def multipliers(ids: Iterable[str]) -> np.ndarray:
        return np.array([kept.joint[name] for name in ids])

    n = len(model["trained_on"])
    members, never = multipliers(model["trained_on"]), multipliers(split.never_seen)
    found.append(Measure("member", "multiplier_auc", *auc_interval(members, never), n))
    hits = round(tpr_at_fpr(members, never) * n)
    found.append(Measure("member", "multiplier_tpr_at_1pct_fpr", *share_interval(hits, n), n))
    ranks = [
        auc(multipliers([target]), multipliers(name for name in split.never_seen if labels[name] == labels[target]))
        for target in split.target
    ]
    return [*found, Measure("target", "multiplier_auc", *mean_interval(ranks, BOUNDS["auc"]), len(ranks))]


def uninfluenced(training: str) -> list[Measure]:
    """As `of_influence`, of a model that diverged."""
    parts = [part for part in influence.PARTS if part != "similar" or training == "with"]
    member = [("member", "multiplier_auc"), ("member", "multiplier_tpr_at_1pct_fpr"), ("target", "multiplier_auc")]
    return _none([("model", "explained"), *(("target", f"{part}_share") for part in parts), *member])


def _none(keys: Iterable[tuple[str, str]]) -> list[Measure]:
    return [Measure(group, metric, None, None, None, 0, DIVERGED) for group, metric in keys]


def _no_shares(kept: influence.Kept, before: influence.Kept | None) -> str:
    """Why shares cannot be told, "" where they can."""
    if why := influence.why_not(kept.explained):
        return why
    if before is None:
        return "the stage before was not run or diverged, and its margin is the unit"
    if np.mean(list(before.margins.values())) <= 0:
        return "the targets' mean margin before unlearning is not above 0: there is nothing to divide"
    return ""


def of_accuracy(model: Mapping[str, Any]) -> list[Measure]:
    """The accuracies that were kept with a model."""
    return [
        Measure("model", f"{name}_accuracy", None, None, None, 0, DIVERGED)
        if count["right"] is None
        else Measure("model", f"{name}_accuracy", *share_interval(count["right"], count["n"]), count["n"])
        for name, count in model["accuracy"].items()
    ]


def of_removal(model: Mapping[str, Any], split: Split) -> list[Measure]:
    """How many samples the model's stage took out, and how many of the widened set are constructed copies."""
    found = [Measure("model", "removed", float(len(model["removed"])), None, None, 1)]
    if model["widened"]:
        taken = [(name, target) for target, names in model["widened"].items() for name in names]
        copies = sum(name in split.similar[target] for name, target in taken)
        found.append(Measure("model", "constructed_copies", *share_interval(copies, len(taken)), len(taken)))
    return found


def _wins(members: np.ndarray, null: np.ndarray) -> np.ndarray:
    if len(members) == 0 or len(null) == 0:
        raise InputError("an AUC needs members and a null")
    difference = members[:, None] - null[None, :]
    return np.asarray((difference > 0) + 0.5 * (difference == 0))
