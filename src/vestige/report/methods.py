"""Tidy rows of many methods → a table of metrics by stage, with the gap of each to R0."""

from __future__ import annotations

from collections.abc import Mapping

from vestige.config import StudyConfig
from vestige.report.charts import SERIES, to_point
from vestige.report.record import Cell, ChartRow, Point, RowChart, Table, TableRow
from vestige.report.table import ARMS, Index, missing_run, planned
from vestige.report.words import describe, interval, number, signed

COLUMNS = (
    ("UA: error on the targets", "model", "UA", True),
    ("RA: accuracy on the retained", "model", "RA", True),
    ("TA: test accuracy", "model", "TA", True),
    ("Average gap to R0", "model", "average_gap", False),
    ("ToW", "model", "tow", False),
    ("MIA efficacy", "model", "mia_efficacy", True),
    ("JS divergence, nats", "model", "js", False),
    ("ZRF", "model", "zrf", True),
    ("Activation distance", "model", "activation_distance", False),
    ("Relearning, steps", "model", "relearn_steps", True),
    ("RTE: time, retraining = 1", "model", "rte", False),
    ("NCC target", "target", "ncc", True),
    ("Residual", "target", "residual", True),
)
"""Head, group and metric of each column, and whether its gap to R0 is shown: not where the metric is one itself."""
REFERENCE = "R0"


def methods_table(found: Index, config: StudyConfig, failed: Mapping[tuple[str, str], str]) -> Table | None:
    """One row per planned arm × stage, the columns that were measured at all. None where none was.

    A cell's gap is its mean minus that of R0 in the same arm; `apart` says whether their intervals do not overlap.
    """
    columns = [column for column in COLUMNS if any(key[2:] == column[1:3] for key in found)]
    if not columns:
        return None
    notes: dict[str, str] = {}
    rows = []
    for training, stage in planned(config):
        arm, what = ARMS[training], describe(stage)
        if not any(key[:2] == (training, stage) for key in found):
            rows.append(TableRow(arm, stage, what, (), f"not computed because {missing_run(failed, training, stage)}"))
            continue
        cells = tuple(_cell(found, training, stage, *column[1:], notes) for column in columns)
        rows.append(TableRow(arm, stage, what, cells))
    return Table(tuple(head for head, *_ in columns), tuple(rows), tuple((mark, why) for why, mark in notes.items()))


def gaps(found: Index, config: StudyConfig) -> RowChart | None:
    """The average gap to R0 of every stage, smallest first. None where there is none."""
    by_stage: dict[str, list[Point]] = {}
    for training, stage in planned(config):
        row = found.get((training, stage, "model", "average_gap"))
        if row is not None and row["mean"] is not None and stage != REFERENCE:
            by_stage.setdefault(stage, []).append(to_point(row))
    if not by_stage:
        return None
    rows = [ChartRow(stage, describe(stage), tuple(points), None) for stage, points in by_stage.items()]
    rows.sort(key=lambda row: row.points[0].mean)
    used = {point.series for row in rows for point in row.points}
    series = tuple(pair for pair in SERIES if pair[0] in used)
    return RowChart("Average gap to R0; 0 is like retraining", series, tuple(rows), reach=0.0)


def _cell(
    found: Index, training: str, stage: str, group: str, metric: str, relative: bool, notes: dict[str, str]
) -> Cell:
    row = found.get((training, stage, group, metric))
    if row is None or row["mean"] is None:
        why = "not computed because the result does not hold it for this stage."
        return Cell("–", note=notes.setdefault(why, chr(ord("a") + len(notes))))
    text, spread = number(row["mean"]), interval(row["low"], row["high"])
    reference = found.get((training, REFERENCE, group, metric))
    if not relative or stage == REFERENCE or reference is None or reference["mean"] is None:
        return Cell(text, spread)
    gap = row["mean"] - reference["mean"]
    apart = None
    if None not in (row["low"], row["high"], reference["low"], reference["high"]):
        apart = bool(row["low"] > reference["high"] or row["high"] < reference["low"])
    return Cell(text, spread, gap=signed(gap), apart=apart)
