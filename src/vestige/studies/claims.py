"""What the image studies claim: statements with bars that were fixed beforehand, and whether they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vestige import collect
from vestige.types import Run


@dataclass(frozen=True)
class Claim:
    """A statement about a group's NCC, or another metric, at two stages, with a bar fixed here and not fitted to a run.

    variants: of the first and of the second, in a dose study. It holds if mean(first − second) is at least, or at
    most, the bar. yes, no: may hold {percent}, the mean as a percentage.
    """

    name: str
    training: Literal["with", "without"]
    first: str
    second: str
    rule: Literal["at least", "at most"]
    bar: float
    yes: str
    no: str
    group: str = "target"
    metric: str = "ncc"
    variants: tuple[str, str] = ("", "")


GROUPS = {"target": "targets", "similar": "similar samples", "near": "near samples", "other": "other samples",
          "vs_R0": "the model beside R0"}  # fmt: skip

TARGET_CLAIMS = (
    Claim(
        "retraining-forgets-alone", "without", "before", "R0", "at least", 0.10,
        "Without similar samples, retraining without the target loses it",
        "Without similar samples, retraining without the target does not clearly lose it",
    ),
    Claim(
        "similar-samples-keep-it", "with", "before", "R0", "at most", 0.10,
        "With similar samples in training, retraining without the target leaves it as recoverable as before",
        "With similar samples in training, retraining without the target still loses some of it",
    ),
    Claim(
        "they-are-the-reason", "with", "R0", "R1", "at least", 0.15,
        "Retraining without the similar samples too is what removes it",
        "Retraining without the similar samples too does not clearly remove it",
    ),
    Claim(
        "relabelling-keeps-it", "with", "before", "relabel", "at most", 0.10,
        "Relabelling the target leaves it as recoverable as before",
        "Relabelling the target makes it less recoverable; compare the kept others before calling that forgetting",
    ),
    Claim(
        "three-help", "with", "R0", "RF-1+3", "at least", 0.0,
        "Forgetting its 3 most similar samples as well removes part of it",
        "Forgetting its 3 most similar samples as well does not help",
    ),
    Claim(
        "three-are-not-enough", "with", "RF-1+3", "R1", "at least", 0.0,
        "Forgetting only 3 of them leaves what the others carry",
        "Forgetting 3 of them leaves no more than forgetting all",
    ),
    Claim(
        "five-mend-it", "with", "R0", "RF-1+5", "at least", 0.15,
        "Forgetting its 5 most similar samples as well mends it",
        "Forgetting its 5 most similar samples as well does not clearly mend it",
    ),
    Claim(
        "similar-samples-carry-it", "with", "R0", "R1", "at least", 0.50,
        "After retraining without it, {percent} of the target's margin is still carried by its similar samples",
        "After retraining without it, only {percent} of the target's margin is carried by its similar samples",
        metric="similar_share",
    ),
)  # fmt: skip


SIMILAR_CLAIMS = (
    Claim(
        "similar-samples-stay", "with", "before", "R0", "at most", 0.10,
        "Retraining without the target leaves its similar samples as recoverable as before",
        "Retraining without the target takes some of its similar samples with it",
        group="similar",
    ),
    Claim(
        "relabelling-leaves-similar", "with", "before", "relabel", "at most", 0.10,
        "Relabelling the target leaves its similar samples as recoverable as before",
        "Relabelling the target makes its similar samples less recoverable; compare the kept others",
        group="similar",
    ),
    Claim(
        "others-stay", "with", "before", "R0", "at most", 0.05,
        "Kept samples are as recoverable after retraining as before",
        "Kept samples are less recoverable after retraining",
        group="other",
    ),
)  # fmt: skip

ENHANCED_CLAIMS = (
    Claim(
        "three-help", "with", "R0", "RF-1+3", "at least", 0.0,
        "Forgetting the 3 most similar samples as well removes part of the target",
        "Forgetting the 3 most similar samples as well does not help",
    ),
    Claim(
        "five-help-more", "with", "RF-1+3", "RF-1+5", "at least", 0.10,
        "Forgetting the 5 most similar removes much more of it than forgetting 3",
        "Forgetting the 5 most similar does not clearly remove more of it than forgetting 3",
    ),
    Claim(
        "five-reach-the-reference", "with", "RF-1+5", "R1", "at most", 0.05,
        "Forgetting the 5 most similar leaves no more of it than R1 does",
        "Forgetting the 5 most similar leaves more of it than R1 does",
    ),
    Claim(
        "ten-harm-the-near", "with", "RF-1+5", "RF-1+10", "at least", 0.10,
        "Forgetting 10 takes the target's innocent neighbours as well",
        "Forgetting 10 leaves the target's innocent neighbours alone",
        group="near",
    ),
)  # fmt: skip

QUANTITIES = {
    "ncc": "NCC",
    "lira_auc": "LiRA's AUC",
    "u_lira_auc": "U-LiRA's AUC",
    "average_gap": "average gap",
    "similar_share": "similar share",
}

METHOD_STAGES = (
    "finetune", "relabel", "GA", "NegGrad+", "SCRUB", "BadTeacher", "SalUn", "L1-sparse", "CF-k", "EU-k", "SSD",
)  # fmt: skip
"""The methods that forget in any one model, by name: listed here so that help and plans need no torch; a test compares.

