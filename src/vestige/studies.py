"""The papers' experiments as named studies: a grid with presets, and the claims it can bear out or not."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from vestige import __version__, assets, collect, config, dose, executor, experiment, presets, provenance, store, verify
from vestige.config import AnyStudyConfig, LMConfig, StudyConfig, TextStudyConfig
from vestige.store import Store
from vestige.types import InputError, Run, ShadowRun


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


class Place(Protocol):
    """Where runs take place: what `conduct` needs of a laboratory."""

    @property
    def config(self) -> AnyStudyConfig:
        """The study's settings."""

    @property
    def store(self) -> Store:
        """Where the finished steps are kept."""

    def plan(self) -> tuple[Run, ...]:
        """The runs of the study, in order."""

    def data_name(self, seed: int, variant: str = "") -> str:
        """The name under which a data set is kept."""

    def data(self, seed: int, say: executor.Say, variant: str = "") -> Any:
        """A data set, built if it is not there."""

    def check_room(self, runs: Iterable[Run]) -> None:
        """Raise InputError where the data sets cannot serve these runs."""

    def is_done(self, run: Run) -> bool:
        """Whether everything that is measured of a run is there."""

    def most_workers(self) -> int:
        """How many runs there is room for at once."""

    def takes_all(self, run: Run) -> bool:
        """Whether a run is shared out over all devices, so that none goes beside it."""

    def measure(self, run: Run, say: executor.Say) -> None:
        """Measure everything of one run, where it is not there."""

    def shadow_runs(self, runs: Iterable[Run]) -> tuple[ShadowRun, ...]:
        """The shadow models by which these runs are judged."""

    def is_shadow_done(self, run: ShadowRun) -> bool:
        """Whether what is asked of a shadow model is there."""

    def shadow(self, run: ShadowRun, say: executor.Say) -> None:
        """Train and ask one shadow model."""

    def adopt(self, other: Store, runs: Iterable[Run]) -> int:
        """Take over what another run folder holds of these runs; how many steps."""


