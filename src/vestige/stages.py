"""Stages by name, what is done to a model: before, R0, R1, relabel, RF-1+3, RF-inf+3, RF-tau0.6, RF-1+3@0.3, …"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

ALIASES = {"RF": "retrain"}
SHARE = r"0?\.\d+|[01]"
PATTERN = re.compile(
    rf"(?P<method>.+?)((-(?P<by>1|inf)\+(?P<k>\d+)|-tau(?P<tau>{SHARE})|-auto(?P<residual>{SHARE}))"
    rf"(@(?P<weight>{SHARE}))?)?"
)


@dataclass(frozen=True)
class Stage:
    """What is done to a model: nothing yet (before), or a method applied to a scope.

    method: a name in METHODS, "" before unlearning. scope: "target", or "similar" for the targets and
    their constructed similar samples. k, tau, residual: widening, off when all are None; residual: by as few as are
    expected to leave no more than this. by: what decides who is taken, SSIM or what a sample carries of the target's
    margin (`vestige.influence`). weight: that of those who are taken, who stay in training; None: they are forgotten.
    """

    method: str = ""
    scope: Literal["target", "similar"] = "target"
    k: int | None = None
    tau: float | None = None
    by: Literal["ssim", "influence"] = "ssim"
    residual: float | None = None
    weight: float | None = None

    @property
    def is_widened(self) -> bool:
        return self.k is not None or self.tau is not None or self.residual is not None

    @property
    def is_widened_by_ssim(self) -> bool:
        """Whether the most similar are forgotten too, as many as the name says: the paper's scheme."""
        return self.is_widened and not self.needs_influence and self.weight is None

    @property
    def needs_influence(self) -> bool:
        """Whether who is taken is read from the multipliers of a homogeneous MLP."""
        return self.by == "influence" or self.residual is not None

    @property
    def needs_similar(self) -> bool:
        """Whether the stage exists in the *with* arm only: without similar samples R1 is R0."""
        return self.is_widened or self.scope == "similar"


def parse(name: str) -> Stage:
    """The stage that a name stands for. Whether there is such a method is for `experiment.plan` to say."""
    fixed = {"before": Stage(), "R0": Stage("retrain"), "R1": Stage("retrain", "similar")}
    if name in fixed:
        return fixed[name]
    match = PATTERN.fullmatch(name)
    if match is None:
        return Stage(name or "?")
    method = ALIASES.get(match["method"], match["method"])
    tau, residual, weight = (float(match[part]) if match[part] else None for part in ("tau", "residual", "weight"))
    by: Literal["ssim", "influence"] = "influence" if match["by"] == "inf" else "ssim"
    return Stage(method, k=int(match["k"]) if match["k"] else None, tau=tau, by=by, residual=residual, weight=weight)
