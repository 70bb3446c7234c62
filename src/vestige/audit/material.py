"""The data of an audit: what a model was trained on, what it never saw, and which records must go."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vestige import assets, similar
from vestige.audit.request import Written
from vestige.config import Pair, fingerprint
from vestige.types import InputError, Samples, joined


@dataclass(frozen=True)
class Material:
    """The data of an audit, loaded and checked.

    trained: what the model before was trained on; where that is not there, the records and pairs to retain. never: what
    it never saw, may be empty. source: digest of all files.
    """

    modality: str
    trained: Samples
    never: Samples
    forget: tuple[str, ...]
    source: str


def load(written: Written, gone: Sequence[str] = ()) -> Material:
    """The data of a request. Raises InputError that names the line of what is wrong with it.

    gone: records that earlier requests removed.
    """
    request = written.request
    data = request.data
    modality = "text" if request.model.language else "image"
    if data.source is None:
        return _without_data(written, modality, gone)
    asset = _located(written, "data", "source")
    if asset.modality != modality:
        raise written.wrong(
            ("data", "source"), f"{data.source} holds {asset.modality} data, and the model takes {modality}"
        )
    everything = _read(written, asset, "data", "source")
    trained, never = _parted(written, everything, modality)
    _not_gone(written, gone)
    trained = trained.without(gone)
    source = asset.digest()
    if data.controls:
        other = _located(written, "data", "controls")
        never = _as_controls(written, _read(written, other, "data", "controls"), everything)
        _check_unseen(written, never, trained)
        source += other.digest()
    there = _Index.of(everything, trained, gone)
    forget = _records(written, there, trained, never)
    if len(forget) == len(trained):
        raise written.wrong(
            ("records",),
            "every record of the data is to be forgotten, and nothing would be retained; name what stays too",
        )
    _contradictions(written, there, forget)
    _known(written, trained)
    if "utility_drop" in request.gate and not len(never) and modality == "image":
        raise written.wrong(
            ("gate",),
            "it names utility_drop, and there are no records that the model never saw to measure it on; give "
            "data.controls, or say with data.per_class how much of the data was trained on",
        )
    return Material(modality, trained, never, forget, source)


REPEATS = 0.7
"""Lexical similarity of two pairs from which one repeats the other; rewordings among the invented facts reach 0.60."""


def _without_data(written: Written, modality: str, gone: Sequence[str]) -> Material:
    """What there is where the training data is not: the records as they are given, pairs to retain, controls."""
    request = written.request
    for place, asked, why in (
        (("data",), modality == "image",
         "an image classifier is audited beside its training data, on which tests refit its last layer and in which "
         "near-copies are looked for; name data.source"),
        (("model", "tune"), request.model.tune is not None,
         "there is no training data to tune a model on again; leave it out, or name data.source"),
        (("scope",), request.scope == "similar",
         "similar records are looked for in the training data, which is not there; ask for exact, or name data.source"),
    ):  # fmt: skip
        if asked:
            raise written.wrong(place, why)
    forget, source = _as_given(written)
    if again := set(forget.ids) & set(gone):
        raise written.wrong(("records",), f"{min(again)!r} was removed by an earlier request in this folder already")
    parts = {}
    for name in ("retain", "controls"):
        found, digest = _pairs(written, "data", name)
        parts[name] = replace(found, ids=tuple(f"{name}/{one}" for one in found.ids))
        _check_apart(written, name, parts[name], forget)
        source += digest
    trained = joined(forget, parts["retain"])
    _check_unseen(written, parts["controls"], trained)
    _known(written, trained)
    return Material("text", trained, parts["controls"], forget.ids, source)


def _as_given(written: Written) -> tuple[Samples, str]:
    """The records to forget as the request itself has them, and the digest of their file; a pair's id is its words'."""
    found: dict[str, Pair] = {}
    for at, one in enumerate(written.request.records):
        where = ("records", at)
        if isinstance(one, str) or not one.answer.strip():
            raise written.wrong(
                where, "without training data a record is given by its words, {question: …, answer: …}, or in a file"
            )
        name = f"record/{fingerprint(one)}"
        if name in found:
            raise written.wrong(where, "this pair is named a second time; leave one of them out")
        found[name] = one
    questions, answers = ([getattr(one, part) for one in found.values()] for part in ("question", "answer"))
    given = Samples(tuple(found), np.array(questions, dtype=object), np.array(answers, dtype=object))
    if written.request.records_file is None:
        return given, ""
    more, digest = _pairs(written, "records_file")
    return joined(given, more), digest


def _pairs(written: Written, *place: str) -> tuple[Samples, str]:
    """The pairs of a file that the request names, and its digest."""
    asset = _located(written, *place)
    if asset.modality != "text":
        raise written.wrong(place, f"{asset.name} holds images, and the model takes text")
    found = _read(written, asset, *place)
    return replace(found, family=()), asset.digest()


def _check_apart(written: Written, name: str, lot: Samples, forget: Samples) -> None:
    """Raise InputError where one of these pairs repeats a record or asks the same: the record raises its answer too."""
    from vestige.text import lexical, texts

    repeated = (lexical(texts(forget), texts(lot)) >= REPEATS) | (lexical(list(forget.x), list(lot.x)) == 1)
    for row, at in repeated.nonzero().tolist():
        raise written.wrong(
            ("data", name),
            f"{lot.ids[at]!r} repeats the record {forget.ids[row]!r} that must go, or asks the same; leave it out",
        )


def _located(written: Written, *place: str) -> assets.Asset:
    source = getattr(written.request.data if place[0] == "data" else written.request, place[-1])
    try:
        return assets.locate(_beside(written, source))
    except InputError as error:
        raise written.wrong(place, str(error)) from None


def _beside(written: Written, source: str) -> str:
    return source if source in assets.KNOWN else str(written.beside(source))


def _read(written: Written, asset: assets.Asset, *place: str) -> Samples:
    data = written.request.data
    try:
        if asset.modality == "image":
            from vestige.image import load as load_images
            from vestige.image import unit

            return unit(load_images(asset, whole=place == ("data", "source")))
        from vestige.text import load as load_texts

        found = load_texts(asset, question=data.question, answer=data.answer, id=data.id)
    except InputError as error:
        raise written.wrong(place, str(error)) from None
    empty = [one for one, answer in zip(found.ids, found.y, strict=True) if not answer.strip()]
    if empty:
        raise written.wrong(
            place,
            f"{len(empty)} of {len(found)} pairs have no answer, the first of them {empty[0]!r}; leave them out, or "
            "name the column of answers in data.answer",
        )
    return found


def _parted(written: Written, everything: Samples, modality: str) -> tuple[Samples, Samples]:
    """What was trained on, and the rest."""
    data = written.request.data
    if modality == "image":
        if data.first is not None:
            raise written.wrong(("data", "first"), "is for text; of images, data.per_class says what was trained on")
        if data.per_class is None:
            return everything, everything.take(())
        counts: dict[int, int] = {}
        chosen = []
        for name, label in zip(everything.ids, everything.y.tolist(), strict=True):
            counts[label] = counts.get(label, 0) + 1
            if counts[label] <= data.per_class:
                chosen.append(name)
        return everything.take(chosen), everything.without(chosen)
    if data.per_class is not None:
        raise written.wrong(("data", "per_class"), "is for images; of text, data.first says what was trained on")
    chosen = list(everything.ids[: data.first])
    return everything.take(chosen), everything.without(chosen)


def _as_controls(written: Written, found: Samples, everything: Samples) -> Samples:
    place = ("data", "controls")
    if found.classes and found.x.shape[1:] != everything.x.shape[1:]:
        raise written.wrong(
            place, f"its images are {tuple(found.x.shape[1:])}, those of the data {tuple(everything.x.shape[1:])}"
        )
    if found.classes and int(found.y.max()) >= everything.classes:
        raise written.wrong(place, f"has the label {int(found.y.max())}, the data has {everything.classes} classes")
    names = tuple(f"controls/{name}" for name in found.ids)
    return Samples(names, found.x, found.y, everything.classes)


@dataclass(frozen=True)
class _Index:
    """Where records stand, by id and by their very input. all: the data; trained, gone: ids; gone were removed."""

    all: Samples
    trained: frozenset[str]
    gone: frozenset[str]
    rows: Mapping[str, int]
    inputs: Mapping[Hashable, Sequence[int]]

    @classmethod
    def of(cls, everything: Samples, trained: Samples, gone: Sequence[str]) -> _Index:
        rows = {name: row for row, name in enumerate(everything.ids)}
        inputs: dict[Hashable, list[int]] = {}
        for row, one in enumerate(_inputs(everything)):
            inputs.setdefault(one, []).append(row)
        return cls(everything, frozenset(trained.ids), frozenset(gone), rows, inputs)


def _inputs(samples: Samples) -> list[Hashable]:
    """What the input of each record is known by: a text is itself, an image the digest of its pixels."""
    if not samples.classes:
        return [str(one) for one in samples.x]
    return [hashlib.sha256(one.tobytes()).digest() for one in samples.x.contiguous().cpu().numpy()]


def _whole(samples: Samples) -> list[Hashable]:
    """The same of what a model could have learned of it: an image, or a question with its answer."""
    return _inputs(samples) if samples.classes else list(zip(_inputs(samples), map(str, samples.y), strict=True))


def _records(written: Written, there: _Index, trained: Samples, never: Samples) -> tuple[str, ...]:
    """The ids of the records to forget. Raises InputError for one that is not in the data, or that comes twice."""
    request = written.request
    _check_named(written, there, trained, never)
    found: dict[str, str] = {}
    for at, one in enumerate(request.records):
        where = ("records", at)
        name = one if isinstance(one, str) else _pair(written, where, one, trained)
        if name in found:
            raise written.wrong(where, f"{name!r} is named a second time (first at {found[name]}); leave one out")
        found[name] = written.at(*where)
    if request.records_file:
        for name in _from_file(written, request.records_file, there):
            found.setdefault(name, written.at("records_file"))
    return tuple(found)


def _check_named(written: Written, there: _Index, trained: Samples, never: Samples) -> None:
    """Raise InputError for ids that are not among what the model was trained on."""
    names = {one: at for at, one in enumerate(written.request.records) if isinstance(one, str)}
    unseen = {*there.rows, *never.ids} - there.trained
    for name, at in names.items():
        if name in unseen:
            raise written.wrong(
                ("records", at),
                f"{name!r} is among the records that the model never saw (data.per_class, first, controls)",
            )
    try:
        if names:
            similar.check_targets(trained, list(names), k=None, tau=0.0, by="")
    except InputError as error:
        first = next(at for name, at in names.items() if name not in there.trained)
        raise written.wrong(("records", first), str(error)) from None


def _pair(written: Written, where: tuple[str, int], pair: Pair, trained: Samples) -> str:
    if trained.classes:
        raise written.wrong(where, "a question and answer was given, and the data are images; name ids")
    hits = [name for name, x, y in zip(trained.ids, trained.x, trained.y, strict=True)
            if x == pair.question and y in (pair.answer, pair.answer or y)]  # fmt: skip
    if len(hits) != 1:
        found = f"{len(hits)} pairs have it: {', '.join(hits[:3])}; name one by its id" if hits else "no pair has it"
        raise written.wrong(where, f"the question {pair.question[:60]!r} is not one record of the data: {found}")
    return hits[0]


def _from_file(written: Written, source: str, there: _Index) -> list[str]:
    """The ids of the records that a file repeats, by their exact content: input and answer."""
    place = ("records_file",)
    asset = _located(written, *place)
    asked = _read(written, asset, *place) if asset.modality == ("image" if there.all.classes else "text") else None
    if asked is None:
        raise written.wrong(place, f"{source} holds {asset.modality} data, and the model was trained on another kind")
    if there.all.classes and asked.x.shape[1:] != there.all.x.shape[1:]:
        raise written.wrong(
            place, f"its images are {tuple(asked.x.shape[1:])}, those of the data {tuple(there.all.x.shape[1:])}"
        )
    folders = asset.format == "folder" == _located(written, "data", "source").format
    names = []
    for row, (name, key) in enumerate(zip(asked.ids, _inputs(asked), strict=True)):
        hits = there.inputs.get(key, ())
        alike = [hit for hit in hits if _class(there.all, hit, folders) == _class(asked, row, folders)]
        found = [there.all.ids[hit] for hit in alike if there.all.ids[hit] in there.trained]
        if not found:
            raise written.wrong(place, f"record {name!r} of {source} {_why_not(there, asked, row, hits, alike)}")
        names += found
    return names


def _class(samples: Samples, row: int, folders: bool) -> Any:
    """The answer of a record; of images in folders the folder's name, since a few of them are numbered otherwise."""
    return samples.ids[row].partition("/")[0] if folders else samples.y[row]


