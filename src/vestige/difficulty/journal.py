"""Thousands of small results in one file: an SQLite database that one process writes, each whole or not at all."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vestige.types import InputError

FILE = "runs.sqlite"


class Part(NamedTuple):
    """What one job made, or needs: facts and arrays."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Journal:
    """The results of jobs by name. Killed at any moment, it holds all that `put` returned from."""

    path: Path

    def names(self) -> set[str]:
        """The names of all results that are there."""
        if not self.path.exists():
            return set()
        return {name for (name,) in self._ask("SELECT name FROM results")}

    def put(self, name: str, part: Part, run: Mapping[str, Any]) -> None:
        """Keep one result; one that is there already stays. run: times and host facts, apart."""
        from safetensors.numpy import save

        blob = save({key: np.ascontiguousarray(value) for key, value in part.arrays.items()})
        facts = json.dumps(part.facts, ensure_ascii=False, allow_nan=False)
        row = (name, facts, blob, _digest(facts, blob), json.dumps(run))
        try:
            with closing(self._open()) as base, base:
                base.execute("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            raise InputError(
                f"could not write {self.path}: {error}; what was finished is kept, and once this is mended the same "
                "command resumes"
            ) from None

    def get(self, names: Iterable[str]) -> dict[str, Part]:
        """Those of these results that are there. Raises InputError where one is not what was written."""
        from safetensors.numpy import load

        wanted, found = set(names), {}
        if not wanted or not self.path.exists():
            return {}
        for name, facts, blob, digest in self._ask("SELECT name, facts, arrays, sha256 FROM results"):
            if name in wanted:
                if _digest(facts, blob) != digest:
                    raise self._broken("a result is not what was written")
                found[name] = Part(json.loads(facts), dict(sorted(load(blob).items())))  # by name, as in `store`
        return found

    def seconds(self) -> dict[str, float]:
        """How long each result took."""
        return {name: json.loads(run)["seconds"] for name, run in self._ask("SELECT name, run FROM results")}

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        try:
            with closing(self._open()) as base:
                return base.execute(query).fetchall()
        except sqlite3.Error as error:
            raise self._broken(str(error)) from None

    def _broken(self, why: str) -> InputError:
        return InputError(f"{self.path} cannot be read: {why}; remove it to have its runs made again")

    def _open(self) -> sqlite3.Connection:
        base = sqlite3.connect(self.path, timeout=60)
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("PRAGMA synchronous=NORMAL")
        base.execute(
            "CREATE TABLE IF NOT EXISTS results (name TEXT PRIMARY KEY, facts TEXT, arrays BLOB, sha256 TEXT, run TEXT)"
        )
        return base


def _digest(facts: str, blob: bytes) -> str:
    return hashlib.sha256(facts.encode() + b"\0" + blob).hexdigest()
