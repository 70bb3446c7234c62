"""Difficulty against the similar samples in training: those that the data happen to have, and constructed ones."""

from __future__ import annotations

import math
from html import escape

from vestige.report.difficulty.words import Record, plain, with_interval
from vestige.report.record import Line, LineChart, Point
from vestige.report.svg import WIDTH, Numbers, line, scale, svg, text, ticks
from vestige.report.words import number

LEFT, RIGHT, TOP, PLOT = 44, 24, 34, 240


def draw(found: Record) -> tuple[str, Numbers]:
    """Every sample by its similarity mass, and the line of least squares. found: of `difficulty.analyse.natural`."""
    points = found["points"]
    x = [math.log2(1 + one["mass"]) for one in points]
    last = max([1.0, *x])
    across, up = scale(0, last, LEFT + 14, WIDTH - RIGHT), scale(0, 1, TOP + PLOT, TOP)
    parts = [text(0, 14, "difficulty, mean over algorithms", "heading")]
    for mark in (0, 0.25, 0.5, 0.75, 1):
        parts += [line(LEFT, WIDTH - RIGHT, up(mark), up(mark), "base" if mark == 0 else "grid"),
                  text(LEFT - 7, up(mark) + 4, number(mark), "tick end")]  # fmt: skip
    for mark in ticks(0, last, 6):
        if mark <= last:
            parts.append(text(across(mark), TOP + PLOT + 18, f"{2**mark - 1:.3g}", "tick middle"))
    label = f"{plain(found['factor'])} (one step: 1 + mass doubles)"
    parts.append(text(WIDTH / 2, TOP + PLOT + 40, label, "note middle"))
    for one, place in zip(points, x, strict=True):
        says = escape(f"{one['id']}: mass {number(one['mass'])}, difficulty {number(one['difficulty'])}")
        centre = f'cx="{across(place):.1f}" cy="{up(one["difficulty"]):.1f}"'
        parts.append(f'<circle class="sample" {centre} r="4"><title>{says}</title></circle>')
    slope = found["overall"]["slope"]["value"]
    if slope is not None and points:
        middle, height = sum(x) / len(x), sum(one["difficulty"] for one in points) / len(points)
        y1, y2 = (up(height + slope * (end - middle)) for end in (min(x), max(x)))
        parts.append(f'<line class="trend" x1="{across(min(x)):.1f}" x2="{across(max(x)):.1f}" '
                     f'y1="{y1:.1f}" y2="{y2:.1f}"/>')  # fmt: skip
    trend = found["overall"]
    spoken = f"Difficulty of {len(points)} samples by {found['factor']}: Spearman {with_interval(trend['spearman'])}"
    numbers: Numbers = [{"id": one["id"], "mass": one["mass"], "difficulty": one["difficulty"]} for one in points]
    return svg(WIDTH, TOP + PLOT + 50, spoken, parts, "chart"), numbers


def doses(found: Record, seeds: int) -> LineChart:
    """Mean difficulty, and the share with something to erase, by number of constructed copies.

    found: of `difficulty.analyse.constructed`.
    """
    overall = found["overall"]
    names = {"difficulty": overall["means"], "share with something to erase": overall["erasable"]}
    return LineChart(
        y="mean over targets and algorithms",
        x="constructed similar samples in training, per target",
        ticks=tuple((float(dose), str(dose)) for dose in found["doses"]),
        lines=tuple(
            Line(name, tuple(
                (float(dose), Point(name, one["value"], one["low"], one["high"], one["n"], seeds))
                for dose, one in zip(found["doses"], means, strict=True) if one["value"] is not None
            ))
            for name, means in names.items()
        ),
        valued="difficulty",
    )  # fmt: skip
