"""Experiments: a plan of runs, each resumable step by step.

A run is one replicate (seed), one training arm and one stage. It needs a data set, a model, and what the study
measures of it: its scores, its outputs, and what shadow models say. Each is a step that the store keeps under the
fingerprint of everything that made it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from vestige import __version__, influence, outputs, shadow, verify
from vestige.config import StudyConfig, fingerprint
from vestige.executor import Say, paced
from vestige.provenance import clock, ticks
from vestige.stages import ALIASES, Stage, parse
from vestige.store import Store, read_json
from vestige.types import InputError, Run, ShadowRun, split_of

if TYPE_CHECKING:
    from pydantic import BaseModel
    from torch import nn

    from vestige.influence import Start
    from vestige.store import Entry
    from vestige.types import Samples, Split


def check(name: str) -> Stage:
    """The stage that a name stands for, once it is known that there is such a method.

    Raises InputError for other names than before, R0, R1, METHOD, METHOD-1+K, METHOD-inf+K, METHOD-tauT, METHOD-autoR
    and the last four with @W; RF is retrain.
    """
    from vestige.unlearn import METHODS
    from vestige.unlearn.methods import WEIGHTLESS

    stage = parse(name)
    if stage != Stage() and stage.method not in METHODS:
        raise InputError(
            f"unknown stage {name!r}; known: before, R0, R1, a method ({', '.join((*ALIASES, *METHODS))}), "
            "and a method widened as in RF-1+3 (3 most similar), RF-inf+3 (3 that it rests on), RF-tau0.6 "
            "(SSIM of at least 0.6) or RF-auto0.1 (as few as leave a residual of 0.1), and RF-1+3@0.3 (these 3 kept "
            "in training at weight 0.3)"
        )
    if stage.weight is not None and stage.method in WEIGHTLESS:
        serves = ", ".join(name for name in METHODS if name not in WEIGHTLESS)
        raise InputError(
            f"stage {name!r} gives retained samples a weight in their mean loss, and {stage.method} takes no such "
            f"mean; weights serve {serves}"
        )
    return stage


def check_method(config: StudyConfig, stage: Stage) -> None:
    """Raise InputError for a method that cannot serve the models that this configuration trains."""
    from vestige.sisa import NOT_SHARDED
    from vestige.unlearn.methods import NEEDS_UNTRAINED

    if stage.method == "SISA" and config.train.sisa is None:
        raise InputError(NOT_SHARDED.format(found=config.model.kind))
    if stage.weight is not None and config.train.sisa is not None:
        raise InputError(f"weights serve one model, train.sisa trains {config.train.sisa.shards}; set train.sisa=null")
    if stage.needs_influence:
        influence.check(config.model, config.train.sisa is not None)
    if stage.method in NEEDS_UNTRAINED and config.train.sisa is not None:
        raise InputError(
            f"{stage.method} needs the untrained network of one model, and train.sisa trains "
            f"{config.train.sisa.shards} that vote; leave it out of the stages, or set train.sisa=null"
        )


def plan(config: StudyConfig, *, recall: bool = True) -> tuple[Run, ...]:
    """The runs of a study, in each variant, models before unlearning first. R1 and widening exist *with* only.

    recall: whether reconstruction and influence will be asked for, where the study measures them. Raises InputError
    for unknown stages, and for a method or measure that cannot serve the models.
    """
    from vestige.modality import modality

    if recall and "recall" in config.measure:
        modality(config.modality).check_recover(config.model, config.train.sisa is not None)
    if recall and "influence" in config.measure:
        influence.check(config.model, config.train.sisa is not None)
    stages = {name: check(name) for name in config.stages}
    for stage in stages.values():
        check_method(config, stage)
    runs = [
        Run(seed, training, name, variant)
        for seed in range(config.seed, config.seed + config.seeds)
        for variant in config.variants or ("",)
        for name, stage in stages.items()
        for training in config.training
        if training == "with" or not stage.needs_similar
    ]
    return tuple(sorted(runs, key=lambda run: run.stage != "before"))


@dataclass(frozen=True)
class Laboratory:
    """Where the runs of one study take place: its configuration, its store, the digest of its source."""

    config: StudyConfig
    store: Store
    source: str

    def plan(self) -> tuple[Run, ...]:
        return plan(self.config)

    def data_name(self, seed: int, variant: str = "") -> str:
        return fingerprint("data", __version__, self.config.of(variant).data, seed, self.source)

    def model_name(self, run: Run) -> str:
        stage = parse(run.stage)
        parts: list[BaseModel | str] = [self.config.model, self.config.train]
        if not _is_from_scratch(stage):
            parts.append(self.config.unlearn)
        if self.config.device != "cpu":  # its arithmetic is another: its results do not mix with the CPU's
            parts.append(self.config.device)
        return fingerprint("model", self.data_name(run.seed, run.variant), run.training, run.stage, *parts, run.seed)

    def scores_name(self, run: Run) -> str:
        return fingerprint("scores", self.model_name(run), self.config.recover, run.seed)

    def influence_name(self, run: Run) -> str:
        return fingerprint("influence", self.model_name(run), run.seed)

    def outputs_name(self, run: Run) -> str:
        return fingerprint("outputs", self.model_name(run), self.config.outputs, run.seed)

    def shadow_name(self, run: ShadowRun, stage: str) -> str:
        """The name of what this shadow model answers at this stage; the first half of its pair alone is unlearned."""
        model = self.model_name(Run(run.seed, run.training, stage, run.variant))
        return fingerprint("shadow", model, run.index)

    def adopt(self, other: Store, runs: Iterable[Run]) -> int:
        """Take over what another run folder holds of these runs, under the same fingerprints; how many steps."""
        runs = tuple(runs)
        steps = [step for run in runs for step in self._steps(run).items()]
        steps += [
            ("shadows", self.shadow_name(run, stage)) for run in self.shadow_runs(runs) for stage in run.stages
        ]  # fmt: skip
        return sum(self.store.adopt(other, kind, name) for kind, name in dict.fromkeys(steps))

    def _steps(self, run: Run) -> dict[str, str]:
        """Kind → the name of each step of a run, shadow models apart."""
        return {
            "data": self.data_name(run.seed, run.variant),
            "models": self.model_name(run),
            "scores": self.scores_name(run),
            "influence": self.influence_name(run),
            "outputs": self.outputs_name(run),
        }

    def check_room(self, runs: Iterable[Run]) -> None:
        """Raise InputError if the data sets of these runs, already built, are too small for what is asked.

        That is a stage that forgets more neighbours than there are, or too few samples for shadow models.
        """
        for run in runs:
            if parse(run.stage).k is None and "membership" not in self.config.measure:
                continue
            entry = self.store.load("data", self.data_name(run.seed, run.variant))
            split = split_of(entry.facts["split"])
            _check_room(run, split)
            if "membership" in self.config.measure:
                shadow.population(split, run.training, labels_of(entry))

    def is_done(self, run: Run) -> bool:
        """Whether everything that the study measures of this run, shadow models apart, is there."""
        kinds = {"scores" if name == "recall" else name for name in self.config.measure}
        if self.has_diverged(run):
            kinds -= {"scores", "influence"}
        return all(self.store.has(kind, name) for kind, name in self._steps(run).items() if kind in kinds)

    def has_diverged(self, run: Run) -> bool:
        """Whether the model of this run is there, and its answers are not finite numbers."""
        name = self.model_name(run)
        return self.store.has("models", name) and verify.has_diverged(
            read_json(self.store.folder("models", name) / "result.json")
        )

    def most_workers(self) -> int:
        return 8

    def takes_all(self, run: Run) -> bool:
        return False

    def is_shadow_done(self, run: ShadowRun) -> bool:
        return all(self.store.has("shadows", self.shadow_name(run, stage)) for stage in run.stages)

    def shadow_runs(self, runs: Iterable[Run]) -> tuple[ShadowRun, ...]:
        """The shadow models that these runs are judged by, unlearned by the same stages; none where not measured."""
        if "membership" not in self.config.measure:
            return ()
        stages: dict[tuple[int, str, str], list[str]] = {}
        for run in runs:
            stages.setdefault((run.seed, run.training, run.variant), ["before"]).append(run.stage)
        return tuple(
            ShadowRun(seed, training, index, tuple(dict.fromkeys(names)) if index % 2 == 0 else ("before",), variant)
            for (seed, training, variant), names in stages.items()
            for index in range(self.config.shadow.models)
        )

    def data(self, seed: int, say: Say, variant: str = "") -> tuple[Samples, Split]:
        """The data set of one replicate in one variant, on the study's device; built if it is not there."""
        from vestige import assets, dataset
        from vestige.modality import modality

        name, config = self.data_name(seed, variant), self.config.of(variant).data
        if not self.store.has("data", name):
            start = time.time()
            say("building the data set")
            room = modality(self.config.modality)
            everything = room.load(assets.locate(config.source))
            samples, split = dataset.entail(config, everything, modality=room, seed=seed)
            entry = dataset.to_entry(samples, split, config, seed, self.source)
            self.store.save("data", name, run=clock(start), **entry)
        samples, split = dataset.from_entry(self.store.load("data", name))
        return samples.to(self.config.device), split

    def model(self, run: Run, say: Say) -> nn.Module:
        """The model of one run, trained or unlearned if it is not there."""
        import torch

        from vestige import sisa
        from vestige.modality import modality

        name = self.model_name(run)
        room = modality(self.config.modality)
        if not self.store.has("models", name):
            start = time.time()
            model, facts, spent = self._make_model(run, say)
            weights = {key: value.cpu().numpy() for key, value in model.state_dict().items()}
            self.store.save("models", name, facts, weights, {**clock(start), "method_seconds": spent})
        arrays = self.store.load("models", name).arrays
        weights = {key: torch.from_numpy(value).to(self.config.device) for key, value in arrays.items()}
        return sisa.restore(weights, modality=room, config=self.config.recipe)

    def measure(self, run: Run, say: Say) -> None:
        """Everything that the study measures of one run, shadow models apart, where it is not there."""
        if "recall" in self.config.measure:
            self.scores(run, say)
        if "influence" in self.config.measure:
            self.influence(run, say)
        if "outputs" in self.config.measure:
            self.outputs(run, say)

    def scores(self, run: Run, say: Say) -> None:
        """The recall of everything that is asked of one model, measured if it is not there; none where it diverged."""
        from vestige.modality import modality
        from vestige.random import stream

        name = self.scores_name(run)
        if self.store.has("scores", name):
            return
        room = modality(self.config.modality)
        samples, split = self.data(run.seed, say, run.variant)
        model = self.model(run, say)
        if self.has_diverged(run):
            return
        start = time.time()
        scores = room.recover(
            model,
            samples.take(verify.asked(split, run.training)),
            config=self.config.recover,
            per_class=self.config.of(run.variant).data.per_class,
            generator=stream(run.seed, "recover"),
            on_step=paced(say, "reconstructing", None),
        )
        facts = {
            **_whose(run),
            "model": self.model_name(run),
            "ids": list(scores.ids),
            "facts": dict(scores.facts),
        }
        self.store.save("scores", name, facts, {"value": scores.value, **scores.evidence}, clock(start))

    def influence(self, run: Run, say: Say) -> None:
        """What each training sample contributes to one model's margins, where it is not there and did not diverge."""
        name = self.influence_name(run)
        if self.store.has("influence", name):
            return
        samples, split = self.data(run.seed, say, run.variant)
        model, members, began = self.trained(run, say)
        if self.has_diverged(run):
            return
        start = time.time()
        candidates = samples.take(verify.asked(split, run.training))
        facts, arrays = influence.ask(model, members, candidates, split, run.training, start=began)
        self.store.save("influence", name, {**_whose(run), "model": self.model_name(run), **facts}, arrays,
                        clock(start))  # fmt: skip

    def look_into(
        self,
        run: Run,
        ids: Iterable[str] | None,
        say: Say,
        residual: float | None = None,
        *,
        by: str | None = None,
        refit: bool = True,
    ) -> list[dict[str, Any]]:
        """What carries the margins of these samples, by default the targets, in one model, which is made if need be.

        residual: say too how few of the most similar to forget for it ("enough": as the stage RF-auto would from this
        model; None where that cannot be told). by: of `influence.WAYS`, by default as `influence.way` has it. refit: of
        representers. Raises InputError for ids that the data set of this run does not have, and for a model that
        diverged.
        """
        from vestige.modality import modality
        from vestige.unlearn.perform import fewest

        how = influence.way(by, self.config.model, self.config.train.sisa is not None, residual)
        room = modality(self.config.modality)
        samples, split = self.data(run.seed, say, run.variant)
        asked = samples.take(dict.fromkeys(ids) if ids else split.target)
        kin = influence.kin_of(split, run.training)
        self.model(run, say)
        if self.has_diverged(run):
            raise InputError(f"{run.label}: {verify.DIVERGED}, so nothing carries its margins; lower its rate or steps")
        if how == "exact":
            model, members, began = self.trained(run, say)
            found = influence.by_multipliers(
                model, members, asked, kin, start=began, never_seen=samples.take(split.never_seen)
            )
        else:
            model, members = self.trained_on(run, say)
            if how == "representer":
                decay = self.config.train.weight_decay
                found = influence.by_representers(model, members, asked, kin, modality=room, decay=decay, refit=refit)
            else:
                found = influence.by_gradients(model, members, asked, kin, modality=room)
        records = [{**_whose(run), **record} for record in found]
        if residual is None:
            return records
        plain = influence.explain(model, members)  # as `perform` has it: without the start
        few = {} if plain.why_not else fewest(plain, members, asked, split, residual)
        enough = {name: asdict(one) for name, one in few.items()}
        return [{**record, "enough": enough.get(record["target"])} for record in records]

    def trained_on(self, run: Run, say: Say) -> tuple[nn.Module, Samples]:
        """One model, and the samples that its weights were trained on.

        A method that goes on from the model before leaves what that was trained on in the weights.
        """
        samples, _ = self.data(run.seed, say, run.variant)
        model = self.model(run, say)
        facts = self.store.load("models", self.model_name(run)).facts
        gone = [] if _is_from_scratch(parse(run.stage)) else facts["removed"]
        return model, samples.take([*facts["trained_on"], *gone])

    def trained(self, run: Run, say: Say) -> tuple[nn.Module, Samples, Start | None]:
        """As `trained_on`, and where training began; InputError for a model that is no single homogeneous MLP."""
        from vestige.modality import modality
        from vestige.random import stream

        influence.check(self.config.model, self.config.train.sisa is not None)
        model, members = self.trained_on(run, say)
        left = influence.left_of_start(self.config.train, len(members))
        if left is None:
            return model, members, None
        room = modality(self.config.modality)
        began = room.build(self.config.model, members, generator=stream(run.seed, "train"))
        return model, members, influence.Start(began, left)

    def outputs(self, run: Run, say: Say) -> None:
        """What one model answers, around the targets and while a copy relearns them, where it is not there."""
        from vestige.modality import modality

        name = self.outputs_name(run)
        if self.store.has("outputs", name):
            return
        samples, split = self.data(run.seed, say, run.variant)
        model = self.model(run, say)
        start = time.time()
        arrays = outputs.ask(
            model, samples, split, run.training, modality=modality(self.config.modality), recipe=self.config.recipe,
            config=self.config.outputs, seed=run.seed,
        )  # fmt: skip
        model_name = self.model_name(run)
        trained_on = self.store.load("models", model_name).facts["trained_on"]
        ids = list(outputs.asked(split, run.training))
        facts = {**_whose(run), "model": model_name, "ids": ids, "trained_on": trained_on}
        self.store.save("outputs", name, facts, arrays, clock(start))

    def shadow(self, run: ShadowRun, say: Say) -> None:
        """What one shadow model answers, trained and then unlearned by each stage, where it is not there.

        Its weights are not kept. Raises ArithmeticError where its training diverges.
        """
        import torch

        from vestige.modality import modality
        from vestige.unlearn import perform

        missing = [stage for stage in run.stages if not self.store.has("shadows", self.shadow_name(run, stage))]
        if not missing:
            return
        room, recipe, seed = modality(self.config.modality), self.config.recipe, shadow.seed_of(run)
        samples, split = self.data(run.seed, say, run.variant)
        labels = dict(zip(samples.ids, samples.y.tolist(), strict=True))
        everything = samples.take(shadow.trained_on(run, split, labels))
        asked = samples.take(outputs.asked(split, run.training))
        base: nn.Module | None = None
        for name in dict.fromkeys(("before", *missing)):
            start = time.time()
            say(f"{name}")
            made = perform(parse(name), base, everything, split, modality=room, recipe=recipe, seed=seed)
            base = base or made.model
            with torch.no_grad():
                logits = room.logits(made.model, asked)
            if name == "before" and not torch.isfinite(logits).all():
                raise ArithmeticError("training diverged: the logits are not finite")
            facts = {
                **asdict(run), "kind": "shadow", "stages": [name], "ids": list(asked.ids),
                "trained_on": list(made.trained_on),
            }  # fmt: skip
            self.store.save(
                "shadows", self.shadow_name(run, name), facts, {"logits": logits.cpu().numpy()}, clock(start)
            )

    def _make_model(self, run: Run, say: Say) -> tuple[nn.Module, dict[str, Any], float]:
        """The model of one run, its facts, and the seconds that its stage alone took (`ticks`)."""
        from vestige.modality import modality
        from vestige.unlearn import perform

        room, recipe, stage = modality(self.config.modality), self.config.recipe, parse(run.stage)
        samples, split = self.data(run.seed, say, run.variant)
        everything = samples.take(split.training(run.training))
        counted = _is_from_scratch(stage) and recipe.train.sisa is None
        on_step = paced(say, stage.method or "training", recipe.train.steps if counted else None)
        before = None if stage == Stage() else self.model(replace(run, stage="before"), say)
        start = ticks(self.config.device)
        made = perform(stage, before, everything, split, modality=room, recipe=recipe, seed=run.seed, on_step=on_step)
        spent = ticks(self.config.device) - start
        asked = {"forget": split.target, "near": split.all_near(), "test": split.test}
        parts = {"train": everything.take(made.trained_on)} | {
            name: samples.take(ids) for name, ids in asked.items() if ids
        }
        facts = {
            **_whose(run),
            "data": self.data_name(run.seed, run.variant),
            "removed": list(made.removed),
            "widened": {name: list(ids) for name, ids in made.widened.items()},
            "trained_on": list(made.trained_on),
            "accuracy": verify.accuracies(made.model, parts, room),
        }
        return made.model, facts, round(spent, 4)


