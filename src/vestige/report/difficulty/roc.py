"""Receiver operating characteristics of the predictor, a panel for each thing that it was not fitted to."""

from __future__ import annotations

from typing import Any

from vestige.report.difficulty.words import HELD_OUT, Record, with_interval
from vestige.report.svg import WIDTH, Numbers, group, line, scale, svg, text
from vestige.report.words import number

SIDE, TOP, BETWEEN, LEFT = 190, 40, 44, 30
KINDS = {"linear": "line-0", "boosted": "line-1", "informed": "line-2"}


def draw(by: Record) -> tuple[str, Numbers]:
    """The SVG, and one number record per curve. by: held out → result, of `difficulty.predict.evaluate`."""
    parts: list[str] = []
    numbers: Numbers = []
    for place, (name, found) in enumerate(by.items()):
        left = LEFT + place * (SIDE + BETWEEN)
        parts.append(text(left, 14, HELD_OUT.get(name, name), "heading"))
        if found.get("missing"):
            parts.append(_missing(left, str(found["missing"])))
            continue
        parts += _frame(left)
        for order, (kind, style) in enumerate(KINDS.items()):
            one = found[kind]
            parts += [_curve(left, one["roc"], style, f"{kind}: AUC {with_interval(one['auc'])}"),
                      text(left, TOP + SIDE + 40 + 17 * order, f"{kind}: AUC {with_interval(one['auc'])}",
                           f"legend {style}")]  # fmt: skip
            auc = one["auc"]
            numbers.append({"held out": name, "predictor": kind, "auc": auc["value"], "low": auc["low"],
                            "high": auc["high"], "n": auc["n"]})  # fmt: skip
    spoken = "ROC: " + "; ".join(f"{one['held out']}, {one['predictor']}: AUC {number(one['auc'])}" for one in numbers)
    return svg(WIDTH, TOP + SIDE + 83, spoken, parts, "chart"), numbers


def _frame(left: float) -> list[str]:
    bottom, right = TOP + SIDE, left + SIDE
    upright = text(0, 0, "hard ones found", "tiny middle")
    return [
        line(left, right, bottom, bottom, "base"), line(left, left, TOP, bottom, "base"),
        f'<line class="level" x1="{left}" y1="{bottom}" x2="{right}" y2="{TOP}"/>',
        text(left - 6, TOP + 8, "1", "tick end"), text(left - 6, bottom, "0", "tick end"),
        text(right, bottom + 16, "1", "tick middle"), text(left + SIDE / 2, bottom + 16, "false alarms", "tiny middle"),
        f'<g transform="translate({left - 10} {TOP + SIDE / 2}) rotate(-90)">{upright}</g>',
    ]  # fmt: skip


def _curve(left: float, roc: Record, style: str, says: str) -> str:
    across, up = scale(0, 1, left, left + SIDE), scale(0, 1, TOP + SIDE, TOP)
    pairs: Any = zip(roc["fpr"], roc["tpr"], strict=True)
    path = " ".join(f"{across(fpr):.1f},{up(tpr):.1f}" for fpr, tpr in pairs)
    return group(style, says, [f'<polyline class="path" points="{path}"/>'])


def _missing(left: float, why: str) -> str:
    place = f'x="{left}" y="{TOP}" width="{SIDE}" height="{SIDE}"'
    said = [text(left + SIDE / 2, TOP + SIDE / 2 - 8, "not computed", "note middle")]
    return group("", f"not computed because {why}", [f'<rect class="empty" {place}/>', *said])
