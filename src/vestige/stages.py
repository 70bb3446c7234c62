"""Stages by name, what is done to a model: before, R0, R1, relabel, RF-1+3, RF-inf+3, RF-tau0.6, RF-1+3@0.3, …

Of language models: NPO_GDN-1+5, NPO_GDN~0.618, NPO_GDN-1+5~0.618-near, Enhanced NPO_GDN, NPO_GDN-auto0.2,
NPO_GDN-1+5-apart, …
"""

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
NUMBER = r"(\d+\.?\d*|\.\d+)(e-?\d+)?"
TEXT_PATTERN = re.compile(
    rf"((?P<enhanced>Enhanced )(?P<of>[^-~ ]+)"
    rf"|(?P<method>[^-~ ]+)(-auto(?P<residual>{SHARE})|(-1\+(?P<m>\d+))?(~(?P<gamma>{NUMBER}))?))"
    r"(-(?P<similar>apart|similar))?(?P<near>-near)?"
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


@dataclass(frozen=True)
class TextStage:
    """What is done to a language model: a method, as it is or with what the enhanced schemes add to it.

    method: a name in LANGUAGE_METHODS, or base, before, R0, R1. paraphrases: m, how many spare paraphrases of each
    target are forgotten with it. gamma: γ, the strength of the noise. similar: what becomes of the similar samples that
    were trained on: retained like any other pair, as in the paper; apart, neither retained nor forgotten; forgotten
    with the target. is_protected: the target's innocent neighbours are in every batch of retained pairs. residual: m,
    γ and the number of steps are the first that are expected to leave no more than this.
    """

    method: str
    paraphrases: int = 0
    gamma: float = 0.0
    is_protected: bool = False
    residual: float | None = None
    similar: Literal["retained", "apart", "forgotten"] = "retained"

    @property
    def is_enhanced(self) -> bool:
        """Whether the loss of what must be forgotten is another than the method's own."""
        return self.paraphrases > 0 or self.gamma > 0 or self.residual is not None

    @property
    def is_ours(self) -> bool:
        """Whether it does what the paper's schemes do not, apart from choosing m and γ."""
        return self.is_protected or self.needs_similar

    @property
    def is_plain(self) -> bool:
        return not self.is_enhanced and not self.is_ours

    @property
    def needs_similar(self) -> bool:
        """Whether the stage exists in the *with* arm only."""
        return self.similar != "retained"


def parse_text(name: str, *, paraphrases: int, gamma: float) -> TextStage:
    """The stage of a language study that a name stands for; whether there is such a method is for the plan to say.

    paraphrases, gamma: m and γ of the stages that are called "Enhanced …".
    """
    match = TEXT_PATTERN.fullmatch(name)
    if match is None:
        return TextStage(name)
    similar: Literal["retained", "apart", "forgotten"] = "retained"
    if match["similar"]:
        similar = "apart" if match["similar"] == "apart" else "forgotten"
    is_protected = match["near"] is not None
    if match["enhanced"]:
        return TextStage(match["of"], paraphrases, gamma, is_protected, None, similar)
    return TextStage(
        match["method"], int(match["m"] or 0), float(match["gamma"] or 0), is_protected,
        float(match["residual"]) if match["residual"] else None, similar,
    )  # fmt: skip
