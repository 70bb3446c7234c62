"""Results on standard output: one JSON document, or lines and tables that fit 80 columns."""

from __future__ import annotations

import sys
from typing import Any


def show_record(record: dict[str, Any], json: bool) -> None:
    """A record as one JSON document, or a line per entry."""
    from vestige.store import SCHEMA_VERSION, to_json

    if json:
        sys.stdout.write(to_json({"schema_version": SCHEMA_VERSION, **record}))
        return
    width = max(map(len, record))
    for key, value in record.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{key:<{width}}  {text if text != '' else '–'}")


COLUMNS = (
    ("target", "ncc", "NCC target"),
    ("similar", "ncc", "similar"),
    ("other", "ncc", "other"),
    ("never_seen_same_class", "ncc", "null"),
    ("member", "auc", "AUC"),
    ("model", "test_accuracy", "test acc."),
)

CAPTION = (
    "NCC of the best reconstruction (1: comes back verbatim); [95 % interval]; null: never-seen "
    "images of the targets' classes; AUC of members against never-seen images."
)


def show_table(rows: list[dict[str, Any]]) -> None:
    """The rows as a table that fits 80 columns: a line per arm and stage."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=None, pad_edge=False, padding=(0, 1), header_style="bold", caption=CAPTION, caption_justify="left"
    )
    for title in ("training", "stage"):
        table.add_column(title, no_wrap=True)
    for _, _, title in COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    cells = {(row["training"], row["stage"], row["group"], row["metric"]): row for row in rows}
    for training, stage in dict.fromkeys((row["training"], row["stage"]) for row in rows):
        found = [cells.get((training, stage, group, metric)) for group, metric, _ in COLUMNS]
        first, *others = ["–" if row is None else f"{row['mean']:.2f}" for row in found]
        table.add_row(training, stage, with_interval(found[0]) if found[0] else first, *others)
    Console().print(table)


def show_tuned(found: dict[str, dict[str, Any]]) -> None:
    """What tuning found: a line per method, and its settings."""
    print("gap: mean |Δ| to R0; time: as a share of retraining's\n")
    width = max(map(len, found))
    print(f"{'method':<{width}}    gap  nothing   time  settings")
    for method, entry in found.items():
        settings = ", ".join(f"{key} {value:g}" for key, value in entry["settings"].items())
        print(f"{method:<{width}}  {entry['gap']:.3f}    {entry['before']:.3f}  {entry['time']:>5.2f}  {settings}")


def with_interval(row: dict[str, Any], sign: str = "") -> str:
    """A row's mean with its interval, as 0.81 [0.76, 0.85]; sign "+" shows the sign of the mean."""
    mean, low, high = (None if row[key] is None else round(row[key], 2) + 0.0 for key in ("mean", "low", "high"))
    interval = f" [{low:.2f}, {high:.2f}]" if low is not None else ""
    return f"{mean:{sign}.2f}{interval}"


def show_verdict(verdict: dict[str, Any]) -> None:
    """A claim in two lines: what was found, and the numbers or why there are none."""
    if verdict["holds"] is None:
        print(f"–   {verdict['claim']}:\n    {verdict['sentence']}")
    else:
        print(f"{'yes' if verdict['holds'] else 'no '} {verdict['sentence']}")
        print(f"    {verdict['quantity']}: {with_interval(verdict, '+')}, n = {verdict['n']}")
