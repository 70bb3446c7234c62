"""The jobs of a difficulty study: plain records of names and numbers, and what they need.

A job holds everything that its result follows from: the specification of its data set, of the model that it starts
from, and its settings. So it can be written down as JSON, sent to another machine, and run again; its fingerprint names
its result. Pure functions: nothing here trains or reads a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vestige import __version__
from vestige.config import DifficultyConfig, Recipe, Sisa, fingerprint
from vestige.random import stream
from vestige.sisa import place
from vestige.types import InputError

Job = dict[str, Any]
"""kind "reference", "before", "factors" or "unlearn", and what that kind needs."""

METHOD_OF = {"EU": "retrain", "FT": "finetune"}
"""Algorithm → its name in METHODS, where that is another."""

SETTINGS = {
    "FT": "finetune",
    "GA": "ascent",
    "NegGrad+": "neggrad",
    "relabel": "relabel",
    "SCRUB": "scrub",
    "SSD": "ssd",
}
"""Algorithm → where its settings stand under `unlearn`."""

BANDS = (0.05, 0.2, 0.5)
"""Memorisation that separates the strata from which samples are chosen."""

name_of = fingerprint
"""The name of a job's result, or of a data set, from its specification."""


def learner_of(algorithm: str) -> str:
    """Whose models it starts from: SISA's shards, or one model."""
    return "shards" if algorithm == "SISA" else "one"


