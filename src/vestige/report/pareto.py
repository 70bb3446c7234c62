"""What stages leave against what they keep: a mark per stage with both intervals, those that none beats joined."""

from __future__ import annotations

from collections.abc import Sequence

from vestige.report.record import Trade, TradeChart
from vestige.report.rows import spoken_value
from vestige.report.svg import WIDTH, Numbers, Scale, digits, group, line, scale, spread, svg, text, ticks
from vestige.report.words import number

LEFT, RIGHT, TOP, PLOT, BELOW = 46, 205, 36, 300, 52
"""Room for the scale, for names at the right, for the heading; least height of the plot; room for the axis."""
CLOSEST = 17
"""Least distance of two names."""
REACH = 0.1
"""What the x axis spans at least: less would make noise look like a choice."""


def draw(chart: TradeChart) -> tuple[str, Numbers]:
    """The SVG, and one number record per mark."""
    found = chart.trades
    plot = max(PLOT, CLOSEST * len(found))
    x_marks = _across([trade.keeps.mean for trade in found])
    y_marks = ticks(
        min([0.0, *(trade.leaves.mean for trade in found)]), max([1.0, *(trade.leaves.mean for trade in found)])
    )
    across = scale(x_marks[0], x_marks[-1], LEFT + 12, WIDTH - RIGHT - 12)
    up = scale(y_marks[0], y_marks[-1], TOP + plot, TOP)
    best = front(found)
    families = [name for name in dict.fromkeys(trade.family for trade in found) if name]
    parts = _axes(chart, x_marks, y_marks, across, up)
    path = " ".join(f"{across(trade.keeps.mean):.1f},{up(trade.leaves.mean):.1f}" for trade in best)
    parts += [f'<polyline class="level" points="{path}"/>'] if len(best) > 1 else []
    ordered = sorted(found, key=lambda trade: (up(trade.leaves.mean), -trade.keeps.mean))
    places = spread([up(trade.leaves.mean) for trade in ordered], CLOSEST, TOP + plot)
    drawn = [
        _mark(trade, place, families, across, up, on_front=trade in best)
        for trade, place in zip(ordered, places, strict=True)
    ]
    parts += [leader for leader, _ in drawn] + [mark for _, mark in drawn]
    numbers: Numbers = [
        {"kind": trade.stage, chart.x: trade.keeps.mean, chart.y: trade.leaves.mean, "n": trade.leaves.n,
         "n of x": trade.keeps.n, "not beaten": trade in best}
        for trade in found
    ]  # fmt: skip
    return svg(WIDTH, TOP + plot + BELOW, _label(chart), parts, "chart"), numbers


def front(trades: Sequence[Trade]) -> tuple[Trade, ...]:
    """Those that no other beats, by what they keep: none keeps as much and leaves as little, and one of them better.

    References are not compared. Leaving less than 0 is no better than 0.
    """

    def beats(one: Trade, other: Trade) -> bool:
        mine, theirs = ((trade.keeps.mean, -max(trade.leaves.mean, 0.0)) for trade in (one, other))
        return mine != theirs and mine[0] >= theirs[0] and mine[1] >= theirs[1]

    compared = [trade for trade in trades if trade.family]
    found = [trade for trade in compared if not any(beats(other, trade) for other in compared)]
    return tuple(sorted(found, key=lambda trade: (trade.keeps.mean, trade.leaves.mean)))


def _across(values: Sequence[float]) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    more = max(REACH - (high - low), 0.0) / 2
    return ticks(low - more, high + more)


def _axes(chart: TradeChart, x_marks: Sequence[float], y_marks: Sequence[float], across: Scale, up: Scale) -> list[str]:
    bottom, right = up(y_marks[0]), WIDTH - RIGHT
    parts = [text(0, 13, chart.y, "heading"), text(right, 13, "filled, joined: none is better in both", "note end")]
    for mark in y_marks:
        parts.append(line(LEFT, right, up(mark), up(mark), "base" if abs(mark) < 1e-9 else "grid"))
        parts.append(text(LEFT - 7, up(mark) + 4, number(mark, digits(y_marks)), "tick end"))
    for mark in x_marks:
        parts.append(line(across(mark), across(mark), TOP, bottom, "grid"))
        parts.append(text(across(mark), bottom + 18, number(mark, digits(x_marks)), "tick middle"))
    if chart.goal is not None:
        parts.append(
            group("", f"goal: {number(chart.goal)}", [line(LEFT, right, up(chart.goal), up(chart.goal), "null")])
        )
    parts.append(text((LEFT + right) / 2, bottom + 41, chart.x, "note middle"))
    return parts


def _mark(
    trade: Trade, place: float, families: Sequence[str], across: Scale, up: Scale, *, on_front: bool
) -> tuple[str, str]:
    """The line to its name, and the mark with its intervals and its name."""
    x, y, right = across(trade.keeps.mean), up(trade.leaves.mean), WIDTH - RIGHT
    leader = f'<polyline class="leader" points="{x:.1f},{y:.1f} {right + 6},{place:.1f} {right + 12},{place:.1f}"/>'
    says = (
        f"{trade.stage}: keeps {spoken_value(trade.keeps)}, leaves {spoken_value(trade.leaves)}, n = {trade.leaves.n}"
    )
    keeps, leaves = trade.keeps, trade.leaves
    whiskers = []
    if keeps.low is not None and keeps.high is not None:
        whiskers.append(line(across(keeps.low), across(keeps.high), y, y, "whisker"))
    if leaves.low is not None and leaves.high is not None:
        whiskers.append(line(x, x, up(leaves.low), up(leaves.high), "whisker"))
    name = text(right + 16, place + 4, trade.stage, f"legend {'bold' if on_front else ''}".strip())
    if not trade.family:
        shape = f'<path d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z"/>'
        return leader, group("reference", says, [*whiskers, shape, name])
    tone = f"line-{families.index(trade.family) % 6}"
    shape = f'<circle class="{"" if on_front else "hollow"}" cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>'
    return leader, group(f"trade {tone}", says, [*whiskers, shape, name])


def _label(chart: TradeChart) -> str:
    said = [
        f"{trade.stage} {number(trade.leaves.mean)} at {number(trade.keeps.mean)}{', not beaten' if best else ''}"
        for trade, best in ((trade, trade in front(chart.trades)) for trade in chart.trades)
    ]
    return f"{chart.y} against {chart.x}. " + "; ".join(said)
