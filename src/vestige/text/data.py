"""Text data: strict readers of questions and answers, record by record, with the place of every error."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vestige.assets import Asset, text_ending
from vestige.types import InputError, MissingError, Samples

PAIRS = (
    ("question", "answer"), ("prompt", "response"), ("instruction", "output"), ("input", "output"), ("text", ""),
)  # fmt: skip
"""Column names that are known without being told: question and answer."""

CHOICES = ("safer_response_id", "better_response_id")
"""Columns of PKU-SafeRLHF that say which of response_0 and response_1 was chosen; the first that is there is used."""

OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}
ROWS_AT_ONCE = 1024


class Record(NamedTuple):
    """One question and its answer. family, near: "" where the data say nothing.

    near: the family that it looks like without meaning the same.
    """

    id: str
    question: str
    answer: str
    family: str = ""
    near: str = ""


@dataclass(frozen=True)
class Columns:
    """Which columns are read. "" where there is none.

    answer: with `choice`, the columns answer_0 and answer_1, of which `choice` says 0 or 1.
    context: what is put below the question, where it is not empty (Alpaca's `input`).
    """

    question: str
    answer: str = ""
    id: str = ""
    context: str = ""
    choice: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that must be there."""
        answers = (f"{self.answer}_0", f"{self.answer}_1", self.choice) if self.choice else (self.answer,)
        return tuple(name for name in (self.question, *answers, self.id, self.context) if name)

    @property
    def words(self) -> str:
        """What is read, in words."""
        question = f"question: {self.question}" + (f" and {self.context}" if self.context else "")
        if self.choice:
            return f"{question}; answer: of {self.answer}_0 and {self.answer}_1 the one that {self.choice} names"
        return f"{question}; answer: {self.answer or 'none'}"


def load(asset: Asset, *, question: str = "", answer: str = "", id: str = "") -> Samples:
    """All questions and answers of a text set.

    question, answer, id: the columns to read; "" for those that are known (`PAIRS`, PKU-SafeRLHF's, `id`). With a
    question column alone there are no answers. Returns Samples with x (questions) and y (answers) numpy arrays of str,
    shape (N,), families where the data know them; ids from the column `id`, else "file/row" counted from 0.
    Raises InputError with file and line for anything malformed, MissingError where a package is needed.
    """
    found = list(records(asset, question=question, answer=answer, id=id))
    family = tuple(record.family for record in found)
    return Samples(
        tuple(record.id for record in found),
        np.array([record.question for record in found], dtype=object),
        np.array([record.answer for record in found], dtype=object),
        family=family if any(family) else (),
    )


def records(asset: Asset, *, question: str = "", answer: str = "", id: str = "") -> Iterator[Record]:
    """The records that `load` collects, one after the other as they are read. Of earlier ones only the ids are kept."""
    asset.expect("text")
    root = os.path.commonpath([file.parent for file in asset.files])
    seen: dict[str, str] = {}
    for file in asset.files:
        ending = text_ending(file)
        read = READERS[ending]
        columns = choose(read.names(file), file, question=question, answer=answer, id=id)
        stem = file.relative_to(root).as_posix().removesuffix(ending)
        row = -1
        for row, (place, values) in enumerate(read.rows(file, [*columns.names, "family", "near"])):
            record = _record(values, columns, f"{stem}/{row}", f"{file} {place}")
            if record.id in seen:
                raise InputError(f"{file} {place}: the id {record.id!r} is taken already, at {seen[record.id]}")
            seen[record.id] = f"{file} {place}"
            yield record
        if row < 0:
            raise InputError(f"{file} holds no records, only a header")


def columns(asset: Asset, *, question: str = "", answer: str = "", id: str = "") -> Columns:
    """Which columns `load` would read of the first file. Raises InputError as it does."""
    asset.expect("text")
    file = asset.files[0]
    return choose(READERS[text_ending(file)].names(file), file, question=question, answer=answer, id=id)


def choose(names: list[str], file: Path, *, question: str, answer: str, id: str) -> Columns:
    """The columns to read among these: those asked for, else those known. Raises InputError where there are none."""
    for name in (question, answer, id):
        if name and name not in names:
            raise InputError(f"{file} has no column {name!r}; its columns: {', '.join(names)}")
    if answer and not question:
        raise InputError(f"{file}: the answer column {answer!r} was named; name the question column too")
    id = id or ("id" if "id" in names else "")
    if question:
        return Columns(question, answer, id)
    for first, second in PAIRS:
        if first in names and (not second or second in names):
            context = "input" if first == "instruction" and "input" in names else ""
            return Columns(first, second, id, context)
    choice = next((name for name in CHOICES if name in names), "")
    if choice and {"prompt", "response_0", "response_1"} <= set(names):
        return Columns("prompt", "response", id, choice=choice)
    known = ", ".join("/".join(filter(None, pair)) for pair in PAIRS)
    raise InputError(
        f"{file} has no question and answer columns that are known ({known}); name them, as --question and --answer; "
        f"its columns: {', '.join(names)}"
    )


def texts(samples: Samples) -> list[str]:
    """Each record as one text: the question, and below it the answer where there is one."""
    return [f"{x}\n{y}" if y else x for x, y in zip(samples.x, samples.y, strict=True)]


def _record(values: Mapping[str, Any], columns: Columns, position: str, place: str) -> Record:
    def text(name: str) -> str:
        if name not in values:
            raise InputError(f"{place}: there is no column {name!r}; its columns: {', '.join(values)}")
        value = values[name]
        if not isinstance(value, str):
            raise InputError(f"{place}: {name} must be text, found {_short(value)}")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InputError(f"{place}: {name} holds half a character (a lone surrogate)") from None
        return value

    def mark(name: str) -> str:
        return text(name) if values.get(name) is not None else ""

    question = text(columns.question)
    if not question.strip():
        raise InputError(f"{place}: {columns.question} is empty")
    if columns.context and mark(columns.context).strip():
        question = f"{question}\n{text(columns.context)}"
    answer = columns.answer
    if columns.choice:
        chosen = values.get(columns.choice)
        if isinstance(chosen, bool) or chosen not in (0, 1, "0", "1"):
            raise InputError(f"{place}: {columns.choice} must be 0 or 1, found {_short(chosen)}")
        answer = f"{answer}_{chosen}"
    name = values.get(columns.id) if columns.id else position
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{place}: {columns.id} must be a text or a whole number, found {_short(name)}")
    return Record(name, question, text(answer) if answer else "", mark("family"), mark("near"))


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    shown = repr(value)
    return f"{shown[:40]}{'…' * (len(shown) > 40)} ({type(value).__name__})"


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
            raise InputError(f"{path} line {number}: expected one JSON object a line, found {_short(values)}")
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


JSONL = Reader(_jsonl_names, _jsonl_rows)
CSV = Reader(_csv_names, _csv_rows)
ARROW = Reader(_arrow_names, _arrow_rows)
READERS: dict[str, Reader] = {
    ".jsonl": JSONL, ".jsonl.gz": JSONL, ".jsonl.xz": JSONL, ".csv": CSV, ".tsv": CSV, ".parquet": ARROW,
    ".arrow": ARROW,
}  # fmt: skip
