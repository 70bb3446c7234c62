"""The papers' image experiments by name: a grid with presets over the default configuration."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vestige import __version__, assets, config, dose, executor, experiment, presets, store
from vestige.config import AnyStudyConfig, LMConfig, StudyConfig, TextStudyConfig
from vestige.studies.claims import (
    DOSE_CLAIMS,
    ENHANCED_CLAIMS,
    METHOD_CLAIMS,
    METHOD_STAGES,
    SHARDED_STAGES,
    SIMILAR_CLAIMS,
    TARGET_CLAIMS,
    Claim,
)
from vestige.types import InputError


@dataclass(frozen=True)
class Study:
    """A named experiment: what it asks, its presets over the default configuration, its claims."""

    title: str
    presets: Mapping[str, Mapping[str, Any]]
    claims: tuple[Claim, ...]


RECALLED = {"measure": ["recall", "influence"]}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {**RECALLED},
    "paper": {
        **RECALLED,
        "seeds": 3,
        "data": {"per_class": 50},
        "model": {"hidden": [1000, 1000]},
    },
}
SIMILAR_GRID = {"training": ["with"], "stages": ["before", "R0", "relabel"]}
ENHANCED_GRID = {
    "training": ["with"],
    "stages": ["before", "R0", "R1", "RF-1+3", "RF-1+5", "RF-1+7", "RF-1+10"],
}
DOSE_GRID = {
    "training": ["with"], "stages": ["before", "R0", "R1"], "variants": dose.grid(), "measure": ["recall"]
}  # fmt: skip
# 15 a class leave as many unrelated samples beside ten copies as 10 a class leave beside five: four.
DOSE_PRESETS = {
    "small": {**PRESETS["small"], "seeds": 3, "data": {"per_class": 15}, **DOSE_GRID},
    "paper": {**PRESETS["paper"], "seeds": 1, **DOSE_GRID},
}
METHODS_GRID = {
    "stages": ["before", "R0", "R1", *METHOD_STAGES],
    "measure": ["outputs", "membership"],
}
SHARDED_GRID = {"stages": ["before", "R0", "R1", *SHARDED_STAGES], "train": {"sisa": {}}}
STUDIES: dict[str, Study] = {
    "quickstart": Study(
        "Do near-copies keep a forgotten image alive?", {"small": {**RECALLED, "seeds": 1}}, TARGET_CLAIMS
    ),
    "image-target": Study(
        "Do similar samples spoil the unlearning of the target? (E2)", PRESETS, TARGET_CLAIMS
    ),
    "image-similar": Study(
        "Does unlearning a target also remove its similar samples? (E1)",
        {name: {**preset, **SIMILAR_GRID} for name, preset in PRESETS.items()},
        SIMILAR_CLAIMS,
    ),
    "image-enhanced": Study(
        "Does it help to unlearn the most similar samples too? (E6)",
        {name: {**preset, **ENHANCED_GRID} for name, preset in PRESETS.items()},
        ENHANCED_CLAIMS,
    ),
    "image-dose": Study(
        "How much do the number and the strength of similar samples carry?", DOSE_PRESETS, DOSE_CLAIMS
    ),
    "image-methods": Study(
        "How near does each method come to retraining?",
        {
            "small": {**PRESETS["small"], **METHODS_GRID},
            "paper": {**PRESETS["paper"], **METHODS_GRID, "data": {"per_class": 50, "never_seen": 600}},
            "sharded": {**PRESETS["small"], **METHODS_GRID, **SHARDED_GRID},
        },
        METHOD_CLAIMS,
    ),
}  # fmt: skip


def configure(
    study: str,
    preset: str | None = None,
    file: Path | None = None,
    sets: list[str] | None = None,
    base: Mapping[str, Any] | None = None,
    **flags: Any,
) -> StudyConfig:
    """The configuration of a study: defaults, the data set's and the network's own, preset, YAML, --set, flags.

    flags: seed, seeds, data, device; None means not given. preset: by default the file's, else "small". base: over the
    preset. Networks other than the MLP bring their training and, unless `unlearn.preset` says published, the
    tuned settings of the methods. Raises InputError for anything unknown.
    """
    written = config.read_yaml(file) if file else {}
    preset = preset or str(written.get("preset", "small"))
    if study not in STUDIES:
        raise InputError(f"unknown study {study!r}; known: {', '.join(STUDIES)}")
    if preset not in STUDIES[study].presets:
        raise InputError(f"study {study} has no preset {preset!r}; known: {', '.join(STUDIES[study].presets)}")
    asked: dict[str, Any] = {key: flags[key] for key in ("seed", "seeds", "device") if flags.get(key) is not None}
    if flags.get("data") is not None:
        asked["data"] = {"source": flags["data"]}
    layers = [
        STUDIES[study].presets[preset],
        base or {},
        written,
        config.read_set(sets or []),
        asked,
        {"study": study, "preset": preset},
    ]
    first = config.build(layers)
    own = [{"data": assets.settings(first.data.source)}, presets.training(first.model.kind)]
    if config.build([*own, *layers]).unlearn.preset == "tuned":
        own.append(presets.tuned(first.model.kind))
    return config.build([*own, *layers])


def changed(settings: AnyStudyConfig) -> tuple[str, ...]:
    """What tells this study's own folder from that of its plain form: another network, another device."""
    ours = Path(settings.model.source).stem if isinstance(settings, TextStudyConfig) else settings.model.kind
    plain = LMConfig().source if isinstance(settings, TextStudyConfig) else "mlp"
    names = ((ours, plain), (settings.device, "cpu"))
    return tuple(ours for ours, plain in names if ours != plain)


