"""What all figures are made of: elements, scales, pictures. Pure functions; looks are in figures.css."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np

from vestige.report.record import Null
from vestige.report.words import number

Numbers = list[dict[str, Any]]
"""What a figure drew: one record per mark, band or group."""
Scale = Callable[[float], float]
Drawn = tuple[list[str], Numbers]
WIDTH = 960
"""Of a full figure."""
MARGIN = 24
"""Around a figure that is a file of its own."""


def svg(width: float, height: float, label: str, parts: Sequence[str], name: str) -> str:
    """A whole figure. label: what it says, for those who cannot see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="figure {name}" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" '
        f'role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def standalone(figure: str, css: str) -> str:
    """The same figure as a file of its own: with its style, a background and a margin inside."""
    found = re.search(r'width="([\d.]+)" height="([\d.]+)" viewBox="[^"]*"', figure)
    if found is None:
        raise ValueError("standalone needs a figure of this module: one with width, height and viewBox")
    width, height = (float(side) + 2 * MARGIN for side in found.groups())
    size = f'width="{width:g}" height="{height:g}"'
    place = f'x="{-MARGIN}" y="{-MARGIN}" {size}'
    figure = figure.replace(found[0], f'{size} viewBox="{-MARGIN} {-MARGIN} {width:g} {height:g}"', 1)
    return figure.replace(">", f'><style>{css}</style><rect class="paper" {place}/>', 1) + "\n"


def text(x: float, y: float, content: str, name: str = "", title: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{name}">{tip(title)}{escape(content)}</text>'


def line(x1: float, x2: float, y1: float, y2: float, name: str) -> str:
    return f'<line class="{name}" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'


def box(x: float, y: float, width: float, height: float, name: str) -> str:
    return f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(height, 0):.1f}"/>'


def gauge(share: float) -> str:
    """A share 0…1 as a small bar within a line of text, beside its number."""
    width = 44 * min(max(share, 0.0), 1.0)
    return (
        '<svg class="gauge" width="44" height="5" viewBox="0 0 44 5" aria-hidden="true"><rect width="44" height="5"/>'
        f'<rect class="full" width="{width:.1f}" height="5"/></svg>'
    )


def tip(content: str) -> str:
    """What a mark says when it is pointed at."""
    return f"<title>{escape(content)}</title>" if content else ""


def group(name: str, title: str, parts: Sequence[str]) -> str:
    return f'<g class="{name}">{tip(title)}{"".join(parts)}</g>'


def picture(x: float, y: float, side: float, pixels: np.ndarray, title: str, name: str) -> str:
    place = f'x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}"'
    return f'<g>{tip(title)}<image {place} href="{png(pixels)}"/><rect class="frame {name}" {place}/></g>'


def png(pixels: np.ndarray) -> str:
    """A picture (C, H, W) uint8, grey or RGB, as a data: address."""
    from PIL import Image

    array = pixels.transpose(1, 2, 0) if pixels.shape[0] == 3 else pixels.mean(0).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round positions that span low … high, at most about `most` of them."""
    if high <= low:
        high = low + 1
    raw = (high - low) / max(most - 1, 1)
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * size for size in (1, 2, 5, 10) if unit * size >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [position * step for position in range(first, last + 1)]


def digits(marks: Sequence[float]) -> int:
    """How many decimals tell neighbouring ticks apart."""
    step = marks[1] - marks[0]
    return max(0, -math.floor(math.log10(step) + 1e-9))


def scale(low: float, high: float, start: float, end: float) -> Scale:
    """Values low … high → places start … end; what lies outside is drawn at the edge."""
    return lambda value: start + (min(max(value, low), high) - low) / (high - low) * (end - start)


def spread(places: Sequence[float], closest: float, limit: float) -> list[float]:
    """The places in order, moved apart so that no two names touch, and back up where they leave the plot at `limit`."""
    moved: list[float] = []
    for place in sorted(places):
        moved.append(max(place, moved[-1] + closest) if moved else place)
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - closest
    return moved


def short(name: str) -> str:
    """The last part of an id, as an axis label: mnist/213 → 213."""
    last = name.rsplit("/", 1)[-1]
    return last if len(last) <= 8 else last[:7] + "…"


def null_says(null: Null) -> str:
    if null.what:
        return f"{null.what}: {number(null.low)} to {number(null.high)}, n = {null.n}"
    return (
        f"never seen, same class: mean {number(null.mean)}, 5–95 % {number(null.low)} to {number(null.high)}, "
        f"n = {null.n}"
    )


def null_record(null: Null, **where: Any) -> dict[str, Any]:
    return {**where, "kind": "null", "mean": null.mean, "low": null.low, "high": null.high, "n": null.n}
