"""What is audited: records, what a model was trained on, the model before, and what can train another like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vestige import assets, similar
from vestige.audit.request import Written
from vestige.config import Pair, fingerprint
from vestige.types import InputError, Samples, joined

if TYPE_CHECKING:
    from torch import nn

    from vestige.difficulty.predict import Predictor
    from vestige.influence import Kin

Asked = Mapping[str, np.ndarray]
"""What `Subject.ask` says, by name: a test's values (records,), of controls (records, n) under "TEST of controls"."""


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


@dataclass(frozen=True)
class Question:
    """What a model is asked about: records, their retained neighbours, controls that stand in for them (or none).

    retain: what the model may know. near: record → ids in retain. controls: one Samples per record, never-seen ones
    under the record's answer, all of one number.
    """

    records: Samples
    retain: Samples
    near: Mapping[str, tuple[str, ...]]
    never: Samples
    controls: Sequence[Samples] = ()


class Subject(Protocol):
    """An audited model of one kind: images or language. Each function gives the same for the same seed."""

    @property
    def levels(self) -> Sequence[str]:
        """The level tests, `answer` first. Beside them there is the rise `rebound`."""

    @property
    def watched(self) -> str:
        """What utility is measured on, in words."""

    @property
    def no_predictor(self) -> str:
        """Why nothing tells which records will be hard to forget, "" where something does."""

    @property
    def trains(self) -> bool:
        """Whether another model like it can be trained."""

    def check(self, material: Material) -> None:
        """Everything that can be found wrong before training; may train on a handful. Raises InputError."""

    def learn(self, samples: Samples, seed: int) -> nn.Module:
        """A model trained from scratch, or tuned from its start, on these samples."""

    def before(self, samples: Samples, seed: int) -> nn.Module:
        """The model that must forget: read from its weights, or trained."""

    def given(self, samples: Samples) -> nn.Module:
        """The model that somebody else made of it (`model.after`). samples: some that it was trained on."""

    def methods(self) -> tuple[str, ...]:
        """The methods that it can forget by, `retrain` first where it can be trained."""

    def costs(self, forget: int, retain: int, material: Material) -> list[dict[str, Any]]:
        """Method → `seconds` and `mib`, estimated from a short trial, `retrain` first where it can be trained."""

    def expected(
        self, model: nn.Module, trained: Samples, close: Sequence[str], ids: Sequence[str], predictor: Predictor
    ) -> tuple[np.ndarray, np.ndarray]:
        """The chances of these records to be hard to forget, (N,), and of others that they are compared with, (M,).

        trained: what the model was trained on. close: the records that are similar to them. Raises InputError where the
        factors of difficulty are not defined for this model, or there is no predictor.
        """

    def unlearn(self, method: str, model: nn.Module, forget: Samples, retain: Samples, seed: int) -> nn.Module:
        """A new model that has forgotten; the other one stays as it was."""

    def keep(self, model: nn.Module) -> dict[str, np.ndarray]:
        """What must be stored of a model for `restore`."""

    def restore(self, arrays: Mapping[str, np.ndarray], samples: Samples) -> nn.Module:
        """The model that `keep` stored. samples: some that it was, or could be, trained on."""

    def ask(self, model: nn.Module, question: Question) -> dict[str, np.ndarray]:
        """What the tests say of each record; `near`, `near_accuracy` (records,), and `utility` (n,) of other records.

        The model is left as it was. A test that cannot be made of this model is left out.
        """

    def hide(self, model: nn.Module, question: Question, levels: np.ndarray, *, last: bool) -> nn.Module | None:
        """A copy of the model in which the records are only hidden: answered like `levels` (records,), if they can be.

        last: by its last layer alone, else by all weights. None where the model has no such layer.
        """

    def controls(self, record: Samples, never: Samples) -> Samples:
        """Never-seen records that stand in for this one, under its answer, nearest first."""

    def shares(
        self, model: nn.Module, members: Samples, asked: Samples, kin: Mapping[str, Kin], never: Samples
    ) -> list[dict[str, Any]]:
        """Whose doing each asked record's margin is, split among these members (`influence.share.record`).

        kin: record → its similar and near members. never: records that the model never saw. Raises InputError where
        that cannot be told of this model or of so many members.
        """


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
        source += other.digest()
    forget = _records(written, trained, never)
    if len(forget) == len(trained):
        raise written.wrong(
            ("records",),
            "every record of the data is to be forgotten, and nothing would be retained; name what stays too",
        )
    _contradictions(written, trained, forget)
    _known(written, trained)
    if "utility_drop" in request.gate and not len(never) and modality == "image":
        raise written.wrong(
            ("gate",),
            "it names utility_drop, and there are no records that the model never saw to measure it on; give "
            "data.controls, or say with data.per_class how much of the data was trained on",
        )
    return Material(modality, trained, never, forget, source)


