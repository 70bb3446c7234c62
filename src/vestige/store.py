"""Results on disk: folders named by fingerprint, written whole or not at all, never mixed.

A run folder holds `vestige.json` (the configuration it belongs to), one folder per finished step,
and at its top the study's `result.json`, `run.json` and `report.html` (an analysis: `analysis.html`). A step's folder
holds `result.json` (what is reproducible), `run.json` (times and host), and `tensors.safetensors`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vestige.config import AnyStudyConfig, Settings, StudyConfig, build_any, differences, fingerprint
from vestige.types import InputError

SCHEMA_VERSION = 1
MARKER = "vestige.json"
KINDS = ("data", "models", "scores", "influence", "outputs", "shadows", "encoded")
TOP_FILES = (MARKER, "result.json", "run.json", "report.html", "analysis.html", "difficulty.html",
             "runs.sqlite", "runs.sqlite-wal", "runs.sqlite-shm")  # fmt: skip
ROOM_NEEDED = 64 * 2**20


@dataclass(frozen=True)
class Entry:
    """One finished step: its facts and its arrays."""

    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]
    path: Path


@dataclass(frozen=True)
class Store:
    """The results under one run folder. Safe for several processes at once."""

    root: Path

    def folder(self, kind: str, name: str) -> Path:
        return self.root / kind / name

    def has(self, kind: str, name: str) -> bool:
        return (self.folder(kind, name) / "result.json").is_file()

    def save(
        self,
        kind: str,
        name: str,
        facts: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        run: Mapping[str, Any],
        texts: Mapping[str, str] | None = None,
    ) -> None:
        """Write one step so that it is either wholly there or not at all.

        facts must be reproducible; run is for times and host facts. A step that another process
        finished meanwhile is left as it is. texts: further files, name → content.
        """
        from safetensors.numpy import save

        def fill(draft: Path) -> None:
            tensors = draft / "tensors.safetensors"
            tensors.write_bytes(save({key: np.ascontiguousarray(value) for key, value in arrays.items()}))
            for file, content in (texts or {}).items():
                (draft / file).write_text(content, encoding="utf-8")
            record = {
                "schema_version": SCHEMA_VERSION,
                "fingerprint": name,
                "sha256": digest(tensors),
                **facts,
            }
            write_json(draft / "run.json", run)
            write_json(draft / "result.json", record)

        self._put(kind, name, fill)

    def adopt(self, other: Store, kind: str, name: str) -> bool:
        """Copy a finished step of another run folder, unless it is here already; whether one was copied.

        Raises InputError where the other's files are not what was written, or ours cannot be.
        """
        if self.has(kind, name) or not other.has(kind, name):
            return False
        source = other.load(kind, name).path
        return self._put(kind, name, lambda draft: shutil.copytree(source, draft, dirs_exist_ok=True))

    def facts(self, kind: str) -> list[dict[str, Any]]:
        """The facts of every finished step of this kind, in the order of their names."""
        return [read_json(path) for path in sorted((self.root / kind).glob("[!.]*/result.json"))]

    def load(self, kind: str, name: str) -> Entry:
        """A finished step, its hash verified. Raises InputError if the files are not what was written."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        folder = self.folder(kind, name)
        facts = read_json(folder / "result.json")
        tensors = folder / "tensors.safetensors"
        broken = InputError(
            f"{tensors} is not the file that was written there (its SHA-256 differs from result.json); "
            f"remove {folder} to have it made again"
        )
        if not tensors.is_file() or digest(tensors) != facts.get("sha256"):
            raise broken
        try:
            # by name: safetensors gives arrays back in an order of its own, a new one in every process
            return Entry(facts, dict(sorted(load_file(tensors).items())), folder)
        except SafetensorError:
            raise broken from None

    def _put(self, kind: str, name: str, fill: Callable[[Path], object]) -> bool:
        """Let `fill` write a step's folder, and put it in its place whole or not at all; whether it was put.

        It is not where another process was first. Raises InputError where it cannot be written.
        """
        final = self.folder(kind, name)
        draft = final.with_name(f".{name}.{uuid.uuid4().hex[:8]}")
        try:
            draft.mkdir(parents=True)
            fill(draft)
            draft.rename(final)  # fails where another process was first
        except OSError as error:
            if self.has(kind, name):
                return False
            raise InputError(_unwritten(final, error)) from None
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return True


