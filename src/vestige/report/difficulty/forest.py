"""Values with their intervals, a row each, on one scale: effects of factors, AUCs of predictors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vestige.report.svg import WIDTH, Numbers, digits, group, line, scale, svg, text
from vestige.report.words import interval, number

LEFT, RIGHT, TOP, ROW = 240, 200, 40, 30


@dataclass(frozen=True)
class Row:
    """One value. low, high: None where there is no interval. cells: single values that it is the mean of. strong: it
    is drawn as one that counts."""

    name: str
    value: float
    low: float | None
    high: float | None
    note: str = ""
    cells: tuple[float, ...] = ()
    strong: bool = True


def draw(
    rows: Sequence[Row], marks: Sequence[float], levels: Sequence[tuple[str, float]], x: str, places: int = 2
) -> tuple[str, Numbers]:
    """The SVG, and one number record per row. marks: ticks of the scale x, from end to end; levels: named references;
    places: decimals of the values."""
    at = scale(marks[0], marks[-1], LEFT, WIDTH - RIGHT)
    bottom = TOP + ROW * len(rows)
    parts = [text(0, 14, x, "heading")]
    for mark in marks:
        parts += [line(at(mark), at(mark), TOP - 8, bottom, "grid"),
                  text(at(mark), bottom + 16, number(mark, digits(marks)), "tick middle")]  # fmt: skip
    for name, level in levels:
        parts += [line(at(level), at(level), TOP - 8, bottom, "level"), text(at(level), TOP - 14, name, "note middle")]
    for place, row in enumerate(rows):
        y = TOP + place * ROW + ROW / 2
        value = f"{number(row.value, places)} {interval(row.low, row.high, places)}"
        says = f"{row.name}: {value}{', ' if row.note else ''}{row.note}"
        drawn = [f'<circle class="single" cx="{at(cell):.1f}" cy="{y:.1f}" r="2.5"/>' for cell in row.cells]
        if row.low is not None and row.high is not None:
            drawn.append(line(at(row.low), at(row.high), y, y, "whisker"))
        drawn.append(f'<circle cx="{at(row.value):.1f}" cy="{y:.1f}" r="5"/>')
        parts += [
            text(LEFT - 14, y + 4, row.name, f"end {'heading' if row.strong else 'weak'}"),
            group(f"mark {'with' if row.strong else 'weak'}", says, drawn),
            text(WIDTH - RIGHT + 14, y + 4, value, "legend"),
        ]
        if row.note:
            parts.append(text(WIDTH - 2, y + 4, row.note, "tiny end"))
    spoken = f"{x}: " + "; ".join(f"{row.name} {number(row.value)}" for row in rows)
    numbers: Numbers = [
        {"name": row.name, "value": row.value, "low": row.low, "high": row.high, "note": row.note} for row in rows
    ]
    return svg(WIDTH, bottom + 26, spoken, parts, "chart"), numbers