def rehearse(config: StudyConfig) -> None:
    """Read the data and draw every data set of a study without keeping anything: what can go wrong early, does.

    Raises InputError as reading, building and `Laboratory.check_room` do.
    """
    from vestige import assets, dataset
    from vestige.modality import modality

    room = modality(config.modality)
    everything = room.load(assets.locate(config.data.source))
    runs = plan(config, recall=False)
    for lot in dict.fromkeys((run.seed, run.variant) for run in runs):
        seed, variant = lot
        samples, split = dataset.entail(config.of(variant).data, everything, modality=room, seed=seed)
        labels = dict(zip(samples.ids, samples.y.tolist(), strict=True))
        for run in runs:
            if (run.seed, run.variant) == lot:
                _check_room(run, split)
                if "membership" in config.measure:
                    shadow.population(split, run.training, labels)


def labels_of(data: Entry) -> dict[str, int]:
    """The class of every sample of a data set that was kept."""
    return dict(zip(data.facts["ids"], data.arrays["y"].tolist(), strict=True))


def _check_room(run: Run, split: Split) -> None:
    stage = parse(run.stage)
    room = len(split.training(run.training)) - len(split.target)
    if stage.k is not None and stage.k > (room if stage.weight else room - 1):
        kept = "" if stage.weight else ", of which one at least must be left"
        raise InputError(
            f"stage {run.stage} forgets {stage.k} other samples with each target, but only {room} others "
            f"are in training{kept}; lower k or raise data.per_class"
        )


def _is_from_scratch(stage: Stage) -> bool:
    from vestige.unlearn.methods import FROM_SCRATCH

    return not stage.method or stage.method in FROM_SCRATCH


def _whose(run: Run) -> dict[str, Any]:
    return {"kind": "run", **asdict(run)}