def open_folder(root: Path, config: Settings, version: str, source: str, *, fresh: bool = False) -> Store:
    """Make `root` the folder of this configuration, or resume it. Nothing is written on refusal.

    source: digest of the data that the configuration names. fresh: first remove what vestige wrote there.
    Raises InputError for a folder of another configuration, code version or data file, for one that
    vestige did not make, and for one that cannot be written or is full.
    """
    ours = {"config": config.model_dump(mode="json"), "version": version, "source": source}
    marker = root / MARKER
    if root.exists() and not root.is_dir():
        raise InputError(f"the output {root} is a file; name a folder")
    if marker.is_file():
        theirs = {key: value for key, value in read_json(marker).items() if key in ours}
        if ours != theirs and not fresh and _has_results(root):
            lines = "\n  ".join(differences(ours, theirs))
            raise InputError(
                f"{root} holds results of another configuration:\n  {lines}\n"
                "choose another --out, or --fresh to remove them and start over"
            )
    elif root.is_dir() and not all(_is_draft(path) for path in root.iterdir()):
        raise InputError(f"{root} is not empty and vestige did not make it; choose another --out")
    _check_writable(root)
    if fresh and marker.is_file():
        clear(root)
    root.mkdir(parents=True, exist_ok=True)
    if not marker.is_file() or not _has_results(root):
        write_json(marker, {"schema_version": SCHEMA_VERSION, "name": fingerprint(ours), **ours})
    return Store(root)


def open_existing(root: Path) -> tuple[Store, AnyStudyConfig, dict[str, Any]]:
    """The store, configuration and marker of a folder that vestige made. Raises InputError otherwise."""
    marker = root / MARKER
    if not marker.is_file():
        raise InputError(f"{root} is not a run folder: it has no {MARKER}")
    record = read_json(marker)
    try:
        return Store(root), build_any(record["config"]), record
    except (KeyError, InputError) as error:
        raise InputError(f"{marker} was not made by this version of vestige: {error}") from None


def open_images(root: Path) -> tuple[Store, StudyConfig, dict[str, Any]]:
    """As `open_existing`, for what serves image studies only. Raises InputError for a folder of another kind."""
    store, config, record = open_existing(root)
    if not isinstance(config, StudyConfig):
        raise InputError(f"{root} holds the study {config.study} of a language model, and this takes studies of images")
    return store, config, record


def clear(root: Path) -> None:
    """Remove what vestige wrote in its run folder, and nothing else."""
    for kind in KINDS:
        shutil.rmtree(root / kind, ignore_errors=True)
    for file in TOP_FILES:
        (root / file).unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """Replace a file in one step: readers see the old content or the new, never half of it.

    Raises InputError where the disk is full or may not be written.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        draft.write_text(content, encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        raise InputError(_unwritten(path, error)) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    write_text(path, to_json(record))


def to_json(record: Mapping[str, Any]) -> str:
    """JSON with no NaN: a number that does not exist must be null, with a reason beside it."""
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object, found a {type(content).__name__}")
    return content


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has_results(root: Path) -> bool:
    """Whether any step was finished here; a folder where the first one failed can still change its configuration."""
    return any(path.is_file() for kind in KINDS for path in (root / kind).glob("[!.]*/result.json"))


def _unwritten(path: Path, error: OSError) -> str:
    return (
        f"could not write {path}: {error.strerror}; what was finished is kept, and once there is room the same "
        "command resumes"
    )


def _is_draft(path: Path) -> bool:
    """Whether this is what a kill left of a marker, or of the trial whether a folder can be written."""
    return path.is_file() and path.name.startswith((f".{MARKER}.", ".vestige-"))


def _check_writable(root: Path) -> None:
    parent = root
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise InputError(f"the output {root} lies under {parent}, which is not a folder")
    probe = parent / f".vestige-{uuid.uuid4().hex[:8]}"
    try:
        probe.write_bytes(b"\0" * 4096)
    except OSError as error:
        raise InputError(f"cannot write to {parent}: {error.strerror}; choose another --out") from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    free = shutil.disk_usage(parent).free
    if free < ROOM_NEEDED:
        raise InputError(
            f"only {free / 2**20:.0f} MiB are free in {parent}; a run needs at least "
            f"{ROOM_NEEDED / 2**20:.0f} MiB: free some room or choose another --out"
        )
