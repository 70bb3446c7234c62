"""What language studies claim, with bars fixed beforehand, and whether a run bears it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from vestige import verify
from vestige.language.collect import KM, ByPlace

At = tuple[str, str]
"""A training arm and a stage."""


@dataclass(frozen=True)
class TextClaim:
    """A statement about a group's KM at two places, with a bar fixed here and not fitted to a run.

    It holds if mean(first − second), paired by target, is at least, or at most, the bar, or no further from 0 than it.
    second: None for the value at `first` alone. metric: another than KM. {method}: the stage's name.
    """

    name: str
    group: Literal["target", "similar", "held_out", "near", "other", "choices"]
    first: At
    second: At | None
    rule: Literal["at least", "at most", "within"]
    bar: float
    yes: str
    no: str
    metric: str = KM


METHODS = ("GDR", "GDR_KLN", "GDR_GDN", "NPO_KLN", "NPO_GDN", "GA_KLN", "GA_GDN", "TV")
"""The paper's eight."""
ENHANCED = ("NPO_GDN", "GDR_GDN", "GDR")
"""Those that the paper enhances: NPO_GDN and GDR_GDN in its 1B model, GDR and GDR_GDN in its 3B model."""
PLAIN, NOISE, WIDE, BOTH = "{method}", "{method}~0.618", "{method}-1+5", "Enhanced {method}"
"""The stages of a method: as it is; with noise only; with paraphrases only; with both, the paper's scheme."""


def _each(methods: tuple[str, ...], *claims: TextClaim) -> tuple[TextClaim, ...]:
    """These claims about every one of these methods."""

    def about(method: str, claim: TextClaim) -> TextClaim:
        def there(place: At) -> At:
            return place[0], place[1].format(method=method)

        return replace(
            claim, name=f"{method}-{claim.name}", first=there(claim.first),
            second=there(claim.second) if claim.second else None, yes=claim.yes.format(method=method),
            no=claim.no.format(method=method),
        )  # fmt: skip

    return tuple(about(method, claim) for method in methods for claim in claims)


REFERENCE_CLAIMS = (
    TextClaim(
        "tuning-teaches-it", "target", ("with", "before"), ("with", "base"), "at least", 0.30,
        "Fine-tuning teaches the model the targets",
        "Fine-tuning does not clearly teach the model the targets",
    ),
    TextClaim(
        "retraining-forgets-alone", "target", ("without", "before"), ("without", "R0"), "at least", 0.20,
        "Without similar samples, tuning again without the targets loses them",
        "Without similar samples, tuning again without the targets does not clearly lose them",
    ),
    TextClaim(
        "similar-samples-keep-it", "target", ("with", "R0"), ("without", "R0"), "at least", 0.10,
        "With paraphrases in training, a model tuned without the targets still answers them better",
        "With paraphrases in training, a model tuned without the targets does not clearly answer them better",
    ),
    TextClaim(
        "they-are-the-reason", "target", ("with", "R0"), ("with", "R1"), "at least", 0.10,
        "Tuning without the paraphrases too is what removes the targets",
        "Tuning without the paraphrases too does not clearly remove the targets",
    ),
)  # fmt: skip

