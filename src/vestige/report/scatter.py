"""The map of an analysis: every sample where the encoder puts it, as a small picture or as a dot of its topic's colour.

A still picture that the page's script brings to life; every mark is a link to its sample, with or without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from vestige.report.svg import WIDTH, Scale, png, scale, svg, text, tip

HEIGHT, TOP, EDGE = 700, 30, 22
"""Of the map; room for the legend on top and for marks at the edges."""
PICTURED = 900
"""Samples that are drawn as pictures at most; the rest are dots."""
SMALL, LARGE = 15.0, 28.0
"""Side of a picture, and of one of the chosen group."""
COLOURS = 10
LABELLED, LETTER, LINE = 24, 7.7, 17
"""Topics that are labelled on the map at most, and the room that a letter and a line need."""

Record = Mapping[str, Any]


def chosen(record: Record) -> str:
    """The target whose group the still picture shows: the first."""
    return str(record["groups"][0]["target"])


def draw(record: Record, pictures: Mapping[str, np.ndarray]) -> str:
    """The map as an SVG. pictures: sample id → (C, H, W) uint8; empty for text."""
    samples = record["samples"]
    across, up = (_axis([one[key] for one in samples], key == "y") for key in ("x", "y"))
    mine = chosen(record)
    kind = next(one for one in samples if one["id"] == mine).get("class")
    pictured = _pictured(record) if pictures else set()
    marks = []
    for row, one in enumerate(samples):
        green = mine in (one["id"], one["of"])
        red = not green and kind is not None and one["class"] == kind
        body = _picture(pictures[one["id"]]) if one["id"] in pictured else _dot(one)
        name = "pt" + (" green" if green else " red" if red else "")
        mark = _mark(row, one, across(one["x"]), up(one["y"]), name, body)
        marks.append(((green, red, one["id"] in pictured), row, mark))
    legend = _legend(record, mine, kind)
    labels = [] if pictures else _labels(record, across, up)
    label = f"Map of {len(samples)} samples by {record['map']}; {mine} and its similar samples are outlined"
    place = f'x="0.5" y="{TOP}" width="{WIDTH - 1}" height="{HEIGHT - TOP - 1}"'
    area = f'<clipPath id="area"><rect {place}/></clipPath><rect class="area" {place}/>'
    ordered = [mark for _, _, mark in sorted(marks)]
    parts = [*legend, area, '<g class="marks" clip-path="url(#area)">', *ordered, "</g>", *labels]
    # its marks are links: a picture as a whole would hide them from those who hear the page
    return svg(WIDTH, HEIGHT, label, parts, "map").replace('role="img"', 'role="group"', 1)


def says(one: Record) -> str:
    """What a sample's mark says when it is pointed at."""
    if "question" in one:
        topic = f"topic {one['topic']}" if one["topic"] >= 0 else "in no topic"
        return f"{one['id']} · {_role(one)} · {topic}\n{one['question']}\n{one['answer']}"
    return f"{one['id']} · {_role(one)}\nclass {one['class']}, cluster {one['cluster']}"


def _role(one: Record) -> str:
    return {"target": "target", "similar": f"similar to {one['of']}", "other": "other"}[one["role"]]


def _axis(values: Sequence[float], down: bool) -> Scale:
    ends = (HEIGHT - EDGE, TOP + EDGE) if down else (EDGE, WIDTH - EDGE)
    low, high = min(values), max(values)
    return scale(low, high if high > low else low + 1, *ends)


def _pictured(record: Record) -> set[str]:
    """Whole groups first, then others evenly, up to `PICTURED` in all."""
    found: list[str] = []
    for group in record["groups"]:
        if len(found) + 1 + len(group["similar"]) <= PICTURED // 2 or len(record["samples"]) <= PICTURED:
            found += [group["target"], *group["similar"]]
    taken = set(found)
    rest = [one["id"] for one in record["samples"] if one["id"] not in taken]
    room = min(PICTURED - len(found), len(rest))
    return taken | {rest[place * len(rest) // max(room, 1)] for place in range(room)}


def _mark(row: int, one: Record, x: float, y: float, name: str, body: str) -> str:
    group = one["id"] if one["role"] == "target" else one["of"] or ""
    kind = one.get("class", "")
    data = f'data-g="{escape(group)}" data-k="{kind}"'
    return (
        f'<a href="#s{row}"><g id="p{row}" class="{name}" transform="translate({x:.1f} {y:.1f})" {data}>'
        f"{tip(says(one))}{body}</g></a>"
    )


def _picture(pixels: np.ndarray) -> str:
    half = SMALL / 2
    place = f'x="{-half:g}" y="{-half:g}" width="{SMALL:g}" height="{SMALL:g}"'
    return f'<image {place} href="{png(pixels)}"/><rect class="edge" {place}/>'


def _dot(one: Record) -> str:
    topic = one.get("topic")
    name = "none" if topic is None or topic < 0 else str(topic % COLOURS)
    ring = '<circle class="ring" r="6"/>' if one["role"] == "target" else ""
    return f'{ring}<circle class="edge dot topic-{name}" r="{3.4 if topic is not None else 2.2:g}"/>'


def _legend(record: Record, mine: str, kind: int | None) -> list[str]:
    words = f"{mine} and its similar samples"
    parts = [_key("green", 9), text(22, 16, words, "legend chosen")]
    if kind is None:
        return [*parts, text(WIDTH, 16, "colour: topic; grey: in no topic; ringed: targets", "note end")]
    x = 40 + 7.2 * len(words)
    return [*parts, _key("red", x), text(x + 13, 16, f"class {kind}", "legend kind")]


def _key(name: str, x: float) -> str:
    box = '<rect class="edge" x="-6" y="-6" width="12" height="12"/>'
    return f'<g class="key {name}" transform="translate({x:.0f} 12)">{box}</g>'


def _labels(record: Record, across: Scale, up: Scale) -> list[str]:
    """Topic labels at the middle of their texts, moved up or down where two would overlap."""
    samples = record["samples"]
    taken: list[tuple[float, float, float]] = []
    parts = []
    largest = sorted(record["topics"], key=lambda topic: -topic["count"])[:LABELLED]
    for topic in largest:
        own = [one for one in samples if one["topic"] == topic["topic"]]
        x = across(float(np.median([one["x"] for one in own])))
        y = up(float(np.median([one["y"] for one in own])))
        name = topic["label"] if len(topic["label"]) <= 34 else topic["label"][:33] + "…"
        half = LETTER * len(name) / 2
        x = min(max(x, half + 4), WIDTH - half - 4)
        steps = [sign * LINE * count for count in range(40) for sign in (1, -1)]
        free = (
            y + step
            for step in steps
            if TOP + 14 < y + step < HEIGHT - 6
            and all(abs(y + step - other) >= LINE or abs(x - where) >= half + width for where, other, width in taken)
        )
        y = next(free, y)
        taken.append((x, y, half + 4))
        tone = f"label topic-{topic['topic'] % COLOURS}"
        place = f'data-x="{x:.1f}" data-y="{y:.1f}"'
        parts.append(f'<text class="{tone} middle" x="{x:.1f}" y="{y + 4:.1f}" {place}>{escape(name)}</text>')
    return ['<g class="labels">', *parts, "</g>"]
