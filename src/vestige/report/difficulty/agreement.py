"""How far algorithms agree which samples are hard, as a heat map beside the ceiling that seeds set."""

from __future__ import annotations

from typing import Any

from vestige.report.difficulty.words import Record, with_interval
from vestige.report.svg import WIDTH, Numbers, group, line, scale, svg, text
from vestige.report.words import number

LEFT, HEAD, CELL, SIDE = 86, 40, 66, 330
"""Room for the rows' names, for the columns', a cell's side at most, and room for the comparison at the right."""
ROW = 58


def draw(found: Record) -> tuple[str, Numbers]:
    """The SVG, and one number record per cell and comparison. found: of `difficulty.analyse.agreement`."""
    names = found["algorithms"]
    cell = min(CELL, (WIDTH - SIDE - LEFT - 30) / max(len(names), 1))
    parts: list[str] = []
    numbers: Numbers = []
    several = found["cross"]["value"] is not None
    table = found["matrix"] if several else found["same_seed"]
    for row, name in enumerate(names):
        y = HEAD + row * cell
        parts += [text(LEFT - 8, y + cell / 2 + 4, name, "end heading"),
                  text(LEFT + row * cell + cell / 2, HEAD - 10, name, "middle heading tilt")]  # fmt: skip
        for column, other in enumerate(names):
            parts.append(_cell(LEFT + column * cell, y, cell, table[row][column], name, other))
            if column <= row:
                numbers.append({"of": name, "and": other, "spearman": table[row][column]})
    compared = {
        "two algorithms": found["cross"],
        "two seeds of one algorithm: the ceiling": found["ceiling"],
        "two algorithms, noise of the seed apart": found["disattenuated"],
        "two algorithms from the same model": found["cross_same_seed"],
    }
    left = max(LEFT + len(names) * cell + 40, WIDTH - SIDE)
    drawn, records = _compared(compared, left)
    height = max(HEAD + len(names) * cell, HEAD + len(compared) * ROW) + 26
    spoken = "Rank agreement: " + "; ".join(f"{name} {with_interval(one)}" for name, one in compared.items())
    return svg(WIDTH, height, spoken, [*parts, *drawn], "chart agreement"), numbers + records


def _cell(x: float, y: float, side: float, value: float | None, name: str, other: str) -> str:
    if value is None:
        return group(
            "", f"{name} and {other}: not computed", [text(x + side / 2, y + side / 2 + 4, "–", "note middle")]
        )
    strong = min(abs(value), 1.0)
    tone = "tile" if value >= 0 else "tile against"
    place = f'x="{x:.1f}" y="{y:.1f}" width="{side - 2:.1f}" height="{side - 2:.1f}"'
    what = "two seeds" if name == other else other
    own = f'<rect class="ceiling" {place}/>' if name == other else ""
    return group("", f"{name} and {what}: Spearman {number(value)}", [
        f'<rect class="{tone}" {place} fill-opacity="{max(strong, 0.04):.2f}"/>{own}',
        text(x + side / 2, y + side / 2 + 4, number(value), f"middle value {'on' if strong > 0.55 else 'off'}"),
    ])  # fmt: skip


def _compared(compared: dict[str, Record], left: float) -> tuple[list[str], list[dict[str, Any]]]:
    """Each mean with its interval on one scale."""
    shown = {name: one for name, one in compared.items() if one["value"] is not None}
    ends = [value for one in shown.values() for value in (one["value"], one["low"], one["high"]) if value is not None]
    low, high = min([0.0, *ends]), max([1.0, *ends])
    at = scale(low, high, left, WIDTH - 20)
    bottom = HEAD + len(compared) * ROW
    parts = [text(left, 14, "Mean Spearman [95 %]", "heading")]
    for mark in (0.0, 0.5, 1.0):
        parts += [line(at(mark), at(mark), HEAD - 10, bottom - 8, "base" if mark == 0 else "grid"),
                  text(at(mark), bottom + 8, number(mark, 1), "tick middle")]  # fmt: skip
    for place, (name, one) in enumerate(compared.items()):
        y = HEAD + place * ROW + 8
        parts.append(text(left, y, name, "note"))
        if name not in shown:
            parts.append(text(left, y + 20, "not computed: it needs more seeds or algorithms", "tiny"))
            continue
        whisker = [] if one["low"] is None else [line(at(one["low"]), at(one["high"]), y + 16, y + 16, "whisker")]
        dot = f'<circle cx="{at(one["value"]):.1f}" cy="{y + 16:.1f}" r="5"/>'
        parts.append(group("mark with", f"{name}: {with_interval(one)}", [*whisker, dot]))
        parts.append(text(at(one["value"]), y + 33, number(one["value"]), "tiny middle"))
    records = [{"of": name, "and": "", "spearman": one["value"], "low": one["low"], "high": one["high"], "n": one["n"]}
               for name, one in compared.items()]  # fmt: skip
    return parts, records
