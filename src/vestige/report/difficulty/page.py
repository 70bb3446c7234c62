"""The page of a difficulty study: result.json and the samples kept beside it → figures and tables → one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vestige.report import lines, style_hash
from vestige.report.difficulty import agreement, forest, mass, roc, spread, words
from vestige.report.difficulty.forest import Row
from vestige.report.difficulty.words import Record
from vestige.report.svg import Numbers, png, standalone, ticks
from vestige.report.words import cell, column, interval, number
from vestige.store import Store, read_json, write_text
from vestige.types import InputError

HERE = Path(__file__).parent
PAGE = "difficulty.html"
ENDS = 12
"""Samples shown at each end of the ranking."""
LONGEST = 220
"""Letters of a text that are shown."""

TOGETHER = ("predictors", "symptoms", "roc", "auc")
"""Figures that studies have together."""

Contents = Mapping[str, Mapping[str, Any]]
"""Sample id → "pixels", (C, H, W) uint8, or "text"."""


@dataclass(frozen=True)
class Figure:
    """A drawn figure, or why there is none. svg: one or more."""

    name: str
    title: str
    reads: str
    svgs: tuple[str, ...] = ()
    numbers: tuple[dict[str, Any], ...] = ()
    why: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(key for record in self.numbers for key in record))


def is_difficulty(root: Path) -> bool:
    """Whether a folder holds a difficulty study."""
    path = root / "result.json"
    return path.is_file() and read_json(path).get("study") == "difficulty"


def write_page(root: Path) -> Path:
    """Write `difficulty.html` in the folder of a difficulty study: one file that needs no network. Returns its path.

    Raises InputError for a folder that holds none, or whose files are not what was written.
    """
    path = root / PAGE
    write_text(path, page(*read(root)))
    return path


def write_figures(root: Path, folder: Path) -> tuple[Path, ...]:
    """Write its figures as SVG files, each named after what it shows."""
    record, _ = read(root)
    css = _file("../figures.css") + _file("difficulty.css")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for figure in figures(record):
        for place, one in enumerate(figure.svgs):
            path = folder / f"{figure.name}{'' if place == 0 else f'-{place + 1}'}.svg"
            write_text(path, standalone(one, css))
            paths.append(path)
    return tuple(paths)


def read(root: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The record of a difficulty study, and what its samples look like."""
    if not is_difficulty(root):
        raise InputError(f"{root} holds no difficulty study; run vestige difficulty")
    record = read_json(root / "result.json")
    name = record["pictures"].get("0")
    if name is None or not Store(root).has("data", name):
        return record, {}
    entry = Store(root).load("data", name)
    if "texts" in entry.facts:
        return record, {sample: {"text": text} for sample, text in entry.facts["texts"].items()}
    pixels = entry.arrays["x"]
    if pixels.dtype != np.uint8:
        pixels = (255 * pixels.clip(0, 1)).round().astype(np.uint8)
    return record, {sample: {"pixels": one} for sample, one in zip(entry.facts["ids"], pixels, strict=True)}


