"""The paper's language experiments E3, E4, E5 and E7 as named studies, with the claims they can bear out or not."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vestige import __version__, assets, collect, config, executor, provenance, store, verify
from vestige.config import TextStudyConfig
from vestige.language import collect as gathered
from vestige.language.laboratory import TextLaboratory, plan, rehearse
from vestige.types import InputError, Run

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
    metric: str = gathered.KM


METHODS = ("GDR", "GDR_KLN", "GDR_GDN", "NPO_KLN", "NPO_GDN", "GA_KLN", "GA_GDN", "TV")
"""The paper's eight."""
MORE = ("GA", "NPO", "SimNPO", "DPO", "IdkDPO", "RMU", "UNDIAL", "WHP")
"""Further rows of the methods table."""
ENHANCED = ("NPO_GDN", "GDR_GDN", "GDR")
"""Those that the paper enhances: NPO_GDN and GDR_GDN in its 1B model, GDR and GDR_GDN in its 3B model."""
WIDE, NOISE, BOTH, PROTECTED = "-1+5", "~0.618", "-1+5~0.618", "-1+5~0.618-near"
"""What an enhanced stage adds to its method's name: paraphrases, noise, both (the paper's scheme), protection too."""
GAMMAS = (0.1, 0.318, 0.618, 1)
"""The sweep; the paper's are 0.618 (1B) and 0.318 (3B)."""


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
        "Fine-tuning hardly teaches the model the targets",
    ),
    TextClaim(
        "retraining-forgets-alone", "target", ("without", "before"), ("without", "R0"), "at least", 0.20,
        "Without similar samples, tuning again without the targets loses them",
        "Without similar samples, tuning again without the targets does not clearly lose them",
    ),
    TextClaim(
        "similar-samples-keep-it", "target", ("with", "R0"), ("without", "R0"), "at least", 0.10,
        "With paraphrases in training, a model tuned without the targets still answers them better",
        "With paraphrases in training, a model tuned without the targets answers them hardly better",
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
        "leaves-similar", "similar", ("with", "{method}"), ("with", "base"), "at least", 0.05,
        "{method} on the target leaves its similar samples known beyond the base model",
        "{method} on the target leaves its similar samples no better known than by the base model",
    ),
    TextClaim(
        "enhanced-reaches-similar", "similar", ("with", "{method}"), ("with", "{method}" + BOTH), "at least", 0.10,
        "Enhanced {method} lowers the similar samples beyond {method}",
        "Enhanced {method} does not clearly lower the similar samples beyond {method}",
    ),
    TextClaim(
        "enhanced-clears-similar", "similar", ("with", "{method}" + BOTH), None, "at most", 0.20,
        "Enhanced {method} leaves at most a fifth of what was learned of the similar samples",
        "Enhanced {method} leaves more than a fifth of what was learned of the similar samples",
        "text_residual",
    ),
    TextClaim(
        "enhanced-clears-held-out", "held_out", ("with", "{method}" + BOTH), None, "at most", 0.20,
        "Enhanced {method} leaves at most a fifth of what was learned of held-out paraphrases",
        "Enhanced {method} leaves more than a fifth of what was learned of held-out paraphrases",
        "text_residual",
    ),
    TextClaim(
        "noise-alone-leaves-more", "similar", ("with", "{method}" + NOISE), ("with", "{method}" + BOTH),
        "at least", 0.10,
        "Noise alone leaves the similar samples clearly better known than noise and paraphrases",
        "Noise alone leaves the similar samples hardly better known than noise and paraphrases",
    ),
    TextClaim(
        "noise-adds", "similar", ("with", "{method}" + WIDE), ("with", "{method}" + BOTH), "at least", 0.05,
        "Noise lowers the similar samples beyond what paraphrases of the target do to {method}",
        "Noise hardly lowers the similar samples beyond what paraphrases of the target do to {method}",
    ),
    TextClaim(
        "enhanced-keeps-others", "other", ("with", "{method}" + BOTH), ("with", "{method}"), "at least", -0.05,
        "Enhanced {method} keeps other pairs as {method} does",
        "Enhanced {method} loses other pairs that {method} keeps",
    ),
    TextClaim(
        "enhanced-keeps-choice", "choices", ("with", "{method}" + BOTH), ("with", "{method}"), "at least", -0.05,
        "Enhanced {method} keeps multiple choice as {method} does",
        "Enhanced {method} loses multiple choice that {method} keeps",
        "choice_accuracy",
    ),
) + _each(
    ("NPO_GDN",),
    TextClaim(
        "protection-keeps-near", "near", ("with", "{method}" + PROTECTED), ("with", "{method}" + BOTH),
        "at least", 0.05,
        "Holding what is near the target in the regulariser keeps more of it",
        "Holding what is near the target in the regulariser keeps hardly more of it",
    ),
    TextClaim(
        "protection-costs-nothing", "similar", ("with", "{method}" + PROTECTED), ("with", "{method}" + BOTH),
        "at most", 0.05,
        "Protection leaves hardly more of the similar samples",
        "Protection leaves more of the similar samples",
    ),
)  # fmt: skip
"""Bars written before the first run: what issue and paper (5.2) expect of the enhanced schemes."""
EQUAL_CLAIMS = _each(
    ("NPO_GDN",),
    TextClaim(
        "is-equal", "target", ("with", "{method}" + BOTH), ("with", "{method}"), "within", 0.10,
        "{method} and Enhanced {method} were stopped where they had forgotten the target alike",
        "{method} and Enhanced {method} were not stopped where they had forgotten the target alike",
    ),
    TextClaim(
        "enhanced-reaches-similar", "similar", ("with", "{method}"), ("with", "{method}" + BOTH), "at least", 0.10,
        "Where the target is forgotten alike, Enhanced {method} leaves less of its similar samples",
        "Where the target is forgotten alike, Enhanced {method} leaves hardly less of its similar samples",
    ),
    TextClaim(
        "enhanced-keeps-others", "other", ("with", "{method}" + BOTH), ("with", "{method}"), "at least", -0.05,
        "Where the target is forgotten alike, Enhanced {method} keeps other pairs as {method} does",
        "Where the target is forgotten alike, Enhanced {method} loses other pairs that {method} keeps",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class TextStudy:
    """A named experiment: what it asks, its grid over the presets, its claims."""

    title: str
    grid: Mapping[str, Any]
    claims: tuple[TextClaim, ...]
    presets: tuple[str, ...] = ("small", "paper")


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"unlearn": {"lr": 3e-5}},
    "paper": {
        "seeds": 1,
        "data": {"targets": 50, "similar": 49, "held_out": 10, "spare": 10, "other": 2250, "near": 4, "compose": True},
        "train": {"epochs": 5, "lr": 2e-5, "batch": 16},
        "ask": {"max_new_tokens": 128},
    },
}
STUDIES: dict[str, TextStudy] = {
    "quickstart-text": TextStudy(
        "Do paraphrases keep a forgotten answer alive?",
        {
            "seeds": 1, "stages": ["base", "before", "R0", "R1", "GA_GDN", "NPO_KLN"],
            "data": {"targets": 2, "other": 12, "never_seen": 4, "spare": 0},
        },
        REFERENCE_CLAIMS,
        ("small",),
    ),
    "text-similar": TextStudy(
        "Does unlearning a target reach its similar samples? (E3)",
        {"training": ["with"], "stages": ["base", "before", "R0", *METHODS]},
        SIMILAR_CLAIMS,
    ),
    "text-target": TextStudy(
        "Do similar samples spoil the unlearning of the target? (E4)",
        {"stages": ["base", "before", "R0", "R1", *METHODS]},
        TARGET_CLAIMS,
    ),
    "text-heldout": TextStudy(
        "Does unlearning a target reach paraphrases that were never trained on? (E5)",
        {"training": ["without"], "stages": ["base", "before", "R0", *METHODS]},
        HELD_OUT_CLAIMS,
    ),
    "text-methods": TextStudy(
        "How do further methods compare?",
        {"stages": ["base", "before", "R0", "R1", *METHODS, *MORE]},
        REFERENCE_CLAIMS,
    ),
    "text-enhanced": TextStudy(
        "Do noise and paraphrases remove what similar samples keep, and at what price? (E7)",
        {
            "training": ["with"],
            "stages": ["base", "before", "R0", "R1",
                       *(method + added for method in ENHANCED for added in ("", NOISE, WIDE, BOTH)),
                       "NPO_GDN" + PROTECTED],
        },
        ENHANCED_CLAIMS,
    ),
    "text-enhanced-equal": TextStudy(
        "Are the enhanced schemes better where the target is forgotten alike? (E7)",
        {
            "training": ["with"],
            "stages": ["base", "before", *("NPO_GDN" + added for added in ("", NOISE, WIDE, BOTH))],
            "unlearn": {"steps": 20, "until": 0.2},
        },
        EQUAL_CLAIMS,
    ),
    "text-enhanced-sweep": TextStudy(
        "How much noise, and how many paraphrases? (E7)",
        {
            "training": ["with"],
            "stages": ["base", "before", "NPO_GDN", *(f"NPO_GDN~{gamma}" for gamma in GAMMAS), "NPO_GDN" + WIDE,
                       *(f"NPO_GDN{WIDE}~{gamma}" for gamma in GAMMAS), *(f"NPO_GDN-1+{m}{NOISE}" for m in (1, 3, 10))],
        },
        (),
    ),
}  # fmt: skip


