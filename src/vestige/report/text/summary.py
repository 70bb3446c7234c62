"""The result of a language study → the plain record that its page is drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vestige import __version__
from vestige.config import TextStudyConfig, to_yaml
from vestige.report import facts, words
from vestige.report.record import Summary
from vestige.report.text import words as said
from vestige.report.text.material import TextMaterial
from vestige.report.text.sections import sections


def material_of(config: TextStudyConfig, record: Mapping[str, Any], run_facts: Mapping[str, Any]) -> TextMaterial:
    """What the sections are made of. record, run_facts: result.json and run.json of a study."""
    rows = [{"variant": "", **row} for row in record["rows"]]
    missing = [{"variant": "", **one} for one in record.get("missing", ())]
    return TextMaterial(
        config, rows, record.get("records", ()), record.get("answers", ()), record["verdicts"], missing,
        facts.failures(run_facts),
    )  # fmt: skip


def sum_up(material: TextMaterial, record: Mapping[str, Any], run_facts: Mapping[str, Any]) -> Summary:
    """The record of a finished or partly finished study."""
    config = material.config
    made = facts.provenance(record["provenance"], run_facts, config)
    return Summary(
        title=said.question(config.study),
        kicker=said.kicker(config),
        headline=said.headline(material),
        deck=words.deck(record["verdicts"], config.data.targets, material.seeds, "target"),
        banners=facts.banners(record, run_facts.get("failed", ())),
        sections=sections(material),
        tidy=facts.tidy(record, material.rows),
        gaps=(),
        missing=facts.missing(material.missing),
        limits=said.limits(material, record.get("words", {})),
        configuration=to_yaml(config),
        provenance=(*made[:3], ("Model", config.model.source), *made[3:]),
        command=record["provenance"]["command"],
        version=record["provenance"].get("version") or __version__,
    )
