"""The paper's language experiments E3, E4, E5 and E7 as named studies, with the claims they can bear out or not."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vestige import __version__, assets, collect, config, executor, provenance, store, utility, verify
from vestige.config import TextStudyConfig
from vestige.language import collect as gathered
from vestige.language.claims import (
    BOTH,
    ENHANCED,
    ENHANCED_CLAIMS,
    EQUAL_CLAIMS,
    HELD_OUT_CLAIMS,
    METHODS,
    NOISE,
    PLAIN,
    REACH,
    REACH_CLAIMS,
    REFERENCE_CLAIMS,
    SIMILAR_CLAIMS,
    TARGET_CLAIMS,
    WIDE,
    TextClaim,
    judge,
)
from vestige.language.laboratory import TextLaboratory, rehearse
from vestige.language.runs import check_layers, plan
from vestige.types import InputError, Run

MORE = ("GA", "NPO", "SimNPO", "DPO", "IdkDPO", "RMU", "UNDIAL", "WHP")
"""Further rows of the methods table."""
GAMMAS = (0.1, 0.318, 0.618, 1)
"""The sweep; the paper's are 0.618 (1B) and 0.318 (3B)."""


@dataclass(frozen=True)
class TextStudy:
    """A named experiment: what it asks, its grid over the presets, its claims.

    small: what the preset small has otherwise in this study.
    """

    title: str
    grid: Mapping[str, Any]
    claims: tuple[TextClaim, ...]
    presets: tuple[str, ...] = ("small", "paper", "paper-3b")
    small: Mapping[str, Any] = field(default_factory=dict)


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
UTILITY: dict[str, Any] = {"training": ["with"], "measure": ["answers", "utility"]}
"""Of the studies of enhanced schemes: similar samples in training, and what the model is still good for."""
FEW: dict[str, Any] = {"data": {"similar": 3, "held_out": 3, "spare": 5}, "unlearn": {"draws": 1}}
"""Of a family of twelve texts five are left to unlearn. One random output a pair: five of each of six are too dear."""


def _ablation(method: str) -> list[str]:
    """The method as it is, with noise only, with paraphrases only, with both."""
    return [stage.format(method=method) for stage in (PLAIN, NOISE, WIDE, BOTH)]


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
            **UTILITY,
            "stages": ["base", "before", "R0", "R1", *(stage for method in ENHANCED for stage in _ablation(method)),
                       "Enhanced NPO_GDN-near"],
        },
        ENHANCED_CLAIMS,
        small=FEW,
    ),
    "text-enhanced-equal": TextStudy(
        "Are the enhanced schemes better where the target is forgotten alike? (E7)",
        {
            **UTILITY,
            "stages": ["base", "before", *_ablation("NPO_GDN")],
            "unlearn": {"steps": 20, "until": 0.3},
        },
        EQUAL_CLAIMS,
        small=FEW,
    ),
    "text-enhanced-reach": TextStudy(
        "What does reach the similar samples? (beyond E7)",
        {**UTILITY, "stages": ["base", "before", "R0", "R1", "NPO_GDN", "NPO_GDN-1+5", "NPO_GDN-apart", *REACH]},
        REACH_CLAIMS,
        small=FEW,
    ),
    "text-enhanced-sweep": TextStudy(
        "How much noise, and how many paraphrases? (E7)",
        {
            **UTILITY,
            "stages": ["base", "before", "NPO_GDN", "NPO_GDN-1+5",
                       *(f"NPO_GDN{wide}~{gamma:g}" for wide in ("", "-1+5") for gamma in GAMMAS),
                       *(f"NPO_GDN-1+{m}~0.618" for m in (1, 3, 10))],
        },
        (),
        small={"data": {**FEW["data"], "targets": 2, "spare": 10, "compose": True}},
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
        PRESETS[preset], STUDIES[study].grid, STUDIES[study].small if preset == "small" else {}, written,
        config.read_set(sets or []), asked, {"study": study, "preset": preset},
    ])  # fmt: skip


def open_laboratory(settings: TextStudyConfig, out: Path, *, fresh: bool = False) -> TextLaboratory:
    """The place where this study's runs take place. Everything that can be checked cheaply is checked first.

    fresh: what vestige wrote there before is removed, but only once the new data have been read and drawn.
    """
    from vestige import text

    plan(settings)
    executor.check_device(settings.device)
    text.check(settings.model, device=settings.device)
    if "utility" in settings.measure:
        utility.check(settings.utility)
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
        "words": _words(texts, settings.ask.words),
        "metrics": verify.METRICS,
        "verdicts": [judge(claim, places) for claim in STUDIES[settings.study].claims],
        "provenance": {
            **provenance.reproducible(settings, laboratory.source, command(settings)),
            "data": {str(seed): laboratory.data_name(seed) for seed in texts},
            "models": {run.label: laboratory.model_name(run) for run in runs},
        },
    }


def _words(texts: Mapping[int, Mapping[str, tuple[str, str]]], how: str) -> dict[str, int]:
    """How many true answers ROUGE takes apart in which way (`text.rouge.WORDS`); texts: as of `collect.answers`."""
    from vestige.text.rouge import suitable

    truths = [truth for pairs in texts.values() for _, truth in pairs.values()]
    return dict(Counter(suitable(truth) if how == "auto" else how for truth in truths))


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
