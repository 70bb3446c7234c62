"""How difficulty is spread, one row for all algorithms together and one for each."""

from __future__ import annotations

from typing import Any

from vestige.report.difficulty.words import Record, with_interval
from vestige.report.svg import WIDTH, Numbers, box, group, line, scale, svg, text
from vestige.report.words import number, plural

LEFT, RIGHT, TOP, ROW, TALL = 128, 260, 34, 62, 38
"""Room for names and for numbers, height of the head, of a row and of its tallest bar."""


def draw(found: Record) -> tuple[str, Numbers]:
    """The SVG, and one number record per row. found: what `difficulty.analyse.inequality` returned."""
    rows = [("all together", found["overall"]), *found["algorithms"].items()]
    at = scale(0, 1, LEFT, WIDTH - RIGHT)
    bottom = TOP + ROW * len(rows)
    parts = [
        text(LEFT, 14, "difficulty: 0 unlearned as if never seen, 1 not at all, or at the cost of all else", "note")
    ]
    for mark in (0, 0.25, 0.5, 0.75, 1):
        parts += [line(at(mark), at(mark), TOP - 8, bottom, "grid"),
                  text(at(mark), bottom + 18, number(mark), "tick middle")]  # fmt: skip
    numbers: Numbers = []
    for place, (name, spread) in enumerate(rows):
        base = TOP + place * ROW + TALL + 8
        parts += [text(0, base - 14, name, "heading"), line(LEFT, WIDTH - RIGHT, base, base, "base")]
        if spread is None:
            parts.append(text(LEFT + 8, base - 8, "nothing to erase for any sample", "note"))
            continue
        parts += _bars(name, spread, at, base)
        mean = with_interval(spread["mean"])
        ends = f"{100 * spread['floor']:.0f} % at 0, {100 * spread['ceiling']:.0f} % at 1"
        said = f"Gini {number(spread['gini']['value'])}, {ends}"
        parts += [text(WIDTH - RIGHT + 16, base - 22, f"mean {mean}", "legend"),
                  text(WIDTH - RIGHT + 16, base - 4, said, "note")]  # fmt: skip
        numbers.append(_numbers(name, spread))
    spoken = "Difficulty: " + "; ".join(f"{one['algorithm']} mean {number(one['mean'])}" for one in numbers)
    return svg(WIDTH, bottom + 26, spoken, parts, "chart"), numbers


def _bars(name: str, spread: Record, at: Any, base: float) -> list[str]:
    counts = spread["histogram"]
    wide = (at(1) - at(0)) / len(counts)
    drawn = []
    for place, count in enumerate(counts):
        tall = TALL * count / max(max(counts), 1)
        says = f"{name}: {plural(count, 'sample')} from {number(place / 10, 1)} to {number((place + 1) / 10, 1)}"
        drawn.append(group("", says, [box(at(0) + place * wide + 1, base - tall, wide - 2, tall, "bar tone-r0")]))
    mean = spread["mean"]
    whisker = [] if mean["low"] is None else [line(at(mean["low"]), at(mean["high"]), base + 6, base + 6, "whisker")]
    dot = f'<circle cx="{at(mean["value"]):.1f}" cy="{base + 6:.1f}" r="4"/>'
    return [*drawn, group("mark average", f"{name}: mean {with_interval(mean)}", [*whisker, dot])]


def _numbers(name: str, spread: Record) -> dict[str, Any]:
    mean, gini = spread["mean"], spread["gini"]
    return {
        "algorithm": name, "n": mean["n"], "mean": mean["value"], "low": mean["low"], "high": mean["high"],
        "gini": gini["value"], "at 0": spread["floor"], "at 1": spread["ceiling"],
        **{f"q{100 * float(share):.0f}": value for share, value in spread["quantiles"].items()},
        "counts": " ".join(map(str, spread["histogram"])),
    }  # fmt: skip
