"""A run folder → the plain record that its report is drawn from. Reads the store only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vestige import __version__
from vestige.config import StudyConfig, TextStudyConfig, to_yaml
from vestige.report import facts, leads, table, text, words
from vestige.report.material import Material, to_point
from vestige.report.record import Recalls, Summary
from vestige.report.sections import sections
from vestige.report.shelf import Shelf, open_shelves
from vestige.report.text.material import TextMaterial
from vestige.store import Store, open_existing, read_json


@dataclass(frozen=True)
class Opened:
    """A run folder that has been read. record, facts: its result.json and run.json. material: what sections need."""

    record: Mapping[str, Any]
    facts: Mapping[str, Any]
    material: Material | TextMaterial


def summarise(root: Path) -> Summary:
    """The record of a finished or partly finished run folder. Raises what `read` does."""
    return sum_up(read(root))


def read(root: Path) -> Opened:
    """Everything that the page of a run folder is made of.

    Raises InputError for a folder that vestige did not make, one without result.json, and files that are
    not what was written.
    """
    store, config, _ = open_existing(root)
    record = read_json(root / "result.json")
    run_facts = read_json(root / "run.json") if (root / "run.json").is_file() else {}
    if isinstance(config, TextStudyConfig):
        return Opened(record, run_facts, text.material_of(config, record, run_facts))
    return Opened(record, run_facts, _of_images(store, config, record, run_facts))


def sum_up(opened: Opened) -> Summary:
    """The record of what was read."""
    record, run_facts, material = opened.record, opened.facts, opened.material
    if isinstance(material, TextMaterial):
        return text.sum_up(material, record, run_facts)
    config, shelf = material.config, material.shelf
    recalls = _recalls(material.found, shelf)
    data = [entry for one in (shelf, *material.variants.values()) for entry in one.data.values()]
    classes = max((entry.facts["classes"] for entry in data), default=0)
    return Summary(
        title=leads.question(config.study),
        kicker=leads.kicker(material),
        headline=leads.headline(material, recalls),
        deck=words.deck(record["verdicts"], config.data.targets, material.seeds, "image"),
        banners=facts.banners(record, run_facts.get("failed", ())),
        sections=sections(material),
        tidy=facts.tidy(record, material.rows),
        gaps=tuple(material.gaps),
        missing=facts.missing(material.missing),
        limits=words.limits(recalls, config, classes),
        configuration=to_yaml(config),
        provenance=facts.provenance(record["provenance"], run_facts, config),
        command=record["provenance"]["command"],
        version=record["provenance"].get("version") or __version__,
    )


def _of_images(store: Store, config: StudyConfig, record: Mapping[str, Any], run_facts: Mapping[str, Any]) -> Material:
    shelves = open_shelves(store, record["provenance"])
    shelf = shelves.pop("")
    rows = [{"variant": "", **row} for row in (*record["rows"], *run_facts.get("rte", ()))]
    return Material(
        config, rows, record["verdicts"], shelf, facts.failures(run_facts), record.get("gaps", ()),
        record.get("missing", ()), record.get("doses", {}), record.get("equivalents", ()), shelves,
        record.get("influence", ()),
    )  # fmt: skip


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
