"""Whether a report is what was measured: hashes, evidence, verdicts and gate, computed again from what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vestige import store
from vestige.audit import evidence, folder, gate, verdict
from vestige.types import InputError

TOLERANCE = 1e-9


def check(path: Path) -> list[str]:
    """What differs in a report (result.json) from what it rests on, one sentence each; none where all agrees.

    Compared are the log's SHA-256 of the report, the SHA-256 of every stored step, evidence and cost with the stored
    answers, and verdicts, numbers and gate with what the rule makes of the evidence. Whoever can change all of these
    together is not found out: there is no signature. Raises InputError for what is not a report of an audit.
    """
    record = store.read_json(path)
    if record.get("kind") != "audit":
        raise InputError(f"{path} is not a report of vestige audit (result.json)")
    try:
        return [*_log(path, record), *_files(path.parent, record), *_answers(path.parent, record), *_rule(record)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"the report is not whole: {type(error).__name__}: {error}"]


def _log(path: Path, record: dict[str, Any]) -> list[str]:
    lot = {one.number: one for one in folder.entries(path.parent.parent)}
    entry = lot.get(record["number"])
    if entry is None or entry.finished is None:
        return [f"the log {path.parent.parent / folder.LOG} has no end of request number {record['number']}"]
    if entry.finished["report_sha256"] != store.digest(path):
        return ["the report is not the file that was written: its SHA-256 differs from the log's"]
    return []


def _files(root: Path, record: dict[str, Any]) -> list[str]:
    found = []
    for name, wanted in record["hashes"]["files"].items():
        file = root / name
        if not file.is_file():
            found.append(f"{name} is gone")
        elif store.digest(file) != wanted:
            found.append(f"{name} is not what was written: its SHA-256 differs")
    return found


def _answers(root: Path, record: dict[str, Any]) -> list[str]:
    """Where the evidence or the cost is not what the stored answers of the models make."""
    place, rests = store.Store(root), record["rests_on"]
    after, before = (place.load("outputs", rests[what]).arrays for what in ("after", "before"))
    lots = [[place.load(kind, name).arrays for name in rests[what]]
            for what, kind in (("without", "shadows"), ("free", "shadows"), ("hid", "outputs"))]  # fmt: skip
    levels = evidence.never_seen(lots[1] or lots[0], before)
    said = evidence.Said(after, before, lots[0], lots[1], [evidence.hidden(one, levels) for one in lots[2]])
    kept = len(record["found"]["kept"]) if record["found"]["searched"] else None
    found = []
    for at, one in enumerate(record["evidence"]):
        tests = [reading["test"] for reading in one["readings"] if reading["level"]]
        facts = (record["null"], kept, record["method"] == "retrain")
        made = evidence.of_record(record["asked"][at], at, tests, *facts, said)
        found += [f"{one['record']}: {line}" for line in _unlike(one, verdict.to_json(made))]
    cost = {"on": record["utility"]["on"], **evidence.utility_of(before, after)}
    found += [f"utility: {line}" for line in _unlike(record["utility"], cost)]
    found += [f"recall: {line}" for line in _unlike(record.get("recall"), evidence.recall_of(before, after))]
    unmoved = evidence.unmoved(before, after)
    return found + _unlike(record.get("unmoved", unmoved), unmoved, "unmoved")


def _unlike(said: Any, made: Any, *place: str) -> list[str]:
    """Where what a report says is not what was made of the stored answers, a line each; numbers up to TOLERANCE."""
    if isinstance(said, dict) and isinstance(made, dict):
        lines = []
        for key in dict.fromkeys([*said, *made]):
            lines += _unlike(said.get(key), made.get(key), *place, *([] if key == "readings" else [key]))
        return lines
    if isinstance(said, list | tuple) and isinstance(made, list | tuple) and len(said) == len(made):
        names = [[one["test"]] if isinstance(one, dict) and "test" in one else [] for one in said]
        lots = zip(said, made, names, strict=True)
        return [line for a, b, name in lots for line in _unlike(a, b, *place, *name)]
    numbers = isinstance(said, int | float) and isinstance(made, int | float)
    if said == made or (numbers and abs(said - made) <= TOLERANCE):
        return []
    return [f"{', '.join(place)}: the report says {said}, the stored answers {made}"]


def _rule(record: dict[str, Any]) -> list[str]:
    """Where verdicts, numbers or gate are not what follows from the evidence."""
    made = [verdict.decide(verdict.of_json(one)) for one in record["evidence"]]
    found = []
    if [one["record"] for one in record["verdicts"]] != [one.record for one in made]:
        found.append("the records that are judged are not those of the evidence")
    for said, one in zip(record["verdicts"], made, strict=False):
        if said["name"] != one.name:
            found.append(f"{one.record}: the report says {said['words']!r}, the rule gives {one.words!r}: {one.reason}")
        elif {**vars(one), "words": one.words} != said:
            found.append(f"{one.record}: the reason or the share left is not what follows from the evidence")
    told = verdict.numbers(made, record["utility"], record["request"]["utility"])
    if told != record["numbers"]:
        found.append(f"the numbers of the gate are not what follows: {told}")
    outcome = gate.judge(record["gate"]["expression"], told)
    if (outcome.holds, outcome.status) != (record["gate"]["holds"], record["gate"]["status"]):
        found.append(f"the gate: the report says {record['gate']['status']}, it gives {outcome.status}")
    return found
