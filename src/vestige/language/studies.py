"""The paper's language experiments E3, E4 and E5 as named studies, with the claims they can bear out or not."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vestige import __version__, assets, collect, config, executor, provenance, store, verify
from vestige.config import TextStudyConfig
from vestige.language import collect as gathered
from vestige.language.laboratory import TextLaboratory, check_layers, plan, rehearse
from vestige.types import InputError, Run

At = tuple[str, str]
"""A training arm and a stage."""


@dataclass(frozen=True)
class TextClaim:
    """A statement about a group's KM at two places, with a bar fixed here and not fitted to a run.

    It holds if mean(first − second), paired by target, is at least, or at most, the bar. {method}: the stage's name.
    """

    name: str
    group: Literal["target", "similar", "held_out", "near", "other"]
    first: At
    second: At
    rule: Literal["at least", "at most"]
    bar: float
    yes: str
    no: str


METHODS = ("GDR", "GDR_KLN", "GDR_GDN", "NPO_KLN", "NPO_GDN", "GA_KLN", "GA_GDN", "TV")
"""The paper's eight."""
MORE = ("GA", "NPO", "SimNPO", "DPO", "IdkDPO", "RMU", "UNDIAL", "WHP")
"""Further rows of the methods table."""


def _each(*claims: TextClaim) -> tuple[TextClaim, ...]:
    """These claims about every method of the paper."""

    def about(method: str, claim: TextClaim) -> TextClaim:
        (arm, stage), (other_arm, other_stage) = claim.first, claim.second
        return replace(
            claim, name=f"{method}-{claim.name}", first=(arm, stage.format(method=method)),
            second=(other_arm, other_stage.format(method=method)), yes=claim.yes.format(method=method),
            no=claim.no.format(method=method),
        )  # fmt: skip

    return tuple(about(method, claim) for method in METHODS for claim in claims)


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
    TextClaim(
        "is-held-back", "target", ("with", "{method}"), ("without", "{method}"), "at least", 0.0,
        "Similar samples make {method} forget the target less",
        "Similar samples do not make {method} forget the target less",
    ),
)  # fmt: skip
SIMILAR_CLAIMS = _each(
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


@dataclass(frozen=True)
class TextStudy:
    """A named experiment: what it asks, its grid over the presets, its claims."""

    title: str
    grid: Mapping[str, Any]
    claims: tuple[TextClaim, ...]
    presets: tuple[str, ...] = ("small", "paper", "paper-3b")


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"unlearn": {"lr": 3e-5}},
    "paper": {
        "seeds": 1,
        "data": {"targets": 50, "similar": 49, "held_out": 10, "spare": 10, "other": 2250, "near": 4, "compose": True},
        "train": {"epochs": 5, "lr": 2e-5, "batch": 16},
        "ask": {"max_new_tokens": 128},
    },
}
PRESETS["paper-3b"] = PRESETS["paper"] | {"unlearn": {"gamma": 0.318}}
"""γ is the paper's for models of 3 billion weights; for 1 billion it is the default."""
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
    check_layers(settings)
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
        "verdicts": [judge(claim, means) for claim in STUDIES[settings.study].claims],
        "provenance": {
            **provenance.reproducible(settings, laboratory.source, command(settings)),
            "data": {str(seed): laboratory.data_name(seed) for seed in texts},
            "models": {run.label: laboratory.model_name(run) for run in runs},
        },
    }


def judge(claim: TextClaim, means: gathered.Means) -> dict[str, Any]:
    """Whether a claim holds: on the mean over targets, and with the whole interval. None where it was not measured."""
    (arm, stage), (other_arm, other_stage) = claim.first, claim.second
    first, second = (
        {(run.seed, run.target): km[claim.group] for run, km in means.items()
         if (run.training, run.stage) == at and claim.group in km}
        for at in (claim.first, claim.second)
    )  # fmt: skip
    both = [key for key in first if key in second]
    same = arm == other_arm
    quantity = f"{stage} − {other_stage}" if same else f"{stage} {arm} − {other_stage} {other_arm}"
    record: dict[str, Any] = {
        "name": claim.name, "claim": claim.yes, "training": arm if same else "both",
        "quantity": f"KM of {_words(claim.group)}, {quantity}", "rule": f"{claim.rule} {claim.bar:.2f}",
    }  # fmt: skip
    if not both:
        missing = f"not computed because {stage} {arm} and {other_stage} {other_arm} similar samples were not both run"
        return {**record, "holds": None, "clear": None, "mean": None, "low": None, "high": None, "n": 0, "seeds": 0,
                "sentence": missing}  # fmt: skip
    mean, low, high = verify.mean_interval([first[key] - second[key] for key in both])
    sign = 1 if claim.rule == "at least" else -1
    edge = low if sign == 1 else high
    holds = sign * mean >= sign * claim.bar
    return {
        **record, "holds": holds, "clear": edge is not None and sign * edge >= sign * claim.bar, "mean": mean,
        "low": low, "high": high, "n": len(both), "seeds": len({seed for seed, _ in both}),
        "sentence": claim.yes if holds else claim.no,
    }  # fmt: skip


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


def _words(group: str) -> str:
    return {"target": "targets", "held_out": "held-out paraphrases"}.get(group, f"{group} samples")