def page(record: Record, contents: Contents) -> str:
    """The page of a record. All that comes from data is escaped; only the hashed style is admitted."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    style = _file("../figures.css") + _file("../style.css") + _file("difficulty.css")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"cell": cell, "column": column, "svg": Markup, "plain": words.plain}
    drawn = figures(record)
    found = record["analyses"]
    return environment.from_string(_file("difficulty.html.j2")).render(
        record=record,
        style=Markup(style),
        style_hash=style_hash(style),
        headline=words.headline(record),
        deck=words.deck(record),
        verdicts=words.verdicts(record),
        figures={figure.name: (place, figure) for place, figure in enumerate(drawn, 1)},
        ends=_ends(record, contents),
        ends_why=words.why_not(found.get("inequality")),
        tables=[
            ("Predictors", "what is known before any unlearning", _factors(found.get("holding")),
             words.why_not(found.get("holding"))),
            ("Symptoms", "what is seen only once a sample has been unlearned; used for no prediction",
             _factors(found.get("symptoms")), words.why_not(found.get("symptoms"))),
        ],
        undefined=_undefined(found),
        together=words.side_by_side(record),
        runs=words.count_runs(record),
        models=[one for one in record["models"] if one["dose"] == 0],
        reasons=_reasons(record["missing"]),
        limits=words.limits(record),
        number=number,
    )  # fmt: skip


def figures(record: Record) -> list[Figure]:
    """Every figure of the page in its order; one that cannot be drawn says why. Of joined studies, those over all."""
    found = record["analyses"]

    def made(
        name: str, title: str, reads: str, key: str, draw: Callable[[Record], list[tuple[str, Numbers]]]
    ) -> Figure:
        why = words.why_not(found.get(key))
        if why:
            return Figure(name, title, reads, why=why)
        drawn = draw(found[key])
        if not drawn:
            return Figure(name, title, reads, why="nothing was measured where difficulty varies")
        return Figure(
            name, title, reads, tuple(one for one, _ in drawn), tuple(row for _, rows in drawn for row in rows)
        )

    drawn = [
        made("spread", "How difficulty is spread",
             "Bars: samples in ten equal bins; the dot below: mean with its 95 % interval over samples. Gini: 0 where "
             "all samples are equally hard.",
             "inequality", lambda one: [spread.draw(one)]),
        made("agreement", "Agreement between algorithms, beside the ceiling",
             "Spearman correlation of the difficulties that two algorithms give, mean over pairs of different seeds. "
             "On the diagonal, outlined: two seeds of one algorithm, which noise alone keeps below 1.",
             "agreement", lambda one: [agreement.draw(one)] if one["algorithms"] else []),
        made("predictors", "Factors known before unlearning",
             "Mean rank correlation with difficulty over the algorithms, 95 % interval; small dots: single algorithms; "
             "at the right: in how many it is significant. Bold: it holds.",
             "holding", _effects),
        made("symptoms", "Symptoms, seen after unlearning",
             "As above. They are results of unlearning, and are never mixed with the factors known before it.",
             "symptoms", _effects),
        made("roc", "Telling the hardest quarter before unlearning",
             "Share of the hard samples found against share of the others named by mistake. Dashed: guessing. "
             "Informed: linear too, with what needs more than one trained model: memorisation, the trajectory.",
             "predictor", lambda one: [roc.draw(one["by"])]),
        made("auc", "The predictor beside each factor alone",
             "AUC on what was held out, the first above that could be computed; 95 % interval.",
             "predictor", _single),
        made("natural", "Difficulty and the similar samples that the data happen to have",
             "A dot per sample; the line is least squares.",
             "natural", lambda one: [mass.draw(one)]),
        made("constructed", "Difficulty and constructed similar samples",
             "The same targets with copies in training. Where the copies alone tell the model about a target, there is "
             "less to erase: such a target has no difficulty at that dose, and the second line falls.",
             "constructed", lambda one: [lines.draw(mass.doses(one, len(record["seeds"]))), *_slopes(one)]),
    ]  # fmt: skip
    return [one for one in drawn if one.name in TOGETHER] if "joined" in record else drawn


def _effects(found: Record) -> list[tuple[str, Numbers]]:
    rows = [
        Row(words.plain(one["name"]), one["effect"]["value"], one["effect"]["low"], one["effect"]["high"],
            f"{100 * one['share']:.0f} %", tuple(part["value"] for part in one["cells"]), one["holds"])
        for one in found["factors"]
    ]  # fmt: skip
    if not rows:
        return []
    return [forest.draw(rows, (-1, -0.5, 0, 0.5, 1), [("", 0.0)], "Spearman with difficulty")]


def _single(found: Record) -> list[tuple[str, Numbers]]:
    told = {name: one for name, one in found["by"].items() if not one.get("missing")}
    if not told:
        return []
    name, first = next(iter(told.items()))
    named = [(f"{kind} predictor", first[kind]["auc"], True) for kind in ("linear", "boosted", "informed")]
    named += [(words.plain(one["factor"]), one["auc"], False) for one in first["single"]]
    rows = [Row(label, auc["value"], auc["low"], auc["high"], strong=strong) for label, auc, strong in named
            if auc["value"] is not None]  # fmt: skip
    levels = [("guessing", 0.5), (f"{words.BAR}", words.BAR)]
    heading = f"AUC, {words.HELD_OUT.get(name, name)}"
    return [forest.draw(rows, (0, 0.2, 0.4, 0.6, 0.8, 1), levels, heading)] if rows else []


def _slopes(found: Record) -> list[tuple[str, Numbers]]:
    named = [("all together", found["overall"]), *found["algorithms"].items()]
    rows = [Row(name, one["slope"]["value"], one["slope"]["low"], one["slope"]["high"], strong=name == "all together")
            for name, one in named if one["slope"]["value"] is not None]  # fmt: skip
    if not rows:
        return []
    most = max(abs(end) for row in rows for end in (row.value, row.low, row.high) if end is not None) or 0.1
    marks = ticks(-most, most, 5)
    return [forest.draw(rows, marks, [("", 0.0)], "Change of difficulty per constructed copy", 3)]


def _factors(found: Record | None) -> list[dict[str, Any]]:
    """The rows of a table of factors."""
    if words.why_not(found):
        return []
    assert found is not None
    expected = {1: "harder", -1: "easier", 0: "–"}
    return [
        {
            "name": words.plain(one["name"]), "what": one["what"], "holds": one["holds"],
            "effect": number(one["effect"]["value"]), "interval": interval(one["effect"]["low"], one["effect"]["high"]),
            "expected": expected[one["expected"]], "found": expected[one["sign"]],
            "share": f"{round(one['share'] * len(one['cells']))} of {len(one['cells'])}",
            "against": round(one["against"] * len(one["cells"])),
        }
        for one in found["factors"]
    ]  # fmt: skip


def _undefined(found: Record) -> list[str]:
    """Algorithms whose difficulty does not vary, so that no factor can go with it."""
    holding = found.get("holding")
    if words.why_not(holding):
        return []
    assert holding is not None
    several = len({data for data, _ in holding["cells"]}) > 1
    return [f"{algorithm} on {data}" if several else algorithm for data, algorithm in holding["undefined"]]


def _ends(record: Record, contents: Contents) -> list[tuple[str, list[dict[str, Any]]]]:
    """The hardest and the easiest samples, each with what it looks like."""
    found = record["analyses"].get("inequality")
    if words.why_not(found):
        return []
    assert found is not None
    ranking = found["ranking"]
    count = min(ENDS, len(ranking) // 2)
    labels = {one["id"]: one["label"] for one in record["samples"]}
    lots = (("The hardest", ranking[:count]), ("The easiest", ranking[len(ranking) - count :][::-1]))
    return [(title, [_shown(one, labels, contents) for one in lot]) for title, lot in lots if lot]


def _shown(one: Record, labels: Mapping[str, int], contents: Contents) -> dict[str, Any]:
    content = contents.get(one["id"], {})
    text = str(content.get("text", ""))
    each = ", ".join(f"{name} {number(value)}" for name, value in one["algorithms"].items())
    return {
        "id": one["id"], "label": labels.get(one["id"], "–"), "difficulty": number(one["difficulty"]),
        "interval": interval(one["low"], one["high"]), "each": each,
        "picture": png(content["pixels"]) if "pixels" in content else "",
        "text": text if len(text) <= LONGEST else text[: LONGEST - 1] + "…",
    }  # fmt: skip


def _reasons(missing: list[Record]) -> list[tuple[str, int, str]]:
    """Why runs are not there: algorithm, how many, why."""
    counts: dict[tuple[str, str], int] = {}
    for one in missing:
        counts[one["algorithm"], one["why"]] = counts.get((one["algorithm"], one["why"]), 0) + 1
    return [(algorithm, count, why) for (algorithm, why), count in counts.items()]


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
