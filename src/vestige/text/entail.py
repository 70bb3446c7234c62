"""Similarity-entailed sets of questions and answers: targets, their paraphrases, others, and what is never trained on.

Both training arms come from one draw. *with* holds paraphrases of each target; *without* holds as many unrelated pairs
instead. The paraphrases of a target play three parts that share no text: trained on, kept for evaluation, and left for
methods that unlearn paraphrases.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from vestige.config import TextDataConfig
from vestige.random import stream
from vestige.store import Entry
from vestige.text.compose import compose
from vestige.text.data import Record, check_disjoint
from vestige.text.lexical import lexical
from vestige.types import InputError, Samples, Split, split_of

PARTS = {"train": "similar", "evaluate": "held_out", "unlearn": "spare"}
"""The role that a record may say it has → the part of the set that it may play."""


def entail(config: TextDataConfig, records: Sequence[Record], *, seed: int) -> tuple[Samples, Split]:
    """Draw the data set: all its pairs, and who plays which part. Deterministic for a seed.

    Raises InputError where the records cannot fill it, where an answer is empty, and where one text would play two
    parts.
    """
    _check_answers(records)
    families = _families(records)
    able = [name for name, members in families.items() if _serves(config, members)]
    if config.targets > len(able):
        known = f"{len(families)} families are there, {len(able)} of them large enough" if families else "there is none"
        raise InputError(
            f"{config.targets} targets with {config.similar} similar, {config.held_out} held-out and {config.spare} "
            f"spare paraphrases each were asked for; {known}. Lower these numbers, or make paraphrases: "
            "vestige data paraphrase"
        )
    draw = stream(seed, "data")
    chosen = [able[position] for position in _shuffled(len(able), draw)[: config.targets]]
    drawn = {name: _cast(config, _in_order(families[name], draw), draw) for name in chosen}
    targets = {name: parts["target"][0] for name, parts in drawn.items()}
    near = _near(config, records, families, targets)
    taken = {record.id for found in near.values() for record in found}
    pool = [record for record in records if not record.family and record.id not in taken and record.near not in targets]
    pool += [members[0] for name, members in families.items() if name not in drawn]
    # what the data call near to a chosen target, but is not taken, stays out: it is no unrelated pair
    pool = _in_order(pool, draw)
    needed = {"other": config.other, "refill": config.targets * config.similar, "never_seen": config.never_seen}
    if sum(needed.values()) > len(pool):
        each = ", ".join(f"{count} {what}" for what, count in needed.items())
        raise InputError(
            f"{sum(needed.values())} unrelated pairs are needed ({each}), {len(pool)} are there; lower "
            "data.other, data.never_seen, data.targets or data.similar, or give a larger set (--data; vestige data "
            "paraphrase --others takes pairs along)"
        )
    rest = iter(pool)
    unrelated = {what: [next(rest) for _ in range(count)] for what, count in needed.items()}
    used: dict[str, Record] = {}
    for record in [
        *(one for parts in drawn.values() for part in parts.values() for one in part),
        *(one for found in near.values() for one in found),
        *(one for found in unrelated.values() for one in found),
    ]:
        used[record.id] = record

    def by_target(part: str) -> dict[str, tuple[str, ...]]:
        return {targets[name].id: _ids(parts[part]) for name, parts in drawn.items()}

    split = Split(
        target=_ids(targets.values()),
        similar=by_target("similar"),
        other=(*dict.fromkeys(one.id for found in near.values() for one in found), *_ids(unrelated["other"])),
        near={targets[name].id: _ids(found) for name, found in near.items()},
        refill=_ids(unrelated["refill"]),
        held_out=by_target("held_out"),
        never_seen=_ids(unrelated["never_seen"]),
        test=(),
        spare=by_target("spare"),
    )
    check_disjoint(
        used[one]._replace(role=role)
        for name in split.target
        for role, ids in (("target", (name,)), *((role, getattr(split, part)[name]) for role, part in PARTS.items()))
        for one in ids
    )
    return _samples(used.values()), split


def to_entry(samples: Samples, split: Split, config: TextDataConfig, seed: int, source: str) -> dict[str, Any]:
    """What `Store.save` needs to keep a data set: facts (the manifest with the texts), and the data card."""
    texts = [[x, y] for x, y in zip(samples.x, samples.y, strict=True)]
    facts = {
        "kind": "data",
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "source_sha256": source,
        "ids": list(samples.ids),
        "family": list(samples.family),
        "texts": texts,
        "texts_sha256": _digest(texts),
        "split": asdict(split),
    }
    return {"facts": facts, "arrays": {}, "texts": {"card.md": _card(split, config, seed, source)}}


def from_entry(entry: Entry) -> tuple[Samples, Split]:
    """The data set that was kept. Raises InputError where its texts are not what was written."""

    facts = entry.facts
    if _digest(facts["texts"]) != facts["texts_sha256"]:
        raise InputError(f"{entry.path} is not what was written there; remove it to have it made again")
    x, y = (np.array([text[column] for text in facts["texts"]], dtype=object) for column in (0, 1))
    return Samples(tuple(facts["ids"]), x, y, family=tuple(facts["family"])), split_of(facts["split"])


def _check_answers(records: Sequence[Record]) -> None:
    for record in records:
        if not record.answer.strip():
            raise InputError(
                f"the pair {record.id!r} has no answer, and unlearning is about answers; remove it, or name the column "
                "of answers: --set data.answer=COLUMN"
            )


def _families(records: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.family:
            found.setdefault(record.family, []).append(record)
    return found


def _wanted(config: TextDataConfig) -> dict[str, int]:
    return {"similar": config.similar, "held_out": config.held_out, "spare": config.spare}


def _serves(config: TextDataConfig, members: Sequence[Record]) -> bool:
    """Whether a family is large enough to be a target's."""
    wanted = _wanted(config)
    if config.compose:
        wanted = {part: min(count, 1) for part, count in wanted.items()}
    told = Counter(PARTS[record.role] for record in members if record.role in PARTS)
    free = sum(record.role not in PARTS for record in members) - 1
    return free >= 0 and sum(max(0, wanted[part] - told[part]) for part in wanted) <= free


