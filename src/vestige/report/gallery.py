"""Targets, their similar images, and what comes back of them at each stage, as pictures."""

from __future__ import annotations

from typing import Any

from vestige.report.record import Block, GalleryRow, Recovered
from vestige.report.svg import Drawn, Numbers, group, picture, svg, text
from vestige.report.words import briefly, number

SIDE, PITCH, SMALL = 120, 172, 37
HEAD, ROW = 50, 178
"""Side of a picture, distance of columns, side of a similar image, heights of head and row."""
SIMILAR_SHOWN = 12
TITLE = 34
"""Height of a block's heading."""
COLUMN_HEADS = {
    "before": ("Before unlearning", "trained on everything"),
    "R0": ("R0", "retrained without it"),
    "R1": ("R1", "nor its similar images"),
}


def draw(block: Block) -> tuple[str, Numbers]:
    """The SVG, and one number record per reconstruction."""
    similar = _similar_width(block.most_similar)
    arm = f"{block.training.capitalize()} similar images in training"
    parts = [text(0, 14, arm, "stage"), text(0, TITLE + 16, "Original", "heading")]
    parts.append(text(0, TITLE + 33, "to forget, or kept", "note"))
    if similar:
        where = "in training" if any(row.similar for row in block.rows) else "none in training"
        parts += [text(SIDE + 28, TITLE + 16, "Similar", "heading"), text(SIDE + 28, TITLE + 33, where, "note")]
    for column, stage in enumerate(block.stages):
        head, note = COLUMN_HEADS.get(stage) or (stage, briefly(stage))
        x = SIDE + 28 + similar + column * PITCH
        parts += [text(x, TITLE + 16, head, "heading"), text(x, TITLE + 33, note, "note")]
    numbers: Numbers = []
    for position, row in enumerate(block.rows):
        drawn, found = _row(row, TITLE + HEAD + position * ROW, similar)
        parts += drawn
        numbers += [{"training": block.training, **record} for record in found]
    width = SIDE + 28 + similar + PITCH * len(block.stages)
    label = f"{arm}: each target and what comes back of it, seed {block.seed}: " + "; ".join(
        f"{record['sample']} {record['stage']} NCC {number(record['ncc'])}" for record in numbers
    )
    return svg(width, TITLE + HEAD + ROW * len(block.rows), label, parts, "gallery"), numbers


def _similar_width(most: int) -> int:
    """Room for similar images."""
    return max(-(-min(most, SIMILAR_SHOWN) // 3) * (SMALL + 4), 76) + 30 if most else 0


def _row(row: GalleryRow, top: float, similar: float) -> Drawn:
    name = row.target if len(row.target) <= 18 else row.target[:17] + "…"
    parts = [
        picture(0, top, SIDE, row.pixels, f"{row.target}, class {row.label}", "original"),
        text(0, top + SIDE + 18, name, "note", row.target),
        text(0, top + SIDE + 33, f"class {row.label}{', kept' if row.kept else ''}", "note"),
    ]
    for place, (similar_name, pixels) in enumerate(row.similar[:SIMILAR_SHOWN]):
        x, y = SIDE + 28 + place // 3 * (SMALL + 4), top + place % 3 * (SMALL + 4)
        parts.append(picture(x, y, SMALL, pixels, similar_name, "original"))
    if len(row.similar) > SIMILAR_SHOWN:
        parts.append(text(SIDE + 28, top + SIDE + 18, f"+ {len(row.similar) - SIMILAR_SHOWN} more", "note"))
    numbers: Numbers = []
    for column, found in enumerate(row.recovered):
        parts += _recovered(SIDE + 28 + similar + column * PITCH, top, found, kept=row.kept)
        numbers.append(reconstruction(row.target, found))
    return parts, numbers


def reconstruction(sample: str, found: Recovered) -> dict[str, Any]:
    """The numbers of one reconstruction, as drawn."""
    return {"sample": sample, "stage": found.stage, "ncc": found.ncc, "ssim": found.ssim, "bar": found.bar,
            "back": found.back}  # fmt: skip


def says(found: Recovered) -> str:
    """What a reconstruction shows when it is pointed at."""
    return (
        f"{found.stage}: NCC {number(found.ncc)}, SSIM {number(found.ssim)}; "
        f"95 % of never-seen images of the class stay at or below NCC {number(found.bar)} in this model"
    )


def frame(back: bool | None, *, kept: bool) -> str:
    """The style of a reconstruction: of a kept sample it is no alarm that it comes back."""
    if back is None:
        return "original"
    return ("kept" if kept else "back") if back else "gone"


def _recovered(x: float, y: float, found: Recovered, *, kept: bool) -> list[str]:
    if found.pixels is None or found.ncc is None:
        place = f'x="{x}" y="{y}" width="{SIDE}" height="{SIDE}"'
        missing = text(x + SIDE / 2, y + SIDE / 2 + 4, "not computed", "note middle")
        return [group("", f"not computed because {found.why}", [f'<rect class="empty" {place}/>', missing])]
    name = frame(found.back, kept=kept)
    verdict = {True: "comes back", False: "like never seen", None: "no null of its class"}[found.back]
    return [
        picture(x, y, SIDE, found.pixels, says(found), name),
        text(x, y + SIDE + 18, f"NCC {number(found.ncc)} · SSIM {number(found.ssim)}", "score"),
        f'<circle class="dot {name}" cx="{x + 5:.1f}" cy="{y + SIDE + 29:.1f}" r="4"/>',
        text(x + 15, y + SIDE + 33, verdict, f"says {name}"),
    ]