TARGET_CLAIMS = REFERENCE_CLAIMS + _each(
    METHODS,
    TextClaim(
        "is-held-back", "target", ("with", "{method}"), ("without", "{method}"), "at least", 0.0,
        "Similar samples make {method} forget the target less",
        "Similar samples do not make {method} forget the target less",
    ),
)  # fmt: skip
SIMILAR_CLAIMS = _each(
    METHODS,
    TextClaim(
        "leaves-similar", "similar", ("with", "{method}"), ("with", "base"), "at least", 0.05,
        "{method} on the target leaves its similar samples known beyond the base model",
        "{method} on the target leaves its similar samples no better known than by the base model",
    ),
    TextClaim(
        "reaches-similar", "similar", ("with", "before"), ("with", "{method}"), "at least", 0.0,
        "{method} on the target lowers its similar samples too",
        "{method} on the target does not lower its similar samples",
    ),
)  # fmt: skip
HELD_OUT_CLAIMS = _each(
    METHODS,
    TextClaim(
        "leaves-held-out", "similar", ("without", "{method}"), ("without", "base"), "at least", 0.05,
        "{method} on the target leaves paraphrases of it answered beyond the base model, although none was trained on",
        "{method} on the target leaves paraphrases of it answered no better than by the base model",
    ),
    TextClaim(
        "reaches-held-out", "similar", ("without", "before"), ("without", "{method}"), "at least", 0.0,
        "{method} on the target lowers its paraphrases too",
        "{method} on the target does not lower its paraphrases",
    ),
)  # fmt: skip
"""Bars written before the first run. E5 (3.4.3) asks the arm *without* the paraphrases that the other trains on."""
ENHANCED_CLAIMS = _each(
    ENHANCED,
    TextClaim(
        "leaves-similar", "similar", ("with", PLAIN), ("with", "base"), "at least", 0.05,
        "{method} on the target leaves its similar samples known beyond the base model",
        "{method} on the target leaves its similar samples no better known than by the base model",
    ),
    TextClaim(
        "enhanced-reaches-similar", "similar", ("with", PLAIN), ("with", BOTH), "at least", 0.10,
        "Enhanced {method} lowers the similar samples beyond {method}",
        "Enhanced {method} does not clearly lower the similar samples beyond {method}",
    ),
    TextClaim(
        "enhanced-clears-similar", "similar", ("with", BOTH), None, "at most", 0.20,
        "Enhanced {method} leaves at most a fifth of what was learned of the similar samples",
        "Enhanced {method} leaves more than a fifth of what was learned of the similar samples",
        "text_residual",
    ),
    TextClaim(
        "enhanced-clears-held-out", "held_out", ("with", BOTH), None, "at most", 0.20,
        "Enhanced {method} leaves at most a fifth of what was learned of held-out paraphrases",
        "Enhanced {method} leaves more than a fifth of what was learned of held-out paraphrases",
        "text_residual",
    ),
    TextClaim(
        "noise-alone-leaves-more", "similar", ("with", NOISE), ("with", BOTH),
        "at least", 0.10,
        "{method} with noise alone leaves the similar samples clearly better known than Enhanced {method}",
        "{method} with noise alone does not clearly leave the similar samples better known than Enhanced {method}",
    ),
    TextClaim(
        "noise-adds", "similar", ("with", WIDE), ("with", BOTH), "at least", 0.05,
        "Noise lowers the similar samples beyond what {method} with paraphrases does",
        "Noise does not clearly lower the similar samples beyond what {method} with paraphrases does",
    ),
    TextClaim(
        "enhanced-keeps-others", "other", ("with", BOTH), ("with", PLAIN), "at least", -0.05,
        "Enhanced {method} keeps other pairs as {method} does",
        "Enhanced {method} loses other pairs that {method} keeps",
    ),
    TextClaim(
        "enhanced-keeps-choice", "choices", ("with", BOTH), ("with", PLAIN), "at least", -0.05,
        "Enhanced {method} keeps multiple choice as {method} does",
        "Enhanced {method} loses multiple choice that {method} keeps",
        "choice_accuracy",
    ),
) + _each(
    ("NPO_GDN",),
    TextClaim(
        "protection-keeps-near", "near", ("with", BOTH + "-near"), ("with", BOTH),
        "at least", 0.05,
        "Holding what is near the target in the regulariser keeps more of it",
        "Holding what is near the target in the regulariser does not clearly keep more of it",
    ),
    TextClaim(
        "protection-costs-nothing", "similar", ("with", BOTH + "-near"), ("with", BOTH),
        "at most", 0.05,
        "Protection does not clearly leave more of the similar samples",
        "Protection leaves more of the similar samples",
    ),
)  # fmt: skip
"""Bars written before the first run: what issue and paper (5.2) expect of the enhanced schemes."""
EQUAL_CLAIMS = _each(
    ("NPO_GDN",),
    TextClaim(
        "is-equal", "target", ("with", BOTH), ("with", PLAIN), "within", 0.10,
        "{method} and Enhanced {method} were stopped where they had forgotten the target alike",
        "{method} and Enhanced {method} were not stopped where they had forgotten the target alike",
    ),
    TextClaim(
        "enhanced-reaches-similar", "similar", ("with", PLAIN), ("with", BOTH), "at least", 0.10,
        "Where the target is forgotten alike, Enhanced {method} leaves less of its similar samples",
        "Where the target is forgotten alike, Enhanced {method} does not clearly leave less of its similar samples",
    ),
    TextClaim(
        "enhanced-keeps-others", "other", ("with", BOTH), ("with", PLAIN), "at least", -0.05,
        "Where the target is forgotten alike, Enhanced {method} keeps other pairs as {method} does",
        "Where the target is forgotten alike, Enhanced {method} loses other pairs that {method} keeps",
    ),
)  # fmt: skip

