"""Rows of several variants → charts over the number and the strength of similar samples, and a table of all.

What a variant is stands in the `doses` of its result: transform, strength, how many copies, whether they are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vestige.report.material import Material
from vestige.report.pictures import TARGETS_SHOWN
from vestige.report.record import Cell, Line, LineChart, Null, Recovered, Sheet, Table, TableRow
from vestige.report.shelf import Shelf
from vestige.report.svg import short
from vestige.report.table import ARMS, footnotes, mark
from vestige.report.words import interval, number
from vestige.types import Run

NUMBER = "similar samples of each target in training"
STRENGTH = {
    "block": "side of a masked block, pixels",
    "fraction": "share of the blocks that is masked",
    "sigma": "standard deviation of the noise, pixels being in [0, 1]",
    "shift": "largest shift, pixels",
    "crop": "share of each side that is kept; less is stronger",
    "quality": "JPEG quality; less is stronger",
    "brightness": "largest relative change of brightness",
    "blur": "standard deviation of the blur, pixels",
}
"""What the axis of each setting says."""
LINES_SHOWN, COLUMNS_SHOWN = 6, 14
STAGES = ("before", "R0", "R1")
COLUMNS = (
    ("NCC before", "before", "target", "ncc"),
    ("NCC after R0", "R0", "target", "ncc"),
    ("NCC after R1", "R1", "target", "ncc"),
    ("Residual of R0", "R0", "target", "residual"),
    ("NCC never seen, R0", "R0", "never_seen_same_class", "ncc"),
    ("In the first layer: AUC target, R0", "R0", "target", "span_auc"),
    ("Test accuracy, R0", "R0", "model", "test_accuracy"),
)
"""Head, stage, group and metric of each column."""

Doses = Mapping[str, Mapping[str, Any]]
Family = Sequence[tuple[float, str]]
"""(Dose, variant), by dose."""


def by_number(doses: Doses) -> dict[str, Family]:
    """What differs in the number of copies alone, as "mask 0.3" → its (copies, variant); none at all begins each.

    Exact copies are there with a single number too: what others are compared with.
    """
    none = [(0.0, name) for name, dose in doses.items() if not dose["copies"]][:1]
    found: dict[str, list[tuple[float, str]]] = {}
    for name, dose in doses.items():
        if dose["copies"]:
            found.setdefault(kind(doses, name), []).append((float(dose["copies"]), name))
    return {
        label: [*none, *sorted(copies)]
        for label, copies in found.items()
        if len(copies) > 1 or (none and doses[copies[0][1]]["exact"])
    }


def by_strength(doses: Doses) -> dict[tuple[str, str], dict[str, Family]]:
    """What differs in one setting of strength alone, as ("mask", "fraction") → {"×5": its (strength, variant)}."""
    found: dict[tuple[str, str], dict[str, list[tuple[float, str]]]] = {}
    for name, dose in doses.items():
        varied = _varied(doses, dose["transform"])
        if dose["copies"] and not dose["exact"] and varied:
            setting = varied[-1]
            fixed = "".join(f"{other} {dose['strength'][other]:g} " for other in varied[:-1])
            lines = found.setdefault((dose["transform"], setting), {})
            lines.setdefault(f"{fixed}×{dose['copies']}", []).append((float(dose["strength"][setting]), name))
    several: dict[tuple[str, str], dict[str, Family]] = {}
    for key, lines in found.items():
        for label, line in lines.items():
            if len(line) > 1:
                several.setdefault(key, {})[label] = sorted(line)
    return several


def kind(doses: Doses, name: str) -> str:
    """How a variant's copies are made, in a word: "mask 0.3", "exact"."""
    dose = doses[name]
    if dose["exact"]:
        return "exact"
    settings = _varied(doses, dose["transform"]) or list(dose["strength"])[-1:]
    return " ".join([dose["transform"], *(f"{dose['strength'][setting]:g}" for setting in settings)])


def _varied(doses: Doses, transform: str) -> list[str]:
    """The settings of strength in which the fuzzy copies of this transform differ."""
    strengths = [
        d["strength"] for d in doses.values() if d["transform"] == transform and d["copies"] and not d["exact"]
    ]
    return [key for key in (strengths[0] if strengths else ()) if len({strength[key] for strength in strengths}) > 1]


def over_number(material: Material) -> list[LineChart]:
    """NCC of the targets after R0 over the number of copies: a line for each kind of copy, six at most in a chart."""
    families = list(by_number(material.doses).items())
    charts = []
    for start in range(0, len(families), LINES_SHOWN):
        part = dict(families[start : start + LINES_SHOWN])
        lines = [found for label, doses in part.items() if (found := _line(material, label, doses, "R0"))]
        if lines:
            nulls = _nulls(material, max(part.values(), key=len))
            heading = "Mean NCC of the targets after R0"
            fuzzy = [found.name for found in lines if found.name != "exact"]
            charts.append(_chart(heading, NUMBER, part.values(), lines, nulls, valued=(fuzzy or ["exact"])[0]))
    return charts


def by_stage(material: Material) -> list[LineChart]:
    """NCC of the targets over the number of copies, a chart for each kind of fuzzy copy, a line per stage."""
    charts = []
    for label, doses in by_number(material.doses).items():
        lines = [found for stage in STAGES if (found := _line(material, stage, doses, stage))]
        if lines and label != "exact":
            heading = f"Mean NCC of the targets, {label}"
            charts.append(_chart(heading, NUMBER, [doses], lines, _nulls(material, doses), valued="R0"))
    return charts