def _why_not(there: _Index, asked: Samples, row: int, hits: Sequence[int], alike: Sequence[int]) -> str:
    """Why a record of a file is none of those that the model was trained on. hits, alike: where its input stands."""
    if any(there.all.ids[hit] in there.gone for hit in alike):
        return "was removed by an earlier request in this folder already"
    if alike:
        return "is among the records that the model never saw (data.per_class, first)"
    if hits:
        answers = " and ".join(_short(there.all.y[hit]) for hit in hits[:3])
        return (
            f"stands in the data under another answer: {_short(asked.y[row])} here, {answers} there; mend one of them"
        )
    return "is not in the data"


def _not_gone(written: Written, gone: Sequence[str]) -> None:
    for at, one in enumerate(written.request.records):
        if one in gone:
            raise written.wrong(("records", at), f"{one!r} was removed by an earlier request in this folder already")


def _known(written: Written, trained: Samples) -> None:
    """Raise InputError where the request decides on a record that the model was not trained on, or to no effect."""
    request, there = written.request, set(trained.ids)
    for setting, names in (("same_owner", request.same_owner), ("decisions", request.decisions)):
        for name in names:
            if name not in there:
                raise written.wrong((setting,), f"{name!r} is not among the records that the model was trained on")
        if names and request.scope == "exact":
            raise written.wrong(
                (setting,), "the scope is exact, so nothing similar goes, whoever owns it; ask for scope: similar"
            )
    if request.decisions and request.policy != "ask":
        raise written.wrong(
            ("decisions",), f"they are answers where the policy is to ask, and it is to {request.policy}"
        )


