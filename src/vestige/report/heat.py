"""All pairs of targets and their similar samples as a heat map with numbers, and the lengths of texts by topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vestige.report.svg import WIDTH, digits, group, line, scale, svg, text, ticks
from vestige.report.words import number

LEFT, HEAD, LOW, LEAN = 168, 84, 26, 48
"""Room for the rows' ids, height of the columns' ids, height of a cell, room for the last column's id."""
GAP, COLUMN = 8, 13
"""Between the groups of two targets; letters of a column's id."""
ROW, NAMES, SHOWN = 54, 230, 12
"""Of the lengths: height of a topic, room for its name, and how many are drawn."""

Record = Mapping[str, Any]


def draw(heat: Record, targets: Sequence[str]) -> str:
    """One heat map. heat: by, ids, values (N, N). targets: the ids that begin a new group."""
    ids, values = heat["ids"], heat["values"]
    starts = [name in targets for name in ids]
    wide = min((WIDTH - LEFT - LEAN - GAP * (sum(starts) - 1)) / len(ids), 64)
    places, low = [], min(value for row in values for value in row)
    shift = -GAP
    for place, first in enumerate(starts):
        shift += GAP * first
        places.append((LEFT + place * wide + shift, HEAD + place * LOW + shift))
    parts = []
    for place, name in enumerate(ids):
        style = "heading" if starts[place] else "note"
        label = _tail(name, 18 if starts[place] else 20)
        parts.append(text(LEFT - 8, places[place][1] + LOW / 2 + 4, label, f"end {style}", name))
        x = places[place][0] + wide / 2
        turned = f'<g transform="translate({x + 4:.1f} {HEAD - 8}) rotate(-55)">'
        parts.append(turned + text(0, 0, _column(ids, starts, place), style, name) + "</g>")
    for row, line_ in enumerate(values):
        for column, value in enumerate(line_):
            parts.append(_cell(places[column][0], places[row][1], wide, value, low, f"{ids[row]} and {ids[column]}"))
    width, height = places[-1][0] + wide + LEAN, places[-1][1] + LOW
    spoken = f"{heat['by']} of {len(ids)} samples, all pairs, from {number(low)} to 1"
    return svg(max(width, 420), height, spoken, parts, "heat")


def _column(ids: Sequence[str], starts: Sequence[bool], place: int) -> str:
    """A column's head: what tells a similar sample from its target, where that is short; else its number."""
    name = ids[place]
    if starts[place]:
        return name if len(name) <= COLUMN else "target"
    first = next(before for before in range(place, -1, -1) if starts[before])
    target = ids[first]
    own = name.removeprefix(target) if name.startswith(target) else name.removeprefix(target[: target.rfind("/") + 1])
    return own if len(own) <= COLUMN else f"similar {place - first}"


def _tail(name: str, most: int) -> str:
    return name if len(name) <= most else "…" + name[1 - most :]


def _cell(x: float, y: float, wide: float, value: float, low: float, title: str) -> str:
    strong = (value - low) / (1 - low) if low < 1 else 1.0
    name = "on" if strong > 0.55 else "off"
    place = f'x="{x:.1f}" y="{y:.1f}" width="{wide - 1:.1f}" height="{LOW - 1}"'
    tile = f'<rect class="tile" {place} fill-opacity="{max(strong, 0.04):.2f}"/>'
    return group("", f"{title}: {number(value, 3)}",
                 [tile, text(x + wide / 2, y + LOW / 2 + 4, number(value), f"middle value {name}")])  # fmt: skip


def draw_lengths(topics: Sequence[Record]) -> str:
    """Words of questions and of answers, one line per topic: a stroke per text, a dot at the mean, and numbers."""
    shown = sorted(topics, key=lambda topic: -topic["count"])[:SHOWN]
    parts = []
    half = (WIDTH - NAMES) / 2
    for side, (key, title) in enumerate((("question_words", "Question"), ("answer_words", "Answer"))):
        left, right = NAMES + side * half, NAMES + (side + 1) * half - 34
        most = max(topic[key]["most"] for topic in shown)
        marks = ticks(0, most, 5)
        at = scale(0, marks[-1], left, right)
        parts.append(text(left, 14, f"{title}, words", "heading"))
        for mark in marks:
            parts.append(line(at(mark), at(mark), 28, 28 + ROW * len(shown), "grid"))
            parts.append(text(at(mark), 46 + ROW * len(shown), number(mark, digits(marks)), "tick middle"))
        for row, topic in enumerate(shown):
            middle = 28 + row * ROW + 20
            found = topic[key]
            strokes = [line(at(count), at(count), middle - 9, middle + 9, "stroke") for count in found["counts"]]
            spread = number(found["variance"], 1)
            said = f"mean {number(found['mean'], 1)}, variance {spread}"
            mean = at(found["mean"])
            mark_ = f'<circle class="mean" cx="{mean:.1f}" cy="{middle}" r="4.5"/>'
            parts.append(group("", f"{topic['label']}: {said}, {found['least']} to {found['most']}", [*strokes, mark_]))
            parts.append(text(left, middle + 25, said, "tiny"))
    for row, topic in enumerate(shown):
        name = topic["label"] if len(topic["label"]) <= 32 else topic["label"][:31] + "…"
        parts += [text(0, 28 + row * ROW + 18, name, "heading", topic["label"]),
                  text(0, 28 + row * ROW + 34, f"topic {topic['topic']}, {topic['count']} texts", "note")]  # fmt: skip
    spoken = "Lengths by topic: " + "; ".join(
        f"{topic['label']}: question {number(topic['question_words']['mean'], 1)}, "
        f"answer {number(topic['answer_words']['mean'], 1)} words"
        for topic in shown
    )
    return svg(WIDTH, 56 + ROW * len(shown), spoken, parts, "chart")
