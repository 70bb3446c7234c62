"""A contact sheet: small pictures in a grid, originals and what comes back of them."""

from __future__ import annotations

from collections.abc import Sequence

from vestige.report.gallery import frame, reconstruction, says
from vestige.report.record import Recovered, Sheet
from vestige.report.svg import WIDTH, Numbers, box, group, line, picture, svg, text
from vestige.report.words import number

LABELS = 110
LEAST, MOST = 52, 102
"""Room for the rows' heads; the least and the largest distance of columns."""
HEAD, UNDER, GAP = 46, 26, 8
"""Height of the columns' heads, room below a picture, room beside it."""


def draw(sheet: Sheet) -> tuple[str, Numbers]:
    """The SVG, and one number record per reconstruction."""
    pitch = min(max((WIDTH - 16 - LABELS) // max(len(sheet.columns), 1), LEAST), MOST)
    side = pitch - GAP
    parts = _heads(sheet, pitch)
    numbers: Numbers = []
    for position, (head, note, cells) in enumerate(sheet.rows):
        top = HEAD + position * (side + UNDER)
        middle = top + side / 2
        parts += [text(0, middle, head, "heading"), text(0, middle + 16, note, "note")]
        for column, (sample, found) in enumerate(cells):
            parts += _cell(LABELS + column * pitch, top, side, sample, found, sheet.kept)
            if found.stage != "original":
                numbers.append(reconstruction(sample, found))
    width = LABELS + pitch * len(sheet.columns)
    label = f"What comes back, seed {sheet.seed}: " + "; ".join(
        f"{record['sample']} {record['stage']} NCC {number(record['ncc'])}" for record in numbers
    )
    return svg(width, HEAD + len(sheet.rows) * (side + UNDER), label, parts, "gallery"), numbers


def _heads(sheet: Sheet, pitch: float) -> list[str]:
    """One head over neighbouring columns that share it, and one note over those of them that share that too."""
    parts = []
    for column, (head, note) in enumerate(sheet.columns):
        x = LABELS + column * pitch
        if column == 0 or head != sheet.columns[column - 1][0]:
            last = next((c for c in range(column, len(sheet.columns)) if sheet.columns[c][0] != head), None)
            span = (len(sheet.columns) if last is None else last) - column
            parts.append(text(x, 14, head, "heading"))
            if span > 1:
                parts.append(line(x, x + span * pitch - GAP, 37, 37, "rule"))
        if column == 0 or (head, note) != sheet.columns[column - 1]:
            parts.append(text(x, 30, note, "note"))
    return parts


def _cell(x: float, y: float, side: float, sample: str, found: Recovered, kept: Sequence[str]) -> list[str]:
    if found.pixels is None:
        missing = [box(x, y, side, side, "empty"), text(x + side / 2, y + side / 2 + 4, "–", "note middle")]
        return [group("", f"{sample}: not computed because {found.why}", missing)]
    if found.ncc is None:
        return [picture(x, y, side, found.pixels, sample, "original")]
    name = frame(found.back, kept=sample in kept)
    return [
        picture(x, y, side, found.pixels, f"{sample}, {says(found)}", name),
        text(x + side / 2, y + side + 15, number(found.ncc), f"middle says {name}"),
    ]
