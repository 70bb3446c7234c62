"""The pages of `similar` and `data duplicates`: a plain record and what it shows → one file. Needs no torch."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vestige.report import style_hash
from vestige.report.svg import MARGIN, WIDTH, box, digits, group, line, picture, scale, svg, text, ticks
from vestige.report.words import number, plural
from vestige.store import write_text

Record = Mapping[str, Any]
Contents = Mapping[str, Mapping[str, Any]]
Words = list[tuple[str, bool]]
"""Pieces of a text, and whether each differs."""

HERE = Path(__file__).parent
SIDE, SMALL, PITCH, ROW, LINE = 120, 92, 104, 146, 14
"""Side of a target and of a neighbour, distance of columns, of rows with one line of values, and of such lines."""
ABREAST = 2
"""Values in a line."""
LEFT = 172
COLUMNS = (WIDTH - LEFT) // PITCH
NULL_HIGH = 150


def write(record: Record, contents: Contents, path: Path) -> Path:
    """Write the page of a record of `vestige.find`: one file that needs no network. Returns its path."""
    write_text(path, page(record, contents))
    return path


def page(record: Record, contents: Contents) -> str:
    """The page. Everything that comes from data is escaped; the only style is the one that is hashed."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    style = "".join(
        (HERE / name).read_text(encoding="utf-8") for name in ("figures.css", "style.css", "neighbours.css")
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((HERE / "neighbours.html.j2").read_text(encoding="utf-8"))
    similar = record["kind"] == "similar"
    return template.render(
        record=record,
        style=Markup(style),
        style_hash=style_hash(style),
        title="Similar records" if similar else "Near-duplicates",
        headline=_similar_headline(record) if similar else _duplicates_headline(record),
        deck=_deck(record),
        lots=_similar(record, contents) if similar else _duplicates(record, contents),
        hidden=0 if similar else sum(one["ids"][0] not in contents for one in record["groups"]),
        nulls=[(name, Markup(draw_null(record, name))) for name in record["measures"]],
        limits=_limits(record),
        number=number,
    )


