"""Two runs side by side: what differs in their settings, their claims, and every number that both have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vestige.report.words import interval, number, signed
from vestige.store import MARKER, read_json
from vestige.view.index import Listed

KEYS = ("variant", "training", "stage", "group", "metric")
"""What names a number of a run."""


@dataclass(frozen=True)
class Value:
    """A number as it is read: its text, interval and n."""

    text: str = "–"
    interval: str = ""
    n: str = ""


@dataclass(frozen=True)
class Matched:
    """One number of two runs. difference: the second minus the first, None where either is missing.

    apart: whether the two intervals do not overlap, "–" where that cannot be told.
    """

    key: tuple[str, ...]
    first: Value
    second: Value
    difference: float | None
    said: str
    apart: str


@dataclass(frozen=True)
class Comparison:
    """What the page of two runs shows. why: the reason where their numbers cannot be compared.

    settings: (key, of the first, of the second), those that differ. claims: (sentence, holds, holds, mean, mean).
    """

    first: Listed
    second: Listed
    why: str
    notes: tuple[str, ...]
    settings: tuple[tuple[str, str, str], ...]
    claims: tuple[tuple[str, str, str, str, str], ...]
    rows: tuple[Matched, ...]

    @property
    def varied(self) -> bool:
        """Whether any row belongs to a variant."""
        return any(row.key[0] for row in self.rows)


def why_not(first: Listed, second: Listed) -> str:
    """Why two runs cannot be compared; "" where they can."""
    for one in (first, second):
        if one.why:
            return f"{one.path} cannot be read: {one.why}"
        if not one.has_result:
            return f"{one.path} has no result yet"
        if not one.is_study:
            return f"{one.path} holds no study: there are no stages to compare"
    if first.modality != second.modality:
        return (
            f"{first.path} is about {_WORDS[first.modality]} and {second.path} about {_WORDS[second.modality]}: "
            "the two share the meaning of recall, not its scale"
        )
    return ""


_WORDS = {"image": "images", "text": "text"}


def compare(first: Listed, second: Listed) -> Comparison:
    """Two runs matched by variant, training, stage, group and metric.

    Raises InputError where a file of either cannot be read.
    """
    why = why_not(first, second)
    settings = _settings(first, second)
    if why:
        return Comparison(first, second, why, (), settings, (), ())
    ours, theirs = (read_json(one.root / "result.json") for one in (first, second))
    left, right = _by_key(ours), _by_key(theirs)
    rows = tuple(_matched(key, left.get(key), right.get(key)) for key in dict.fromkeys([*left, *right]))
    return Comparison(first, second, "", _notes(first, second), settings, _claims(ours, theirs), rows)


def _notes(first: Listed, second: Listed) -> tuple[str, ...]:
    """What must be known before a difference is read."""
    found = []
    if first.data != second.data:
        found.append(f"Different data ({first.data}, {second.data}): differences are not those of methods or settings.")
    if first.model != second.model:
        found.append(f"Different models ({first.model}, {second.model}).")
    found += [f"{one.path} is not complete." for one in (first, second) if one.status != "complete"]
    return tuple(found)


def _settings(first: Listed, second: Listed) -> tuple[tuple[str, str, str], ...]:
    ours, theirs = (_flat(_marker(one)) for one in (first, second))
    return tuple(
        (key, ours.get(key, "–"), theirs.get(key, "–"))
        for key in dict.fromkeys([*ours, *theirs])
        if ours.get(key) != theirs.get(key)
    )


def _marker(listed: Listed) -> dict[str, Any]:
    marker = {} if listed.why else read_json(listed.root / MARKER)
    config = marker.get("config")
    return {**(config if isinstance(config, dict) else {}), "version of vestige": marker.get("version"),
            "SHA-256 of the data": marker.get("source")}  # fmt: skip


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings by their whole key: train.steps."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return found


def _by_key(record: Mapping[str, Any]) -> dict[tuple[str, ...], Mapping[str, Any]]:
    return {tuple(str(row.get(key, "")) for key in KEYS): row for row in record["rows"]}


def _matched(key: tuple[str, ...], ours: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None) -> Matched:
    known = [row for row in (ours, theirs) if row is not None and row["mean"] is not None]
    if len(known) < 2:
        return Matched(key, _value(ours), _value(theirs), None, "–", "–")
    a, b = known
    difference = b["mean"] - a["mean"]
    apart = "–"
    if all(row[end] is not None for row in known for end in ("low", "high")):
        apart = "yes" if a["high"] < b["low"] or b["high"] < a["low"] else "no"
    return Matched(key, _value(a), _value(b), difference, signed(difference, 3), apart)


def _value(row: Mapping[str, Any] | None) -> Value:
    if row is None or row["mean"] is None:
        return Value()
    return Value(number(row["mean"], 3), interval(row["low"], row["high"], 3), f"n = {row['n']}")


def _claims(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[tuple[str, str, str, str, str], ...]:
    left, right = ({one["name"]: one for one in record["verdicts"]} for record in (ours, theirs))
    said = {None: "not computed", True: "yes", False: "no"}
    made = []
    for name in dict.fromkeys([*left, *right]):
        both = [side.get(name) for side in (left, right)]
        claim = next(one for one in both if one is not None)
        holds = [said[one["holds"]] if one else "not asked" for one in both]
        means = [number(one["mean"]) if one else "–" for one in both]
        made.append((f"{claim['claim']} ({claim['rule']})", holds[0], holds[1], means[0], means[1]))
    return tuple(made)