def same(a: Samples, row: int, b: Samples) -> np.ndarray:
    """Which records of b have the very input of record `row` of a: (len(b),) booleans."""
    if a.classes:
        alike = (b.x.flatten(1) == a.x[row].flatten()[None]).all(1)
        return np.asarray(alike.cpu().numpy())
    return np.asarray(b.x == a.x[row])


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

            return unit(load_images(asset))
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


def _records(written: Written, trained: Samples, never: Samples) -> tuple[str, ...]:
    """The ids of the records to forget. Raises InputError for one that is not in the data, or that comes twice."""
    request = written.request
    found: dict[str, str] = {}
    for at, one in enumerate(request.records):
        where = ("records", at)
        name = (
            _named(written, where, one, trained, never) if isinstance(one, str) else _pair(written, where, one, trained)
        )
        if name in found:
            raise written.wrong(where, f"{name!r} is named a second time (first at {found[name]}); leave one out")
        found[name] = written.at(*where)
    if request.records_file:
        for name in _from_file(written, request.records_file, trained):
            found.setdefault(name, written.at("records_file"))
    return tuple(found)


def _named(written: Written, where: tuple[str, int], name: str, trained: Samples, never: Samples) -> str:
    if name in never.ids:
        raise written.wrong(
            where, f"{name!r} is among the records that the model never saw (data.per_class, first, controls)"
        )
    try:
        similar.check_targets(trained, [name], k=None, tau=0.0, by="")
    except InputError as error:
        raise written.wrong(where, str(error)) from None
    return name


def _pair(written: Written, where: tuple[str, int], pair: Pair, trained: Samples) -> str:
    if trained.classes:
        raise written.wrong(where, "a question and answer was given, and the data are images; name ids")
    hits = [name for name, x, y in zip(trained.ids, trained.x, trained.y, strict=True)
            if x == pair.question and y in (pair.answer, pair.answer or y)]  # fmt: skip
    if len(hits) != 1:
        found = f"{len(hits)} pairs have it: {', '.join(hits[:3])}; name one by its id" if hits else "no pair has it"
        raise written.wrong(where, f"the question {pair.question[:60]!r} is not one record of the data: {found}")
    return hits[0]


def _from_file(written: Written, source: str, trained: Samples) -> list[str]:
    """The ids of the records that a file repeats, by their exact content."""
    place = ("records_file",)
    asset = _located(written, *place)
    asked = _read(written, asset, *place) if asset.modality == ("image" if trained.classes else "text") else None
    if asked is None:
        raise written.wrong(place, f"{source} holds {asset.modality} data, and the model was trained on another kind")
    if trained.classes and asked.x.shape[1:] != trained.x.shape[1:]:
        raise written.wrong(
            place, f"its images are {tuple(asked.x.shape[1:])}, those of the data {tuple(trained.x.shape[1:])}"
        )
    names = []
    for row, name in enumerate(asked.ids):
        hits = np.flatnonzero(same(asked, row, trained))
        if len(hits) == 0:
            raise written.wrong(place, f"record {name!r} of {source} is not in the data")
        names += [trained.ids[hit] for hit in hits.tolist()]
    return names


def _not_gone(written: Written, gone: Sequence[str]) -> None:
    for at, one in enumerate(written.request.records):
        if one in gone:
            raise written.wrong(("records", at), f"{one!r} was removed by an earlier request in this folder already")


def _known(written: Written, trained: Samples) -> None:
    """Raise InputError where the request decides on a record that the model was not trained on."""
    request, there = written.request, set(trained.ids)
    for setting, names in (("same_owner", request.same_owner), ("decisions", request.decisions)):
        for name in names:
            if name not in there:
                raise written.wrong((setting,), f"{name!r} is not among the records that the model was trained on")


def _contradictions(written: Written, trained: Samples, forget: Sequence[str]) -> None:
    """Raise InputError where a record to forget stands in the data a second time under another answer."""
    where = {name: row for row, name in enumerate(trained.ids)}
    for name in forget:
        row = where[name]
        for hit in np.flatnonzero(same(trained, row, trained)).tolist():
            if hit != row and trained.y[hit] != trained.y[row] and trained.ids[hit] not in forget:
                raise written.wrong(
                    ("records",),
                    f"{name!r} stands in the data twice under different labels: as {_short(trained.y[row])}, and as "
                    f"{_short(trained.y[hit])} ({trained.ids[hit]!r}); name both, or mend the data",
                )


def _short(answer: object) -> str:
    words = str(answer.item() if hasattr(answer, "item") else answer)
    return repr(words[:40]) if len(words) > 40 else words
