"""The tidy table of a run as a file that other programs read: CSV, JSON lines, Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vestige.types import MissingError

Rows = Sequence[Mapping[str, Any]]


def to_csv(rows: Rows) -> bytes:
    """One line per row under its heads, as RFC 4180; what does not exist is an empty cell."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns(rows), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def to_jsonl(rows: Rows) -> bytes:
    """One JSON object per line."""
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()


def to_parquet(rows: Rows) -> bytes:
    """A Parquet file. Raises MissingError where pyarrow is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingError("Parquet needs the package pyarrow: pip install 'vestige[view]'") from None
    names = columns(rows)
    table = pyarrow.table({name: [row.get(name) for row in rows] for name in names})
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out)
    return out.getvalue()


def columns(rows: Rows) -> list[str]:
    """The names of all values, in the order in which they first come."""
    return list(dict.fromkeys(name for row in rows for name in row))


FORMATS: dict[str, tuple[str, Callable[[Rows], bytes]]] = {
    "csv": ("text/csv; charset=utf-8", to_csv),
    "jsonl": ("application/jsonl; charset=utf-8", to_jsonl),
    "parquet": ("application/vnd.apache.parquet", to_parquet),
}
"""Ending → media type, and what makes the file of rows."""