def draw_row(target: str, others: Sequence[tuple[str, Sequence[str], str]], contents: Contents) -> str:
    """A target (or the first of a group) and its similar images. others: (id, lines of values, what it says)."""
    rows = max(-(-len(others) // COLUMNS), 1)
    high = ROW + LINE * (max((len(lines) for _, lines, _ in others), default=1) - 1)
    label = contents[target]["label"]
    parts = [
        picture(0, 0, SIDE, contents[target]["pixels"], f"{target}, class {label}", "original"),
        text(0, SIDE + 18, _short(target, 22), "note", target),
        text(0, SIDE + 33, f"class {label}", "note"),
    ]
    for place, (name, lines, says) in enumerate(others):
        x, y = LEFT + place % COLUMNS * PITCH, place // COLUMNS * high
        shown = contents[name]
        same = "" if shown["label"] == label else ", not the same"
        parts += [
            picture(x, y, SMALL, shown["pixels"], says, "original"),
            *(text(x, y + SMALL + 16 + at * LINE, value, "score") for at, value in enumerate(lines)),
        ]
        y += LINE * (len(lines) - 1)
        parts += [
            text(x, y + SMALL + 30, _short(name, 15), "tiny", name),
            text(x, y + SMALL + 43, f"class {_short(shown['label'], 4)}{same}", "tiny"),
        ]
    what = f"{target} and similar records: " + "; ".join(f"{name} {' · '.join(lines)}" for name, lines, _ in others)
    return svg(WIDTH, max(rows * high, SIDE + 40), what, parts, "gallery")


def draw_null(record: Record, measure: str) -> str:
    """How similar random pairs are by one measure, and where the neighbours stand, or tau."""
    null = record["null"]["measures"][measure]
    bars = null["histogram"]
    values = [one["similarity"][measure] for target in record.get("targets", ()) for one in target["neighbours"]]
    marks = ticks(min(bars["low"], *values, 0.0), max(bars["high"], *values, record["tau"] or 0.0, 1.0))
    place = scale(marks[0], marks[-1], MARGIN, WIDTH - MARGIN)
    top, base = 34, NULL_HIGH - 26
    tall = max(bars["counts"])
    step = (bars["high"] - bars["low"]) / len(bars["counts"])
    parts = [text(0, 14, f"{measure}: {record['null']['pairs']:,} {record['null']['what']}", "heading")]
    for at, count in enumerate(bars["counts"]):
        left, right = place(bars["low"] + at * step), place(bars["low"] + (at + 1) * step)
        high = (base - top) * count / tall
        parts.append(box(left, base - high, max(right - left, 1.0), high, "band"))
    parts.append(line(MARGIN, WIDTH - MARGIN, base, base, "base"))
    places = digits(marks)
    parts += [text(place(mark), base + 18, number(mark, places), "tick middle") for mark in marks]
    parts += [line(place(value), place(value), top + 40, base, "found") for value in values]
    if record["tau"] is not None:
        tau = place(record["tau"])
        parts.append(group("", f"tau {record['tau']:g}", [line(tau, tau, top - 8, base, "level")]))
    says = f"{measure} of random pairs: median {number(null['p50'])}, 95 % below {number(null['p95'])}"
    return svg(WIDTH, NULL_HIGH, says, parts, "null-pairs")


def differing(words: str, others: str) -> Words:
    """A text in pieces, and whether each piece of it is not in the other text at that place."""
    mine, theirs = _pieces(words), _pieces(others)
    matcher = difflib.SequenceMatcher(None, [one.casefold() for one in theirs], [one.casefold() for one in mine], False)
    found: Words = []
    for kind, _, _, start, end in matcher.get_opcodes():
        if end > start:
            found.append(("".join(mine[start:end]), kind != "equal"))
    return found


def _similar(record: Record, contents: Contents) -> list[dict[str, Any]]:
    pairs, measures = record["null"]["pairs"], record["measures"]
    lots = []
    for target in record["targets"]:
        others = target["neighbours"]
        lot: dict[str, Any] = {
            "title": target["id"],
            "note": plural(len(others), "neighbour")
            + ("" if record["tau"] is None else f" at or above {record['tau']:g}"),
            "rows": [
                {"rank": one["rank"], "id": one["id"], "label": one["label"],
                 "values": [(number(one["similarity"][name], 3), one["random_pairs_reaching"][name])
                            for name in measures],
                 **_texts(contents[one["id"]], contents[target["id"]])}
                for one in others
            ],
            "text": None if record["modality"] == "image" else contents[target["id"]],
            "figure": None,
        }  # fmt: skip
        if record["modality"] == "image":
            drawn = [
                (one["id"], _lines([number(one["similarity"][name], 3) for name in measures]),
                 f"{one['rank']}. {one['id']}, class {one['label']}: " + "; ".join(
                     f"{name} {number(one['similarity'][name], 3)}, reached by "
                     f"{one['random_pairs_reaching'][name]} of {pairs} random pairs" for name in measures))
                for one in others
            ]  # fmt: skip
            lot["figure"] = _markup(draw_row(target["id"], drawn, contents))
        lots.append(lot)
    return lots


def _duplicates(record: Record, contents: Contents) -> list[dict[str, Any]]:
    lots = []
    for one in record["groups"]:
        if one["ids"][0] not in contents:
            continue
        first, *others = [name for name in one["ids"] if name in contents]
        more = one["size"] - 1 - len(others)
        lot: dict[str, Any] = {
            "title": f"{one['size']} records",
            "note": f"least {record['by']} of two members {number(one['least_similarity'], 3)}"
            + (f"; {more} more are not shown" if more else ""),
            "rows": [],
            "text": None,
            "figure": None,
        }
        if record["modality"] == "image":
            lot["figure"] = _markup(draw_row(first, [(name, [""], name) for name in others], contents))
        else:
            lot["text"] = contents[first]
            lot["rows"] = [
                {"rank": at, "id": name, "label": contents[name]["label"], "values": [],
                 **_texts(contents[name], contents[first])}
                for at, name in enumerate(others, 2)
            ]  # fmt: skip
        lots.append(lot)
    return lots


def _lines(values: Sequence[str]) -> list[str]:
    """Values that fit below a picture: two in a line."""
    return [" · ".join(values[at : at + ABREAST]) for at in range(0, len(values), ABREAST)]


def _similar_headline(record: Record) -> str:
    found = sum(len(target["neighbours"]) for target in record["targets"])
    first = record["measures"][0]
    values = [one["similarity"][first] for target in record["targets"] for one in target["neighbours"]]
    targets = plural(len(record["targets"]), "record")
    if not values:
        return f"No other record of the data set reaches {first} {record['tau']:g} with {targets}."
    null = record["null"]["measures"][first]
    return (
        f"{plural(found, 'similar record')} of {targets}, with {first} from {number(min(values))} to "
        f"{number(max(values))}; half of {record['null']['what']} reach {number(null['p50'])}, one in a hundred "
        f"{number(null['p99'])}."
    )


def _duplicates_headline(record: Record) -> str:
    near, exact = record["near"], record["exact"]
    if not near["groups"]:
        return f"No two of {record['records']:,} records reach {record['by']} {record['tau']:g}."
    return (
        f"{near['records']:,} of {record['records']:,} records stand in {plural(near['groups'], 'group')} of "
        f"near-duplicates: every two members reach {record['by']} {record['tau']:g}. {exact['records']:,} of them "
        "equal another record exactly."
    )


def _deck(record: Record) -> str:
    encoder = f"; encoder {record['encoder']}" if record["encoder"] else ""
    model = f"; influence by the gradients of {record['model']['what']}" if record["model"] else ""
    return f"{record['records']:,} records of {record['data']}; by {', '.join(record['measures'])}{encoder}{model}."


def _limits(record: Record) -> list[str]:
    if record["kind"] == "similar":
        found = [
            f"How it was searched: {record['how']}.",
            "Direct neighbours of each target only: what is similar to a neighbour alone is not followed.",
            "Similar is what the measure says. The random pairs tell how much a value means in this set, not what "
            "caused it.",
        ]
        if record["model"]:
            found.append(
                "Influence: the cosine of the gradients of two margins, so their labels count too. It says that what "
                "moves the one margin of this model moves the other, not that they look alike; another model has other "
                "values."
            )
        if record["by"] == "all":
            found.append(
                "By all: the order joins the rankings of the measures (reciprocal rank fusion); it has no scale of its "
                "own."
            )
        return found
    compared = record["compared"]
    found = [
        "A group holds only records of which every two reach the threshold. A record that reaches some members "
        "but not all stays outside, or in another group: which one is decided by the most similar pair first.",
    ]
    if not compared["complete"]:
        found.append(
            "Not every pair was compared, only each record with its 32 likeliest. Pairs may be missing; "
            f"{compared['crowded_records']:,} records had all 32 above the threshold, so more of theirs may be."
        )
    return found


def _texts(shown: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, Any]:
    return {part: differing(shown[part], target[part]) for part in ("question", "answer") if part in shown}


def _pieces(words: str) -> list[str]:
    """Words with the space behind them."""
    return re.findall(r"\s*\w+\s*|\s*[^\w\s]\s*", words)


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else "…" + name[1 - most :]


def _markup(figure: str) -> Any:
    from markupsafe import Markup

    return Markup(figure)
