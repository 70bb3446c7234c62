"""The verdicts and the main table: numbers with their intervals, and a reason where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vestige.config import AnyStudyConfig, StudyConfig
from vestige.report.record import Cell, Table, TableRow, Verdict
from vestige.report.words import describe, interval, number, plural
from vestige.stages import parse

COLUMNS = (
    ("NCC target", "target", "ncc"),
    ("Residual", "target", "residual"),
    ("NCC similar", "similar", "ncc"),
    ("NCC other", "other", "ncc"),
    ("NCC never seen, same class", "never_seen_same_class", "ncc"),
    ("In the first layer: AUC target", "target", "span_auc"),
    ("AUC members", "member", "auc"),
    ("TPR at 1 % FPR", "member", "tpr_at_1pct_fpr"),
    ("Test accuracy", "model", "test_accuracy"),
    ("Copies among widened", "model", "constructed_copies"),
)
"""Head, group and metric of each column."""

ARMS = {"with": "With similar images in training", "without": "Without similar images in training"}

BOTH = {"both": "with and without"}
"""A claim that compares the arms."""

Index = Mapping[tuple[str, str, str, str], Mapping[str, Any]]


def index(rows: Iterable[Mapping[str, Any]]) -> Index:
    """The tidy rows by (training, stage, group, metric)."""
    return {(row["training"], row["stage"], row["group"], row["metric"]): row for row in rows}


def planned(config: AnyStudyConfig) -> tuple[tuple[str, str], ...]:
    """Every (training, stage) of the plan, *with* first. R1 and widening exist *with* only."""
    return tuple(
        (training, stage)
        for training in sorted(config.training, key=lambda name: name != "with")
        for stage in config.stages
        if training == "with" or not parse(stage).needs_similar
    )


def main_table(found: Index, config: StudyConfig, failed: Mapping[tuple[str, str], str]) -> Table:
    """One row per planned arm × stage, also for those that were not carried out.

    failed: (training, stage) → why a run of it failed.
    """
    notes: dict[str, str] = {}

    def cell(training: str, stage: str, group: str, metric: str) -> Cell:
        row = found.get((training, stage, group, metric))
        if row is not None and row["mean"] is not None:
            return Cell(number(row["mean"]), interval(row["low"], row["high"]))
        reason = _reason(found, training, stage, metric, group)
        return Cell("–", note=mark(notes, f"not computed because {reason}"))

    rows = []
    for training, stage in planned(config):
        if any(key[:2] == (training, stage) for key in found):
            cells = tuple(cell(training, stage, group, metric) for _, group, metric in COLUMNS)
            rows.append(TableRow(ARMS[training], stage, describe(stage), cells))
        else:
            missing = f"not computed because {missing_run(failed, training, stage)}"
            rows.append(TableRow(ARMS[training], stage, describe(stage), (), missing))
    return Table(tuple(head for head, *_ in COLUMNS), tuple(rows), footnotes(notes))


def mark(notes: dict[str, str], why: str) -> str:
    """The mark of the footnote that says this, a new one where there is none yet."""
    return notes.setdefault(why, chr(ord("a") + len(notes)))


def footnotes(notes: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((one, why) for why, one in notes.items())


def missing_run(failed: Mapping[tuple[str, str], str], training: str, stage: str) -> str:
    """Why there is no result of this arm and stage."""
    why = failed.get((training, stage))
    return f"the run failed: {why.strip().splitlines()[-1]}" if why else "this run was not carried out"


def verdicts(records: Sequence[Mapping[str, Any]], noun: str = "images", unit: str = "") -> tuple[Verdict, ...]:
    """The claims in words. noun: what similar samples are. unit: what n counts; "" for what the quantity is of."""
    said = {None: "not computed", True: "yes", False: "no"}
    return tuple(
        Verdict(
            claim=record["claim"],
            instead="" if record["holds"] else record["sentence"],
            training=f"{BOTH.get(record['training'], record['training'])} similar {noun}",
            quantity=record["quantity"],
            mean=number(record["mean"]),
            interval=interval(record["low"], record["high"]) or "no interval",
            rule=record["rule"],
            holds=said[record["holds"]],
            clear=said[record["clear"]] if record["low"] is not None else "cannot tell",
            n=_count(record, unit),
        )
        for record in records
    )


def _count(record: Mapping[str, Any], unit: str) -> str:
    of = unit or ("target" if "of targets" in record["quantity"] else "sample")
    return f"{plural(record['n'], of)}, {plural(record['seeds'], 'seed')}" if record["n"] else "–"


def _reason(found: Index, training: str, stage: str, metric: str, group: str) -> str:
    if group == "similar":
        if training == "without":
            return "this training set holds no similar images."
        return "no similar images were made."
    if metric == "constructed_copies":
        if parse(stage).is_widened:
            return "the stage found no further image to forget."
        return "the stage does not look for similar images."
    if metric == "residual":
        reference = "R1" if training == "with" else "R0"
        if any((training, name, "target", "ncc") not in found for name in ("before", reference)):
            return f"it needs the stages before and {reference}."
        return f"before and {reference} are less than 0.05 apart: there was nothing to forget."
    return "the result does not hold it."