@dataclass(frozen=True)
class Plan:
    """What a study consists of. source: digest of the data that the configuration names."""

    config: DifficultyConfig
    source: str

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(range(self.config.seed, self.config.seed + self.config.seeds))

    @property
    def learners(self) -> tuple[str, ...]:
        """The kinds of models that there must be; the one model always, for its factors."""
        return tuple(dict.fromkeys(("one", *map(learner_of, self.config.algorithms))))

    def data(self, dose: int = 0, dosed: Sequence[str] = ()) -> Job:
        """The specification of a data set."""
        spec: Job = {
            "kind": "data",
            "version": __version__,
            "sha256": self.source,
            "modality": self.config.modality,
            "seed": self.config.seed,
            "data": self.config.data.model_dump(mode="json"),
        }
        if dose:
            spec |= {"dose": dose, "doses": list(self.config.doses), "dosed": list(dosed)}
        return spec

    def references(
        self, data: Job, learner: str, train: Sequence[str], chosen: Sequence[str] | None = None
    ) -> tuple[Job, ...]:
        """The models that were not trained on some: each without one fold of the training set.

        Of a data set with constructed similar samples only the fold that holds all those that got them: no other is
        asked about. chosen: ids; each reference is then trained without one of them alone.
        """
        count = self.config.references.models
        left_out: list[tuple[str, ...]]
        if chosen is not None:
            left_out = [(name,) for name in chosen for _ in range(count)]
        else:
            left_out = [fold for draw in range(count) for fold in self._folds(train, draw, data.get("dosed", ()))]
        offset = 0 if chosen is None else 10**5
        return tuple(
            {
                "kind": "reference",
                **self._model(data, learner, 10**6 * (self.config.seed + 1) + offset + number),
                "without": list(ids),
            }
            for number, ids in enumerate(left_out)
        )

    def before(self, data: Job, learner: str, seed: int) -> Job:
        """The model that must forget."""
        return {"kind": "before", **self._model(data, learner, seed)}

    def factors(self, before: Job, ids: Sequence[str], references: Sequence[float]) -> Job:
        """The factors of these samples of one model. references: p_ref of each."""
        return {"kind": "factors", "before": before, "ids": list(ids), "references": list(references)}

    def unlearn(self, before: Job, algorithm: str, name: str, p_ref: float) -> Job:
        """One sample forgotten by one algorithm. p_ref: what its probability should come to."""
        settings = self.config.unlearn.model_dump(mode="json")
        where = SETTINGS.get(algorithm)
        return {
            "kind": "unlearn",
            "before": before,
            "algorithm": algorithm,
            "unlearn": {where: settings[where]} if where else {},
            "id": name,
            "p_ref": p_ref,
        }

    def _model(self, data: Job, learner: str, seed: int) -> Job:
        recipe = self.config.recipe if learner == "one" else self.config.sharded
        return {
            "data": data,
            "model": recipe.model.model_dump(mode="json"),
            "train": recipe.train.model_dump(mode="json"),
            "seed": seed,
            "device": self.config.device,
        }

    def _folds(self, train: Sequence[str], draw: int, dosed: Sequence[str]) -> list[tuple[str, ...]]:
        """Parts of what is trained on, of one size. dosed: where there are some, the one part that holds them all."""
        import torch

        order = torch.randperm(len(train), generator=stream(self.config.seed, f"folds {draw}")).tolist()
        folds = self.config.references.folds
        if dosed:
            others = [train[place] for place in order if train[place] not in dosed]
            return [(*dosed, *others[: max(0, len(train) // folds - len(dosed))])]
        return [tuple(train[place] for place in sorted(order[fold::folds])) for fold in range(folds)]


def data_of(job: Mapping[str, Any]) -> Job:
    """The specification of the data set that this job works on."""
    data: Job = job["data"] if "data" in job else job["before"]["data"]
    return data


def needs(job: Mapping[str, Any]) -> tuple[Job, ...]:
    """The specifications of what must be there before this job: its data set, and the model that it starts from."""
    return (data_of(job), job["before"]) if "before" in job else (data_of(job),)


def recipe_of(job: Mapping[str, Any]) -> Recipe:
    """The recipe that a job's models are built, trained and unlearned by."""
    model = job.get("before", job)
    return Recipe.model_validate({"model": model["model"], "train": model["train"], "unlearn": job.get("unlearn", {})})


def label_of(job: Mapping[str, Any]) -> str:
    """A job in a few words, for progress and lists."""
    dose = data_of(job).get("dose", 0)
    copies = f", {dose} similar" if dose else ""
    model = job.get("before", job)
    shards = " · shards" if model["train"]["sisa"] and job["kind"] != "unlearn" else ""
    what = {"unlearn": f"{job.get('algorithm')} · {job.get('id')}"}.get(job["kind"], job["kind"])
    return f"seed {model['seed']}{copies}{shards} · {what}"


def choose(labels: Mapping[str, int], memorisation: Mapping[str, float], count: int, seed: int) -> tuple[str, ...]:
    """`count` of these samples, even over classes, and within each class over bands of memorisation.

    labels: id → class; memorisation: id → p_in − p_ref. The bands lie between 0.05, 0.2 and 0.5; a class takes turns
    among its bands, most memorised first, as long as they last. In the order of `labels`. Raises InputError for more
    samples than there are.
    """
    import torch

    if count > len(labels):
        raise InputError(f"{count} samples were asked for, there are {len(labels)}; lower samples")
    draw = stream(seed, "difficulty samples")
    queues: list[list[str]] = []
    for label in sorted(set(labels.values())):
        ids = [name for name, its in labels.items() if its == label]
        ids = [ids[at] for at in torch.randperm(len(ids), generator=draw).tolist()]
        bands: list[list[str]] = [[] for _ in (*BANDS, None)]
        for name in ids:
            bands[sum(memorisation[name] >= edge for edge in BANDS)].append(name)
        queue = []
        while any(bands):
            queue += [band.pop(0) for band in reversed(bands) if band]
        queues.append(queue)
    chosen: set[str] = set()
    while len(chosen) < count:
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.add(queue.pop(0))
    return tuple(name for name in labels if name in chosen)


def check_budget(config: DifficultyConfig) -> None:
    """Raise InputError for an algorithm that may pass more samples than the budget. Exact ones (EU, SISA) may."""
    n = config.data.train
    allowed = config.budget * config.train.steps * n
    settings = config.unlearn
    taken = {
        "FT": settings.finetune.steps * n,
        "GA": settings.ascent.steps,
        "NegGrad+": settings.neggrad.steps * n,
        "relabel": settings.relabel.steps * n,
        "SCRUB": settings.scrub.steps * n,
    }
    for algorithm, cost in taken.items():
        if algorithm in config.algorithms and cost > allowed * (1 + 1e-9):
            raise InputError(
                f"{algorithm} passes {cost / n:g} times over the {n} training samples; the budget {config.budget:g} of "
                f"{config.train.steps} passes allows {allowed / n:g}; lower unlearn.{SETTINGS[algorithm]}.steps or "
                "raise budget"
            )


def check_shards(train: Sequence[str], jobs: Sequence[Job]) -> None:
    """Raise InputError where SISA does not apply: a shard of one of these models would have nothing to start with."""
    for job in jobs:
        parts = Sisa.model_validate(job["train"]["sisa"])
        gone = set(job.get("without", ()))
        first = [place(name, job["seed"], parts) for name in train if name not in gone]
        for shard in range(parts.shards):
            # One more than none: what is unlearned may be the one.
            if first.count((shard, 0)) < 2:
                raise InputError(
                    f"SISA does not apply: of {len(train) - len(gone)} training samples shard {shard + 1} of "
                    f"{parts.shards} has {first.count((shard, 0))} in its first slice of {parts.slices}, 2 are needed; "
                    "lower sisa.shards or sisa.slices, raise data.train, or leave SISA out of the algorithms"
                )
