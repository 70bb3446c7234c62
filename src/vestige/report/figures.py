"""Figures: a chart's record → an SVG and the numbers that were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vestige.report import bars, gallery, lines, panels, pareto, rows, sheet, stack
from vestige.report.record import (
    Block,
    Chart,
    Figure,
    LineChart,
    PanelChart,
    RowChart,
    SampleChart,
    Sheet,
    StackChart,
    Taken,
    TradeChart,
)
from vestige.report.svg import Numbers, standalone, svg

BETWEEN = 34
"""Room between the charts of a figure that is a file of its own."""


def draw(chart: Chart) -> tuple[str, Numbers]:
    """The SVG of a chart, and one record per mark, band or group that it shows."""
    match chart:
        case Block():
            return gallery.draw(chart)
        case Sheet():
            return sheet.draw(chart)
        case RowChart():
            return rows.draw(chart)
        case SampleChart():
            return bars.draw(chart)
        case PanelChart():
            return panels.draw(chart)
        case LineChart():
            return lines.draw(chart)
        case StackChart():
            return stack.draw(chart)
        case Taken():
            return lines.draw_taken(chart)
        case TradeChart():
            return pareto.draw(chart)


def numbers(figure: Figure, drawn: Sequence[tuple[str, Numbers]]) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """The numbers of a figure's charts as one table: its columns, and its rows."""
    records: list[dict[str, Any]] = []
    for chart, (_, found) in zip(figure.charts, drawn, strict=True):
        metric = {"metric": chart.metric} if isinstance(chart, SampleChart) else {}
        metric |= {"metric": chart.y} if isinstance(chart, LineChart) else {}
        records += [{**metric, **record} for record in found]
    return tuple(dict.fromkeys(key for record in records for key in record)), records


def to_file(figure: Figure, css: str) -> str:
    """A figure as one SVG file: its charts below each other."""
    drawn = [draw(chart)[0] for chart in figure.charts]
    sizes = [_size(one) for one in drawn]
    parts, top = [], 0.0
    for one, (_, height) in zip(drawn, sizes, strict=True):
        parts.append(one.replace("<svg ", f'<svg y="{top:g}" ', 1))
        top += height + BETWEEN
    width = max(width for width, _ in sizes)
    return standalone(svg(width, top - BETWEEN, figure.heading, parts, "file"), css)


def _size(figure: str) -> tuple[float, float]:
    width, height = figure.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split()
    return float(width), float(height)
