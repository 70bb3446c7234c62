"""What the models answer, question by question, and the records of single targets as plain rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vestige.report import table
from vestige.report.record import Asked, Dialogue, Listing, Reply
from vestige.report.text.material import KM, TextMaterial, Unit
from vestige.report.text.words import by_arm, describe
from vestige.report.words import plural

TARGETS_SHOWN, PARAPHRASES_SHOWN = 20, 3
"""Targets, and of each the paraphrases of either part, whose answers are on the page."""
PARTS = {"similar": "similar", "held_out": "held-out"}
OF_TARGET = (("probability", "probability"), ("extraction strength", "extraction_strength"), ("min-k", "min_k"),
             ("loss", "loss"), ("gibberish", "gibberish"))  # fmt: skip
"""Head and name of what is listed of the target beside KM."""
OF_GROUPS = (
    ("KM target", "target", KM), ("KM similar", "similar", KM), ("most similar", "similar", "worst"),
    ("KM held-out", "held_out", KM), ("most held-out", "held_out", "worst"), ("KM near", "near", KM),
    ("KM other", "other", KM),
)  # fmt: skip


def dialogues(material: TextMaterial) -> tuple[Dialogue, ...]:
    """What the models say to each target and to some of its paraphrases, at every stage, both arms side by side."""
    asked = {Unit(one["seed"], one["target"]) for one in material.answers}
    shown = [unit for unit in material.places if unit in asked][:TARGETS_SHOWN]
    return tuple(made for unit in shown if (made := dialogue(material, unit)))


def dialogue(material: TextMaterial, unit: Unit, most: int = PARAPHRASES_SHOWN) -> Dialogue | None:
    """What the models say to a target and to at most so many of its paraphrases of either part; None: not asked."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for one in material.answers:
        if (one["seed"], one["target"]) == unit:
            found.setdefault(one["id"], {}).setdefault(one["training"], one)
    asked = [_asked(material, name, by_arm_) for name, by_arm_ in found.items()]
    own = next((one for one in asked if one.role == "target"), None)
    if own is None:
        return None
    parts = [(role, [one for one in asked if one.role == role]) for role in PARTS]
    heads = tuple(by_arm(material.arms).values())
    heading = f"Target {material.places[unit]} of seed {unit.seed}"
    shown = tuple((_part(material, role, lot, most), tuple(lot[:most])) for role, lot in parts if lot)
    return Dialogue(heading, heads, own, shown)


def left_out(material: TextMaterial) -> int:
    """Targets whose answers are in result.json only."""
    return max(0, len({(one["seed"], one["target"]) for one in material.answers}) - TARGETS_SHOWN)


def listing(material: TextMaterial) -> Listing | None:
    """A row per target, arm and stage. None where there are no records."""
    heads = ("seed", "target", "id", "similar samples", "stage", *(head for head, *_ in OF_GROUPS),
             *(head for head, _ in OF_TARGET))  # fmt: skip
    rows = [
        (str(unit.seed), str(place), unit.target, arm, stage,
         *(material.of(unit, arm, stage, group, metric) for _, group, metric in OF_GROUPS),
         *(material.of(unit, arm, stage, "target", metric) for _, metric in OF_TARGET))
        for unit, place in material.places.items()
        for arm in material.arms
        for stage in material.stages
        if (unit, arm, stage, "target") in material.by_key
    ]  # fmt: skip
    what = f"{plural(len(rows), 'row')}, one per target, training set and stage"
    return Listing(what, heads, tuple(rows)) if rows else None


def _asked(material: TextMaterial, name: str, found: Mapping[str, Mapping[str, Any]]) -> Asked:
    """One question; its part is that which it has where its paraphrases are in training."""
    roles = {one["role"] for one in found.values()}
    first = next(iter(found.values()))
    rows = [
        (
            stage,
            describe(stage, material.config),
            tuple(_reply(material, found.get(arm), arm, stage) for arm in material.arms),
        )
        for stage in material.stages
    ]
    role = next(role for role in ("target", "similar", "held_out") if role in roles)
    return Asked(name, role, first["question"], first["truth"], tuple(rows))


def _reply(material: TextMaterial, one: Mapping[str, Any] | None, arm: str, stage: str) -> Reply:
    said = None if one is None else one["said"].get(stage)
    if said is not None:
        return Reply(said["answer"], said["rougeL_recall"])
    if (arm, stage) not in table.planned(material.config):
        return Reply(why="exists with similar samples only")
    if any(record["training"] == arm and record["stage"] == stage for record in material.records):
        return Reply(why="not asked")
    return Reply(why=f"not computed because {table.missing_run(material.failed, arm, stage)}")


def _part(material: TextMaterial, role: str, lot: Sequence[Asked], most: int) -> str:
    trained = role == "similar" and "with" in material.arms
    which = "trained on in the arm with similar samples" if trained else "never trained on"
    more = f" (the first {most} of them)" if len(lot) > most else ""
    what = f"A {PARTS[role]} question" if len(lot) == 1 else f"{len(lot)} {PARTS[role]} questions"
    return f"{what}, {which}{more}"
