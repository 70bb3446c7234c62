"""Files of records: JSON Lines, CSV, Parquet and Arrow streams, each as named columns, row by row."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vestige.types import InputError, MissingError

OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}
ROWS_AT_ONCE = 1024


class Reader(NamedTuple):
    """names(file) → its columns; rows(file, columns wanted) → the place and the values of each record."""

    names: Callable[[Path], list[str]]
    rows: Callable[[Path, list[str]], Iterator[tuple[str, Mapping[str, Any]]]]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file, with their numbers from 1. Raises InputError for other files."""
    number = 0
    try:
        with OPEN.get(path.suffix, open)(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                if b"\0" in raw:
                    raise InputError(f"{path} line {number}: holds a zero byte; this is not UTF-8 text")
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} line {number}: not UTF-8 text (byte 0x{error.object[error.start]:02x} at {error.start}); "
            "save it as UTF-8"
        ) from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if number == 0:
        raise InputError(f"{path} is empty")


def _jsonl_rows(path: Path, wanted: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} line {number}: not JSON: {error}") from None
        if not isinstance(values, dict):
            raise InputError(f"{path} line {number}: expected one JSON object a line, found {short(values)}")
        yield f"line {number}", values


def _jsonl_names(path: Path) -> list[str]:
    for _, values in _jsonl_rows(path, []):
        return list(values)
    raise InputError(f"{path} is empty")


def _csv_table(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV or TSV file, header first, each with the line that it starts in."""
    reader = csv.reader(
        (line for _, line in _lines(path)), delimiter="\t" if path.suffix == ".tsv" else ",", strict=True
    )
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{path} line {start}: not CSV: {error}; is a quote left open?") from None
        if cells is None:
            return
        if cells:
            yield start, cells


def _csv_names(path: Path) -> list[str]:
    _, names = next(_csv_table(path), (0, []))
    if not names:
        raise InputError(f"{path} is empty")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{path} line 1: two columns are called {twice[0]!r}")
    return names


def _csv_rows(path: Path, wanted: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    names = _csv_names(path)
    table = _csv_table(path)
    next(table)
    for number, cells in table:
        if len(cells) != len(names):
            raise InputError(f"{path} line {number}: {len(cells)} values for {len(names)} columns")
        yield f"line {number}", dict(zip(names, cells, strict=True))


def _arrow(path: Path) -> Any:
    """An open Parquet file, or a stream of what the library datasets saved. Neither holds code that is run."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingError(f"{path} needs the package pyarrow; get it with: pip install 'vestige[text]'") from None
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    try:
        if path.suffix == ".parquet":
            return parquet.ParquetFile(path)
        return pa.ipc.open_stream(pa.memory_map(str(path)))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not {path.suffix[1:].capitalize()}: {error}") from None


def _arrow_names(path: Path) -> list[str]:
    opened = _arrow(path)
    names: list[str] = (opened.schema_arrow if path.suffix == ".parquet" else opened.schema).names
    return names


def _arrow_rows(path: Path, wanted: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import pyarrow as pa

    opened = _arrow(path)
    names = [name for name in wanted if name in _arrow_names(path)]
    row = 0
    try:
        if path.suffix == ".parquet":
            batches = opened.iter_batches(ROWS_AT_ONCE, columns=names)
        else:
            batches = (batch.select(names) for batch in opened)
        for batch in batches:
            for start in range(0, len(batch), ROWS_AT_ONCE):
                for values in batch.slice(start, ROWS_AT_ONCE).to_pylist():
                    yield f"row {row} (from 0)", values
                    row += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged after row {row}: {error}") from None


def _txt_names(path: Path) -> list[str]:
    return ["text", "label", "id"]


def _txt_rows(path: Path, wanted: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A file that is one text, in a folder that is called by its label."""
    label = path.parent.name
    text = "".join(line for _, line in _lines(path))
    yield "(the whole file)", {"text": text, "label": label, "id": f"{label}/{path.stem}"}


JSONL = Reader(_jsonl_names, _jsonl_rows)
CSV = Reader(_csv_names, _csv_rows)
ARROW = Reader(_arrow_names, _arrow_rows)
READERS: dict[str, Reader] = {
    ".jsonl": JSONL, ".jsonl.gz": JSONL, ".jsonl.xz": JSONL, ".csv": CSV, ".tsv": CSV, ".parquet": ARROW,
    ".arrow": ARROW, ".txt": Reader(_txt_names, _txt_rows),
}  # fmt: skip


def short(value: Any) -> str:
    """A value of the wrong kind as an error shows it."""
    if value is None:
        return "nothing"
    shown = repr(value)
    return f"{shown[:40]}{'…' * (len(shown) > 40)} ({type(value).__name__})"
