"""A run folder → the plain record that its report is drawn from. Reads the store only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vestige import __version__
from vestige.config import StudyConfig, to_yaml
from vestige.report import table, words
from vestige.report.record import (
    Block,
    ChartRow,
    Gallery,
    GalleryRow,
    Null,
    Point,
    Recalls,
    Recovered,
    Summary,
)
from vestige.report.shelf import Shelf, open_shelf
from vestige.stages import parse
from vestige.store import open_existing, read_json
from vestige.types import Run

TITLE = "Does a forgotten image come back?"
TARGETS_SHOWN = 10
STAGES_SHOWN = {"with": 4, "without": 2}


def summarise(root: Path) -> Summary:
    """The record of a finished or partly finished run folder.

    Raises InputError for a folder that vestige did not make, one without result.json, and files that are
    not what was written.
    """
    store, config, _ = open_existing(root)
    if config.variants:  # what follows is laid out for one data set a seed; variants stand in the table of every number
        config = config.model_copy(update={"stages": ()})
    record = read_json(root / "result.json")
    run_facts = read_json(root / "run.json") if (root / "run.json").is_file() else {}
    shelf = open_shelf(store, record["provenance"])
    found = table.index(row for row in record["rows"] if not row.get("variant"))
    failed = {
        (training, stage): why
        for label, why in ((item["run"], item["why"]) for item in run_facts.get("failed", ()))
        for _, training, stage in [label.split(" · ")]
    }
    recalls = _recalls(found, shelf)
    classes = max((entry.facts["classes"] for entry in shelf.data.values()), default=0)
    return Summary(
        title=TITLE,
        kicker=f"{config.study} · {config.data.source}",
        headline=words.headline(recalls, record["verdicts"], config),
        deck=words.deck(recalls, record["verdicts"], config),
        banners=_banners(record, failed),
        gallery=gallery(shelf, config, failed),
        chart=chart(found, shelf, config),
        chart_reads=_how_to_read(recalls, config),
        verdicts=table.verdicts(record["verdicts"]),
        table=table.main_table(found, config, failed),
        tidy=tuple({**row, **_metric(record, row["metric"])} for row in record["rows"]),
        limits=words.limits(recalls, config, classes),
        configuration=to_yaml(config),
        provenance=_provenance(record["provenance"], run_facts, config),
        command=record["provenance"]["command"],
        version=record["provenance"].get("version") or __version__,
    )


def chart(found: table.Index, shelf: Shelf, config: StudyConfig) -> tuple[ChartRow, ...]:
    """Recall of the targets by stage, both arms, beside the null pooled over arms and seeds."""
    rows = []
    for stage in config.stages:
        points = tuple(
            _point(found[training, stage, "target", "ncc"])
            for training in ("with", "without")
            if (training, stage, "target", "ncc") in found
        )
        nulls = [
            shelf.of(run, shelf.null(run, target), "ncc")
            for run in shelf.runs
            if run.stage == stage
            for target in shelf.split(run.seed).target
        ]
        pooled = np.concatenate(nulls) if nulls else np.empty(0)
        null = None
        if len(pooled):
            low, high = np.percentile(pooled, [5, 95])
            null = Null(float(low), float(pooled.mean()), float(high), len(pooled))
        rows.append(ChartRow(stage, words.describe(stage), points, null))
    return tuple(rows)


def gallery(shelf: Shelf, config: StudyConfig, failed: Mapping[tuple[str, str], str]) -> Gallery:
    """The targets of the first seed, in the order that the seed drew them."""
    seed = min(shelf.data, default=config.seed)
    if seed not in shelf.data:
        return Gallery(seed, (), note="Not computed because the data set was not built.")
    targets = shelf.split(seed).target
    blocks = []
    for training in ("with", "without"):
        if training in config.training:
            stages = columns(config, training)
            rows = tuple(
                _gallery_row(shelf, seed, training, stages, target, failed) for target in targets[:TARGETS_SHOWN]
            )
            blocks.append(Block(training, stages, rows))
    return Gallery(seed, tuple(blocks), max(0, len(targets) - TARGETS_SHOWN), _twins(shelf, seed))


def columns(config: StudyConfig, training: str) -> tuple[str, ...]:
    """The stages that the gallery shows: before, R0, R1 and the last widened one; others fill empty places."""
    offered = [stage for arm, stage in table.planned(config) if arm == training]
    widened = sorted((stage for stage in offered if parse(stage).is_widened), key=words.widest_first)
    chosen = [stage for stage in ("before", "R0", "R1") if stage in offered] + widened[-1:]
    room = STAGES_SHOWN[training] - len(chosen)
    chosen += [stage for stage in offered if stage not in chosen][: max(0, room)]
    return tuple(stage for stage in offered if stage in chosen)


def _gallery_row(
    shelf: Shelf,
    seed: int,
    training: str,
    stages: tuple[str, ...],
    target: str,
    failed: Mapping[tuple[str, str], str],
) -> GalleryRow:
    entry = shelf.data[seed]
    where = {name: position for position, name in enumerate(entry.facts["ids"])}

    def original(name: str) -> np.ndarray:
        return np.asarray((entry.arrays["x"][where[name]].clip(0, 1) * 255).round(), np.uint8)

    similar = shelf.split(seed).similar[target] if training == "with" else ()
    return GalleryRow(
        target=target,
        label=str(int(entry.arrays["y"][where[target]])),
        pixels=original(target),
        similar=tuple((name, original(name)) for name in similar),
        recovered=tuple(_recovered(shelf, Run(seed, training, stage), target, failed) for stage in stages),
    )


def _recovered(shelf: Shelf, run: Run, target: str, failed: Mapping[tuple[str, str], str]) -> Recovered:
    if run not in shelf.runs:
        return Recovered(run.stage, why=table.missing_run(failed, run.training, run.stage))
    ncc, ssim, pixels = (shelf.of(run, [target], name)[0] for name in ("ncc", "ssim", "image"))
    return Recovered(run.stage, float(ncc), float(ssim), shelf.bar(run, target), pixels)


def _twins(shelf: Shelf, seed: int) -> str:
    """Says which widened stages gave the very result of R1, as they do when both remove the same samples."""
    reference = shelf.runs.get(Run(seed, "with", "R1"))
    if reference is None:
        return ""
    same = [
        run.stage
        for run, entry in shelf.runs.items()
        if run.seed == seed and parse(run.stage).is_widened and entry.facts["sha256"] == reference.facts["sha256"]
    ]
    if not same:
        return ""
    return (
        f"{' and '.join(sorted(same))} found exactly the images that were made from the targets, and so "
        "gives the same model as R1."
    )


def _recalls(found: table.Index, shelf: Shelf) -> Recalls:
    targets, null = (
        {
            (training, stage): _point(row)
            for (training, stage, group, metric), row in found.items()
            if (group, metric) == (wanted, "ncc") and row["mean"] is not None
        }
        for wanted in ("target", "never_seen_same_class")
    )
    back: dict[tuple[str, str], tuple[int, int]] = {}
    for run in shelf.runs:
        names = shelf.split(run.seed).target
        values = shelf.of(run, names, "ncc")
        hits = sum(bool(value > shelf.bar(run, target)) for value, target in zip(values, names, strict=True))
        old = back.get((run.training, run.stage), (0, 0))
        back[run.training, run.stage] = (old[0] + hits, old[1] + len(names))
    return Recalls(targets, {key: point.mean for key, point in null.items()}, back)


def _point(row: Mapping[str, Any]) -> Point:
    return Point(row["training"], row["mean"], row["low"], row["high"], row["n"], row["seeds"])


def _metric(record: Mapping[str, Any], name: str) -> dict[str, str]:
    known = record.get("metrics", {}).get(name, {})
    return {key: known.get(key, "") for key in ("what", "unit", "better")}


def _banners(record: Mapping[str, Any], failed: Mapping[tuple[str, str], str]) -> tuple[str, ...]:
    found = []
    if not record["comparable"]:
        found.append("Not comparable: only part of the plan was run. The same command again finishes the rest.")
    if failed:
        found.append(f"{words.plural(len(failed), 'run')} failed; the tables say which and why.")
    return tuple(found)


def _how_to_read(recalls: Recalls, config: StudyConfig) -> str:
    seeds = max((point.seeds for point in recalls.targets.values()), default=0)
    over = "over the targets" if seeds <= 1 else "over the seeds' means"
    each = " in each" if seeds > 1 else ""
    size = f"n = {words.plural(config.data.targets, 'target')}{each}, {words.plural(seeds, 'seed')}"
    return (
        "Each mark is the mean NCC between a target and the best image that could be reconstructed from the "
        f"model; 1 would be verbatim. The line is its 95 % t interval {over} ({size}), cut at the edge of the "
        "scale. Grey is the null: where 90 % of never-seen images of the targets' classes fall in the same "
        "models (both training sets pooled), with their mean. A mark inside "
        "the grey comes back no better than those do."
    )


def _provenance(
    made: Mapping[str, Any], run_facts: Mapping[str, Any], config: StudyConfig
) -> tuple[tuple[str, str], ...]:
    host = run_facts.get("host", {})
    seeds = {", ".join(map(str, values)) for values in made.get("seeds", {}).values()}
    workers = words.plural(run_facts.get("workers", 1), "worker")
    seconds = run_facts.get("seconds")
    libraries = made.get("libraries", {})
    rows = [
        ("vestige", made.get("version")),
        ("Commit", made.get("commit") or "not known: not run from a checkout"),
        ("Configuration", made.get("fingerprint")),
        ("Data", config.data.source),
        ("SHA-256 of the data", made.get("source_sha256")),
        ("Data sets", ", ".join(f"{name} (seed {seed})" for seed, name in made.get("data", {}).items())),
        ("Seeds", "; ".join(sorted(seeds)) + " (data, training, unlearning, evaluation alike)"
         if len(seeds) == 1 else str(made.get("seeds"))),
        ("Libraries", ", ".join(f"{name} {version}" for name, version in libraries.items())),
        ("Device", f"{made.get('device')}, {words.plural(made.get('threads') or 0, 'thread')} a run"),
        ("Finished", run_facts.get("finished")),
        ("Time", None if seconds is None else f"{seconds} s, {workers}"),
        ("Machine", ", ".join(str(host[key]) for key in ("processor", "platform") if key in host)),
        ("Python", host.get("python")),
    ]  # fmt: skip
    return tuple((name, str(value)) for name, value in rows if value)
