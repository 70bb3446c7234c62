"""Parts of a whole by stage: one stacked bar per stage, parts below 0 to the left of the zero line."""

from __future__ import annotations

from collections.abc import Mapping

from vestige.report.record import Segment, Stack, StackChart
from vestige.report.rows import spoken_value
from vestige.report.svg import WIDTH, Drawn, Numbers, Scale, box, digits, group, line, scale, svg, text, ticks
from vestige.report.words import interval, number

LABELS, RIGHT, TOP, STEP, TALL = 260, 60, 66, 58, 24
"""Room left, right and on top; height of a row and of its bar."""
NARROW = 34
"""A segment of fewer pixels has no room for its number; the table below the figure has it."""


def draw(chart: StackChart) -> tuple[str, Numbers]:
    """The SVG, and one number record per segment and sum. Rows with nothing to draw say why."""
    ends = [end for row in chart.rows for end in _ends(row)]
    marks = ticks(min([0.0, *ends]), max([1.0, *ends]))
    at = scale(marks[0], marks[-1], LABELS, WIDTH - RIGHT)
    height = TOP + STEP * len(chart.rows) + 34
    parts, numbers = _axis(chart, marks, at, height), []
    names = dict(chart.parts)
    for position, row in enumerate(chart.rows):
        drawn, found = _row(row, TOP + position * STEP, at, names)
        parts += drawn
        numbers += found
    spoken = "; ".join(f"{record['stage']} {record['kind']} {number(record['mean'])}" for record in numbers)
    return svg(WIDTH, height, f"{chart.heading} by stage: {spoken}", parts, "stack"), numbers


def _ends(row: Stack) -> tuple[float, float]:
    """Where a bar begins and ends: the sums of its parts below and above 0."""
    means = [segment.point.mean for segment in row.segments]
    return sum(mean for mean in means if mean < 0), sum(mean for mean in means if mean > 0)


def _axis(chart: StackChart, marks: list[float], at: Scale, height: float) -> list[str]:
    bottom, parts = height - 30, [text(0, 18, chart.heading, "heading")]
    for mark in marks:
        name = "base" if abs(mark) < 1e-9 else "grid"
        parts.append(line(at(mark), at(mark), TOP - 8, bottom, name))
        parts.append(text(at(mark), bottom + 18, number(mark, digits(marks)), "tick middle"))
    x = 0.0
    for name, legend in chart.parts:
        parts += [box(x, 32, 12, 12, f"part-{name}"), text(x + 17, 42, legend, "legend")]
        x += 6.8 * len(legend) + 36
    return parts


def _row(row: Stack, top: float, at: Scale, names: Mapping[str, str]) -> Drawn:
    middle = top + STEP / 2
    parts = [
        line(0, WIDTH, top + STEP, top + STEP, "rule"),
        text(0, middle - 3, row.stage, "stage"),
        text(0, middle + 14, row.what, "note"),
    ]
    if not row.segments:
        return [*parts, text(LABELS + 8, middle + 4, f"not computed because {row.why}", "note")], []
    numbers: Numbers = []
    below = above = 0.0
    for segment in row.segments:
        mean = segment.point.mean
        start = below if mean < 0 else above
        below, above = (below + mean, above) if mean < 0 else (below, above + mean)
        left, right = sorted((at(start), at(start + mean)))
        drawn = [box(left, middle - TALL / 2, right - left, TALL, f"part-{segment.point.series}")]
        if right - left >= NARROW:
            drawn.append(text((left + right) / 2, middle + 4.5, number(mean), f"middle on-{segment.point.series}"))
        parts.append(group("", _says(row.stage, segment, names), drawn))
        numbers.append(_record(row.stage, segment))
    total = below + above
    parts.append(line(at(total), at(total), middle - TALL / 2 - 5, middle + TALL / 2 + 5, "sum"))
    parts.append(text(at(above) + 8, middle + 4.5, f"= {number(total)}", "value"))
    first = row.segments[0].point
    numbers.append({"stage": row.stage, "kind": "sum", "mean": total, "n": first.n, "seeds": first.seeds})
    return parts, numbers


def _says(stage: str, segment: Segment, names: Mapping[str, str]) -> str:
    known = interval(segment.least, segment.most)
    told = f"; can be told within {known}" if known else ""
    return f"{stage}, {names[segment.point.series]}: {spoken_value(segment.point)}, n = {segment.point.n}{told}"


def _record(stage: str, segment: Segment) -> dict[str, object]:
    point = segment.point
    return {
        "stage": stage, "kind": point.series, "mean": point.mean, "low": point.low, "high": point.high,
        "at least": segment.least, "at most": segment.most, "n": point.n, "seeds": point.seeds,
    }  # fmt: skip
