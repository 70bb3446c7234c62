"""Which runs a folder holds, and what the table of all runs says of each. Reads little, and only what has changed."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vestige.store import KINDS, MARKER
from vestige.types import InputError
from vestige.view import glance

DEPTH = 6
"""How many folders below the one that is shown a run folder may lie."""
RECENT = 600.0
"""Seconds for which a run without result counts as running after its last finished step."""
READ = (MARKER, "result.json", "run.json")
"""The files that are read, in this order."""
NUMBERS = ("before", "R0", "R1")
"""Stages whose mean recall of the targets is in the table; similar samples in training."""
RECALL = {"image": ("ncc", "NCC"), "text": ("rougeL_recall", "KM")}
"""The metric that says how much of a target comes back, and its short name, by modality."""

Signature = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class Listed:
    """What the table of all runs says of one. id: twelve hex digits that name it. path: below the folder shown.

    held, judged: claims that hold, of those that could be tested; of an audit: records that are forgotten, of all.
    recall: mean recall of the targets at `NUMBERS`, None where it was not measured. why: the reason where the folder
    cannot be read. touched: when a step last ended.
    stamp: times and sizes of what was read.
    """

    id: str
    path: str
    root: Path
    study: str = ""
    modality: str = ""
    preset: str = ""
    model: str = ""
    data: str = ""
    seeds: str = ""
    has_result: bool = False
    comparable: bool = False
    finished: str = ""
    held: int = 0
    judged: int = 0
    recall: tuple[float | None, ...] = (None,) * len(NUMBERS)
    why: str = ""
    touched: float = 0.0
    is_study: bool = False
    stamp: Signature = ()

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def has_recall(self) -> bool:
        return any(value is not None for value in self.recall)

    @property
    def status(self) -> str:
        """complete, partial, running, stopped or unreadable."""
        if self.why:
            return "unreadable"
        if self.touched > time.time() - RECENT:
            return "running"
        if not self.has_result:
            return "stopped"
        return "complete" if self.comparable else "partial"


class Index:
    """The runs below one folder. Files are read again only where their time or size has changed. Safe for threads."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise InputError(f"{root} is not a folder; name one that holds runs, as vestige view runs")
        self.root = root.resolve()
        self._known: dict[Path, Listed] = {}
        self._lock = threading.Lock()

    def runs(self) -> tuple[Listed, ...]:
        """Every run, the one that finished last first."""
        with self._lock:
            there = dict(_run_folders(self.root, DEPTH))
            self._known = {folder: listed for folder, listed in self._known.items() if folder in there}
            for folder, entries in there.items():
                self._noted(folder, entries)
            return self._sorted()

    def known(self) -> tuple[Listed, ...]:
        """The runs as they were when they were last looked at."""
        return self._sorted() if self._known else self.runs()

    def run(self, name: str) -> Listed | None:
        """The run with this id as it is now; None where there is none."""
        listed = next((one for one in self.known() if one.id == name), None)
        if listed is None:
            return None
        with self._lock:
            found = next(_run_folders(listed.root, 0), None)
            return self._noted(*found) if found else None

    def _sorted(self) -> tuple[Listed, ...]:
        return tuple(sorted(self._known.values(), key=lambda one: (one.finished, one.path), reverse=True))

    def _noted(self, folder: Path, entries: Mapping[str, os.DirEntry[str]]) -> Listed:
        """A run folder, read where it has changed since it was last looked at."""
        stamp = tuple(_stamp(entries.get(name)) for name in READ)
        made = stamp[1][0] / 1e9 if stamp[1] else 0.0
        steps = [entries[kind].stat(follow_symlinks=False).st_mtime for kind in KINDS if kind in entries]
        newest = max(steps, default=0.0)
        touched = newest if newest > made else 0.0
        listed = self._known.get(folder)
        if listed is None or listed.stamp != stamp:
            listed = _read(folder, self.root, stamp)
        self._known[folder] = listed if listed.touched == touched else replace(listed, touched=touched)
        return self._known[folder]


