"""A run folder → the plain record that its report is drawn from. Reads the store only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vestige import __version__
from vestige.config import StudyConfig, to_yaml
from vestige.report import leads, table, words
from vestige.report.charts import Material, to_point
from vestige.report.record import Recalls, Summary
from vestige.report.sections import sections
from vestige.report.shelf import Shelf, open_shelf
from vestige.store import open_existing, read_json


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
    failed = {
        (training, stage): item["why"]
        for item in run_facts.get("failed", ())
        for training, stage in [item["run"].split(" · ")[-2:]]
    }
    material = Material(config, record["rows"], record["verdicts"], shelf, failed)
    recalls = _recalls(material.found, shelf)
    classes = max((entry.facts["classes"] for entry in shelf.data.values()), default=0)
    return Summary(
        title=leads.question(config.study),
        kicker=leads.kicker(material),
        headline=leads.headline(material, recalls),
        deck=words.deck(recalls, record["verdicts"], config),
        banners=_banners(record, failed),
        sections=sections(material),
        tidy=tuple({**row, **_metric(record, row["metric"])} for row in record["rows"]),
        limits=words.limits(recalls, config, classes),
        configuration=to_yaml(config),
        provenance=_provenance(record["provenance"], run_facts, config),
        command=record["provenance"]["command"],
        version=record["provenance"].get("version") or __version__,
    )


def _recalls(found: table.Index, shelf: Shelf) -> Recalls:
    targets, null = (
        {
            (training, stage): to_point(row)
            for (training, stage, group, metric), row in found.items()
            if (group, metric) == (wanted, "ncc") and row["mean"] is not None
        }
        for wanted in ("target", "never_seen_same_class")
    )
    back: dict[tuple[str, str], tuple[int, int]] = {}
    for run in shelf.runs:
        names = shelf.split(run.seed).target
        values = shelf.of(run, names, "ncc")
        bars = [shelf.bar(run, target) for target in names]
        hits = sum(bar is not None and bool(value > bar) for value, bar in zip(values, bars, strict=True))
        old = back.get((run.training, run.stage), (0, 0))
        back[run.training, run.stage] = (old[0] + hits, old[1] + len(names))
    return Recalls(targets, {key: point.mean for key, point in null.items()}, back)


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
