"""One row per arm and stage: what is left of every group, the residual, the flags."""

from __future__ import annotations

from collections.abc import Sequence

from vestige.knowledge import over_unlearned
from vestige.report.record import Cell, Table, TableRow
from vestige.report.table import footnotes, mark, missing_run, planned
from vestige.report.text.material import KM, TextMaterial
from vestige.report.text.words import by_arm, describe
from vestige.report.words import interval, number

COLUMNS = (
    ("KM target", "target", KM),
    ("KM similar", "similar", KM),
    ("KM held-out", "held_out", KM),
    ("KM near", "near", KM),
    ("KM other", "other", KM),
    ("Residual target", "target", "text_residual"),
    ("Residual similar", "similar", "text_residual"),
    ("Gibberish", "target", "gibberish"),
)
"""Head, group and metric of each column."""
ENHANCED_COLUMNS = (
    *COLUMNS[:5],
    ("Residual similar", "similar", "text_residual"),
    ("Residual held-out", "held_out", "text_residual"),
    ("Choice", "choices", "choice_accuracy"),
    ("Perplexity other", "other", "perplexity_ratio"),
    COLUMNS[-1],
)
"""The same of the studies of enhanced schemes."""
OVER = "Over-unlearned"
"""The head of the last column."""


def methods_table(material: TextMaterial, asked: Sequence[tuple[str, str, str]] = COLUMNS) -> Table | None:
    """One row per planned arm × stage, the columns that were measured at all. None where none was."""
    known = {key[2:] for key in material.found} | {(one["group"], one["metric"]) for one in material.missing}
    columns = [column for column in asked if column[1:] in known]
    if not columns:
        return None
    why: dict[tuple[str, ...], list[str]] = {}
    for one in material.missing:
        why.setdefault(tuple(one[key] for key in ("training", "stage", "group", "metric")), []).append(one["why"])
    notes: dict[str, str] = {}
    heads, rows = by_arm(material.arms), []
    plan = set(planned(material.config))
    for training, stage in [(arm, stage) for arm in material.arms for stage in material.stages if (arm, stage) in plan]:
        if not any(key[:2] == (training, stage) for key in material.found):
            gone = f"not computed because {missing_run(material.failed, training, stage)}"
            rows.append(TableRow(heads[training], stage, describe(stage, material.config), (), gone))
            continue
        cells = []
        for _, group, metric in columns:
            row = material.found.get((training, stage, group, metric))
            if row is not None and row["mean"] is not None:
                cells.append(Cell(number(row["mean"]), interval(row["low"], row["high"])))
            else:
                reasons = why.get((training, stage, group, metric)) or [_reason(stage, metric)]
                cells.append(Cell("–", note=mark(notes, f"not computed because {'; '.join(dict.fromkeys(reasons))}.")))
        cells.append(Cell(over(material, training, stage)))
        rows.append(TableRow(heads[training], stage, describe(stage, material.config), tuple(cells)))
    return Table((*(head for head, *_ in columns), OVER), tuple(rows), footnotes(notes))


def over(material: TextMaterial, training: str, stage: str) -> str:
    """How many targets are over-unlearned, of those that the base model knows anything of."""
    pairs = [(material.of(unit, training, stage, "target"), material.of(unit, training, "base", "target"))
             for unit in material.places]  # fmt: skip
    told = [over_unlearned(after, base) for after, base in pairs if after is not None and base is not None]
    known = [one for one in told if one is not None]
    return f"{sum(known)} of {len(known)}" if known and stage != "base" else "–"


def _reason(stage: str, metric: str) -> str:
    """Why there is no number where the result says nothing of it."""
    if metric == "text_residual" and stage in ("base", "before"):
        return "base and before are the ends of its scale"
    return "the result does not hold it for this stage"
