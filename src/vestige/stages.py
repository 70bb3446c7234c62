"""Stages by name: what is done to a model, as before, R0, R1, relabel, RF-1+3, RF-inf+3 or RF-tau0.6."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

ALIASES = {"RF": "retrain"}
PATTERN = re.compile(r"(?P<method>.+?)(-(?P<by>1|inf)\+(?P<k>\d+)|-tau(?P<tau>0?\.\d+|[01]))?")


@dataclass(frozen=True)
class Stage:
    """What is done to a model: nothing yet (before), or a method applied to a scope.

    method: a name in METHODS, "" before unlearning. scope: "target", or "similar" for the targets and
    their constructed similar samples. k, tau: widening, off when both are None. by: what decides who is taken, SSIM or
    what a sample carries of the target's margin (`vestige.influence`).
    """

    method: str = ""
    scope: Literal["target", "similar"] = "target"
    k: int | None = None
    tau: float | None = None
    by: Literal["ssim", "influence"] = "ssim"

    @property
    def is_widened(self) -> bool:
        return self.k is not None or self.tau is not None

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
    k, tau = int(match["k"]) if match["k"] else None, float(match["tau"]) if match["tau"] else None
    return Stage(method, k=k, tau=tau, by="influence" if match["by"] == "inf" else "ssim")
