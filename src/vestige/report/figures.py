"""Figures: values → an SVG and the numbers that were drawn. Pure functions; looks are in figures.css."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np

from vestige.report.record import Block, ChartRow, Gallery, GalleryRow, Null, Point, Recovered
from vestige.report.words import briefly, number

Numbers = list[dict[str, Any]]
Scale = Callable[[float], float]
Drawn = tuple[list[str], Numbers]

ARMS = {"with": "with similar images in training", "without": "without them"}
SIDE, PITCH, SMALL = 120, 172, 37
HEAD, ROW = 50, 178
"""Gallery: side of a picture, distance of columns, side of a similar image, heights of head and row."""
SIMILAR_SHOWN = 12
LABELS, RIGHT, TOP, STEP = 300, 60, 66, 70
WIDTH = 960
MARGIN = 24
"""Chart: room for labels left and right and on top, height of a row, width of all; margin of a file."""
COLUMN_HEADS = {
    "before": ("Before unlearning", "trained on everything"),
    "R0": ("R0", "retrained without it"),
    "R1": ("R1", "nor its similar images"),
}


def standalone(svg: str, css: str) -> str:
    """The same figure as a file of its own: with its style, a background and a margin inside."""
    found = re.search(r'width="([\d.]+)" height="([\d.]+)" viewBox="[^"]*"', svg)
    if found is None:
        raise ValueError("standalone needs a figure of this module: one with width, height and viewBox")
    width, height = (float(side) + 2 * MARGIN for side in found.groups())
    size = f'width="{width:g}" height="{height:g}"'
    place = f'x="{-MARGIN}" y="{-MARGIN}" {size}'
    svg = svg.replace(found[0], f'{size} viewBox="{-MARGIN} {-MARGIN} {width:g} {height:g}"', 1)
    return svg.replace(">", f'><style>{css}</style><rect class="paper" {place}/>', 1) + "\n"


def recall_chart(rows: Sequence[ChartRow]) -> tuple[str, Numbers]:
    """Mean NCC of the targets by stage: one mark per arm with its 95 % interval, over the null's band.

    Returns the SVG and one number record per mark and band, as drawn. Stages with nothing to draw say so.
    """
    floor = min([0.0, *(point.mean for row in rows for point in row.points)])
    low = float(np.floor(floor * 5) / 5)
    height = TOP + STEP * len(rows) + 34

    def at(value: float) -> float:
        return LABELS + (min(max(value, low), 1.0) - low) / (1 - low) * (WIDTH - LABELS - RIGHT)

    parts, numbers = _axis(low, at, height), []
    for position, row in enumerate(rows):
        drawn, found = _chart_row(row, TOP + position * STEP, at, first=position == 0)
        parts += drawn
        numbers += found
    label = "Recall of the targets by stage: " + "; ".join(_spoken(record) for record in numbers)
    return _svg(WIDTH, height, label, parts, "recall"), numbers


def gallery(blocks: Sequence[Block]) -> list[tuple[str, Numbers]]:
    """One figure per training arm: each target, its similar images, and what comes back at each stage."""
    return [_block(block, _similar_width(blocks)) for block in blocks]


def stack(figures: Sequence[str], pictures: Gallery) -> str:
    """The gallery's figures as one, each under a heading: for use outside a page."""
    parts: list[str] = []
    top, width = 0.0, 0.0
    for svg, block in zip(figures, pictures.blocks, strict=True):
        wide, high = _block_size(block, _similar_width(pictures.blocks))
        heading = f"{block.training.capitalize()} similar images in training"
        parts.append(_text(0, top + 14, heading, "heading"))
        parts.append(svg.replace("<svg ", f'<svg y="{top + 32}" ', 1))
        top, width = top + high + 48, max(width, wide)
    label = f"Targets and their reconstructions, seed {pictures.seed}"
    return _svg(width, max(top - 16, 0), label, parts, "gallery")


