"""A difficulty study from its configuration to result.json: references, models, runs, analyses, in this order."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vestige import assets, presets, provenance, studies
from vestige import config as settings
from vestige.config import DifficultyConfig
from vestige.difficulty import collect, plan
from vestige.difficulty.factors import BEFORE
from vestige.difficulty.journal import Part
from vestige.difficulty.laboratory import Crew, Executor, Laboratory, labels_of
from vestige.difficulty.plan import Job, label_of, learner_of, name_of
from vestige.difficulty.record import Missing, Model, Result, Run, Sample
from vestige.executor import Failure, Say
from vestige.executor import say as speak
from vestige.store import SCHEMA_VERSION, read_json, write_json
from vestige.types import InputError, VestigeError

KINDS: dict[str, dict[str, Any]] = {
    "mlp": {
        "model": {"init_scale": 0.05},
        "train": {"steps": 10, "lr": 0.05, "batch": 50, "momentum": 0.9, "schedule": "cosine", "weight_decay": 5e-4},
    },
    "words": {
        "modality": "labelled",
        "data": {"train": 300, "test": 200},
        "unlearn": {
            "relabel": {"lr": 1e-4},
            "ascent": {"lr": 0.005},
            "scrub": {"lr": 0.1},
        },
    },
}
"""Kind of network → what it brings to a difficulty study; others bring what they bring everywhere (`presets`)."""


def configure(file: Path | None = None, sets: list[str] | None = None, **flags: Any) -> DifficultyConfig:
    """The configuration of a difficulty study: defaults, the network's own, YAML, --set, flags.

    flags: data, model (its kind), samples, algorithms, seed, seeds, device; None means not given. Raises InputError for
    anything unknown.
    """
    written = settings.read_yaml(file) if file else {}
    asked: dict[str, Any] = {
        key: flags[key] for key in ("samples", "algorithms", "seed", "seeds", "device") if flags.get(key) is not None
    }
    if flags.get("data") is not None:
        asked["data"] = {"source": flags["data"]}
    if flags.get("model") is not None:
        asked["model"] = {"kind": flags["model"]}
    # As a layer, so that a --set of one field leaves the others of its record.
    defaults = DifficultyConfig().model_dump(mode="json", include={"model", "train", "unlearn"})
    layers = [written, settings.read_set(sets or []), asked]
    source = settings.build_difficulty([{"data": layer.get("data", {})} for layer in layers]).data.source
    words = assets.locate(source).modality == "text"
    defaults |= {"modality": "labelled", "model": {"kind": "words"}} if words else {}
    kind = settings.build_difficulty([defaults, *layers]).model.kind
    if (kind == "words") != words:
        holds, fits = ("texts", "words") if words else ("images", "cnn, mlp or resnet18")
        raise InputError(f"{source} holds {holds}, and the model {kind} takes others; choose --model {fits}")
    plain = {"train": presets.training(kind)["train"]} if kind != "cnn" and presets.training(kind) else {}
    own = {**plain, **KINDS.get(kind, {})}
    own["model"] = {"kind": kind, **own.get("model", {})}
    return settings.build_difficulty([defaults, own, *layers])


def conduct(
    laboratory: Laboratory,
    *,
    executor: Executor = "local",
    ray_address: str | None = None,
    workers: int | None = None,
    limit: int | None = None,
    say: Say = speak,
) -> Result:
    """Carry out a study, resuming what is there, and write its result.json and run.json; returns the former.

    executor: "local", processes of one thread each, or "ray", on the cluster at ray_address or on this machine. The
    result is the same to the bit. limit: only so many unlearning runs; the result then says that it is not comparable.
    """
    start = time.time()
    count = count_workers(workers)
    with laboratory.crew(executor, count, ray_address) as crew:
        study = Study(laboratory, crew, say)
        record = study.carry_out(limit)
    root = laboratory.store.root
    write_json(root / "result.json", record)
    write_json(
        root / "run.json",
        {
            "arguments": sys.argv[1:],
            "seconds": round(time.time() - start, 1),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "executor": executor,
            "workers": count,
            "failed": [{"run": label_of(job), "why": why} for job, why in study.failed],
            "host": provenance.host(),
        },
    )
    return record


def failures(laboratory: Laboratory) -> list[tuple[str, str]]:
    """The jobs that failed in the last invocation, with why."""
    return [(entry["run"], entry["why"]) for entry in read_json(laboratory.store.root / "run.json")["failed"]]


def count_workers(asked: int | None) -> int:
    """So many workers, by default one for each core. Raises InputError for fewer than one."""
    if asked is not None and asked < 1:
        raise InputError(f"--workers must be at least 1, got {asked}")
    return asked or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class Study:
    """A study under way: what its steps need of each other. failed: jobs that failed twice, with why."""

    def __init__(self, laboratory: Laboratory, crew: Crew, say: Say) -> None:
        self.laboratory, self.plan, self.crew, self.say = laboratory, laboratory.plan, crew, say
        self.config = laboratory.config
        self.failed: list[Failure[Job]] = []
        self.sets: dict[int, tuple[Job, Part]] = {}
        self.known: dict[tuple[int, str], dict[str, collect.Known]] = {}
        self.chosen: tuple[str, ...] = ()
        self.dosed: tuple[str, ...] = ()

    def carry_out(self, limit: int | None) -> Result:
        """Everything, in the order in which one needs the other."""
        self.sets[0] = self.laboratory.data()
        self._choose()
        for dose in self.config.doses:
            self.sets[dose] = self.laboratory.data(dose, self.dosed)
        self._refer()
        self._do([self._before(dose, learner, seed) for dose, learner, seed in self._models()], "models")
        self._do([job for job in map(self._factors, self._seeds()) if job], "factors")
        runs = self._runs()
        self._do([job for *_, job in runs if job][:limit], "runs")
        return self._result(runs, complete=limit is None or limit >= len(runs))

    def asked(self, dose: int) -> tuple[str, ...]:
        """The samples that are unlearned of this data set."""
        return self.dosed if dose else self.chosen

    def _do(self, jobs: Sequence[Job], what: str) -> None:
        self.failed += self.laboratory.carry_out(jobs, self.crew, self.say, what)

    def _choose(self) -> None:
        """The samples, by what references of the natural data set say of their memorisation."""
        data, part = self.sets[0]
        train = part.facts["train"]
        references = self.plan.references(data, "one", train)
        self._do(references, "references")
        found = self._ask(references, train)
        if len(found) < len(train):
            raise VestigeError(f"too few reference models could be trained: {self.failed[-1][1]}")
        memorised = {name: found[name].memorisation or 0.0 for name in train}
        seed, labels = self.config.seed, labels_of(part, train)
        self.chosen = plan.choose(labels, memorised, self.config.samples, seed)
        if self.config.doses:
            chosen = {name: labels[name] for name in self.chosen}
            self.dosed = plan.choose(chosen, memorised, self.config.dosed, seed)

    def _refer(self) -> None:
        """Every other reference, and what they say."""
        lots = [(dose, learner) for dose in self.sets for learner in self.plan.learners]
        jobs = {lot: self._references(*lot) for lot in lots}
        self._do([job for some in jobs.values() for job in some], "references")
        for lot, some in jobs.items():
            found = self._ask(some, self.sets[lot[0]][1].facts["train"])
            lost = [name for name in self.asked(lot[0]) if name not in found]
            if lost:
                raise VestigeError(f"no reference model without {lost[0]} could be trained: {self.failed[-1][1]}")
            self.known[lot] = found

    def _references(self, dose: int, learner: str) -> tuple[Job, ...]:
        data, part = self.sets[dose]
        alone = self.asked(dose) if self.config.references.way == "one" else None
        return self.plan.references(data, learner, part.facts["train"], alone)

    def _ask(self, references: Sequence[Job], train: Sequence[str]) -> dict[str, collect.Known]:
        parts = self.laboratory.journal.get(map(name_of, references))
        there = [job for job in references if name_of(job) in parts]
        return collect.known(there, [parts[name_of(job)] for job in there], train)

    def _seeds(self) -> list[tuple[int, int]]:
        return [(dose, seed) for dose in self.sets for seed in self.plan.seeds]

    def _models(self) -> list[tuple[int, str, int]]:
        return [(dose, learner, seed) for dose, seed in self._seeds() for learner in self.plan.learners]

    def _before(self, dose: int, learner: str, seed: int) -> Job:
        return self.plan.before(self.sets[dose][0], learner, seed)

    def _factors(self, lot: tuple[int, int]) -> Job | None:
        dose, seed = lot
        before = self._before(dose, "one", seed)
        if not self.laboratory.has(before):
            return None
        ids = self.asked(dose)
        return self.plan.factors(before, ids, [self.known[dose, "one"][name].p_ref for name in ids])

    def _runs(self) -> list[tuple[int, int, str, str, Job | None]]:
        """Dose, seed, sample, algorithm and job of every run; no job where there is no model to start from."""
        found: list[tuple[int, int, str, str, Job | None]] = []
        for dose, seed in self._seeds():
            models = {learner: self._before(dose, learner, seed) for learner in self.plan.learners}
            there = {learner for learner, job in models.items() if self.laboratory.has(job)}
            for name in self.asked(dose):
                for algorithm in self.config.algorithms:
                    its = learner_of(algorithm)
                    p_ref = self.known[dose, its][name].p_ref
                    job = self.plan.unlearn(models[its], algorithm, name, p_ref) if its in there else None
                    found.append((dose, seed, name, algorithm, job))
        return found

    def _result(self, runs: Sequence[tuple[int, int, str, str, Job | None]], *, complete: bool) -> Result:
        made = self.laboratory.journal.get(name_of(job) for *_, job in runs if job)
        why = {name_of(job): reason for job, reason in self.failed}
        rows: list[Run] = []
        missing: list[Missing] = []
        for dose, seed, name, algorithm, job in runs:
            if job and name_of(job) in made:
                before, ref = self.laboratory.read(job["before"]), self.known[dose, learner_of(algorithm)][name]
                rows.append(collect.run_row(job, made[name_of(job)], before, self.sets[dose][1], ref))
                continue
            reason = why.get(name_of(job), "not asked for (--limit)") if job else "its model could not be trained"
            missing.append({"dose": dose, "seed": seed, "algorithm": algorithm, "id": name, "why": reason})
        record: Result = {
            "schema_version": SCHEMA_VERSION,
            "study": "difficulty",
            "name": f"{Path(self.config.data.source).stem} {self.config.model.kind}",
            "comparable": complete and not missing,
            "modality": self.config.modality,
            "algorithms": list(self.config.algorithms),
            "seeds": list(self.plan.seeds),
            "ids": list(self.chosen),
            "dosed": list(self.dosed),
            "doses": list(self.config.doses),
            "classes": self.sets[0][1].facts["classes"],
            "pictures": {str(dose): name_of(data) for dose, (data, _) in self.sets.items()},
            "models": self._model_rows(),
            "samples": self._sample_rows(),
            "runs": rows,
            "missing": missing,
            "analyses": {},
            "provenance": {
                **provenance.made(self.config, self.plan.source, command(self.config), provenance.LIBRARIES),
                "seeds": {
                    "data": [self.config.seed],
                    **{what: list(self.plan.seeds) for what in ("train", "unlearn", "eval")},
                },
                "device": self.config.device,
            },
        }
        record["analyses"] = analyses(record)
        return record

    def _model_rows(self) -> list[Model]:
        found: list[Model] = []
        for dose, learner, seed in self._models():
            job = self._before(dose, learner, seed)
            if self.laboratory.has(job):
                facts = self.laboratory.read(job).facts
                test, train = facts["test_accuracy"], facts["train_accuracy"]
                found.append(
                    {"dose": dose, "seed": seed, "learner": learner, "test_accuracy": test, "train_accuracy": train}
                )
        return found

    def _sample_rows(self) -> list[Sample]:
        jobs = {lot: self._factors(lot) for lot in self._seeds()}
        made = self.laboratory.journal.get(name_of(job) for job in jobs.values() if job)
        found: list[Sample] = []
        for dose, learner, seed in self._models():
            job, factors = self._before(dose, learner, seed), jobs[dose, seed]
            if not self.laboratory.has(job):
                continue
            before = self.laboratory.read(job)
            its = made[name_of(factors)].arrays if learner == "one" and factors and name_of(factors) in made else {}
            for place, name in enumerate(self.asked(dose)):
                values = {key: float(its[key][place]) for key in BEFORE if key in its}
                ref, part = self.known[dose, learner][name], self.sets[dose][1]
                found.append(collect.sample_row(job, before, part, name, ref, values, name in self.dosed))
        return found


def analyses(record: Mapping[str, Any]) -> dict[str, Any]:
    """The questions on difficulty, each answered from the rows of one result, or why it cannot be."""
    from vestige.difficulty import analyse, judge, table

    def constructed() -> dict[str, Any]:
        doses = table.doses(record)
        if doses is None:
            return {"missing": "no sample got constructed similar ones (doses)"}
        return analyse.constructed(doses)

    try:
        measured = table.measured(record)
    except InputError as error:
        return {name: {"missing": str(error)} for name in QUESTIONS}
    return answered(
        {
            "inequality": lambda: analyse.inequality(measured),
            "agreement": lambda: analyse.agreement(measured),
            "holding": lambda: analyse.holding([measured]),
            "symptoms": lambda: analyse.holding([measured], "after"),
            "natural": lambda: analyse.natural(measured),
            "constructed": constructed,
            "predictor": lambda: judge.evaluate([measured]),
        }
    )


def answered(questions: Mapping[str, Callable[[], dict[str, Any]]]) -> dict[str, Any]:
    """Each question's answer, or {"missing": why} where it cannot be told."""
    found: dict[str, Any] = {}
    for name, question in questions.items():
        try:
            found[name] = question()
        except InputError as error:
            found[name] = {"missing": str(error)}
    return found


QUESTIONS = ("inequality", "agreement", "holding", "symptoms", "natural", "constructed", "predictor")


def command(ours: DifficultyConfig) -> str:
    """The command that makes this result again."""
    plain = configure(data=ours.data.source, model=ours.model.kind)
    parts = [f"vestige difficulty --data {shlex.quote(ours.data.source)}", f"--model {ours.model.kind}"]
    for name in ("samples", "seed", "seeds", "device"):
        if getattr(ours, name) != getattr(plain, name):
            parts.append(f"--{name} {getattr(ours, name)}")
    if ours.algorithms != plain.algorithms:
        parts.append(f"--algorithms {','.join(ours.algorithms)}")
    skip = ("samples", "seed", "seeds", "device", "algorithms")
    over = studies.changes(ours.model_dump(mode="json"), plain.model_dump(mode="json"), skip=skip)
    return " ".join([*parts, *(f"--set {shlex.quote(change)}" for change in over)])
