"""One request from its file to its report, in the folder of an audit."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vestige import __version__, executor, provenance, store
from vestige.audit import folder, material, own
from vestige.audit.find import Say
from vestige.audit.request import Written
from vestige.audit.steps import Audit, Parent
from vestige.audit.subject import Subject
from vestige.config import fingerprint
from vestige.store import Store
from vestige.types import InputError


@dataclass(frozen=True)
class Opened:
    """An audit in its folder, with its place in the log."""

    audit: Audit
    root: Path
    entry: folder.Entry


def subject_of(written: Written) -> Subject:
    """The subject that a request names. Raises InputError, or MissingError where a package is needed."""
    if written.request.model.language:
        from vestige.audit.texts import Texts

        return Texts.of(written)
    from vestige.audit.images import Images

    return Images.of(written)


def prepare(written: Written, store: Store, parent: Parent | None = None) -> Audit:
    """The audit of a request, everything checked that can be before training. Raises InputError and MissingError."""
    room = subject_of(written)
    data = material.load(written, parent.removed if parent else ())
    audit = Audit(written, data, room, store, own.code(written), parent)
    audit.check()
    return audit


@contextlib.contextmanager
def opened(written: Written, root: Path, *, wait: bool = False) -> Iterator[Opened]:
    """The audit of a request in its folder, which is locked meanwhile: begun anew, or resumed where it stands.

    All checks come before anything is written but the lock. Raises InputError and MissingError.
    """
    first = prepare(written, Store(root)) if not folder.entries(root) else None
    with folder.locked(root, wait=wait):
        identity = fingerprint(__version__, written.request.data, written.request.model.model_copy(
            update={"after": None}), written.request.seed)  # fmt: skip
        wanted = fingerprint("request", __version__, written.request, own.code(written))
        first = first or _rehearsed(written, root, wanted, identity)
        forget = first.material.forget if first else ()
        what = {"file": str(written.path), "records": list(forget), "data": first.material.source if first else ""}
        entry = folder.begin(root, wanted, identity, what)
        parent = _parent(root, entry)
        place = root / entry.folder
        audit = replace(first, store=Store(place)) if first and first.parent == parent else None
        audit = audit or prepare(written, Store(place), parent)
        opened_store = store.open_folder(place, written.request, __version__, audit.material.source)
        yield Opened(replace(audit, store=opened_store), root, entry)


def plan(written: Written, root: Path, say: Say) -> dict[str, Any]:
    """What would be done and what it would cost. Nothing is kept: the search has a folder that is removed."""
    lot = [one for one in folder.active(root) if one.leaves_a_model]
    parent = _parent_of(root, lot[-1]) if lot else None
    with tempfile.TemporaryDirectory(prefix="vestige-plan-") as place:
        audit = prepare(written, Store(Path(place)), parent)
        found, costs = audit.found(say), audit.costs(say)
        return {
            "kind": "audit plan",
            "modality": audit.material.modality,
            "asked": list(audit.material.forget),
            "trained_on": None if audit.blind else len(audit.material.trained),
            "after_request": lot[-1].number if lot else 0,
            "found": {
                key: found[key] for key in ("by", "rule", "null", "searched", "records", "removed", "kept", "ask")
            },
            **audit.outcome(say),
            "difficulty": _difficulty(audit, root, costs, say),
            "costs": costs,
            "null": audit.null,
            "gate": written.request.gate,
        }


def _difficulty(audit: Audit, root: Path, costs: list[dict[str, Any]], say: Say) -> dict[str, Any]:
    """How hard the records will be to forget, told without training: by weights, or what a step here trained."""
    begun = (replace(audit, store=Store(root / one.folder)) for one in folder.entries(root))
    there = next((one for one in (audit, *begun) if one.has_before), None)
    if there is None and not audit.subject.no_predictor:
        return {
            "missing": f"the model before tells it, and has to be trained first, in about {costs[0]['seconds']:g} s: "
            f"vestige audit {audit.written.path} --until foresee; the report says it in any case"
        }
    return audit.difficulty((there or audit).before, say)


@dataclass(frozen=True)
class Apprentice:
    """Trains models for comparison in a worker process, which loads the data once."""

    written: Written
    store: Store
    parent: Parent | None

    @cached_property
    def audit(self) -> Audit:
        return prepare(self.written, self.store, self.parent)

    def __call__(self, job: tuple[tuple[str, ...], int]) -> None:
        with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints is no part of the result
            self.audit.reference(*job, executor.say)


def side_by_side(audit: Audit, workers: int, say: Say) -> None:
    """Train the models for comparison in so many processes at once; what fails there, `Audit.verify` tries again.

    The results are the same to the bit: each process computes with one thread, as this one does.
    """
    if workers == 1:
        return
    audit.check_ready(say)
    audit.foreseen(say)
    audit.forget(say)  # what can go wrong goes wrong here first
    work = Apprentice(audit.written, audit.store, audit.parent)
    executor.run_local(work, audit.missing(), workers=workers, on_done=lambda job: None)


def until(audit: Audit, step: str, say: Say) -> dict[str, Any]:
    """Carry out the steps up to this one; what there is to say of it."""
    found = audit.found(say)
    done: dict[str, Any] = {"removed": len(found["removed"]), "kept": len(found["kept"])}
    if step == "find":
        return done
    if step != "foresee":
        audit.check_ready(say)
    done |= audit.foreseen(say)
    if step in ("forget", "verify"):
        audit.forget(say)
    if step == "verify":
        audit.verify(say)
    return done


def conclude(one: Opened, say: Say) -> dict[str, Any]:
    """Carry the audit to its report, write it, and log the end. Returns the record of result.json.

    What is finished stays as it was written; a report that is not there, or not the one in the log, is made again.
    """
    path = one.audit.store.root / "result.json"
    end = one.entry.finished
    if end and path.is_file() and store.digest(path) == end["report_sha256"]:
        return store.read_json(path)
    start = time.time()
    record = one.audit.report(say)
    record = {**record, "number": one.entry.number, "after_request": one.entry.parent}
    store.write_json(path, record)
    store.write_json(one.audit.store.root / "run.json", provenance.clock(start))
    given = one.audit.method == "given"
    folder.finish(
        one.root,
        one.entry,
        {
            "model": None if given else one.audit.model_name(say),
            "removed": [] if given else record["found"]["removed"],
            "status": record["gate"]["status"],
            "report_sha256": store.digest(path),
        },
    )
    return record


def _rehearsed(written: Written, root: Path, wanted: str, identity: str) -> Audit | None:
    """A request in a folder that has others, checked before it is logged; None where it is in the log already.

    Raises InputError where the data are no longer what earlier requests were about: their ids may mean other records.
    """
    lot = folder.active(root)
    if any(one.request == wanted for one in lot):
        return None
    parents = [one for one in lot if one.leaves_a_model]
    parent = _parent_of(root, parents[-1]) if parents else None
    audit = prepare(written, Store(root), parent)
    before = next((one for one in lot if one.begun["identity"] == identity and one.begun.get("data")), None)
    if before and not audit.blind and before.begun["data"] != audit.material.source:
        raise written.wrong(
            ("data",),
            f"the data are not those of request number {before.number} in {root} (SHA-256 {audit.material.source[:12]}…"
            f" now, {before.begun['data'][:12]}… then), and the same ids may mean other records; put them back as they "
            "were, with what was removed since (it is left out by the log), or choose another --out",
        )
    return audit


def _parent(root: Path, entry: folder.Entry) -> Parent | None:
    by_number = {one.number: one for one in folder.entries(root)}
    return _parent_of(root, by_number[entry.parent]) if entry.parent else None


def _parent_of(root: Path, entry: folder.Entry) -> Parent:
    if entry.finished is None:
        raise InputError(f"request number {entry.number} in {root} is not finished")
    gone = (*folder.removed(root, entry), *entry.finished["removed"])
    return Parent(Store(root / entry.folder), entry.finished["model"], gone)
