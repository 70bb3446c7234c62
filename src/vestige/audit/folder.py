"""The folder of an audit: one after the other, what was asked and done, who may write, how to go back.

audit.jsonl        one line per event, only ever appended to
001-9f3c…/         the first request: its steps, result.json and report.html
002-…/             the second, which starts from the model that the first one left
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vestige.store import Store
from vestige.types import InputError

LOG, LOCK = "audit.jsonl", "audit.lock"
Event = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A request as the log has it. finished: what its end says, None while it is open."""

    number: int
    request: str
    folder: str
    parent: int
    begun: Event
    finished: Event | None = None
    rolled_back: bool = False

    @property
    def leaves_a_model(self) -> bool:
        """Whether later requests start from its result."""
        return self.finished is not None and self.finished["model"] is not None


def entries(root: Path) -> list[Entry]:
    """What the log says, in order. A last line that was cut off does not count. Raises InputError for a damaged log."""
    found: dict[int, Entry] = {}
    for event in _events(root):
        number = event["number"]
        if event["event"] == "begun":
            found[number] = Entry(number, event["request"], event["folder"], event["parent"], event)
        elif event["event"] == "finished":
            found[number] = _changed(found[number], finished=event)
        else:
            found[number] = _changed(found[number], rolled_back=True)
    return list(found.values())


def active(root: Path) -> list[Entry]:
    """The requests that count: those that were not rolled back."""
    return [one for one in entries(root) if not one.rolled_back]


def begin(root: Path, request: str, identity: str, what: Mapping[str, Any]) -> Entry:
    """The entry of this request: the open or last one if it is the same, else a new one, which is logged.

    An open one that is another, and has done no more than search (it asked about similar records, say), is given up.
    request: what is asked, whatever came before it. identity: of data and model, the same for all requests of a
    folder. what: facts for the log. Raises InputError where another request is open, was done before, or is about
    other data or another model.
    """
    lot = active(root)
    if lot and lot[0].begun["identity"] != identity:
        raise InputError(
            f"{root} holds audits of other data or another model (see its {LOG}); choose another --out for these"
        )
    if lot and lot[-1].request == request:
        return lot[-1]
    again = next((one for one in lot if one.request == request), None)
    if again:
        raise InputError(
            f"this request was carried out in {root} before, as number {again.number}; its report is in "
            f"{again.folder}, and requests after it start from its result"
        )
    if lot and lot[-1].finished is None and not _was_only_searched(root / lot[-1].folder):
        raise InputError(
            f"request number {lot[-1].number} in {root} was begun and not finished; finish it by the same command as "
            f"before ({lot[-1].begun['file']}), or give it up with: vestige audit rollback {root}"
        )
    if lot and lot[-1].finished is None:
        roll_back(root, None)
    last = max((one.number for one in entries(root)), default=0)
    parent = next((one.number for one in reversed(lot) if one.leaves_a_model), 0)
    name = f"{last + 1:03d}-{request}"
    event = {"event": "begun", "number": last + 1, "request": request, "identity": identity, "folder": name,
             "parent": parent, **what}  # fmt: skip
    _append(root, event)
    return Entry(last + 1, request, name, parent, event)


def finish(root: Path, entry: Entry, what: Mapping[str, Any]) -> None:
    """Log the end of a request, once for each report: the last one counts."""
    if entry.finished is None or entry.finished["report_sha256"] != what["report_sha256"]:
        _append(root, {"event": "finished", "number": entry.number, **what})


def removed(root: Path, entry: Entry) -> tuple[str, ...]:
    """The records that had gone before this request, oldest first."""
    by_number = {one.number: one for one in entries(root)}
    gone: list[str] = []
    at = entry.parent
    while at:
        before = by_number[at]
        gone = [*(before.finished or {})["removed"], *gone]
        at = before.parent
    return tuple(gone)


def roll_back(root: Path, to: int | None) -> list[Entry]:
    """Undo the last request, or all after number `to` (0: all); nothing is removed from disk. Returns what was undone.

    Raises InputError where there is nothing to undo, or no such number.
    """
    lot = active(root)
    if not lot:
        raise InputError(f"{root} has no request that could be rolled back")
    if to is not None and to != 0 and to not in [one.number for one in lot]:
        raise InputError(
            f"--to {to}: the requests that count in {root} are {', '.join(str(one.number) for one in lot)}"
        )
    undone = [one for one in lot if one.number > to] if to is not None else lot[-1:]
    for one in reversed(undone):
        _append(root, {"event": "rolled back", "number": one.number})
    return undone


@contextmanager
def locked(root: Path, *, wait: bool) -> Iterator[None]:
    """While it lasts, no other audit writes here. Raises InputError where one does, unless it is waited for."""
    import fcntl

    if root.exists() and not root.is_dir():
        raise InputError(f"--out {root} is a file; name a folder")
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {root} cannot be written: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise InputError(
                f"another audit is at work in {root} (process {file.read().strip() or 'unknown'}); wait for it with "
                "--wait, or choose another --out"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _was_only_searched(place: Path) -> bool:
    """Whether nothing was forgotten or asked for a request; the model before may have been trained, to foresee."""
    asked = any(any((place / kind).glob("[!.]*/result.json")) for kind in ("outputs", "shadows"))
    return not asked and all(one.get("what") == "before" for one in Store(place).facts("models"))


def _events(root: Path) -> Iterator[Event]:
    path = root / LOG
    if not path.is_file():
        return
    lines = path.read_bytes().split(b"\n")
    for at, line in enumerate(lines[:-1], 1):  # what follows the last line's end was cut off
        try:
            event = json.loads(line)
        except ValueError:
            raise InputError(f"{path}:{at}: this line is not what was written; the log is damaged") from None
        yield event


def _append(root: Path, event: Mapping[str, Any]) -> None:
    """Add a whole line, on the disk before this returns."""
    path = root / LOG
    try:
        with path.open("r+b" if path.exists() else "w+b") as file:
            content = file.read()
            file.seek(content.rfind(b"\n") + 1)
            file.truncate()
            stamped = {**event, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
            file.write(json.dumps(stamped, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(f"could not write {path}: {error.strerror}; the same command resumes") from None


def _changed(entry: Entry, **fields: Any) -> Entry:
    from dataclasses import replace

    return replace(entry, **fields)