Lot = tuple[int, str]
"""A seed and a variant: what a data set is built for."""

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
        "Forgetting the 5 most similar removes hardly more of it than forgetting 3",
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
        "Without similar samples, U-LiRA hardly tells models that were trained on the targets from others",
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
        "A single masked copy hardly keeps anything of the target",
        variants=("mask 0.3 ×1", "none"),
    ),
    Claim(
        "more-copies-carry-more", "with", "R0", "R0", "at least", 0.10,
        "Ten masked copies carry more of the target than one",
        "Ten masked copies carry hardly more of the target than one",
        variants=("mask 0.3 ×10", "mask 0.3 ×1"),
    ),
    Claim(
        "an-exact-copy-weighs-more", "with", "R0", "R0", "at least", 0.05,
        "An exact copy carries more of the target than a masked one",
        "An exact copy carries hardly more of the target than a masked one",
        variants=("exact ×1", "mask 0.3 ×1"),
    ),
    *(
        Claim(
            f"stronger-{name}-carries-less", "with", "R0", "R0", "at least", 0.10,
            f"Five copies carry less of the target the stronger the {word}",
            f"Five copies carry hardly less of the target the stronger the {word}",
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
    asset = assets.locate(settings.data.source)
    asset.expect(settings.modality)
    source = asset.digest()
    if fresh:
        experiment.rehearse(settings)
    opened = store.open_folder(out, settings, __version__, source, fresh=fresh)
    return experiment.Laboratory(settings, opened, source)


def adopt(laboratory: Place, other: store.Store, *, say: Callable[[str], None] = executor.say) -> None:
    """Take over the finished steps of another run folder that this study needs too."""
    count = laboratory.adopt(other, laboratory.plan())
    say(f"{count} finished steps taken over from {other.root}")


def conduct(
    laboratory: Place,
    *,
    workers: int | None = None,
    limit: int | None = None,
    say: Callable[[str], None] = executor.say,
    sum_up: Callable[..., dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Carry out a study, resuming what is there, and write its result.json and run.json.

    limit: only the first runs of the plan; the result then says that it is not comparable. sum_up: what makes the
    record of result.json from the laboratory and its runs, by default `result`. Returns that record.
    """
    start = time.time()
    planned = laboratory.plan()
    runs = planned[:limit]
    count = _workers(workers, laboratory)
    failures = carry_out(laboratory, runs, workers=count, say=say)
    make: Callable[..., dict[str, Any]] = sum_up or result
    record = make(laboratory, runs, complete=len(runs) == len(planned) and not failures)
    root = laboratory.store.root
    store.write_json(root / "result.json", record)
    store.write_json(
        root / "run.json",
        {
            "arguments": sys.argv[1:],
            "seconds": round(time.time() - start, 1),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "workers": count,
            "devices": executor.devices(laboratory.config.device),
            "failed": [{"run": run.label, "why": why} for run, why in failures],
            "rte": collect.times(laboratory, runs) if isinstance(laboratory, experiment.Laboratory) else [],
            "host": provenance.host(),
        },
    )
    return record


def carry_out(
    laboratory: Place,
    runs: tuple[Run, ...],
    *,
    workers: int | None = None,
    say: Callable[[str], None] = executor.say,
) -> list[executor.Failure[Run] | executor.Failure[ShadowRun]]:
    """Do what is not done yet of these runs, and of the shadow models that they are judged by.

    Every data set is built, and so checked, before any training. A shadow model that fails is tried once more.
    Returns what failed, with why.
    """
    todo = tuple(run for run in runs if not laboratory.is_done(run))
    if len(todo) < len(runs):
        say(f"{len(runs) - len(todo)} of {len(runs)} runs are done already")
    lots = [
        lot
        for lot in dict.fromkeys((run.seed, run.variant) for run in todo)
        if not laboratory.store.has("data", laboratory.data_name(*lot))
    ]
    done, start = 0, time.time()

    def data_done(lot: Lot) -> None:
        say(f"data set of {_name(lot)} is built")

    def run_done(run: Run) -> None:
        nonlocal done
        done += 1
        left = (time.time() - start) / done * (len(todo) - done)
        say(f"[{done}/{len(todo)}] {run.label}" + (f", about {left:.0f} s left" if left >= 1 else ""))

    count, device = _workers(workers, laboratory), laboratory.config.device
    failed_data = executor.run_local(
        partial(_build, laboratory), lots, workers=min(count, len(lots) or 1), on_done=data_done, device=device
    )
    if failed_data:
        raise RuntimeError(failed_data[0][1])
    laboratory.check_room(runs)
    start = time.time()
    shared = [run for run in todo if laboratory.takes_all(run)]
    alone = [run for run in todo if not laboratory.takes_all(run)]
    measure = partial(executor.run_local, partial(_measure, laboratory), on_done=run_done, device=device)
    failed = [*measure(shared, workers=1), *measure(alone, workers=count)]
    return [*failed, *_shadows(laboratory, laboratory.shadow_runs(runs), count, say)]


def _shadows(
    laboratory: Place, runs: tuple[ShadowRun, ...], workers: int, say: Callable[[str], None]
) -> list[executor.Failure[ShadowRun]]:
    """The shadow models that are not done yet; those that failed twice are returned."""
    todo = tuple(run for run in runs if not laboratory.is_shadow_done(run))
    if len(todo) < len(runs):
        say(f"{len(runs) - len(todo)} of {len(runs)} shadow models are done already")
    done = 0

    def run_done(run: ShadowRun) -> None:
        nonlocal done
        done += 1
        say(f"[{done}/{len(todo)}] {run.label}")

    carry = partial(
        executor.run_local, partial(_shadow, laboratory), workers=workers, on_done=run_done,
        device=laboratory.config.device,
    )  # fmt: skip
    failed = carry(todo)
    for run, why in failed:
        say(f"{run.label} failed and is tried once more: {why}")
    return carry([run for run, _ in failed])


def result(laboratory: experiment.Laboratory, runs: tuple[Run, ...], *, complete: bool) -> dict[str, Any]:
    """The record of result.json: the tidy table, the verdicts, and what made them."""
    settings = laboratory.config
    measures, recalls = collect.take(laboratory, runs)
    carriers = collect.carriers(laboratory, runs)
    carried = collect.carried(carriers, "similar")
    lots = tuple(dict.fromkeys((run.seed, run.variant) for run in runs))
    return {
        "schema_version": store.SCHEMA_VERSION,
        "study": settings.study,
        "comparable": complete,
        "rows": collect.rows(measures, settings.stages, tuple(settings.variants)),
        "gaps": collect.gaps(measures) if "outputs" in settings.measure else [],
        "missing": collect.missing(measures),
        "doses": dose.doses(settings),
        "equivalents": dose.equivalents(settings, recalls) if "recall" in settings.measure else [],
        "influence": carriers,
        "metrics": verify.METRICS,
        "verdicts": [judge(claim, recalls, measures, carried) for claim in STUDIES[settings.study].claims],
        "provenance": {
            **provenance.reproducible(settings, laboratory.source, command(settings)),
            "data": {_key(lot): laboratory.data_name(*lot) for lot in lots if not lot[1]},
            "variants": {_key(lot): laboratory.data_name(*lot) for lot in lots if lot[1]},
            "models": {run.label: laboratory.model_name(run) for run in runs},
        },
    }


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


def failures(laboratory: Place) -> list[tuple[str, str]]:
    """The runs that failed in the last invocation, with why."""
    return [(entry["run"], entry["why"]) for entry in store.read_json(laboratory.store.root / "run.json")["failed"]]


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


def _build(laboratory: Place, lot: Lot) -> None:
    seed, variant = lot
    laboratory.data(seed, lambda message: executor.say(f"  {_name(lot)}: {message}"), variant)


def _name(lot: Lot) -> str:
    return f"seed {_key(lot)}"


def _key(lot: Lot) -> str:
    seed, variant = lot
    return f"{seed}, {variant}" if variant else str(seed)


def _measure(laboratory: Place, run: Run) -> None:
    laboratory.measure(run, lambda message: executor.say(f"  {run.label}: {message}"))


def _shadow(laboratory: Place, run: ShadowRun) -> None:
    laboratory.shadow(run, lambda message: None)


def _workers(asked: int | None, laboratory: Place) -> int:
    if asked is not None and asked < 1:
        raise InputError(f"--workers must be at least 1, got {asked}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return asked or min(cores, laboratory.most_workers())