def png(pixels: np.ndarray) -> str:
    """A picture (C, H, W) uint8, grey or RGB, as a data: address."""
    from PIL import Image

    array = pixels.transpose(1, 2, 0) if pixels.shape[0] == 3 else pixels.mean(0).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _svg(width: float, height: float, label: str, parts: Sequence[str], name: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="figure {name}" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" '
        f'role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, name: str = "", title: str = "") -> str:
    tip = f"<title>{escape(title)}</title>" if title else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{name}">{tip}{escape(text)}</text>'


def _axis(low: float, at: Scale, height: float) -> list[str]:
    parts = []
    bottom = height - 30
    for tick in np.arange(round(low * 5), 6) / 5:
        x = at(float(tick))
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{bottom}"/>')
        parts.append(_text(x, bottom + 18, number(float(tick), 1), "tick middle"))
    parts.append(_text(0, 18, "Mean NCC of the targets", "heading"))
    for x, (training, name) in zip((LABELS + 7, LABELS + 262), ARMS.items(), strict=True):
        parts.append(f'<g class="mark {training}">{_shape(training, x, 14)}{_text(x + 16, 18, name)}</g>')
    return parts


def _chart_row(row: ChartRow, top: float, at: Scale, *, first: bool) -> Drawn:
    middle = top + STEP / 2
    parts = [
        f'<line class="rule" x1="0" x2="{WIDTH}" y1="{top + STEP}" y2="{top + STEP}"/>',
        _text(0, top + 26, row.stage, "stage"),
        *(_text(0, top + 43 + 15 * line, part, "note") for line, part in enumerate(_wrap(row.what))),
    ]
    numbers: Numbers = []
    if row.null is not None:
        parts += _null_band(row.null, top, at, first=first)
        numbers.append({"stage": row.stage, "kind": "null", "low": row.null.low, "mean": row.null.mean,
                        "high": row.null.high, "n": row.null.n})  # fmt: skip
    for point in row.points:
        apart = 0 if len(row.points) == 1 else 12
        parts += _mark(row.stage, point, middle + (-apart if point.training == "with" else apart), at)
        numbers.append({"stage": row.stage, "kind": point.training, "mean": point.mean, "low": point.low,
                        "high": point.high, "n": point.n, "seeds": point.seeds})  # fmt: skip
    if not row.points:
        parts.append(_text(LABELS + 8, middle + 4, "not computed because this stage was not carried out", "note"))
    return parts, numbers


def _null_band(null: Null, top: float, at: Scale, *, first: bool) -> list[str]:
    tip = f"Never seen, same class: mean {number(null.mean)}, 5–95 % {number(null.low)} to {number(null.high)}"
    left, right, x = at(null.low), at(null.high), at(null.mean)
    parts = [
        f'<g><title>{tip}, n = {null.n}</title><rect class="band" x="{left:.1f}" y="{top}" '
        f'width="{right - left:.1f}" height="{STEP}"/>'
        f'<line class="null" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + STEP}"/></g>'
    ]
    if first:
        parts.append(_text((left + right) / 2, top - 14, "never-seen images, 5–95 %", "note middle"))
    return parts


def _mark(stage: str, point: Point, y: float, at: Scale) -> list[str]:
    x = at(point.mean)
    spread = ""
    end = x + 8
    if point.low is not None and point.high is not None:
        end = max(end, at(point.high))
        spread = f'<line class="whisker" x1="{at(point.low):.1f}" x2="{at(point.high):.1f}" y1="{y}" y2="{y}"/>'
    tip = f"{stage}, {ARMS[point.training]}: {_spoken_value(point.mean, point.low, point.high)}, n = {point.n}"
    drawn = spread + _shape(point.training, x, y) + _text(end + 8, y + 4.5, number(point.mean), "value")
    return [f'<g class="mark {point.training}"><title>{escape(tip)}</title>{drawn}</g>']


def _shape(training: str, x: float, y: float) -> str:
    if training == "with":
        return f'<circle cx="{x:.1f}" cy="{y}" r="6.5"/>'
    return f'<path d="M{x:.1f} {y - 7.5}l7.5 7.5l-7.5 7.5l-7.5 -7.5z"/>'


def _block_size(block: Block, similar: float) -> tuple[float, float]:
    return SIDE + 28 + similar + PITCH * len(block.stages), HEAD + ROW * len(block.rows)


def _similar_width(blocks: Sequence[Block]) -> int:
    """Room for similar images, the same in every block so that the stages stand below each other."""
    most = max((len(row.similar) for block in blocks for row in block.rows), default=0)
    return max(-(-min(most, SIMILAR_SHOWN) // 3) * (SMALL + 4), 76) + 30 if most else 0


def _block(block: Block, similar: float) -> tuple[str, Numbers]:
    width, height = _block_size(block, similar)
    parts = [_text(0, 16, "To be forgotten", "heading"), _text(0, 33, "the target", "note")]
    if similar:
        where = "in training" if any(row.similar for row in block.rows) else "none in training"
        parts += [_text(SIDE + 28, 16, "Similar", "heading"), _text(SIDE + 28, 33, where, "note")]
    for column, stage in enumerate(block.stages):
        head, note = COLUMN_HEADS.get(stage) or (stage, briefly(stage))
        x = SIDE + 28 + similar + column * PITCH
        parts += [_text(x, 16, head, "heading"), _text(x, 33, note, "note")]
    numbers: Numbers = []
    for position, row in enumerate(block.rows):
        drawn, found = _gallery_row(row, HEAD + position * ROW, similar)
        parts += drawn
        numbers += [{"training": block.training, **record} for record in found]
    label = f"Targets and what comes back, {ARMS[block.training]}: " + "; ".join(
        f"{record['target']} {record['stage']} NCC {number(record['ncc'])}" for record in numbers
    )
    return _svg(width, height, label, parts, "gallery"), numbers


def _gallery_row(row: GalleryRow, top: float, similar: float) -> Drawn:
    parts = [
        _picture(0, top, SIDE, row.pixels, f"{row.target}, class {row.label}", "original"),
        _text(0, top + SIDE + 18, row.target if len(row.target) <= 18 else row.target[:17] + "…", "note", row.target),
        _text(0, top + SIDE + 33, f"class {row.label}", "note"),
    ]
    for place, (name, pixels) in enumerate(row.similar[:SIMILAR_SHOWN]):
        x, y = SIDE + 28 + place // 3 * (SMALL + 4), top + place % 3 * (SMALL + 4)
        parts.append(_picture(x, y, SMALL, pixels, name, "original"))
    if len(row.similar) > SIMILAR_SHOWN:
        parts.append(_text(SIDE + 28, top + SIDE + 18, f"+ {len(row.similar) - SIMILAR_SHOWN} more", "note"))
    numbers: Numbers = []
    for column, found in enumerate(row.recovered):
        parts += _recovered(SIDE + 28 + similar + column * PITCH, top, found)
        numbers.append({"target": row.target, "stage": found.stage, "ncc": found.ncc, "ssim": found.ssim,
                        "bar": found.bar, "back": found.back})  # fmt: skip
    return parts, numbers


def _recovered(x: float, y: float, found: Recovered) -> list[str]:
    if found.pixels is None or found.ncc is None:
        return [
            f"<g><title>{escape('not computed because ' + found.why)}</title>"
            f'<rect class="empty" x="{x}" y="{y}" width="{SIDE}" height="{SIDE}"/>',
            _text(x + SIDE / 2, y + SIDE / 2 + 4, "not computed", "note middle"),
            "</g>",
        ]
    back = found.back
    name, says = ("back", "comes back") if back else ("gone", "like never seen")
    tip = f"{found.stage}: NCC {number(found.ncc)}, SSIM {number(found.ssim)}; "
    tip += f"95 % of never-seen images of the class stay at or below NCC {number(found.bar)} in this model"
    dot = f'<circle class="dot {name}" cx="{x + 5:.1f}" cy="{y + SIDE + 29:.1f}" r="4"/>'
    return [
        _picture(x, y, SIDE, found.pixels, tip, name),
        _text(x, y + SIDE + 18, f"NCC {number(found.ncc)} · SSIM {number(found.ssim)}", "score"),
        dot,
        _text(x + 15, y + SIDE + 33, says, f"says {name}"),
    ]


def _picture(x: float, y: float, side: float, pixels: np.ndarray, title: str, name: str) -> str:
    place = f'x="{x:g}" y="{y:g}" width="{side}" height="{side}"'
    return (
        f'<g><title>{escape(title)}</title><image {place} href="{png(pixels)}"/>'
        f'<rect class="frame {name}" {place}/></g>'
    )


def _spoken(record: dict[str, Any]) -> str:
    who = "never seen" if record["kind"] == "null" else record["kind"]
    return f"{record['stage']} {who} {number(record['mean'])}"


def _spoken_value(mean: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"NCC {number(mean)}, no interval"
    return f"NCC {number(mean)}, 95 % interval {number(low)} to {number(high)}"


def _wrap(text: str, width: int = 44) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width)[:2]
