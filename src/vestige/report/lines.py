"""A quantity over a dose, with intervals and the null's band; and what widening took."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from vestige.report.record import Line, LineChart, Taken
from vestige.report.rows import spoken_value
from vestige.report.svg import (
    WIDTH,
    Numbers,
    Scale,
    box,
    digits,
    group,
    line,
    null_record,
    null_says,
    scale,
    spread,
    svg,
    text,
    ticks,
)
from vestige.report.words import number

LEFT, RIGHT, TOP, PLOT, BELOW = 44, 236, 34, 236, 50
"""Room for the scale, for names at the right, for the heading, for the plot and for the axis."""
APART, CLOSEST = 7, 16
"""How far lines stand apart, so that their whiskers can be told from each other; least distance of two names."""
VALUE_MIDDLE, VALUE_HEIGHT = 24, 10
"""How far left of its dot the middle of a written value stands, and how high its figures are."""
TAKEN_LABELS, TAKEN_ROW = 120, 34

Path = Sequence[tuple[float, float]]
"""A drawn line: (x, y) of its dots, from left to right."""


def draw(chart: LineChart) -> tuple[str, Numbers]:
    """The SVG, and one number record per dot, band and level."""
    values = [point.mean for found in chart.lines for _, point in found.dots]
    values += [value for _, value in chart.levels] + [edge for _, null in chart.nulls for edge in (null.low, null.high)]
    marks = ticks(min([0.0, *values]), max([1.0, *values]))
    at = scale(marks[0], marks[-1], TOP + PLOT, TOP)
    places = [position for position, _ in chart.ticks]
    across = scale(min(places, default=0), max(places, default=1) or 1, LEFT + 58, WIDTH - RIGHT - 30)
    parts = _axes(chart, marks, at, across)
    parts += _nulls(chart, at, across)
    names = [(at(value), name, "note") for name, value in chart.levels]
    for _, value in chart.levels:
        parts.append(line(LEFT, WIDTH - RIGHT, at(value), at(value), "level"))
    shifts = [_shifted(across, (order - (len(chart.lines) - 1) / 2) * APART) for order in range(len(chart.lines))]
    paths = [
        [(shifted(place), at(point.mean)) for place, point in found.dots]
        for found, shifted in zip(chart.lines, shifts, strict=True)
    ]
    for order, found in enumerate(chart.lines):
        beside = paths if chart.valued == found.name else []
        parts += _line(found, f"line-{order % 6}", at, shifts[order], beside)
        if found.dots:
            names.append((at(found.dots[-1][1].mean), found.name, f"legend line-{order % 6}"))
    if chart.nulls:
        names.append((at(chart.nulls[-1][1].mean), chart.null_name, "note"))
    for y, (_, name, style) in zip(spread([y for y, *_ in names], CLOSEST, TOP + PLOT + 8), sorted(names), strict=True):
        parts.append(text(WIDTH - RIGHT + 12, y + 4, name, style))
    return svg(WIDTH, TOP + PLOT + BELOW, _label(chart), parts, "chart"), _numbers(chart)


def _axes(chart: LineChart, marks: Sequence[float], at: Scale, across: Scale) -> list[str]:
    parts = [text(0, 13, chart.y, "heading")]
    for mark in marks:
        y = at(mark)
        parts.append(line(LEFT, WIDTH - RIGHT, y, y, "base" if mark == 0 else "grid"))
        parts.append(text(LEFT - 7, y + 4, number(mark, digits(marks)), "tick end"))
    for position, label in chart.ticks:
        parts.append(text(across(position), TOP + PLOT + 18, label, "tick middle"))
    parts.append(text(LEFT + (WIDTH - RIGHT - LEFT) / 2, TOP + PLOT + 40, chart.x, "note middle"))
    return parts


def _nulls(chart: LineChart, at: Scale, across: Scale) -> list[str]:
    """The band through the nulls, carried on to both edges."""
    if not chart.nulls:
        return []
    left, right = LEFT, WIDTH - RIGHT
    found = sorted(chart.nulls, key=lambda pair: pair[0])
    points = [(left, found[0][1]), *((across(position), null) for position, null in found), (right, found[-1][1])]
    edge = [f"{x:.1f},{at(null.high):.1f}" for x, null in points]
    edge += [f"{x:.1f},{at(null.low):.1f}" for x, null in reversed(points)]
    middle = " ".join(f"{x:.1f},{at(null.mean):.1f}" for x, null in points)
    says = null_says(found[0][1]) if len(found) == 1 else chart.null_name
    drawn = [f'<polygon class="band" points="{" ".join(edge)}"/>', f'<polyline class="null" points="{middle}"/>']
    return [group("", says, drawn)]


def _line(found: Line, style: str, at: Scale, across: Scale, beside: Sequence[Path]) -> list[str]:
    """Dots with whiskers, joined. beside: all lines of the chart where the values are to be written, else none."""
    places = [(across(position), at(point.mean), point) for position, point in found.dots]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    parts = [f'<polyline class="path" points="{path}"/>'] if len(places) > 1 else []
    for x, y, point in places:
        marks = []
        if point.low is not None and point.high is not None:
            marks.append(line(x, x, at(point.low), at(point.high), "whisker"))
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        if beside:
            marks.append(text(x - 8, y + _roomier(x, y, beside), number(point.mean), "value halo end"))
        parts.append(group("", f"{found.name}: {spoken_value(point)}, n = {point.n}", marks))
    return [group(style, "", parts)]


def _roomier(x: float, y: float, lines: Sequence[Path]) -> float:
    """How far below a dot its value has most room left of it: 17, or −8 for above."""
    passing = [height for path in lines if (height := _height(path, x - VALUE_MIDDLE)) is not None]

    def room(shift: float) -> float:
        return min((abs(y + shift - VALUE_HEIGHT / 2 - height) for height in passing), default=0.0)

    return max((17.0, -8.0), key=room)


def _height(path: Path, x: float) -> float | None:
    """Where a line passes above this place; None beyond its ends."""
    for (left, start), (right, end) in pairwise(path):
        if left <= x <= right:
            return start + (end - start) * (x - left) / (right - left)
    return None


def _shifted(across: Scale, by: float) -> Scale:
    return lambda value: across(value) + by


def _numbers(chart: LineChart) -> Numbers:
    labels = dict(chart.ticks)
    records: Numbers = [
        {"at": labels.get(position, position), "kind": found.name, "mean": point.mean, "low": point.low,
         "high": point.high, "n": point.n, "seeds": point.seeds}
        for found in chart.lines
        for position, point in found.dots
    ]  # fmt: skip
    records += [null_record(null, at=labels.get(position, position)) for position, null in chart.nulls]
    return records + [{"kind": name, "mean": value} for name, value in chart.levels]


def _label(chart: LineChart) -> str:
    labels = dict(chart.ticks)
    said = [
        f"{found.name}: " + ", ".join(f"{labels.get(place, place)} {number(point.mean)}" for place, point in found.dots)
        for found in chart.lines
    ]
    said += [f"{name} {number(value)}" for name, value in chart.levels]
    return f"{chart.y} over {chart.x}. " + "; ".join(said)


def draw_taken(chart: Taken) -> tuple[str, Numbers]:
    """Stacked bars of what each stage took besides the targets, and those numbers."""
    most = max((copies + others for _, copies, others in chart.rows), default=1) or 1
    unit = (WIDTH - TAKEN_LABELS - 290) / most
    parts = [text(0, 13, "Taken out per target, besides the target itself", "heading")]
    numbers: Numbers = []
    for position, (stage, copies, others) in enumerate(chart.rows):
        top = 32 + position * TAKEN_ROW
        end = TAKEN_LABELS + (copies + others) * unit
        says = f"{_count(copies)} constructed copies, {_count(others)} natural neighbours"
        parts += [
            text(0, top + 16, stage, "heading"),
            box(TAKEN_LABELS, top, copies * unit, 22, "bar tone-r0"),
            box(TAKEN_LABELS + copies * unit, top, others * unit, 22, "bar tone-2"),
            text(end + 10, top + 16, says, "legend"),
        ]
        numbers.append({"stage": stage, "constructed copies": copies, "natural neighbours": others})
    label = "; ".join(
        f"{row['stage']}: {_count(row['constructed copies'])} constructed copies and "
        f"{_count(row['natural neighbours'])} natural neighbours per target"
        for row in numbers
    )
    return svg(WIDTH, 32 + len(chart.rows) * TAKEN_ROW, label, parts, "chart"), numbers


def _count(value: float) -> str:
    return f"{value:g}" if value == int(value) else number(value, 1)
