"""A metric of single samples by stage: bars where there is room for them, one line a sample where there is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from vestige.report.record import Null, Panel, SampleChart, Sampled
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
    svg,
    text,
    ticks,
)
from vestige.report.words import number

MOST_BARS = 110
"""More than this many bars in a panel are drawn as lines."""
LEFT, BETWEEN = 40, 44
LEGEND, TOP, PLOT, BELOW = 34, 28, 168, 58
"""Room for the scale and between panels; heights of legend, panel head, plot and labels."""
WIDEST_BAR, WIDEST_GROUP = 22, 110
ROOM_FOR_VALUE, ROOM_FOR_LABEL = 17, 24
FAMILIES_APART = 14


def draw(chart: SampleChart) -> tuple[str, Numbers]:
    """The SVG, and one number record per sample and null."""
    most = max((len(panel.samples) for panel in chart.panels), default=0)
    dense = most * len(chart.stages) > MOST_BARS
    beside = len(chart.panels) > 1 and (dense or most * len(chart.panels) <= 12)
    columns = len(chart.panels) if beside else 1
    width = (WIDTH - BETWEEN * (columns - 1)) / columns
    values = [value for panel in chart.panels for sample in panel.samples for value in sample.values.values()]
    marks = ticks(min([0.0, *values]), max([1.0, *values]))
    parts = _legend(chart, dense=dense)
    numbers: Numbers = []
    draw_panel: Callable[[SampleChart, Panel, float, Scale], list[str]] = _lines if dense else _bars
    for position, panel in enumerate(chart.panels):
        left = (position % columns) * (width + BETWEEN)
        top = LEGEND + (position // columns) * (TOP + PLOT + BELOW)
        at = scale(marks[0], marks[-1], TOP + PLOT, TOP)
        drawn = [text(0, 12, panel.heading, "heading"), *_axis(marks, at, width), *_null(panel.null, at, width)]
        drawn += draw_panel(chart, panel, width, at)
        parts.append(f'<g transform="translate({left:.1f} {top})">{"".join(drawn)}</g>')
        numbers += _numbers(panel)
    rows = -(-len(chart.panels) // columns)
    return svg(WIDTH, LEGEND + rows * (TOP + PLOT + BELOW), _label(chart), parts, "chart"), numbers


def tone(stage: str, stages: Sequence[str]) -> str:
    """The style of a stage: the references before and R1 keep theirs, others follow in order."""
    fixed = {"before": "before", "R0": "r0", "R1": "r1"}
    others = [name for name in stages if name not in fixed]
    return f"tone-{fixed[stage]}" if stage in fixed else f"tone-{others.index(stage) % 4 + 1}"


def _legend(chart: SampleChart, *, dense: bool) -> list[str]:
    parts = [text(0, 13, chart.metric, "heading")]
    x = 20.0 + 9 * len(chart.metric)
    if not dense:
        for stage in chart.stages:
            name = {"before": "before unlearning", "R0": "R0, retrained", "R1": "R1, reference"}.get(stage, stage)
            parts += [box(x, 3, 11, 11, f"bar {tone(stage, chart.stages)}"), text(x + 17, 13, name, "legend")]
            x += 7 * len(name) + 34
    parts += [box(x, 3, 18, 11, "band"), line(x, x + 18, 8.5, 8.5, "null")]
    parts.append(text(x + 24, 13, "never-seen images: 5–95 %, mean", "legend"))
    return parts


def _axis(marks: Sequence[float], at: Scale, width: float) -> list[str]:
    parts = []
    for mark in marks:
        y = at(mark)
        parts.append(line(LEFT, width, y, y, "base" if mark == 0 else "grid"))
        parts.append(text(LEFT - 7, y + 4, number(mark, digits(marks)), "tick end"))
    return parts


def _null(null: Null | None, at: Scale, width: float) -> list[str]:
    if null is None:
        return []
    band = box(LEFT, at(null.high), width - LEFT, at(null.low) - at(null.high), "band")
    return [group("", null_says(null), [band, line(LEFT, width, at(null.mean), at(null.mean), "null")])]


def _bars(chart: SampleChart, panel: Panel, width: float, at: Scale) -> list[str]:
    """A group of bars per sample; families stand a little apart and share a label."""
    families = [(name, list(members)) for name, members in groupby(panel.samples, key=lambda sample: sample.family)]
    stages = [stage for stage in chart.stages if stage in panel.measured]
    gap = FAMILIES_APART if len(families) > 1 else 0
    room = width - LEFT - 12 - gap * (len(families) - 1)
    pitch = min(room / max(len(panel.samples), 1), WIDEST_GROUP)
    bar = min(WIDEST_BAR, pitch * 0.8 / max(len(chart.stages), 1))
    bottom = TOP + PLOT
    parts, x = [], LEFT + 8.0
    for name, members in families:
        for sample in members:
            start = x + (pitch - bar * len(stages)) / 2
            for place, stage in enumerate(stages):
                parts += _bar(chart, sample, stage, start + place * bar, bar, at)
            label = "kept" if sample.kept else sample.label
            if pitch >= max(ROOM_FOR_LABEL, 6.6 * len(label)) or (sample.kept and len(members) == 1):
                parts.append(text(x + pitch / 2, bottom + 16, label, "tick middle", sample.name))
            x += pitch
        if name:
            start = x - pitch * len(members)
            parts.append(line(start + 3, x - 3, bottom + 23, bottom + 23, "brace"))
            parts.append(text((start + x) / 2, bottom + 37, name, "note middle"))
        x += gap
    return parts


def _bar(chart: SampleChart, sample: Sampled, stage: str, x: float, width: float, at: Scale) -> list[str]:
    value = sample.values.get(stage)
    role = ", kept" if sample.kept else ""
    if value is None:
        return [group("", f"{sample.name}{role}, {stage}: not computed", [text(x + width / 2, at(0) - 3, "–", "note")])]
    top, bottom = sorted((at(value), at(0)))
    name = f"bar {tone(stage, chart.stages)}{' kept' if sample.kept else ''}"
    parts = [box(x, top, width - 1, bottom - top, name)]
    if width >= ROOM_FOR_VALUE:
        parts.append(text(x + (width - 1) / 2, top - 4, _brief(value), "tiny middle"))
    return [group("", f"{sample.name}{role}, {stage}: {chart.metric} {number(value, 3)}", parts)]


def _lines(chart: SampleChart, panel: Panel, width: float, at: Scale) -> list[str]:
    """A thin line per sample over the stages; the mean with its interval on top."""
    stages = [stage for stage in chart.stages if stage in panel.measured]
    step = (width - LEFT - 88) / max(len(stages) - 1, 1)
    place = {stage: LEFT + 26 + step * position for position, stage in enumerate(stages)}
    parts = []
    for sample in sorted(panel.samples, key=lambda sample: not sample.kept):
        points = [(place[stage], at(value)) for stage, value in sample.values.items() if stage in place]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        says = f"{sample.name}{', kept' if sample.kept else ''}, {sample.family}"
        parts.append(group("", says, [f'<polyline class="thread{" kept" if sample.kept else ""}" points="{path}"/>']))
    for stage, x in place.items():
        parts.append(text(x, TOP + PLOT + 17, stage, "tick middle"))
        point = panel.means.get(stage)
        if point is None:
            continue
        y = at(point.mean)
        spread = []
        if point.low is not None and point.high is not None:
            spread = [line(x, x, at(point.low), at(point.high), "whisker")]
        mark = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>'
        value = text(x + 10, y + 4, number(point.mean), "value halo")
        parts.append(group("mark with", f"{stage}: {spoken_value(point)}", [*spread, mark, value]))
    parts.append(text(LEFT + 8, TOP + PLOT + 37, _threads(panel), "note"))
    return parts


def _threads(panel: Panel) -> str:
    kept = sum(sample.kept for sample in panel.samples)
    return f"{len(panel.samples) - kept} samples, a line each · dashed: {kept} kept · dots: mean, 95 %"


def _numbers(panel: Panel) -> Numbers:
    records: Numbers = [
        {"panel": panel.heading, "kind": "kept" if sample.kept else "sample", "sample": sample.name,
         "family": sample.family, **sample.values}
        for sample in panel.samples
    ]  # fmt: skip
    if panel.null is not None:
        records.append(null_record(panel.null, panel=panel.heading))
    return records


def _label(chart: SampleChart) -> str:
    said = []
    for panel in chart.panels:
        means = ", ".join(f"{stage} {number(point.mean)}" for stage, point in panel.means.items())
        said.append(f"{panel.heading}: mean {means}" if means else f"{panel.heading}: nothing computed")
    return f"{chart.metric} of each sample by stage. " + "; ".join(said)


def _brief(value: float) -> str:
    """In three characters, as ".87" and "1.0": bars stand close."""
    return number(value).replace("0.", ".", 1) if value < 0.995 else "1.0"