def over_strength(material: Material) -> list[LineChart]:
    """NCC of the targets before and after R0 over each setting of strength, beside exact copies and none."""
    charts = []
    for (transform, setting), families in by_strength(material.doses).items():
        lines = [
            found
            for stage in ("R0", "before")
            for label, doses in families.items()
            if (found := _line(material, f"{stage}, {label}", doses, stage))
        ]
        if lines:
            counts = {material.doses[doses[0][1]]["copies"] for doses in families.values()}
            levels = [
                (f"R0, {name}", point.mean)
                for name, dose in material.doses.items()
                if ((dose["exact"] and dose["copies"] in counts) or not dose["copies"])
                and (point := material.point("with", "R0", "target", "ncc", name))
            ]
            heading = f"Mean NCC of the targets, {transform}"
            axis = STRENGTH[setting]
            charts.append(_chart(heading, axis, families.values(), lines, levels=levels, valued=lines[0].name))
    return charts


def gallery(material: Material) -> Sheet | None:
    """The targets of the first seed by row, and what comes back of them after R0 for each number of copies."""
    families = by_number(material.doses).items()
    names = list(dict.fromkeys(name for _, doses in families for _, name in doses))[:COLUMNS_SHOWN]
    shelves = {name: material.variants[name] for name in names if name in material.variants}
    seed = min((shelf.first_seed for shelf in shelves.values() if shelf.first_seed is not None), default=None)
    known = [name for name, shelf in shelves.items() if seed in shelf.data]
    if seed is None:
        return None
    first = shelves[known[0]]
    rows = []
    for target in first.split(seed).target[:TARGETS_SHOWN]:
        original = Recovered("original", pixels=first.original(seed, target))
        back = [_after_r0(shelves[name], seed, name, target) for name in known]
        note = f"class {first.label(seed, target)}"
        rows.append((f"Target {short(target)}", note, ((target, original), *((target, one) for one in back))))
    heads = [(kind(material.doses, name), f"×{material.doses[name]['copies']}") for name in known]
    heads = [head if material.doses[name]["copies"] else ("none", "") for head, name in zip(heads, known, strict=True)]
    return Sheet(seed, (), (("Original", ""), *heads), tuple(rows))


def variants_table(material: Material) -> Table | None:
    """One row per variant, in the order of the study. None where there is none."""
    notes: dict[str, str] = {}
    rows = []
    for name, dose in material.doses.items():
        made = "exact copies" if dose["exact"] else dose["made"] if dose["copies"] else "no similar images"
        cells = tuple(_cell(material, name, *column[1:], notes) for column in COLUMNS)
        rows.append(TableRow(ARMS["with"], name, made, cells))
    heads = tuple(head for head, *_ in COLUMNS)
    return Table(heads, tuple(rows), footnotes(notes), head="Variant") if rows else None


def _after_r0(shelf: Shelf, seed: int, variant: str, target: str) -> Recovered:
    found = shelf.recovered(Run(seed, "with", "R0", variant), target, "this run was not carried out")
    return replace(found, stage=f"R0 with {variant}")


def _cell(material: Material, variant: str, stage: str, group: str, metric: str, notes: dict[str, str]) -> Cell:
    point = material.point("with", stage, group, metric, variant)
    if point:
        return Cell(number(point.mean), interval(point.low, point.high))
    ran = material.point("with", stage, "target", "ncc", variant)
    why = "not measured." if ran else f"not computed because {stage} was not carried out."
    if metric == "residual" and all(
        material.point("with", name, "target", "ncc", variant) for name in ("before", "R1")
    ):
        why = "not computed because before and R1 are less than 0.05 apart: there was nothing to forget."
    return Cell("–", note=mark(notes, why))


def _line(material: Material, label: str, doses: Family, stage: str) -> Line | None:
    dots = [(dose, material.point("with", stage, "target", "ncc", variant)) for dose, variant in doses]
    known = tuple((dose, point) for dose, point in dots if point)
    return Line(label, known) if known else None


def _nulls(material: Material, doses: Family) -> list[tuple[float, Null]]:
    """Never-seen images of the targets' classes in R0: the mean with its interval."""
    points = [(dose, material.point("with", "R0", "never_seen_same_class", "ncc", name)) for dose, name in doses]
    return [
        (dose, Null(point.low, point.mean, point.high, point.n))
        for dose, point in points
        if point is not None and point.low is not None and point.high is not None
    ]


def _chart(
    heading: str,
    axis: str,
    families: Iterable[Family],
    lines: Sequence[Line],
    nulls: Sequence[tuple[float, Null]] = (),
    levels: Sequence[tuple[str, float]] = (),
    valued: str = "",
) -> LineChart:
    places = sorted({dose for doses in families for dose, _ in doses})
    return LineChart(
        y=heading,
        x=axis,
        ticks=tuple((place, f"{place:g}") for place in places),
        lines=tuple(lines),
        nulls=tuple(nulls),
        levels=tuple(levels),
        null_name="never seen: mean, 95 % interval",
        valued=valued,
    )
