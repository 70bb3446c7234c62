"""Similarity-entailed data sets: targets, their similar samples, others, and what is never trained on.

Both training arms come from one draw. *with* holds, per target, its similar samples; *without* holds as
many unrelated samples of the same class instead. Everything else is the same in both.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vestige.config import DataConfig
from vestige.random import stream
from vestige.store import Entry
from vestige.types import InputError, Samples, Split

if TYPE_CHECKING:
    from vestige.modality import Modality


def check(config: DataConfig, samples: Samples) -> None:
    """Raise InputError if these samples cannot fill the data set that is asked for."""
    import torch

    if config.targets > samples.classes:
        raise InputError(
            f"{config.targets} targets of different classes were asked for, the data has {samples.classes} "
            "classes; lower data.targets"
        )
    if config.similar + 1 > config.per_class:
        raise InputError(
            f"a target and its {config.similar} similar samples do not fit into {config.per_class} samples a "
            "class; lower data.similar or raise data.per_class"
        )
    needed = config.per_class + _share(config.never_seen, samples.classes) + _share(config.test, samples.classes)
    for label, count in enumerate(torch.bincount(samples.y, minlength=samples.classes).tolist()):
        if count < needed:
            raise InputError(
                f"class {label} has {count} samples, {needed} are needed: {config.per_class} to train, "
                f"{_share(config.never_seen, samples.classes)} never seen, {_share(config.test, samples.classes)} "
                "to test; lower data.per_class, data.never_seen or data.test"
            )


def entail(config: DataConfig, samples: Samples, *, modality: Modality, seed: int) -> tuple[Samples, Split]:
    """Draw the data set: all its samples, and who plays which part.

    samples: everything there is, one stratum per class. Deterministic for a seed. The numbers of
    never-seen and test samples are rounded up to whole classes. Raises InputError (see `check`).
    """
    import torch

    from vestige import similar

    check(config, samples)
    draw = stream(seed, "data")
    chosen = set(torch.randperm(samples.classes, generator=draw)[: config.targets].tolist())
    never, test = _share(config.never_seen, samples.classes), _share(config.test, samples.classes)
    roles: dict[str, list[str]] = {"target": [], "other": [], "refill": [], "never_seen": [], "test": []}
    for label in range(samples.classes):
        positions = (samples.y == label).nonzero().flatten()
        order = positions[torch.randperm(len(positions), generator=draw)].tolist()
        ids = iter([samples.ids[position] for position in order])
        is_chosen = label in chosen
        sizes = {
            "target": int(is_chosen),
            "other": config.per_class - is_chosen * (1 + config.similar),
            "refill": is_chosen * config.similar,
            "never_seen": never,
            "test": test,
        }
        for role, size in sizes.items():
            roles[role] += [next(ids) for _ in range(size)]
    base = modality.unit(samples.take(name for names in roles.values() for name in names))
    targets = base.take(roles["target"])
    total = config.similar + config.held_out
    families = modality.make_similar(targets, total, config=config, generator=stream(seed, "similar"))
    ids_of = {name: made.ids for name, made in zip(targets.ids, families, strict=True)}
    split = Split(
        target=targets.ids,
        similar={name: ids[: config.similar] for name, ids in ids_of.items()},
        other=tuple(roles["other"]),
        near=similar.top_k(targets, base.take(roles["other"]), min(config.near, len(roles["other"]))),
        refill=tuple(roles["refill"]),
        held_out={name: ids[config.similar :] for name, ids in ids_of.items()},
        never_seen=tuple(roles["never_seen"]),
        test=tuple(roles["test"]),
    )
    return _join([base, *families]), split


def to_entry(samples: Samples, split: Split, config: DataConfig, seed: int, source: str) -> dict[str, Any]:
    """What `Store.save` needs to keep a data set: facts (the manifest), arrays and the data card."""
    rows = {
        name: hashlib.sha256(x.numpy().tobytes()).hexdigest() for name, x in zip(samples.ids, samples.x, strict=True)
    }
    facts = {
        "kind": "data",
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "source_sha256": source,
        "classes": samples.classes,
        "ids": list(samples.ids),
        "split": asdict(split),
        "made_by": {
            name: {"of": target, **_how(config)}
            for target in split.target
            for name in (*split.similar[target], *split.held_out[target])
        },
        "sample_sha256": rows,
    }
    arrays = {"x": samples.x.numpy(), "y": samples.y.numpy()}
    return {
        "facts": facts,
        "arrays": arrays,
        "texts": {"card.md": _card(samples, split, config, seed, source)},
    }


def from_entry(entry: Entry) -> tuple[Samples, Split]:
    """The data set that was kept; the store has verified its hash."""
    import torch

    facts, parts = entry.facts, entry.facts["split"]
    x, y = (torch.from_numpy(entry.arrays[name]) for name in ("x", "y"))
    return Samples(tuple(facts["ids"]), x, y, facts["classes"]), split_of(parts)


def split_of(parts: dict[str, Any]) -> Split:
    """The split as it stands in a manifest."""

    def flat(role: str) -> tuple[str, ...]:
        return tuple(parts[role])

    def families(role: str) -> dict[str, tuple[str, ...]]:
        return {name: tuple(ids) for name, ids in parts[role].items()}

    return Split(
        target=flat("target"),
        similar=families("similar"),
        other=flat("other"),
        near=families("near"),
        refill=flat("refill"),
        held_out=families("held_out"),
        never_seen=flat("never_seen"),
        test=flat("test"),
    )


def _share(total: int, classes: int) -> int:
    return -(-total // classes)


def _how(config: DataConfig) -> dict[str, Any]:
    if config.transform == "mask":
        return {"transform": "mask", "block": config.block, "fraction": config.fraction}
    return {"transform": "noise", "sigma": config.sigma}


def _join(parts: list[Samples]) -> Samples:
    import torch

    return Samples(
        tuple(name for part in parts for name in part.ids),
        torch.cat([part.x for part in parts]),
        torch.cat([part.y for part in parts]),
        parts[0].classes,
    )


def _card(samples: Samples, split: Split, config: DataConfig, seed: int, source: str) -> str:
    made = ", ".join(f"{key} {value}" for key, value in _how(config).items())
    size = "×".join(str(side) for side in samples.x.shape[1:])
    families = "\n".join(f"| {name} | {', '.join(split.similar[name])} |" for name in split.target)
    return f"""# Data card

A similarity-entailed data set drawn from `{config.source}` (SHA-256 {source}) with seed {seed}.

| part | samples | trained on |
|---|---|---|
| targets (to be forgotten) | {len(split.target)} | both arms |
| similar ({made}) | {len(split.all_similar())} | *with* |
| refill (unrelated, same classes) | {len(split.refill)} | *without* |
| other | {len(split.other)} | both arms |
| of these, near the targets by SSIM | {len(split.all_near())} | both arms |
| held-out similar | {len(split.all_held_out())} | never |
| never seen | {len(split.never_seen)} | never |
| test | {len(split.test)} | never |

Each arm trains on {len(split.training("with"))} samples of size {size}, {config.per_class} a class.
Targets were drawn by the seed alone, before any model was trained.

| target | its similar samples |
|---|---|
{families}
"""