def _run_folders(root: Path, depth: int) -> Iterator[tuple[Path, Mapping[str, os.DirEntry[str]]]]:
    """Every run folder at most `depth` below, with what is in it. Links and hidden folders are not followed."""
    try:
        with os.scandir(root) as found:
            entries = {entry.name: entry for entry in found}
    except OSError:
        return
    if MARKER in entries:
        yield root, entries
    elif depth:
        for name in sorted(entries):
            if not name.startswith(".") and entries[name].is_dir(follow_symlinks=False):
                yield from _run_folders(root / name, depth - 1)


def _stamp(entry: os.DirEntry[str] | None) -> tuple[int, int] | None:
    if entry is None or not entry.is_file(follow_symlinks=False):
        return None
    facts = entry.stat(follow_symlinks=False)
    return facts.st_mtime_ns, facts.st_size


def _read(folder: Path, root: Path, stamp: Signature) -> Listed:
    """What a run folder says of itself. stamp: of the files in `READ`, None for one that is not there or is no file."""
    path = folder.relative_to(root).as_posix()
    raw = os.fsencode(folder.name if path == "." else path)
    name, shown = hashlib.sha256(raw).hexdigest()[:12], raw.decode("utf-8", "replace")
    marker, result, facts = (
        partial(_content, f"{folder}/{file}" if there else None) for file, there in zip(READ, stamp, strict=True)
    )
    made: dict[str, Any] = {}
    try:
        made = _made_with(json.loads(marker()))
        ended = json.loads(facts())
        made["finished"] = str(ended.get("finished", ""))[:19]
        if stamp[1]:
            made |= _found(glance.parts(result()), made, bool(ended.get("failed")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        made["why"] = f"{type(error).__name__}: {error}"
    return Listed(name, shown, folder, stamp=stamp, **made)


def _content(path: str | None) -> bytes:
    """A file of JSON, empty where there is none. As `Path.read_bytes`, in half the time: thousands are read at once."""
    if path is None:
        return b"{}"
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def _made_with(marker: Mapping[str, Any]) -> dict[str, Any]:
    """Which study a folder belongs to, by its marker."""
    config = marker.get("config", {})
    model, data = config.get("model") or {}, config.get("data") or {}
    named = isinstance(model, dict)
    return {
        "study": str(config.get("study") or ("audit" if "gate" in config else "")),
        "preset": str(config.get("preset", "")),
        "modality": str(config.get("modality", "")),
        "model": _last(str(model.get("source") or model.get("kind", ""))) if named else _last(str(model)),
        "data": _last(str(data.get("source") or "")) if isinstance(data, dict) else _last(str(data)),
        "seeds": str(config.get("seeds", "")),
    }


def _found(result: Mapping[str, bytes], made: Mapping[str, Any], failed: bool) -> dict[str, Any]:
    """What the result says in short. made: what the marker says. failed: whether any run did."""
    verdicts = glance.value(result, "verdicts", ())
    kind = str(glance.value(result, "kind", ""))
    told = [one["name"] == "forgotten" if kind == "audit" else one["holds"] for one in verdicts]
    judged = [bool(one) for one in told if one is not None]
    return {
        "study": made["study"] or kind or str(glance.value(result, "study", "")),
        "is_study": not kind and all(key in result for key in ("rows", "verdicts", "provenance")),
        "modality": made["modality"] or str(glance.value(result, "modality", "")),
        "has_result": True,
        "comparable": bool(glance.value(result, "comparable", True)) and not failed,
        "held": sum(judged),
        "judged": len(judged),
        "recall": _recall(result.get("rows", b""), made["modality"]),
    }


def _recall(rows: bytes, modality: str) -> tuple[float | None, ...]:
    metric = RECALL.get(modality, ("", ""))[0]
    means: dict[str, float | None] = {}
    if metric:
        wanted = (f'"metric": "{metric}"'.encode(), b'"group": "target"', b'"training": "with"')
        for row in glance.records(rows, *wanted):
            if not row.get("variant"):
                means[row["stage"]] = row["mean"]
                if all(stage in means for stage in NUMBERS):
                    break
    return tuple(means.get(stage) for stage in NUMBERS)


def _last(name: str) -> str:
    """A name, or the last part of a path."""
    return name.rstrip("/").rsplit("/", 1)[-1]
