"""Where a difficulty study takes place: its plan, its folder, and who carries out its jobs.

Data sets and models before unlearning are steps of the store; the thousands of small results stand in one journal.
Workers return what they made; this process alone writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Literal

from vestige import __version__, assets, executor, provenance, store
from vestige.config import DifficultyConfig
from vestige.difficulty import data as sets
from vestige.difficulty import jobs, plan
from vestige.difficulty.journal import FILE, Journal, Part
from vestige.difficulty.plan import Job, Plan, label_of, name_of
from vestige.executor import Failure, Say
from vestige.store import Store
from vestige.types import InputError

Executor = Literal["local", "ray"]
KINDS = {"data": "data", "before": "models"}
"""Kind of job → where the store keeps its result; those of others stand in the journal."""


Made = tuple[Part, dict[str, Any]]
"""What a job made, and times and host facts of its making."""
Crew = executor.Gather[Job, Made]
"""Who carries out jobs."""


@dataclass(frozen=True)
class Laboratory:
    """One difficulty study in its folder."""

    plan: Plan
    store: Store

    @property
    def config(self) -> DifficultyConfig:
        return self.plan.config

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.store.root / FILE)

    def data(self, dose: int = 0, dosed: Sequence[str] = ()) -> tuple[Job, Part]:
        """A data set and its specification; drawn if it is not there."""
        spec = self.plan.data(dose, dosed)
        if not self.has(spec):
            start = time.time()
            part = jobs.make_data(spec)
            self.store.save("data", name_of(spec), part.facts, part.arrays, provenance.clock(start))
        return spec, self.read(spec)

    def has(self, job: Job) -> bool:
        return self.store.has(KINDS[job["kind"]], name_of(job))

    def read(self, job: Job) -> Part:
        """A data set or a model before unlearning. Raises InputError where its files are not what was written."""
        return _read(self.store.root, KINDS[job["kind"]], name_of(job))

    @contextmanager
    def crew(self, kind: Executor, workers: int, address: str | None = None) -> Iterator[Crew]:
        """Who carries out jobs: worker processes here, or Ray. address: of its cluster, None for one of our own."""
        if kind == "local":
            with executor.pooled(partial(_work_here, self.store.root), workers, self.config.device) as crew:
                yield crew
            return

        def needs(job: Job) -> dict[str, Callable[[], Part]]:
            return {name_of(spec): partial(self.read, spec) for spec in plan.needs(job)}

        with executor.pooled_ray(_work, workers, address=address, needs=needs) as crew:
            yield crew

    def carry_out(self, asked: Sequence[Job], crew: Crew, say: Say, what: str) -> list[Failure[Job]]:
        """Do what is not done yet of these jobs; those that failed twice are returned, with why."""
        there = self.journal.names()
        todo = [job for job in asked if not (self.has(job) if job["kind"] in KINDS else name_of(job) in there)]
        if len(todo) < len(asked):
            say(f"{len(asked) - len(todo)} of {len(asked)} {what} are done already")
        tell = _paced(say, what, len(todo))

        def keep(job: Job, made: Made) -> None:
            part, run = made
            if job["kind"] in KINDS:
                self.store.save(KINDS[job["kind"]], name_of(job), part.facts, part.arrays, run)
            else:
                self.journal.put(name_of(job), part, run)
            tell()

        failed = crew(todo, keep)
        for job, why in failed:
            say(f"{label_of(job)} failed and is tried once more: {why}")
        return crew([job for job, _ in failed], keep)


def open_laboratory(config: DifficultyConfig, out: Path, *, fresh: bool = False) -> Laboratory:
    """The place where this study takes place. What can be checked before any training is checked first.

    Raises InputError for what cannot be done with these data, and as `store.open_folder` does; MissingError for data or
    a device that is not there.
    """
    from vestige.modality import modality

    executor.check_device(config.device)
    plan.check_budget(config)
    asset = assets.locate(config.data.source)
    asset.expect(config.modality)
    everything = modality(config.modality).load(asset)
    sets.check(config, everything)
    study = Plan(config, asset.digest())
    spec = study.data()
    part = jobs.make_data(spec, everything)
    train = part.facts["train"]
    if config.references.folds > len(train):
        raise InputError(f"{config.references.folds} folds of {len(train)} training samples; lower references.folds")
    if config.doses:  # with samples that need not be those that are chosen later, but as many
        dosed = plan.choose(labels_of(part, train), dict.fromkeys(train, 0.0), config.dosed, config.seed)
        jobs.make_data(study.data(max(config.doses), dosed), everything)
    if "SISA" in config.algorithms:
        models = [study.before(spec, "shards", seed) for seed in study.seeds]
        plan.check_shards(train, [*models, *study.references(spec, "shards", train)])
    return Laboratory(study, store.open_folder(out, config, __version__, study.source, fresh=fresh))


def labels_of(data: Part, ids: Iterable[str]) -> dict[str, int]:
    """The class of each of these samples of a data set."""
    labels = dict(zip(data.facts["ids"], data.arrays["y"].tolist(), strict=True))
    return {name: labels[name] for name in ids}


def _work(job: Job, parts: Mapping[str, Part]) -> Made:
    start = time.time()
    part = jobs.carry_out(job, parts)
    return part, provenance.clock(start)


def _work_here(root: Path, job: Job) -> Made:
    return _work(job, {name_of(spec): _read(root, KINDS[spec["kind"]], name_of(spec)) for spec in plan.needs(job)})


@lru_cache(maxsize=16)
def _read(root: Path, kind: str, name: str) -> Part:
    entry = Store(root).load(kind, name)
    return Part(entry.facts, entry.arrays)


def _paced(say: Say, what: str, count: int, every: float = 10.0) -> Callable[[], None]:
    """What to call as each job ends: says how many are done and about how long the rest will take."""
    done, start, last = 0, time.time(), time.time()

    def tell() -> None:
        nonlocal done, last
        done += 1
        if time.time() - last >= every or done == count:
            last = time.time()
            left = (last - start) / done * (count - done)
            say(f"{what}: {done} of {count}" + (f", about {left:.0f} s left" if left >= 1 else ""))

    return tell
