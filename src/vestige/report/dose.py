"""Tidy rows of several variants → charts over the number and the strength of similar samples.

A variant is a label such as "mask 0.3 × 5": how similar samples are made, how strongly, and how many there are.
Labels of another form have no place on an axis; they stand in the chart of all variants.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from vestige.report.charts import to_point
from vestige.report.record import ChartRow, Line, LineChart, Null, Point, RowChart

VARIANT = re.compile(r"(?P<kind>.+?) (?P<strength>\d+(?:\.\d+)?)(?P<unit>[^×]*?) × (?P<number>\d+)")
AXES = {
    "number": "similar samples of each target in training",
    "strength": "strength of the change that makes a similar sample",
}
"""What each axis says."""
LINES_SHOWN = 6
STAGES = ("before", "R0", "R1")

Rows = Sequence[Mapping[str, Any]]


def variants(rows: Rows) -> tuple[str, ...]:
    """The labels in the order of the rows."""
    return tuple(dict.fromkeys(row["variant"] for row in rows if row.get("variant")))


def families(rows: Rows, axis: Literal["number", "strength"]) -> dict[tuple[str, str], list[tuple[float, str]]]:
    """(kind, what is held fixed), as ("mask", "0.3") → its (dose, variant) by dose; those with at least two doses."""
    found: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for variant in variants(rows):
        parsed = VARIANT.fullmatch(variant)
        if parsed is not None:
            fixed = parsed["strength"] + parsed["unit"] if axis == "number" else "× " + parsed["number"]
            found.setdefault((parsed["kind"], fixed), []).append((float(parsed[axis]), variant))
    return {family: sorted(doses) for family, doses in found.items() if len(doses) > 1}


def compared(rows: Rows, axis: Literal["number", "strength"], metric: str, stage: str, y: str) -> list[LineChart]:
    """One metric of the targets at one stage over the dose: a chart per kind, a line per family, six at most."""
    lines: dict[str, list[Line]] = {}
    for (kind, fixed), doses in families(rows, axis).items():
        dots = [(dose, _point(rows, variant, stage, "target", metric)) for dose, variant in doses]
        if any(point for _, point in dots):
            known = tuple((dose, point) for dose, point in dots if point)
            lines.setdefault(kind, []).append(Line(f"{kind} {fixed}", known))
    parts = [
        (kind, tuple(found[start : start + LINES_SHOWN]))
        for kind, found in lines.items()
        for start in range(0, len(found), LINES_SHOWN)
    ]
    return [LineChart(f"{y}, {kind}", AXES[axis], _ticks(part), part) for kind, part in parts]


def by_stage(rows: Rows, axis: Literal["number", "strength"]) -> list[LineChart]:
    """NCC of the targets over the dose, a chart per family, a line per stage, beside never-seen images."""
    charts = []
    for (kind, fixed), doses in families(rows, axis).items():
        lines = []
        for stage in STAGES:
            dots = [(dose, _point(rows, variant, stage, "target", "ncc")) for dose, variant in doses]
            if any(point for _, point in dots):
                lines.append(Line(stage, tuple((dose, point) for dose, point in dots if point)))
        nulls = [(dose, _null(rows, variant, "R0")) for dose, variant in doses]
        if lines:
            charts.append(
                LineChart(
                    y=f"Mean NCC of the targets, {kind} {fixed}",
                    x=AXES[axis],
                    ticks=_ticks(lines),
                    lines=tuple(lines),
                    nulls=tuple((dose, null) for dose, null in nulls if null),
                    null_name="never seen: mean, 95 % interval",
                    valued="R0",
                )
            )
    return charts


def overview(rows: Rows) -> RowChart | None:
    """NCC of the targets at R0 and R1 for every variant, in the order of the rows. None where there is none."""
    series = (("R0", "R0, retrained without the targets"), ("R1", "R1, nor their similar images"))
    found = []
    for variant in variants(rows):
        points = [_point(rows, variant, stage, "target", "ncc") for stage, _ in series]
        found.append(ChartRow(variant, "", tuple(point for point in points if point), None))
    return RowChart("Mean NCC of the targets", series, tuple(found)) if any(row.points for row in found) else None


def _ticks(lines: Sequence[Line]) -> tuple[tuple[float, str], ...]:
    return tuple((dose, f"{dose:g}") for dose in sorted({dose for line in lines for dose, _ in line.dots}))


def _row(rows: Rows, variant: str, stage: str, group: str, metric: str) -> Mapping[str, Any] | None:
    wanted = {"variant": variant, "training": "with", "stage": stage, "group": group, "metric": metric}
    for row in rows:
        if all(row.get(key) == value for key, value in wanted.items()) and row["mean"] is not None:
            return row
    return None


def _point(rows: Rows, variant: str, stage: str, group: str, metric: str) -> Point | None:
    row = _row(rows, variant, stage, group, metric)
    return None if row is None else to_point(row, stage)


def _null(rows: Rows, variant: str, stage: str) -> Null | None:
    row = _row(rows, variant, stage, "never_seen_same_class", "ncc")
    if row is None or row["low"] is None or row["high"] is None:
        return None
    return Null(row["low"], row["mean"], row["high"], row["n"])