def configure(
    study: str, preset: str | None = None, file: Path | None = None, sets: list[str] | None = None, **flags: Any
) -> TextStudyConfig:
    """The configuration of a language study: defaults, grid, preset, YAML, --set, flags.

    flags: seed, seeds, data, device, model; None means not given. Raises InputError for anything unknown.
    """
    written = config.read_yaml(file) if file else {}
    preset = preset or str(written.get("preset", "small"))
    if study not in STUDIES:
        raise InputError(f"unknown language study {study!r}; known: {', '.join(STUDIES)}")
    if preset not in STUDIES[study].presets:
        raise InputError(f"study {study} has no preset {preset!r}; known: {', '.join(STUDIES[study].presets)}")
    asked: dict[str, Any] = {key: flags[key] for key in ("seed", "seeds", "device") if flags.get(key) is not None}
    if flags.get("data") is not None:
        asked["data"] = {"source": flags["data"]}
    if flags.get("model") is not None:
        asked["model"] = {"source": flags["model"]}
    return config.build_text([
        PRESETS[preset], STUDIES[study].grid, written, config.read_set(sets or []), asked,
        {"study": study, "preset": preset},
    ])  # fmt: skip


def open_laboratory(settings: TextStudyConfig, out: Path, *, fresh: bool = False) -> TextLaboratory:
    """The place where this study's runs take place. Everything that can be checked cheaply is checked first.

    fresh: what vestige wrote there before is removed, but only once the new data have been read and drawn.
    """
    from vestige import text

    plan(settings)
    executor.check_device(settings.device)
    text.check(settings.model, device=settings.device)
    asset = assets.locate(settings.data.source)
    asset.expect(settings.modality)
    source = asset.digest()
    if fresh:
        rehearse(settings)
    return TextLaboratory(settings, store.open_folder(out, settings, __version__, source, fresh=fresh), source)


