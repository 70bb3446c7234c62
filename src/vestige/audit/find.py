"""Which other records repeat those that must go, and what becomes of them: found before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vestige import measures, similar
from vestige.audit.material import Material
from vestige.audit.request import Written
from vestige.similar import Neighbour
from vestige.types import InputError, Samples, joined

Found = dict[str, Any]
Say = Callable[[str], None]

NEAR = 10
"""Retained neighbours of a record on which damage is looked for, at most."""
BY = {"image": "aligned", "text": measures.MEASURES["text"][0]}
"""Modality → the measure where none is named: for images not that of `vestige similar`, which misses what was moved."""


def find(written: Written, material: Material, say: Say) -> Found:
    """The neighbours of each record, which of them count as similar, and what the scope and the policy make of them.

    Searched is all data, what the model never saw too, so that no control is a near-copy. Raises InputError as
    `measure` does.
    """
    request, trained = written.request, material.trained
    if request.data.source is None:
        return _not_looked(material)
    everything = both(trained, material.never)
    by, k, tau = measure(written, material), request.similar.k, request.similar.tau
    looked = _look(everything, material, by, k + NEAR, tau, request.seed, say)
    in_training, forget = set(trained.ids), set(material.forget)
    label = dict(zip(everything.ids, map(str, everything.y.tolist()), strict=True))
    nearest = {one.id for lot in looked.near.values() for one in lot[:k]}
    records: list[dict[str, Any]] = []
    for name, lot in looked.near.items():
        neighbours = []
        for at, one in enumerate(lot):
            reaches = at < looked.alike[name]
            fate, why = _fate(written, one.id, reaches, one.id in forget, one.id in in_training, one.id in nearest)
            neighbours.append(
                {"id": one.id, "label": label[one.id], "similarity": round(one.values[by], 6),
                 "random_pairs_reaching": looked.reaching[name][at], "similar": reaches, "fate": fate, "why": why}
            )  # fmt: skip
        records.append({"id": name, "label": label[name], "neighbours": neighbours})
    pairs = looked.pairs
    fates = {one["id"]: one["fate"] for record in records for one in record["neighbours"]
             if one["similar"] and one["fate"] != "unseen"}  # fmt: skip
    asked = sorted(name for name, fate in fates.items() if fate == "ask")
    going = [*(name for name, fate in fates.items() if fate == "removed"), *request.same_owner]
    removed = list(dict.fromkeys([*material.forget, *going]))
    kept = [name for name, fate in fates.items() if fate in ("kept", "ask")]
    gone = {*removed, *kept}
    return {
        "by": by,
        "searched": len(everything),
        "rule": f"more alike than any of {len(pairs):,} random pairs" if tau is None else f"{by} of at least {tau:g}",
        "null": {"pairs": len(pairs), "median": round(float(np.median(pairs)), 6),
                 "largest": round(float(pairs.max()), 6)},
        "records": records,
        "removed": removed,
        "kept": kept,
        "ask": asked,
        "near": {record["id"]: [one["id"] for one in record["neighbours"]
                                if one["id"] in in_training and one["id"] not in gone
                                and (not trained.classes or one["label"] == record["label"])][:NEAR]
                 for record in records},
        "not_controls": sorted({one["id"] for record in records for one in record["neighbours"]
                                if one["similar"] and one["fate"] == "unseen"}),
    }  # fmt: skip


@dataclass(frozen=True)
class _Looked:
    """What the search saw of each record. near: neighbours, nearest first. alike: how many of these are similar.

    reaching: how many random pairs are as alike as each neighbour. pairs: those that count for all records.
    """

    near: Mapping[str, tuple[Neighbour, ...]]
    alike: Mapping[str, int]
    reaching: Mapping[str, list[int]]
    pairs: np.ndarray


def _look(
    everything: Samples, material: Material, by: str, k: int, tau: float | None, seed: int, say: Say
) -> _Looked:  # fmt: skip
    """The k nearest of each record and more, until NEAR of them are not similar: what is not looked at stays unseen."""
    rows = similar.check_targets(everything, material.forget, k=1, tau=None, by=by)
    place = {name: position for position, name in enumerate(everything.ids)}
    null = similar.null_pairs(everything, seed)
    measured = measures.build(everything, material.modality, (by,), targets=len(rows), say=say)
    values = {name: one.pairs(*null) for name, one in measured.items()}
    pairs, most = values[by].numpy(), len(everything) - 1
    while True:
        near = similar.neighbours(everything, rows, measured, values, k=min(k, most))
        beside = {
            name: similar.beside_pairs(
                [place[name], *(place[one.id] for one in lot)], [one.values[by] for one in lot], *null, pairs
            )
            for name, lot in near.items()
        }
        alike = {
            name: beside[name][0] if tau is None else sum(one.values[by] >= tau for one in lot)
            for name, lot in near.items()
        }
        if k >= most or all(len(lot) - alike[name] >= NEAR for name, lot in near.items()):
            break
        k *= 2
    counting = ~np.any([own for _, _, own in beside.values()], 0)
    # where every pair is among similar records there is nothing else to tell of
    pairs = pairs[counting] if counting.any() else pairs
    return _Looked(near, alike, {name: reaching for name, (_, reaching, _) in beside.items()}, pairs)


def _not_looked(material: Material) -> Found:
    """What `find` says where there is no training data to look through; neighbours are those of the pairs to retain."""
    from vestige.text import lexical, texts

    retain = material.trained.without(material.forget)
    order = lexical(texts(material.trained.take(material.forget)), texts(retain)).argsort(descending=True, stable=True)
    return {
        "by": None,
        "searched": 0,
        "rule": "similar records were not looked for: there is no training data",
        "null": None,
        "records": [{"id": name, "label": "", "neighbours": []} for name in material.forget],
        "removed": list(material.forget),
        "kept": [],
        "ask": [],
        "near": {name: [retain.ids[at] for at in row[:NEAR].tolist()]
                 for name, row in zip(material.forget, order, strict=True)},
        "not_controls": [],
    }  # fmt: skip


def measure(written: Written, material: Material) -> str:
    """What says how similar records are. Raises InputError for a measure or an encoder that is not there."""
    by = written.request.similar.by or BY[material.modality]
    try:
        names = measures.named(material.modality, by, None, learned=False)
        if len(names) > 1:
            raise InputError(f"{by} joins rankings, which have no common scale: choose one measure")
        if "embedding" in names:
            measures.check_encoder(material.modality, None)
    except InputError as error:
        raise written.wrong(("similar", "by"), str(error)) from None
    return by


def check_answered(written: Written, found: Mapping[str, Any]) -> None:
    """Raise InputError where owners of similar records have no answer yet, or an answer is about no similar record."""
    similar_ids = {one["id"] for record in found["records"] for one in record["neighbours"] if one["similar"]}
    if idle := [name for name in written.request.decisions if name not in similar_ids]:
        raise written.wrong(
            ("decisions",),
            f"{idle[0]!r} is not similar to any record to forget (see --plan), so nothing would be decided; leave it "
            "out, or name it in records",
        )
    if found["ask"]:
        names = found["ask"]
        raise written.wrong(
            ("policy",),
            f"it is to ask, and {len(names)} similar records of other owners have no answer yet: {', '.join(names[:8])}"
            f"{' …' if len(names) > 8 else ''}; see them in found.html of the request's folder, then write "
            f"decisions: {{{names[0]}: keep}} or remove, for each",
        )


def both(trained: Samples, never: Samples) -> Samples:
    """All records, first what was trained on."""
    return joined(trained, never) if len(never) else trained


def _fate(written: Written, name: str, alike: bool, asked: bool, trained: bool, near: bool) -> tuple[str, str]:
    """What becomes of a neighbour, and why."""
    request = written.request
    if asked:
        return "removed", "it is to be forgotten itself"
    if not trained:
        return "unseen", "the model was never trained on it"
    if name in request.same_owner:
        return "removed", "similar, and of the same owner" if alike else "of the same owner, by the request"
    if not alike:
        return "kept", "not similar enough to count"
    if request.scope == "exact":
        return "kept", "the scope is exact: similar records were not asked for"
    if request.policy == "ask" and name in request.decisions:
        keep = request.decisions[name] == "keep"
        return ("kept" if keep else "removed"), "similar, of another owner, who was asked"
    if request.policy != "keep" and not near:
        return "kept", f"similar too, but not among the nearest {request.similar.k}: raise similar.k"
    if request.policy == "ask":
        return "ask", "similar, of another owner, who was not asked yet"
    if request.policy == "remove":
        return "removed", "similar, and the policy is to remove those of other owners"
    return "kept", "similar, and the policy is to keep those of other owners"