def _cast(config: TextDataConfig, members: Sequence[Record], generator: Any) -> dict[str, list[Record]]:
    """The members of one family in their parts; those that say theirs play it, the others fill up."""
    free = [record for record in members if record.role not in PARTS]
    target = next((record for record in free if record.role == "target"), free[0])
    rest = iter([record for record in free if record is not target])
    wanted = _wanted(config)
    parts = {
        part: [record for record in members if PARTS.get(record.role) == part][:count]
        for part, count in wanted.items()
    }  # fmt: skip
    # one each, in turn: where there are too few, every part has something to compose from
    while short := [part for part, count in wanted.items() if len(parts[part]) < count]:
        given = [(part, record) for part, record in zip(short, rest, strict=False)]
        if not given:
            break
        for part, record in given:
            parts[part].append(record)
    for part, count in wanted.items():
        if len(parts[part]) < count:
            parts[part] += _composed(parts[part], part, count - len(parts[part]), generator)
    return {"target": [target], **parts}


def _composed(records: Sequence[Record], part: str, count: int, generator: Any) -> list[Record]:
    """`count` paraphrases more, made of those of one part alone, so that parts share no text."""
    made = compose(_samples(records), records[0].family, count, generator=generator)
    return [
        Record(f"{name.rpartition('/')[0]}/{part}-{name.rpartition('/')[2]}", x, y, records[0].family)
        for name, x, y in zip(made.ids, made.x, made.y, strict=True)
    ]


def _near(
    config: TextDataConfig, records: Sequence[Record], families: dict[str, list[Record]], targets: dict[str, Record]
) -> dict[str, list[Record]]:
    """Family → pairs that look like its target and mean something else: those that the data name, else by wording."""
    if not config.near:
        return {name: [] for name in targets}
    single = [record for record in records if not record.family]
    found: dict[str, list[Record]] = {}
    taken: set[str] = set()
    for name, target in targets.items():
        named = [record for record in single if record.near == name]
        if not named and single:
            alike = lexical([_text(target)], [_text(record) for record in single])[0]
            named = [single[position] for position in alike.argsort(descending=True, stable=True).tolist()]
        found[name] = [record for record in named if record.id not in taken][: config.near]
        taken |= {record.id for record in found[name]}
    return found


def _shuffled(count: int, generator: Any) -> list[int]:
    import torch

    order: list[int] = torch.randperm(count, generator=generator).tolist()
    return order


def _in_order(records: Sequence[Record], generator: Any) -> list[Record]:
    return [records[position] for position in _shuffled(len(records), generator)]


def _samples(records: Iterable[Record]) -> Samples:
    found = list(records)
    x = np.array([record.question for record in found], dtype=object)
    y = np.array([record.answer for record in found], dtype=object)
    return Samples(tuple(record.id for record in found), x, y, family=tuple(record.family for record in found))


def _ids(records: Iterable[Record]) -> tuple[str, ...]:
    return tuple(record.id for record in records)


def _text(record: Record) -> str:
    return f"{record.question}\n{record.answer}"


def _digest(texts: list[list[str]]) -> str:
    return hashlib.sha256(json.dumps(texts, ensure_ascii=False).encode()).hexdigest()


def _card(split: Split, config: TextDataConfig, seed: int, source: str) -> str:
    families = "\n".join(f"| {name} | {', '.join(split.similar[name])} |" for name in split.target)
    return f"""# Data card

A similarity-entailed set of questions and answers drawn from `{config.source}` (SHA-256 {source}) with seed {seed}.

| part | pairs | trained on |
|---|---|---|
| targets (to be forgotten) | {len(split.target)} | both arms |
| similar (paraphrases of question and answer) | {len(split.all_similar())} | *with* |
| refill (unrelated) | {len(split.refill)} | *without* |
| other | {len(split.other)} | both arms |
| of these, near the targets | {len(split.all_near())} | both arms |
| held-out similar | {len(split.all_held_out())} | never |
| spare similar, for methods that unlearn paraphrases | {sum(map(len, split.spare.values()))} | never |
| never seen | {len(split.never_seen)} | never |

Each arm trains on {len(split.training("with"))} pairs.
Targets were drawn by the seed alone, before any model was tuned.

| target | its similar pairs |
|---|---|
{families}
"""
