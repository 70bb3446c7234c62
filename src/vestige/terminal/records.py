"""What several verbs print: a record, a mean with its interval, the frame of a table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def show_record(record: dict[str, Any], json: bool) -> None:
    """A record as one JSON document, or a line per entry."""
    from vestige.store import SCHEMA_VERSION, to_json

    if json:
        sys.stdout.write(to_json({"schema_version": SCHEMA_VERSION, **record}))
        return
    width = max(map(len, record))
    for key, value in record.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{key:<{width}}  {'–' if text in ('', None) else text}")


def with_interval(row: dict[str, Any], sign: str = "") -> str:
    """A row's mean with its interval, as 0.81 [0.76, 0.85]; sign "+" shows the sign of the mean."""
    mean, low, high = (None if row[key] is None else round(row[key], 2) + 0.0 for key in ("mean", "low", "high"))
    interval = f" [{low:.2f}, {high:.2f}]" if low is not None else ""
    return f"{mean:{sign}.2f}{interval}"


def framed(caption: str) -> Table:
    """An empty table without lines, its caption below."""
    from rich.table import Table

    return Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold", caption=caption, caption_justify="left")