REACH = ("NPO_GDN-1+5-apart", "Enhanced NPO_GDN-apart", "NPO_GDN-similar")
"""What is done about similar samples in training beyond the paper: not retained, or forgotten too."""
REACH_CLAIMS = tuple(
    claim
    for stage, what in zip(
        REACH, ("Paraphrases, where similar samples are not retained,", "The same with noise",
                "Forgetting the similar samples too"), strict=True
    )
    for claim in (
        TextClaim(
            f"{stage}-clears-similar", "similar", ("with", stage), None, "at most", 0.20,
            f"{what} leaves at most a fifth of what was learned of them",
            f"{what} leaves more than a fifth of what was learned of them",
            "text_residual",
        ),
        TextClaim(
            f"{stage}-keeps-others", "other", ("with", stage), ("with", "NPO_GDN"), "at least", -0.05,
            f"{what} keeps other pairs as NPO_GDN does",
            f"{what} loses other pairs that NPO_GDN keeps",
        ),
        TextClaim(
            f"{stage}-keeps-choice", "choices", ("with", stage), ("with", "NPO_GDN"), "at least", -0.05,
            f"{what} keeps multiple choice as NPO_GDN does",
            f"{what} loses multiple choice that NPO_GDN keeps",
            "choice_accuracy",
        ),
    )
)  # fmt: skip
"""Thought of when seed 0 had shown that E7's schemes hardly reach similar samples; bars written before these runs."""


def judge(claim: TextClaim, found: ByPlace) -> dict[str, Any]:
    """Whether a claim holds: on the mean over targets, and with the whole interval. None where it was not measured."""
    places = [claim.first, *([claim.second] if claim.second else [])]
    values = [found.get((*place, claim.group, claim.metric), {}) for place in places]
    known = [{key: one.value for key, one in lot.items() if one.value is not None} for lot in values]
    both = [key for key in known[0] if all(key in lot for lot in known)]
    arms = {arm for arm, _ in places}
    names = [stage if len(arms) == 1 else f"{stage} {arm}" for arm, stage in places]
    record: dict[str, Any] = {
        "name": claim.name, "claim": claim.yes, "training": claim.first[0] if len(arms) == 1 else "both",
        "quantity": f"{_of(claim)}, {' − '.join(names)}",
        "rule": f"{claim.rule} {claim.bar:.2f}" + (" of 0" if claim.rule == "within" else ""),
    }  # fmt: skip
    if not both:
        return {**record, "holds": None, "clear": None, "mean": None, "low": None, "high": None, "n": 0, "seeds": 0,
                "sentence": f"not computed because {_why(claim, places, found)}"}  # fmt: skip
    mean, low, high = verify.mean_interval([known[0][key] - sum(lot[key] for lot in known[1:]) for key in both])
    edges = (low, high)

    def reaches(value: float) -> bool:
        return {"at least": value >= claim.bar, "at most": value <= claim.bar, "within": abs(value) <= claim.bar}[
            claim.rule
        ]

    holds = reaches(mean)
    return {
        **record, "holds": holds, "clear": all(edge is not None and reaches(edge) for edge in edges), "mean": mean,
        "low": low, "high": high, "n": len(both), "seeds": len({seed for seed, _ in both}),
        "sentence": claim.yes if holds else claim.no,
    }  # fmt: skip


def _why(claim: TextClaim, places: Sequence[At], found: ByPlace) -> str:
    """Why a claim cannot be judged."""
    if any((*place, "target", KM) not in found for place in places):
        said = " and ".join(f"{stage} {arm}" for arm, stage in places)
        return f"{said} similar samples {'were not both' if len(places) > 1 else 'was not'} run"
    lots = [found.get((*place, claim.group, claim.metric), {}) for place in places]
    gone = [one.why for lot in lots for one in lot.values() if one.value is None]
    return f"there is none of any target: {gone[0]}" if gone else f"{_of(claim)} was not measured"


def _of(claim: TextClaim) -> str:
    """The quantity of a claim: what of whom."""
    what = {KM: "KM", "text_residual": "residual"}.get(claim.metric, claim.metric.replace("_", " "))
    if claim.group == "choices":
        return what
    whom = {"target": "targets", "held_out": "held-out paraphrases"}.get(claim.group, f"{claim.group} samples")
    return f"{what} of {whom}"