def _contradictions(written: Written, there: _Index, forget: Sequence[str]) -> None:
    """Raise InputError where a record to forget stands in the data a second time under another answer."""
    going, keys = set(forget), _inputs(there.all.take(forget))
    for name, key in zip(forget, keys, strict=True):
        row = there.rows[name]
        for hit in there.inputs[key]:
            other = there.all.ids[hit]
            if there.all.y[hit] != there.all.y[row] and other in there.trained and other not in going:
                raise written.wrong(
                    ("records",),
                    f"{name!r} stands in the data twice under different labels: as {_short(there.all.y[row])}, and as "
                    f"{_short(there.all.y[hit])} ({other!r}); name both, or mend the data",
                )


def _check_unseen(written: Written, never: Samples, trained: Samples) -> None:
    """Raise InputError where records that the model is said never to have seen stand in its training data."""
    seen = dict(zip(_whole(trained), trained.ids, strict=True))
    known = [(name, seen[key]) for name, key in zip(never.ids, _whole(never), strict=True) if key in seen]
    if known:
        raise written.wrong(
            ("data", "controls"),
            f"{len(known)} of {len(never)} stand in the training data too, the first of them {known[0][0]!r} as "
            f"{known[0][1]!r}: the model saw them; leave them out",
        )


def _short(answer: object) -> str:
    words = str(answer.item() if hasattr(answer, "item") else answer)
    return repr(words[:40]) if len(words) > 40 else words
