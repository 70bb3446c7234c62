"""Means by row: one row per stage or variant, one mark per series with its interval, the null behind."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from vestige.report.record import ChartRow, Null, Point, RowChart
from vestige.report.svg import (
    WIDTH,
    Drawn,
    Numbers,
    Scale,
    digits,
    group,
    line,
    null_record,
    null_says,
    scale,
    svg,
    text,
    ticks,
)
from vestige.report.words import number

LABELS, RIGHT, TOP = 300, 60, 66
"""Room for labels left and right and on top."""
TALL, FLAT = 70, 40
"""Height of a row with a description and without."""


def draw(chart: RowChart) -> tuple[str, Numbers]:
    """The SVG, and one number record per mark and band. Rows with nothing to draw say so."""
    values = [point.mean for row in chart.rows for point in row.points]
    values += [end for row in chart.rows if row.null for end in (row.null.low, row.null.high)]
    marks = ticks(min([0.0, *values]), max([chart.reach, *values]))
    at = scale(marks[0], marks[-1], LABELS, WIDTH - RIGHT)
    step = TALL if any(row.what for row in chart.rows) else FLAT
    height = TOP + step * len(chart.rows) + 34
    parts, numbers = _axis(chart, marks, at, height), []
    shapes = {name: shape for (name, _), shape in zip(chart.series, ("with", "without"), strict=False)}
    for position, row in enumerate(chart.rows):
        drawn, found = _row(row, TOP + position * step, step, at, shapes, first=position == 0)
        parts += drawn
        numbers += found
    label = f"{chart.heading} by row: " + "; ".join(_spoken(record) for record in numbers)
    return svg(WIDTH, height, label, parts, "recall"), numbers


def _axis(chart: RowChart, marks: list[float], at: Scale, height: float) -> list[str]:
    parts = []
    bottom = height - 30
    for mark in marks:
        x = at(mark)
        parts.append(line(x, x, TOP - 8, bottom, "grid"))
        parts.append(text(x, bottom + 18, number(mark, digits(marks)), "tick middle"))
    parts.append(text(0, 18, chart.heading, "heading"))
    if len(chart.series) > 1:
        x = LABELS + 7.0
        for (_, legend), shape in zip(chart.series, ("with", "without"), strict=True):
            parts.append(group(f"mark {shape}", "", [_shape(shape, x, 14), text(x + 16, 18, legend)]))
            x += 7.3 * len(legend) + 46
    return parts


def _row(row: ChartRow, top: float, step: float, at: Scale, shapes: Mapping[str, str], *, first: bool) -> Drawn:
    middle = top + step / 2
    parts = [
        line(0, WIDTH, top + step, top + step, "rule"),
        text(0, top + 26, row.stage, "stage"),
        *(text(0, top + 43 + 15 * place, part, "note") for place, part in enumerate(_wrap(row.what))),
    ]
    numbers: Numbers = []
    if row.null is not None:
        parts += _null_band(row.null, top, step, at, first=first)
        numbers.append(null_record(row.null, stage=row.stage))
    for place, point in enumerate(row.points):
        apart = 0 if len(row.points) == 1 else step * 0.17 * (2 * place - 1)
        parts += _mark(row.stage, point, shapes[point.series], middle + apart, at)
        numbers.append({"stage": row.stage, "kind": point.series, "mean": point.mean, "low": point.low,
                        "high": point.high, "n": point.n, "seeds": point.seeds})  # fmt: skip
    if not row.points:
        parts.append(text(LABELS + 8, middle + 4, "not computed because this stage was not carried out", "note"))
    return parts, numbers


def _null_band(null: Null, top: float, step: float, at: Scale, *, first: bool) -> list[str]:
    left, right, x = at(null.low), at(null.high), at(null.mean)
    band = f'<rect class="band" x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="{step}"/>'
    parts = [group("", null_says(null), [band, line(x, x, top, top + step, "null")])]
    if first:
        parts.append(text((left + right) / 2, top - 14, null.what or "never-seen images, 5–95 %", "note middle"))
    return parts


def _mark(stage: str, point: Point, shape: str, y: float, at: Scale) -> list[str]:
    x = at(point.mean)
    spread = ""
    end = x + 8
    if point.low is not None and point.high is not None:
        end = max(end, at(point.high))
        spread = f'<line class="whisker" x1="{at(point.low):.1f}" x2="{at(point.high):.1f}" y1="{y}" y2="{y}"/>'
    says = f"{stage}, {point.series}: {spoken_value(point)}, n = {point.n}"
    drawn = [spread, _shape(shape, x, y), text(end + 8, y + 4.5, number(point.mean), "value")]
    return [group(f"mark {shape}", says, drawn)]


def spoken_value(point: Point) -> str:
    """A mean and its interval in words."""
    if point.low is None or point.high is None:
        return f"{number(point.mean)}, no interval"
    return f"{number(point.mean)}, 95 % interval {number(point.low)} to {number(point.high)}"


def _shape(shape: str, x: float, y: float) -> str:
    if shape == "with":
        return f'<circle cx="{x:.1f}" cy="{y}" r="6.5"/>'
    return f'<path d="M{x:.1f} {y - 7.5}l7.5 7.5l-7.5 7.5l-7.5 -7.5z"/>'


def _spoken(record: dict[str, Any]) -> str:
    who = "never seen" if record["kind"] == "null" else record["kind"]
    return f"{record['stage']} {who} {number(record['mean'])}"


def _wrap(content: str, width: int = 44) -> list[str]:
    return textwrap.wrap(content, width)[:2]
