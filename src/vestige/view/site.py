"""What stands at which address. The server and the written copy both take their pages from here."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TypeVar

from vestige import report
from vestige.report import analysis, audit, difficulty
from vestige.report.facts import tidy
from vestige.store import read_json
from vestige.view import pages
from vestige.view.compare import Comparison, compare, why_not
from vestige.view.downloads import FORMATS, Rows
from vestige.view.index import Index, Listed
from vestige.view.samples import Sample, page_of, samples

ID = "[0-9a-f]{12}"
RUN, SAMPLE, TABLE, PAIR = (
    re.compile(pattern)
    for pattern in (
        f"run/({ID})/index.html",
        f"run/({ID})/sample-([0-9]{{1,6}}).html",
        f"run/({ID})/table.({'|'.join(FORMATS)})",
        f"compare/({ID})-({ID}).html",
    )
)
"""Every address but that of the table of all runs. Nothing of an address is ever taken for the name of a file."""
PAIRS = 200
"""Comparisons that a written copy holds at most."""
OPENED, KEPT = 2, 64
"""Runs whose pictures stay in memory, and pages."""

Made = TypeVar("Made")


@dataclass(frozen=True)
class Answer:
    """What stands at an address. policy: what a page may load, "" for a file."""

    media: str
    body: bytes
    policy: str = ""


class Site:
    """The pages of all runs below a folder. static: a copy that is written once. Safe for threads."""

    def __init__(self, root: Path, *, static: bool = False) -> None:
        self.index = Index(root)
        self.static = static
        self._opened: OrderedDict[Hashable, Whole | str] = OrderedDict()
        self._pages: OrderedDict[Hashable, Answer | None] = OrderedDict()
        self._lock = threading.RLock()

    def answer(self, path: str) -> Answer | None:
        """What stands at an address, as "run/0123456789ab/index.html"; None where nothing does.

        Raises MissingError where a package is needed for it.
        """
        with self._lock:
            if path == "index.html":
                return self._overview()
            if (match := PAIR.fullmatch(path)) and match[1] != match[2]:
                first, second = (self.index.run(name) for name in match.groups())
                return _page(pages.comparison(_compared(first, second))) if first and second else None
            match = next((found for one in (RUN, SAMPLE, TABLE) if (found := one.fullmatch(path))), None)
            listed = self.index.run(match[1]) if match else None
            if match is None or listed is None:
                return None
            if match.re is TABLE:
                media, write = FORMATS[match[2]]
                rows = _rows(listed)
                return Answer(media, write(rows)) if rows else None
            number = int(match[2]) if match.re is SAMPLE else None
            key = (path, listed.stamp, listed.status)
            return _kept(self._pages, key, KEPT, lambda: self._run(listed, number))

    def paths(self) -> Iterator[str]:
        """Every address of a written copy."""
        yield "index.html"
        for listed in self.index.known():
            folder = f"run/{listed.id}"
            yield f"{folder}/index.html"
            opened = self._open(listed)
            count = len(opened.samples) if isinstance(opened, Whole) else 0
            yield from (f"{folder}/sample-{number}.html" for number in range(count))
            if _rows(listed):
                yield from (f"{folder}/table.{ending}" for ending in FORMATS)
        yield from (f"compare/{first}-{second}.html" for first, second in self._pairs())

    def _overview(self) -> Answer:
        pairs = self._pairs() if self.static else None
        runs = self.index.known() if self.static else self.index.runs()
        return _page(pages.overview(runs, self.index.root.name or "/", pairs=pairs))

    def _pairs(self) -> tuple[tuple[str, str], ...]:
        """The comparisons of a written copy: the newest runs that can be compared."""
        found = (
            (second.id, first.id) for first, second in combinations(self.index.known(), 2) if not why_not(first, second)
        )
        return tuple(pair for pair, _ in zip(found, range(PAIRS), strict=False))

    def _run(self, listed: Listed, number: int | None) -> Answer | None:
        """The page of a run, or of one of its samples."""
        opened = self._open(listed)
        known = opened.samples if isinstance(opened, Whole) else ()
        if number is not None and number >= len(known):
            return None
        page = _drawn(listed, opened, number)
        rows = bool(opened.summary.tidy if isinstance(opened, Whole) else _rows(listed))
        return _page(pages.framed(page, listed, known, shown=number, rows=rows))

    def _open(self, listed: Listed) -> Whole | str:
        """A study that has been read; for what is none, or cannot be drawn, why."""
        return _kept(self._opened, (listed.id, listed.stamp), OPENED, lambda: _read(listed))


@dataclass(frozen=True)
class Whole:
    """A study that has been read, its page as a record, and its samples."""

    read: report.Opened
    summary: report.Summary
    samples: tuple[Sample, ...]


DRAWN: dict[str, Callable[[Path], str]] = {
    "analysis": lambda root: analysis.page(*analysis.read(root)),
    "audit": lambda root: report.page(audit.summarise(read_json(root / "result.json"), read_json(root / "run.json"))),
    "difficulty": lambda root: difficulty.page(*difficulty.read(root)),
}
"""What draws the pages of runs that are no studies, by their kind."""


def _read(listed: Listed) -> Whole | str:
    if not listed.is_study or listed.why:
        return listed.why
    try:
        opened = report.read(listed.root)
        return Whole(opened, report.sum_up(opened), samples(opened))
    except Exception as error:  # whatever one folder holds, the pages of the others stand
        return _broken(error)


def _drawn(listed: Listed, opened: Whole | str, number: int | None) -> str:
    """The page of a run or of its sample with this number; a plain one, with the reason, where it cannot be drawn."""
    why = opened if isinstance(opened, str) else ""
    try:
        if isinstance(opened, Whole):
            whole = opened.summary
            return report.page(whole if number is None else page_of(opened.read, whole, opened.samples[number]))
        if listed.has_result and not why and listed.study in DRAWN:
            return DRAWN[listed.study](listed.root)
    except Exception as error:  # as above
        why = _broken(error)
    return report.page(pages.plain(listed, why))


def _compared(first: Listed, second: Listed) -> Comparison:
    try:
        return compare(first, second)
    except Exception as error:  # as above
        return Comparison(first, second, f"{type(error).__name__}: {error}", (), (), (), ())


def _broken(error: Exception) -> str:
    return f"Its report cannot be drawn: {type(error).__name__}: {error}"


def _rows(listed: Listed) -> Rows:
    """The tidy table of a run, with what its metrics mean; empty where it has none."""
    if listed.why or not listed.has_result:
        return ()
    record = read_json(listed.root / "result.json")
    found = record.get("rows")
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    named = isinstance(record.get("metrics", {}), dict) and all("metric" in row for row in rows)
    return tidy(record, rows) if named else rows


def _page(text: str) -> Answer:
    return Answer("text/html; charset=utf-8", text.encode(), pages.policy(text))


def _kept(shelf: OrderedDict[Hashable, Made], key: Hashable, most: int, make: Callable[[], Made]) -> Made:
    """What was made before under this key, or make it; the least recently used goes where there are too many."""
    if key not in shelf:
        shelf[key] = make()
    shelf.move_to_end(key)
    while len(shelf) > most:
        shelf.popitem(last=False)
    return shelf[key]
