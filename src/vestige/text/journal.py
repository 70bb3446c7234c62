"""The journal of a paraphrasing: every answer as it came, so that a kill loses what was under way and no more."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vestige.config import differences
from vestige.store import write_text
from vestige.types import InputError


class Journal:
    """The answers as they came, one JSON line each behind a line that says who was asked for what."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, identity: Mapping[str, Any], out: Path, *, fresh: bool) -> dict[str, dict[int, str]]:
        """Begin or resume; returns target → candidate → answer. A half-written last line is cut off.

        Raises InputError where the answers there were asked for otherwise, or `out` is a file of somebody else's.
        """
        if out.is_dir() or not out.parent.is_dir():
            raise InputError(f"--out {out} " + ("is a folder; name a file" if out.is_dir() else "is in no folder"))
        if not self.path.is_file():
            if out.exists():
                raise InputError(f"{out} is there already, and not made by this command; name another file")
            return self._begin(identity)
        if fresh:
            with contextlib.suppress(OSError):
                out.unlink(missing_ok=True)
            return self._begin(identity)
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if not whole:
            return self._begin(identity)
        if len(whole) < len(content):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        return self._read(whole, identity)

    def _begin(self, identity: Mapping[str, Any]) -> dict[str, dict[int, str]]:
        write_text(self.path, json.dumps(identity, ensure_ascii=False) + "\n")
        return {}

    def _read(self, whole: bytes, identity: Mapping[str, Any]) -> dict[str, dict[int, str]]:
        answers: dict[str, dict[int, str]] = {}
        for number, line in enumerate(whole.decode("utf-8", "replace").splitlines(), 1):
            try:
                values = json.loads(line)
                if number == 1:
                    theirs = dict(values)
                    continue
                answers.setdefault(values["target"], {}).setdefault(int(values["index"]), str(values["answered"]))
            except (ValueError, LookupError, TypeError):
                raise InputError(
                    f"{self.path} line {number} is damaged; remove that line, or start over with --fresh"
                ) from None
        if theirs != dict(identity):
            lines = "\n  ".join(differences(dict(identity), theirs))
            raise InputError(
                f"{self.path} holds answers that were asked for otherwise:\n  {lines}\nname another --out, or start "
                "over with --fresh"
            )
        return answers

    def add(self, target: str, index: int, answered: str) -> None:
        """Append one answer; it is on its way to the disk when this returns."""
        line = json.dumps({"target": target, "index": index, "answered": answered}) + "\n"
        try:
            with self.path.open("ab") as file:
                file.write(line.encode())
        except OSError as error:
            raise InputError(
                f"could not write {self.path}: {error.strerror}; what was answered before is kept, and once there is "
                "room the same command resumes"
            ) from None
