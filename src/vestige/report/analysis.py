"""The page of an analysis: result.json and the kept pictures → figures and tables → one file. Needs no torch."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vestige.report import heat, scatter
from vestige.report.svg import png, standalone
from vestige.report.words import interval, number, plural
from vestige.store import Store, read_json, write_text
from vestige.types import InputError

HERE = Path(__file__).parent
SHOWN = 24
"""Targets whose groups are shown one by one."""

Record = Mapping[str, Any]
Pictures = Mapping[str, np.ndarray]

NAMES = {
    "purity": "Purity of the nearest neighbours",
    "rank": "Rank of the similar samples",
    "silhouette": "Silhouette",
    "same_cluster": "In the target’s cluster",
    "same_topic": "In the target’s topic",
    "whole_topic": "Targets with all in one topic",
}


def is_analysis(root: Path) -> bool:
    """Whether a folder holds an analysis and not a study."""
    path = root / "result.json"
    return path.is_file() and read_json(path).get("kind") == "analysis"


def write_analysis(root: Path) -> Path:
    """Write `analysis.html` in the folder of an analysis: one file that needs no network. Returns its path.

    Raises InputError for a folder that holds no analysis, or whose files are not what was written.
    """
    path = root / "analysis.html"
    write_text(path, page(*read(root)))
    return path


def write_figures(root: Path, folder: Path) -> tuple[Path, ...]:
    """Write the figures of an analysis as SVG files, each named after what it shows."""
    record, pictures = read(root)
    css = _file("figures.css") + _file("analysis.css")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in _figures(record, pictures).items():
        path = folder / f"{name}.svg"
        write_text(path, standalone(figure, css))
        paths.append(path)
    return tuple(paths)


def read(root: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The record of an analysis and its pictures by sample id, (C, H, W) uint8; none for text."""
    if not is_analysis(root):
        raise InputError(f"{root} holds no analysis of similarity; run vestige data analyse")
    record = read_json(root / "result.json")
    if record["modality"] == "text":
        return record, {}
    names = sorted(path.parent.name for path in (root / "encoded").glob("[!.]*/result.json"))
    if not names:
        raise InputError(f"{root} has lost its pictures; run its command again: {record['provenance']['command']}")
    entry = Store(root).load("encoded", names[0])
    return record, dict(zip(entry.facts["ids"], entry.arrays["pixels"], strict=True))


def page(record: Record, pictures: Pictures) -> str:
    """The page of a record. All that comes from data is escaped; only the hashed style and script are admitted."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    style, script = (_file(one) for one in ("analysis.css", "analysis.js"))
    style = _file("figures.css") + _file("style.css") + style
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    figures = {name: Markup(figure) for name, figure in _figures(record, pictures).items()}
    return environment.from_string(_file("analysis.html.j2")).render(
        record=record,
        style=Markup(style), style_hash=_hash(style), script=Markup(script), script_hash=_hash(script),
        figures=figures,
        heats=[name for name in figures if name.startswith("heat")],
        rows=_rows(record, pictures),
        measures=[_measure(one) for one in record["measures"]],
        headline=_headline(record),
        deck=_deck(record),
        banners=_banners(record),
        limits=_limits(record),
        pictured=f" {scatter.PICTURED} of them are pictures, the rest dots."
        if len(record["samples"]) > scatter.PICTURED and pictures
        else "",
        number=number,
    )  # fmt: skip


def _figures(record: Record, pictures: Pictures) -> dict[str, str]:
    targets = [group["target"] for group in record["groups"]]
    drawn = {"map": scatter.draw(record, pictures)}
    drawn |= {f"heat-{one['by'].lower()}": heat.draw(one, targets) for one in record["heat"]}
    if record.get("topics"):
        drawn["lengths"] = heat.draw_lengths(record["topics"])
    return drawn


def _rows(record: Record, pictures: Pictures) -> list[dict[str, Any]]:
    """The groups to show one by one: the target, then its similar samples, nearest first."""
    where = {one["id"]: row for row, one in enumerate(record["samples"])}
    rows = []
    for group in record["groups"][:SHOWN]:
        near = sorted(zip(group["ranks"], group["similar"], strict=True))
        cells = [
            {"row": where[name], "id": name, "rank": rank, "sample": record["samples"][where[name]],
             "picture": png(pictures[name]) if pictures else ""}
            for rank, name in [(0, group["target"]), *near]
        ]  # fmt: skip
        rows.append({"target": group["target"], "cells": cells})
    return rows


def _measure(one: Record) -> dict[str, str]:
    places = 1 if one["name"] == "rank" else 2
    null = one["null"]
    return {
        "name": NAMES[one["name"]], "what": one["what"], "value": number(one["mean"], places),
        "interval": interval(one["low"], one["high"], places) or "no interval: one target",
        "n": plural(one["n"], "target"),
        "null": number(null["mean"], places), "null_interval": interval(null["low"], null["high"], places),
        "better": f"{one['unit']}; {one['better']}", "apart": _apart(one),
    }  # fmt: skip


def _apart(one: Record) -> str:
    """Whether the value lies beyond its null on the side of similarity."""
    low, high = one["null"]["low"], one["null"]["high"]
    beyond = one["mean"] < low if one["name"] == "rank" else one["mean"] > high
    return "yes" if beyond else "no"


def _headline(record: Record) -> str:
    found = {one["name"]: one for one in record["measures"]}
    purity, rank = found["purity"], found["rank"]
    kinds = "samples of its class" if record["modality"] == "image" else "samples"
    return (
        f"Of a target’s nearest neighbours, {100 * purity['mean']:.0f} % are its similar samples; with random {kinds} "
        f"in their place it would be {100 * purity['null']['mean']:.0f} %. Their mean rank among all its "
        f"{len(record['samples']) - 1:,} neighbours is {number(rank['mean'], 1)}, "
        f"against {number(rank['null']['mean'], 1)}."
    )


def _deck(record: Record) -> str:
    similar = sum(len(group["similar"]) for group in record["groups"])
    return (
        f"{len(record['samples']):,} samples, {plural(len(record['groups']), 'target')} with {similar:,} similar "
        f"samples between them ({record['made']}), seen through {record['encoder']['what']}, "
        f"{record['encoder']['width']:,} numbers a sample."
    )


def _banners(record: Record) -> list[str]:
    found = []
    if not record["comparable"]:
        found.append(f"Only {len(record['samples']):,} of the samples (--limit): not comparable with the whole.")
    labels = record.get("labels")
    if labels and labels["asked"] and labels["by_model"] < labels["topics"]:
        found.append(
            f"{labels['topics'] - labels['by_model']} of {labels['topics']} topics bear their keywords, because "
            f"{labels['asked']} gave no usable label; the table of topics says why."
        )
    if labels and not labels["topics"]:
        found.append("No topic was found: no group of texts is dense enough. All texts are in no topic.")
    return found


def _limits(record: Record) -> Sequence[str]:
    shared = (
        f"Similar means near for this encoder ({record['encoder']['name']}). Another one sees other likeness; the "
        "measures are comparable between data sets only with the same encoder and similar numbers of samples.",
        f"A map in two dimensions ({record['map']}) keeps neighbours, not distances: gaps and sizes of clusters mean "
        "little.",
        "That samples lie together says that a model could confuse them, not that one which was trained on them does.",
    )
    if record["modality"] == "text":
        return (
            *shared,
            "Topics are found without regard to the groups; texts in no topic count as apart from all others.",
        )
    return shared


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
