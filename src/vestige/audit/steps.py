"""An audit in steps that the store keeps: find → foresee → forget → verify → report. The same command resumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige import __version__, provenance
from vestige.audit import evidence, foresee, gate
from vestige.audit import find as finding
from vestige.audit.evidence import Asked
from vestige.audit.find import Found, Say
from vestige.audit.material import Material
from vestige.audit.request import Written
from vestige.audit.subject import Question, Subject
from vestige.audit.verdict import FEWEST, Evidence, Null, decide, numbers, to_json
from vestige.config import fingerprint
from vestige.difficulty.predict import PACKAGED, Predictor
from vestige.difficulty.predict import load as load_predictor
from vestige.store import SCHEMA_VERSION, Store, digest
from vestige.types import InputError, MissingError, Samples

if TYPE_CHECKING:
    from torch import nn

WATCHED = 2000
"""Never-seen records on which utility is measured, at most."""
HIDDEN = {"before, records hidden in its last layer": True, "before, records hidden in all weights": False}
"""Copies of the model before in which the audit hides the records itself → whether by the last layer alone."""
SECOND = 1_000_003
"""Seeds of reference models lie this far from the audit's own."""


@dataclass(frozen=True)
class Parent:
    """The result that this audit starts from: the model that an earlier one left, and what has gone since the start."""

    store: Store
    model: str
    removed: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """One request on its way through the steps. code: the user's own files → their SHA-256 (`own.code`)."""

    written: Written
    material: Material
    subject: Subject
    store: Store
    code: Mapping[str, str]
    parent: Parent | None = None

    # -- names ------------------------------------------------------------------------------------------------------

    @property
    def request_name(self) -> str:
        """The fingerprint of everything that makes the result: request, data, code of the user, the model before."""
        return fingerprint("audit", __version__, self.written.request, *self._start())

    def _start(self) -> tuple[Any, ...]:
        parent = [self.parent.model, list(self.parent.removed)] if self.parent else []
        return (self.material.source, dict(self.code), parent)

    def _name(self, what: str, *parts: Any) -> str:
        request = self.written.request
        model = request.model.model_copy(update={"after": None})
        return fingerprint(what, __version__, request.data, model, request.seed, *self._start(), *parts)

    @cached_property
    def method(self) -> str:
        """The method by name; auto is retraining where the model can be trained, else NegGrad+, or GA_GDN of text."""
        asked, known = self.written.request.method, self.subject.methods()
        if asked in ("given", *known):
            return asked
        if asked == "auto":
            return next(name for name in ("retrain", "NegGrad+", "GA_GDN") if name in known)
        hint = "" if self.subject.trains else " (the model cannot be trained: give model.train, recipe or tune)"
        raise self.written.wrong(("method",), f"unknown method {asked!r}; known: auto, given, {', '.join(known)}{hint}")

    @cached_property
    def predictor(self) -> Predictor:
        """What tells how hard a record will be to forget: the request's own, or the one that comes with vestige."""
        named = self.written.request.predictor
        if named and self.subject.no_predictor:
            raise self.written.wrong(("predictor",), self.subject.no_predictor)
        path = self.written.beside(named) if named else PACKAGED
        try:
            return load_predictor(path)
        except (InputError, MissingError) as error:
            raise self.written.wrong(("predictor",), str(error)) from None

    @property
    def null(self) -> Null:
        """What stands beside the model: other models, or matched controls."""
        return "references" if self.subject.trains else "controls"

    @property
    def blind(self) -> bool:
        """Whether there is no training data: nobody can look for similar records."""
        return self.written.request.data.source is None

    # -- steps ------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Everything that can be found wrong before training. Raises InputError."""
        _ = self.method, self.predictor
        if not self.blind:
            finding.measure(self.written, self.material)
        if self.null == "controls":
            self._check_controls(len(self.material.never))
        self.subject.check(self.material)

    def _check_controls(self, count: int) -> None:
        """Raise InputError where too few records can stand in for those to forget."""
        if count < FEWEST:
            train = "" if self.blind else ", or a way to train (model.train, recipe, tune)"
            raise self.written.wrong(
                ("data", "controls"),
                f"this model cannot be trained here, so its answers stand beside {FEWEST} never-seen records or more "
                f"that do not repeat those to forget, and there are {count}; give them as data.controls{train}",
            )

    def found(self, say: Say) -> Found:
        """Step 1: what repeats the records, and what becomes of it."""
        request = self.written.request
        choice = [request.scope, request.policy, request.same_owner, request.decisions]
        name = self._name("found", list(self.material.forget), request.similar, choice)
        if not self.store.has("data", name):
            start = time.time()
            say("find: nothing to look through" if self.blind else "find: looking for similar records")
            facts = finding.find(self.written, self.material, say)
            self.store.save("data", name, {"what": "found", **facts}, {}, provenance.clock(start))
        return self.store.load("data", name).facts

    def check_ready(self, say: Say) -> None:
        """Raise InputError where something is open that has to be settled before a model forgets."""
        finding.check_answered(self.written, self.found(say))
        _ = self._question

    def outcome(self, say: Say) -> dict[str, Any]:
        """Step 2, without a model: the method, and what the scope will and will not achieve."""
        request, found = self.written.request, self.found(say)
        return {
            "method": self.method,
            "outcome": foresee.outcome(
                request.scope, self._kept(found), len(found["removed"]), len(found["ask"]), request.policy
            ),
        }

    def foreseen(self, say: Say) -> dict[str, Any]:
        """Step 2: what to expect. The model before is asked, and trained where it is not there yet."""
        return {**self.outcome(say), "difficulty": self.difficulty(self.before, say)}

    def difficulty(self, before: Callable[[Say], nn.Module], say: Say) -> dict[str, Any]:
        """How hard each record will be to forget (`foresee.difficulty`), kept, or "missing": why that is not told."""
        if self.subject.no_predictor:
            return {"missing": self.subject.no_predictor}
        similar, ids = self.found(say), self.material.forget
        close = [*similar["removed"], *similar["kept"]]
        name = self._name("foreseen", list(ids), close, self.method, self.predictor.model_dump(mode="json"))
        if not self.store.has("data", name):
            start = time.time()
            model = before(say)
            say("foresee: how hard the records will be to forget")
            try:
                chances = self.subject.expected(model, self.material.trained, close, ids, self.predictor)
                found = foresee.difficulty(ids, *chances, self.predictor, self.method)
            except InputError as error:
                found = {"missing": str(error)}
            self.store.save("data", name, {"difficulty": found}, {}, provenance.clock(start))
        told: dict[str, Any] = self.store.load("data", name).facts["difficulty"]
        return told

    @property
    def has_before(self) -> bool:
        """Whether the model before is there: it need not be trained."""
        given = self.written.request.model.weights is not None or not self.subject.trains
        return given or self.parent is not None or self.store.has("models", self._name("before"))

    def costs(self, say: Say) -> list[dict[str, Any]]:
        """Seconds and memory that each method would take, by what a short trial took here; none is kept."""
        found = self.found(say)
        forget, retain = self._parts(found)
        made = self.subject.costs(len(forget), len(retain), self.material)
        models = self.written.request.references * (2 if found["kept"] else 1) if self.null == "references" else 0
        return [*made, *([{**made[0], "method": f"verifying by {models} models"
                           , "seconds": round(models * made[0]["seconds"], 1)}] if models else [])]  # fmt: skip

    def before(self, say: Say) -> nn.Module:
        """The model that must forget: that of the audit before, its own weights, or one trained now."""
        samples = self.material.trained
        if self.parent is not None:
            return self.subject.restore(self.parent.store.load("models", self.parent.model).arrays, samples)
        if self.written.request.model.weights or not self.subject.trains:
            return self.subject.before(samples, self.written.request.seed)
        name = self._name("before")
        if not self.store.has("models", name):
            start = time.time()
            say(f"training the model before, on {len(samples)} records")
            model = self.subject.before(samples, self.written.request.seed)
            self.store.save("models", name, {"what": "before", "trained_on": len(samples)},
                            self.subject.keep(model), provenance.clock(start))  # fmt: skip
        return self.subject.restore(self.store.load("models", name).arrays, samples)

    def model_name(self, say: Say) -> str:
        """The name of the model after, in the store."""
        request = self.written.request
        return self._name("after", self.found(say)["removed"], self.method, request.unlearn, request.utility)

    def forget(self, say: Say) -> nn.Module:
        """Step 3: the model after. The model before is left as it was."""
        self.check_ready(say)
        if self.method == "given":
            return self.subject.given(self.material.trained)
        name = self.model_name(say)
        if not self.store.has("models", name):
            start = time.time()
            forget, retain = self._parts(self.found(say))
            say(f"forget: {self.method} on {len(forget)} records, {len(retain)} stay")
            model = self.subject.unlearn(self.method, self.before(say), forget, retain, self.written.request.seed)
            facts = {"what": "after", "method": self.method, "removed": list(forget.ids), "retained": len(retain)}
            self.store.save("models", name, facts, self.subject.keep(model), provenance.clock(start))
        return self.subject.restore(self.store.load("models", name).arrays, self.material.trained)

    def verify(self, say: Say) -> list[Evidence]:
        """Step 4: the model asked beside the model before and its null. One evidence per record."""
        found = self.found(say)
        after = self._asked("after", self._after(), lambda: self.forget(say), say)
        before = self._asked("before", [], lambda: self.before(say), say)
        null = {what: [self.reference(*one, say) for one in lot] for what, lot in self.references().items()}
        hid = self._hidden(before, null["free"] or null["without"], say)
        said = evidence.Said(after, before, null["without"], null["free"], hid)
        kept, retrained = self._kept(found), self.method == "retrain"
        return [evidence.of_record(name, at, self.subject.levels, self.null, kept, retrained, said)
                for at, name in enumerate(self.material.forget)]  # fmt: skip

    def shares(self, say: Say) -> dict[str, Any]:
        """Step 4 too: whose doing each record's margin is, "before" and "after", kept; or "missing": why not told.

        The margin after is split among what stays: what the record itself has left in the model is unexplained there.
        """
        if self.blind:
            return {"missing": "the training data, among which it is split, is not there"}
        name = self._name("shares", self._asked_about(), *self._after())
        if not self.store.has("data", name):
            start = time.time()
            say("verify: whose doing what is left of the records is")
            trained, never, kin = self.material.trained, self._question.never, self._kin()
            asked, stays = trained.take(self.material.forget), trained.without(self.found(say)["removed"])
            try:
                self._check_finite(say)
                told: dict[str, Any] = {
                    when: self.subject.shares(make(say), members, asked, kin, never)
                    for when, make, members in (("before", self.before, trained), ("after", self.forget, stays))
                }
            except InputError as error:
                told = {"missing": str(error)}
            self.store.save("data", name, {"shares": told}, {}, provenance.clock(start))
        return dict(self.store.load("data", name).facts["shares"])

    def report(self, say: Say) -> dict[str, Any]:
        """Step 5: the record of result.json: what was asked, found, removed, kept; evidence, verdicts, gate, hashes."""
        self.check_ready(say)
        request, foreseen = self.written.request, self.foreseen(say)
        known, shares = self.verify(say), self.shares(say)
        verdicts = [decide(one) for one in known]
        after = self._asked("after", self._after(), lambda: self.forget(say), say)
        before = self._asked("before", [], lambda: self.before(say), say)
        utility = {"on": self.subject.watched, **evidence.utility_of(before, after)}
        told = numbers(verdicts, utility, request.utility)
        outcome = gate.judge(request.gate, told)
        return {
            **self.shown(say),
            "foreseen": foreseen,
            "null": self.null,
            "references": request.references if self.null == "references" else 0,
            "utility": utility,
            "recall": evidence.recall_of(before, after),
            "unmoved": evidence.unmoved(before, after),
            "evidence": [to_json(one) for one in known],
            "verdicts": [{**vars(one), "words": one.words} for one in verdicts],
            "shares": shares,
            "numbers": told,
            "gate": {"expression": request.gate, "holds": outcome.holds, "status": outcome.status},
            "rests_on": self._rests_on(),
            "hashes": self._hashes(),
        }  # fmt: skip

    def shown(self, say: Say) -> dict[str, Any]:
        """What there is to show before anything is trained: what was asked and found, side by side."""
        request, found = self.written.request, self.found(say)
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "audit",
            "modality": self.material.modality,
            "request": request.model_dump(mode="json"),
            "asked": list(self.material.forget),
            "already_removed": list(self.parent.removed) if self.parent else [],
            "trained_on": None if self.blind else len(self.material.trained),
            "found": {key: value for key, value in found.items()
                      if key not in ("schema_version", "fingerprint", "sha256", "what")},
            "foreseen": self.outcome(say),
            "method": self.method,
            "contents": _contents(self.material, found),
            "provenance": provenance.made(
                request, self.material.source, f"vestige audit {self.written.path.name}", provenance.LIBRARIES + (
                    provenance.LANGUAGE if self.material.modality == "text" else ())),
        }  # fmt: skip

    # -- parts ------------------------------------------------------------------------------------------------------

    def _kept(self, found: Mapping[str, Any]) -> int | None:
        """How many similar records stay in training, None where nobody could look."""
        return None if self.blind else len(found["kept"])

    def _check_finite(self, say: Say) -> None:
        """Raise InputError where a model answers a record by no number."""
        for what, parts, make in (("before", [], self.before), ("after", self._after(), self.forget)):
            if not np.isfinite(self._asked(what, parts, partial(make, say), say)["answer"]).all():
                raise InputError(f"the model {what} answers with what is no number")

    def _kin(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Record → the similar ones that were trained on, and its retained neighbours."""
        found = self.found(lambda message: None)
        return {
            one["id"]: {
                "similar": tuple(
                    near["id"] for near in one["neighbours"] if near["similar"] and near["fate"] != "unseen"
                ),
                "near": tuple(found["near"][one["id"]]),
            }
            for one in found["records"]
        }

    def _parts(self, found: Mapping[str, Any]) -> tuple[Samples, Samples]:
        trained = self.material.trained
        forget = trained.take(name for name in trained.ids if name in set(found["removed"]))
        retain = trained.without(forget.ids)
        if not len(retain):
            raise InputError("nothing would be retained: every record of the data was to be forgotten")
        return forget, retain

    def _after(self) -> list[Any]:
        found = self.found(lambda message: None)
        request = self.written.request
        return [found["removed"], self.method, request.unlearn, request.utility, request.model.after]

    @cached_property
    def _question(self) -> Question:
        """What every model is asked: the same records, whatever it was trained on."""
        found, trained = self.found(lambda message: None), self.material.trained
        never = self.material.never.without(found["not_controls"])
        gone = {*found["removed"], *found["kept"]}
        records = trained.take(self.material.forget)
        controls = []
        if self.null == "controls":
            self._check_controls(len(never))
            controls = [self.subject.controls(trained.take([name]), never) for name in records.ids]
            most = min(len(lot) for lot in controls)
            controls = [lot.at(slice(0, most)) for lot in controls]
        near = {name: tuple(ids) for name, ids in found["near"].items()}
        return Question(records, trained.without(gone), near, never.evenly(WATCHED), controls)

    def _hidden(self, before: Asked, null: list[Asked], say: Say) -> list[Asked]:
        """What copies of the model before say in which the audit hid the records; NaN of those it could not hide."""
        levels = evidence.never_seen(null, before)

        def hidden(what: str, last: bool) -> Asked:
            def make() -> nn.Module | None:
                return self.subject.hide(self.before(say), self._question, levels, last=last)

            return evidence.hidden(self._asked(what, self._levels_from(), make, say), levels)

        return [hidden(what, last) for what, last in HIDDEN.items()]

    def _levels_from(self) -> list[Any]:
        return [self.written.request.references]

    def _asked(self, what: str, parts: Iterable[Any], make: Callable[[], nn.Module | None], say: Say) -> Asked:
        """What one model says, kept; nothing of one that cannot be made. parts: what it depends on beside the start."""
        name = self._asked_name(what, parts)
        if not self.store.has("outputs", name):
            start = time.time()
            model = make()
            say(f"verify: asking the model {what}")
            arrays = self.subject.ask(model, self._question) if model is not None else {}
            self.store.save("outputs", name, {"what": what}, arrays, provenance.clock(start))
        return self.store.load("outputs", name).arrays

    def _asked_about(self) -> list[Any]:
        found = self.found(lambda message: None)
        return [list(self.material.forget), found["near"], sorted({*found["removed"], *found["kept"]}),
                found["not_controls"], self.null]  # fmt: skip

    def references(self) -> dict[str, list[tuple[tuple[str, ...], int]]]:
        """The models for comparison, of each null: what each is trained without, and its number."""
        found = self.found(lambda message: None)
        gone = {"without": found["removed"], "free": [*found["removed"], *found["kept"]] if found["kept"] else []}
        count = self.written.request.references if self.null == "references" else 0
        return {
            what: [(tuple(sorted(set(lot))), index) for index in range(count if lot else 0)]
            for what, lot in gone.items()
        }

    def reference(self, gone: tuple[str, ...], index: int, say: Say) -> Asked:
        """What one model says that was never trained on these records; kept."""
        name = self._reference_name(gone, index)
        if not self.store.has("shadows", name):
            start = time.time()
            alone = set(gone) == set(self.found(say)["removed"])
            what = "without the records" if alone else "without similar records too"
            retain = self.material.trained.without(gone)
            say(f"verify: training model {index + 1} of {self.written.request.references} {what}")
            model = self.subject.learn(retain, SECOND + 1000 * self.written.request.seed + index)
            arrays = self.subject.ask(model, self._question)
            facts = {"what": f"reference {what}", "index": index, "retained": len(retain)}
            self.store.save("shadows", name, facts, arrays, provenance.clock(start))
        return self.store.load("shadows", name).arrays

    def missing(self) -> list[tuple[tuple[str, ...], int]]:
        """The models for comparison that are still to be trained."""
        lots = self.references().values()
        return [one for lot in lots for one in lot if not self.store.has("shadows", self._reference_name(*one))]

    def _asked_name(self, what: str, parts: Iterable[Any]) -> str:
        return self._name("asked", what, self._asked_about(), *parts)

    def _reference_name(self, gone: tuple[str, ...], index: int) -> str:
        return self._name("reference", gone, index, self._asked_about())

    def _rests_on(self) -> dict[str, Any]:
        """Which stored answers the evidence was read from."""
        return {
            "after": self._asked_name("after", self._after()),
            "before": self._asked_name("before", []),
            "hid": [self._asked_name(what, self._levels_from()) for what in HIDDEN],
            **{what: [self._reference_name(*one) for one in lot] for what, lot in self.references().items()},
        }

    def _hashes(self) -> dict[str, Any]:
        """SHA-256 of what the result rests on: file under the audit's folder → digest."""
        kept = {}
        for kind in ("data", "models", "outputs", "shadows"):
            for path in sorted((self.store.root / kind).glob("[!.]*/*")):
                if path.name in ("result.json", "tensors.safetensors"):
                    kept[path.relative_to(self.store.root).as_posix()] = digest(path)
        return {"data": self.material.source, "code": dict(self.code), "request": self.request_name, "files": kept}


def _contents(material: Material, found: Mapping[str, Any]) -> dict[str, Any]:
    """What the report shows of each record and its similar ones: pixels as nested lists, or question and answer."""
    names = [
        *material.forget,
        *(one["id"] for record in found["records"] for one in record["neighbours"][:SHOWN]),
    ]
    everything = finding.both(material.trained, material.never)
    some = everything.take(dict.fromkeys(names))
    if some.classes:
        pixels = (some.x * 255).round().byte()
        return {name: {"label": str(int(y)), "pixels": x.tolist()}
                for name, x, y in zip(some.ids, pixels, some.y, strict=True)}  # fmt: skip
    return {name: {"label": "", "question": str(x), "answer": str(y)}
            for name, x, y in zip(some.ids, some.x, some.y, strict=True)}  # fmt: skip


SHOWN = 6
"""Neighbours of each record that the report shows."""