def open_laboratory(
    settings: StudyConfig, out: Path, *, fresh: bool = False, recall: bool = True
) -> experiment.Laboratory:
    """The place where this study's runs take place. Everything that can be checked cheaply is checked first.

    fresh: what vestige wrote there before is removed, but only once the new data have been read and drawn.
    recall: whether reconstruction will be asked for, where the study measures recall.
    """
    experiment.plan(settings, recall=recall)
    executor.check_device(settings.device)
    if settings.unlearn.preset == "tuned" and (other := presets.unlike(settings.model.model_dump(mode="json"))):
        executor.say(
            f"the methods' settings were tuned for {other} and may not suit this size; vestige tune finds others"
        )
    asset = assets.locate(settings.data.source)
    asset.expect(settings.modality)
    source = asset.digest()
    if fresh:
        experiment.rehearse(settings)
    opened = store.open_folder(out, settings, __version__, source, fresh=fresh)
    return experiment.Laboratory(settings, opened, source)


def command(settings: StudyConfig) -> str:
    """The command that makes this result again."""
    chosen = [f"model.kind={settings.model.kind}", f"unlearn.preset={settings.unlearn.preset}"]
    default = configure(settings.study, settings.preset, data=settings.data.source, sets=chosen)
    plain = configure(settings.study, settings.preset, data=settings.data.source, sets=chosen[:1])
    source = shlex.quote(settings.data.source)
    if settings.study == "quickstart":
        parts = ["vestige quickstart"]
        if settings.data.source != "mnist":
            parts.append(f"--data {source}")
    else:
        parts = [f"vestige study {settings.study} --preset {settings.preset} --data {source}"]
    if settings.seeds != default.seeds:
        parts.append(f"--seeds {settings.seeds}")
    if settings.seed != default.seed:
        parts.append(f"--seed {settings.seed}")
    if settings.device != default.device:
        parts.append(f"--device {settings.device}")
    if settings.model.kind != "mlp":
        parts.append(f"--set {chosen[0]}")
    if settings.unlearn.preset != plain.unlearn.preset:
        parts.append(f"--set {chosen[1]}")
    ours, theirs = settings.model_dump(mode="json"), default.model_dump(mode="json")
    parts += [f"--set {shlex.quote(change)}" for change in changes(ours, theirs, skip=("seed", "seeds", "device"))]
    return " ".join(parts)


def changes(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "", skip: tuple[str, ...] = ()
) -> list[str]:
    found: list[str] = []
    for key, value in ours.items():
        if key == "variants":  # replaced as a whole, see `config.build`
            found += [f"variants={json.dumps(value, ensure_ascii=False)}"] if value != theirs[key] else []
        elif isinstance(value, Mapping):
            found += changes(value, theirs.get(key) or {}, f"{prefix}{key}.")
        elif (key not in theirs or value != theirs[key]) and key not in skip:
            text = "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else value
            found.append(f"{prefix}{key}={text}")
    return found