SISA is not among them: it needs a model that was trained in shards.
"""
SHARDED_STAGES = ("SISA", *(name for name in METHOD_STAGES if name not in ("BadTeacher", "EU-k")))
"""Those for a model that was trained in shards."""

METHOD_CLAIMS = (
    Claim(
        "retraining-ends-membership", "without", "before", "R0", "at least", 0.10,
        "Without similar samples, retraining without the targets ends LiRA's taking them for members",
        "Without similar samples, LiRA takes the targets for members as before, although R0 never saw them",
        metric="lira_auc",
    ),
    Claim(
        "similar-samples-look-like-membership", "with", "R0", "R1", "at least", 0.10,
        "Similar samples make LiRA take the targets for members of a model that never saw them",
        "Similar samples do not clearly make LiRA take the targets for members",
        metric="lira_auc",
    ),
    Claim(
        "nothing-passes", "with", "before", "R0", "at most", 0.05,
        "With similar samples in training, doing nothing passes for retraining by the average gap",
        "With similar samples in training, the average gap tells doing nothing from retraining",
        group="vs_R0", metric="average_gap",
    ),
    Claim(
        "u-lira-tells", "without", "before", "R0", "at least", 0.20,
        "Without similar samples, U-LiRA tells models that were trained on the targets from others",
        "Without similar samples, U-LiRA does not clearly tell models that were trained on the targets from others",
        metric="u_lira_auc",
    ),
    Claim(
        "u-lira-is-blinded", "with", "before", "R0", "at most", 0.20,
        "With similar samples in training, U-LiRA hardly tells models trained on the targets from others",
        "With similar samples in training, U-LiRA still tells models trained on the targets from others",
        metric="u_lira_auc",
    ),
    *(
        Claim(
            f"{name}-beats-nothing", "without", "before", name, "at least", 0.02,
            f"Without similar samples, {name} comes nearer to R0 than doing nothing",
            f"Without similar samples, {name} comes no nearer to R0 than doing nothing",
            group="vs_R0", metric="average_gap",
        )
        for name in METHOD_STAGES
    ),
)  # fmt: skip


DOSE_CLAIMS = (
    Claim(
        "one-copy-matters", "with", "R0", "R0", "at least", 0.10,
        "A single masked copy already keeps part of the target",
        "A single masked copy does not clearly keep anything of the target",
        variants=("mask 0.3 ×1", "none"),
    ),
    Claim(
        "more-copies-carry-more", "with", "R0", "R0", "at least", 0.10,
        "Ten masked copies carry more of the target than one",
        "Ten masked copies do not clearly carry more of the target than one",
        variants=("mask 0.3 ×10", "mask 0.3 ×1"),
    ),
    Claim(
        "an-exact-copy-weighs-more", "with", "R0", "R0", "at least", 0.05,
        "An exact copy carries more of the target than a masked one",
        "An exact copy does not clearly carry more of the target than a masked one",
        variants=("exact ×1", "mask 0.3 ×1"),
    ),
    *(
        Claim(
            f"stronger-{name}-carries-less", "with", "R0", "R0", "at least", 0.10,
            f"Five copies carry less of the target the stronger the {word}",
            f"Five copies do not clearly carry less of the target the stronger the {word}",
            variants=(f"{name} {weak:g} ×5", f"{name} {strong:g} ×5"),
        )
        for name, weak, strong, word in (
            ("mask", 0.1, 0.7, "mask"), ("noise", 0.1, 0.4, "noise"), ("shift", 1, 4, "shift"),
            ("crop", 0.9, 0.6, "crop"), ("blur", 0.5, 2, "blur"),
        )
    ),
    *(
        Claim(
            f"{name}-hardly-matters", "with", "R0", "R0", "at most", 0.10,
            f"Five copies carry the target as exact ones do, {word}",
            f"Five copies carry clearly less of the target than exact ones, {word}",
            variants=("exact ×5", f"{name} {strong:g} ×5"),
        )
        for name, strong, word in (
            ("jpeg", 10, "even stored as JPEG of quality 10"),
            ("brightness", 0.8, "even with brightness changed by 80 %"),
        )
    ),
)  # fmt: skip
"""Bars written before the study was run."""


def judge(
    claim: Claim,
    recalls: Mapping[Run, collect.Recalls],
    measures: collect.Measures | None = None,
    carried: Mapping[Run, collect.Recalls] | None = None,
) -> dict[str, Any]:
    """Whether a claim holds: on the mean, and with the whole interval. None where it was not measured.

    recalls: for claims about NCC. carried: for those about what similar samples carry. measures: about other metrics.
    """
    at = (claim.training, claim.first, claim.second, claim.variants)
    if claim.metric in ("ncc", "similar_share"):
        contrast = collect.contrast(recalls if claim.metric == "ncc" else carried or {}, claim.group, *at)
    else:
        contrast = collect.difference(measures or {}, claim.group, claim.metric, *at)
    first, second = (
        f"{stage} with {variant}" if variant else stage
        for stage, variant in zip((claim.first, claim.second), claim.variants, strict=True)
    )
    record: dict[str, Any] = {
        "name": claim.name,
        "claim": claim.yes.format(percent="most"),
        "training": claim.training,
        "quantity": f"{QUANTITIES[claim.metric]} of {GROUPS[claim.group]}, {first} − {second}",
        "rule": f"{claim.rule} {claim.bar:.2f}",
    }
    if contrast is None:
        missing = f"not computed because {_why_not(claim, measures or {}, first, second)}"
        return {**record, "holds": None, "clear": None, "mean": None, "low": None, "high": None, "n": 0,
                "seeds": 0, "sentence": missing}  # fmt: skip
    found, seeds = contrast
    sign = 1 if claim.rule == "at least" else -1
    edge = found.low if sign == 1 else found.high
    holds = found.value is not None and sign * found.value >= sign * claim.bar
    return {
        **record,
        "holds": holds,
        "clear": edge is not None and sign * edge >= sign * claim.bar,
        "mean": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "seeds": seeds,
        "sentence": (claim.yes if holds else claim.no).format(percent=f"{100 * (found.value or 0):.0f} %"),
    }


def _why_not(claim: Claim, measures: collect.Measures, first: str, second: str) -> str:
    """Why a claim's metric is not there at both its stages, whose full names are given."""
    its = [(claim.training, *end) for end in zip((claim.first, claim.second), claim.variants, strict=True)]
    for run, found in measures.items():
        for one in found:
            at_it = (run.training, run.stage, run.variant) in its
            if at_it and (one.group, one.metric) == (claim.group, claim.metric) and one.value is None:
                return one.why
    ran = {(run.training, run.stage, run.variant) for run in measures}
    if claim.metric != "ncc" and ran.issuperset(its):
        return f"{claim.metric} was not measured"
    return f"the stages {first} and {second} were not both run"