def result(laboratory: TextLaboratory, runs: tuple[Run, ...], *, complete: bool) -> dict[str, Any]:
    """The record of result.json: the tidy table, every target's record, answers, verdicts, and what made them."""
    settings = laboratory.config
    finished = gathered.take(laboratory, runs)
    means = gathered.means(finished)
    measures = gathered.measures(finished, means)
    places = gathered.by_place(measures)
    texts = {}
    for seed in dict.fromkeys(run.seed for run in finished):
        samples, _ = laboratory.data(seed, lambda message: None)
        texts[seed] = {
            name: (str(x), str(y)) for name, x, y in zip(samples.ids, samples.x, samples.y, strict=True)
        }  # fmt: skip
    return {
        "schema_version": store.SCHEMA_VERSION,
        "study": settings.study,
        "comparable": complete,
        "rows": collect.rows(measures, settings.stages),
        "missing": collect.missing(measures),
        "records": gathered.records(finished),
        "answers": gathered.answers(finished, texts),
        "metrics": verify.METRICS,
        "verdicts": [judge(claim, places) for claim in STUDIES[settings.study].claims],
        "provenance": {
            **provenance.reproducible(settings, laboratory.source, command(settings)),
            "data": {str(seed): laboratory.data_name(seed) for seed in texts},
            "models": {run.label: laboratory.model_name(run) for run in runs},
        },
    }


def judge(claim: TextClaim, found: gathered.ByPlace) -> dict[str, Any]:
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
                "sentence": f"not computed because {_why(places, values)}"}  # fmt: skip
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


def _why(places: Sequence[At], values: Sequence[Mapping[Any, verify.Measure]]) -> str:
    """Why a claim cannot be judged."""
    gone = [one.why for lot in values for one in lot.values() if one.value is None]
    if gone and all(values):
        return f"it does not exist for any target: {'; '.join(dict.fromkeys(gone))}"
    said = " and ".join(f"{stage} {arm}" for arm, stage in places)
    return f"{said} similar samples were not {'both ' if len(places) > 1 else ''}run"


def command(settings: TextStudyConfig) -> str:
    """The command that makes this result again."""
    from vestige.studies import changes

    default = configure(settings.study, settings.preset)
    parts = [f"vestige study {settings.study} --preset {settings.preset}"]
    if settings.study == "quickstart-text":
        parts = ["vestige quickstart --modality text"]
    for name in ("seed", "seeds", "device"):
        if getattr(settings, name) != getattr(default, name):
            parts.append(f"--{name} {getattr(settings, name)}")
    ours, theirs = settings.model_dump(mode="json"), default.model_dump(mode="json")
    skipped = ("seed", "seeds", "device", "study", "preset")
    parts += [f"--set {shlex.quote(change)}" for change in changes(ours, theirs, skip=skipped)]
    return " ".join(parts)


def _of(claim: TextClaim) -> str:
    """The quantity of a claim: what of whom."""
    what = {gathered.KM: "KM", "text_residual": "residual"}.get(claim.metric, claim.metric.replace("_", " "))
    if claim.group == "choices":
        return what
    whom = {"target": "targets", "held_out": "held-out paraphrases"}.get(claim.group, f"{claim.group} samples")
    return f"{what} of {whom}"
