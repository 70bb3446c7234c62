"""Where the runs of a language study take place: tune, unlearn, ask; each run in steps that the store keeps.

One run per target is the paper's unit: it starts from the model before, forgets one target, is asked, and is not kept.
The base model, the model before and the references R0 and R1 are made once per seed and training arm, for all targets.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from vestige import __version__
from vestige.config import TextStudyConfig, fingerprint
from vestige.executor import Say, devices, paced, together, trim
from vestige.language.runs import SHARED, plan, settings_of, stage_of
from vestige.provenance import clock
from vestige.random import stream
from vestige.store import Store
from vestige.types import InputError, Run, Scores, ShadowRun, joined

if TYPE_CHECKING:
    from vestige.modality import Language
    from vestige.text import LanguageModel
    from vestige.train import OnStep, Peers
    from vestige.types import Samples, Split
    from vestige.utility import Found


@dataclass(frozen=True)
class Kept:
    """What one finished run left: the scores of what was asked, the split, and which targets it is about.

    returns: target → whether it comes back ("curve": recall over relearning, "level": that of before, "8bit", "4bit":
    recall with rounded weights); empty where not measured. utility: set of questions → what was answered, likewise.
    membership: loss and min_k of the true answers of all targets and of pairs that were never trained on.
    """

    scores: Scores
    split: Split
    targets: tuple[str, ...]
    returns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    utility: Mapping[str, Found] = field(default_factory=dict)
    membership: Scores | None = None


@dataclass(frozen=True)
class TextLaboratory:
    """The configuration of a study, its store, the digest of its source."""

    config: TextStudyConfig
    store: Store
    source: str

    def plan(self) -> tuple[Run, ...]:
        return plan(self.config)

    def data_name(self, seed: int, variant: str = "") -> str:
        return fingerprint("text", __version__, self.config.data, seed, self.source)

    def model_name(self, run: Run) -> str:
        parts: list[Any] = [self.config.model]
        if run.stage != "base":
            parts.append(self.config.train)
        if run.stage not in SHARED:
            parts.append(settings_of(self.config, run.stage))
        where = "" if run.stage == "base" else run.training  # the base model is the same in both arms
        return fingerprint(
            "lm", self.data_name(run.seed), where, run.stage, run.target, *parts, self.config.device, run.seed
        )

    def scores_name(self, run: Run) -> str:
        return fingerprint("answers", self.model_name(run), self.config.ask, run.seed)

    def returns_name(self, run: Run) -> str:
        return fingerprint("returns", self.model_name(run), self.config.ask, self.config.relearn_steps, run.seed)

    def membership_name(self, run: Run) -> str:
        return fingerprint("membership", self.model_name(run), run.seed)

    def utility_name(self, run: Run) -> str:
        from vestige import utility

        return fingerprint("utility", self.model_name(run), utility.source(self.config.utility), run.seed)

    def choice_name(self, run: Run) -> str:
        return fingerprint("choice", self.model_name(run), self.config.ask, run.seed)

    def adopt(self, other: Store, runs: Iterable[Run]) -> int:
        """Take over what another run folder holds of these runs, under the same fingerprints; how many steps."""
        steps = [
            step
            for run in runs
            for step in (
                ("data", self.data_name(run.seed)),
                ("models", self.model_name(run)),
                ("scores", self.scores_name(run)),
                *(("outputs", name) for name in self._outputs(run)),
                ("outputs", self.choice_name(run)),
            )
        ]
        return sum(self.store.adopt(other, kind, name) for kind, name in dict.fromkeys(steps))

    def check_room(self, runs: Iterable[Run]) -> None:
        """Raise InputError where the model cannot take what these data sets, already built, will have it learn."""
        from vestige import text, utility

        if self._utility():
            utility.check_room(self.config.utility, self.config.model)
        for seed in dict.fromkeys(run.seed for run in runs):
            text.check(self.config.model, self.data(seed, lambda message: None)[0], device=self.config.device)

    def is_done(self, run: Run) -> bool:
        asked = self.store.has("scores", self.scores_name(run))
        return asked and all(self.store.has("outputs", name) for name in self._outputs(run))

    @property
    def devices(self) -> tuple[str, ...]:
        """What one fine-tuning is shared out over: a device for each piece of a batch, as far as there are so many."""
        return devices(self.config.device)[: self.config.train.accumulate]

    def most_workers(self) -> int:
        """One for each GPU, which a language model keeps busy; on the CPU as many as there is memory for."""
        from vestige import text

        return text.most_workers(self.config.model) if self.config.device == "cpu" else len(devices(self.config.device))

    def takes_all(self, run: Run) -> bool:
        """Whether a run is a fine-tuning that several devices share; unlearning runs have one each."""
        return run.stage in ("before", "R0", "R1") and len(self.devices) > 1

    def shadow_runs(self, runs: Iterable[Run]) -> tuple[ShadowRun, ...]:
        """None: membership is judged by the model's own loss."""
        return ()

    def is_shadow_done(self, run: ShadowRun) -> bool:
        return True

    def shadow(self, run: ShadowRun, say: Say) -> None:
        """Nothing: see `shadow_runs`."""

    def data(self, seed: int, say: Say, variant: str = "") -> tuple[Samples, Split]:
        """The data set of one replicate, built if it is not there."""
        from vestige.text import entail

        name = self.data_name(seed)
        if not self.store.has("data", name):
            start = time.time()
            say("building the data set")
            samples, split = draw(self.config, seed)
            entry = entail.to_entry(samples, split, self.config.data, seed, self.source)
            self.store.save("data", name, run=clock(start), **entry)
        return entail.from_entry(self.store.load("data", name))

    def measure(self, run: Run, say: Say) -> None:
        """Make the model of one run and ask it, where that is not done; keep what it says, not the model."""
        from vestige import text

        if self.is_done(run):
            return
        start = time.time()
        samples, split = self.data(run.seed, say)
        model = self.model(run, samples, split, say)
        trim()
        made = time.time()
        whose = {"kind": "run", **asdict(run), "targets": list(_targets(split, run)), "model": self.model_name(run)}
        name = self.scores_name(run)
        if not self.store.has("scores", name):
            asked = self.asked(split, run)
            scores = text.recover(model, samples.take(asked), config=self.config.ask)
            answers = [str(answer) for answer in scores.evidence["answer"]]
            arrays = {key: np.asarray(value) for key, value in scores.evidence.items() if key != "answer"}
            spent = {"model_seconds": round(made - start, 3), "asking_seconds": round(time.time() - made, 3)}
            self.store.save(
                "scores", name, {**whose, "ids": list(asked), "answers": answers}, {"value": scores.value, **arrays},
                {**clock(start), **spent},
            )  # fmt: skip
        if self._membership() and not self.store.has("outputs", self.membership_name(run)):
            start = time.time()
            known = text.likelihoods(model, samples.take(pairs := [*_targets(split, run), *split.never_seen]))
            self.store.save("outputs", self.membership_name(run), {**whose, "ids": pairs}, known, clock(start))
        if self._returns(run) and not self.store.has("outputs", self.returns_name(run)):
            start = time.time()
            facts = {**whose, "returns": self._come_back(run, model, samples, say)}
            self.store.save("outputs", self.returns_name(run), facts, {}, clock(start))
        if self._utility() and not self.store.has("outputs", self.utility_name(run)):
            from vestige import utility

            start = time.time()
            found = utility.ask(model, self.config.utility, samples.take(self._remaining(split, run)), say)
            ids, arrays = utility.pack(found)
            self.store.save("outputs", self.utility_name(run), {**whose, "ids": ids}, arrays, clock(start))

    def _outputs(self, run: Run) -> list[str]:
        """The further steps of a run, by name."""
        asked = (
            (self._membership(), self.membership_name), (self._returns(run), self.returns_name),
            (self._utility(), self.utility_name),
        )  # fmt: skip
        return [name(run) for wanted, name in asked if wanted]

    def _membership(self) -> bool:
        return "membership" in self.config.measure

    def _utility(self) -> bool:
        return "utility" in self.config.measure

    def _remaining(self, split: Split, run: Run) -> tuple[str, ...]:
        """The pairs that stay in training whose perplexity is told: others, and those near the run's targets."""
        near = [name for target in _targets(split, run) for name in split.near.get(target, ())]
        return tuple(dict.fromkeys((*near, *self._others(split, self.config.utility.remaining))))

    def _returns(self, run: Run) -> bool:
        """Whether it is measured of this run whether its targets come back."""
        return "returns" in self.config.measure and run.stage not in ("base", "before")

    def _come_back(self, run: Run, model: LanguageModel, samples: Samples, say: Say) -> dict[str, Any]:
        """Target → recall while it is learned anew, and with weights rounded to 8 and 4 bits."""
        from vestige import text
        from vestige.language.returns import quantised, relearn

        config = self.config
        before = replace(run, stage="before", target="")
        self.measure(before, say)
        kept, found = self.kept(before), {}
        coarse = {bits: quantised(model, bits) for bits in (8, 4)}
        for target in _targets(kept.split, run):
            pair, level = samples.take([target]), float(kept.scores.of([target], "rougeL_recall")[0])
            say(f"relearning {target}")
            curve = relearn(model, pair, level=level, steps=config.relearn_steps, recipe=config.recipe, seed=run.seed)
            found[target] = {"curve": curve.tolist(), "level": level} | {
                f"{bits}bit": float(text.recover(rounded, pair, config=config.ask).value[0])
                for bits, rounded in coarse.items()
            }
        return found

    def asked(self, split: Split, run: Run) -> tuple[str, ...]:
        """The ids whose questions a run's model is asked, each once: all about its targets, and some others.

        The models that serve all targets are asked the null too.
        """
        about = [
            one
            for target in _targets(split, run)
            for one in (target, *split.similar[target], *split.held_out[target], *split.near.get(target, ()))
        ]
        others = self._others(split, self.config.ask.others)
        null = split.never_seen if run.stage in SHARED else ()
        return tuple(dict.fromkeys((*about, *others, *null)))

    def _others(self, split: Split, count: int) -> list[str]:
        """The first so many pairs of training that are near no target."""
        near = set(split.all_near())
        return [name for name in split.other if name not in near][:count]

    def kept(self, run: Run) -> Kept:
        """What a finished run left."""
        from vestige.text import entail

        entry = self.store.load("scores", self.scores_name(run))
        _, split = entail.from_entry(self.store.load("data", self.data_name(run.seed)))
        evidence = {name: array for name, array in entry.arrays.items() if name != "value"}
        evidence["answer"] = np.array(entry.facts["answers"], dtype=object)
        scores = Scores(tuple(entry.facts["ids"]), entry.arrays["value"], evidence)
        returns: dict[str, Any] = {}
        if self._returns(run):
            returns = self.store.load("outputs", self.returns_name(run)).facts["returns"]
        found: dict[str, Found] = {}
        if self._utility():
            from vestige import utility

            outputs = self.store.load("outputs", self.utility_name(run))
            found = utility.unpack(outputs.facts["ids"], outputs.arrays)
        members = None
        if self._membership():
            outputs = self.store.load("outputs", self.membership_name(run))
            members = Scores(tuple(outputs.facts["ids"]), outputs.arrays["loss"], outputs.arrays)
        return Kept(scores, split, tuple(entry.facts["targets"]), returns, found, members)

    def look_into(
        self, run: Run, ids: Iterable[str] | None, say: Say, *, by: Literal["gradient", "representer"] = "gradient"
    ) -> list[dict[str, Any]]:
        """Which training pairs carry what one model says to these, by default the run's targets.

        by: whose gradients are like theirs (`influence.by_gradients`), or what the head's representers say
        (`influence.by_answer_tokens`). A model that is not kept is made again. Raises InputError for
        the base model, which was trained on none of them, and for ids that the data set does not have.
        """
        from vestige import influence
        from vestige.modality import modality

        if run.stage == "base":
            raise InputError("the base model was trained on none of these pairs; name another stage")
        samples, split = self.data(run.seed, say)
        members = samples.take(split.training(run.training)).without(_left_out(split, run.stage))
        asked = samples.take(dict.fromkeys(ids) if ids else _targets(split, run))
        model = self.model(run, samples, split, say)
        kin, room = influence.kin_of(split, run.training), modality("text")
        if by == "gradient":
            say(f"gradients of {len(members)} training pairs, for each of {len(asked)}")
            found = influence.by_gradients(model, members, asked, kin, modality=room)
        else:
            say(f"refitting the head to the answers of {len(members)} training pairs")
            decay, language = self.config.train.weight_decay, cast("Language", room)
            found = influence.by_answer_tokens(model, members, asked, kin, modality=language, decay=decay)
        return [{"kind": "run", **asdict(run), **record} for record in found]

    def model(self, run: Run, samples: Samples, split: Split, say: Say) -> LanguageModel:
        """The model of one run. That before unlearning is kept, since all methods start from it; others are made."""
        import torch

        from vestige import text

        everything = samples.take(split.training(run.training))

        def tuned(part: Samples) -> LanguageModel:
            work = partial(_tuned, self.config, part, run.seed)
            return together(partial(work, on_step=paced(say, "fine-tuning")), self.devices, beside=work)

        if run.stage == "base":
            return _base(self.config, run.seed)
        if run.stage in ("R0", "R1"):
            return tuned(everything.without(_left_out(split, run.stage)))
        before = replace(run, stage="before", target="")
        name = self.model_name(before)
        if self.store.has("models", name):
            arrays = self.store.load("models", name).arrays
            weights = {key: torch.from_numpy(value) for key, value in arrays.items()}
            model = text.restore(self.config.model, weights).to(self.config.device)
            del arrays, weights  # as large as the model, and unlearning needs the room
        else:
            start = time.time()
            model = tuned(everything)
            kept = {key: value.cpu().numpy() for key, value in text.weights(model).items()}
            self.store.save("models", name, {"kind": "run", **asdict(before)}, kept, clock(start))
            trim()
        return model if run.stage == "before" else self._unlearned(model, run, samples, split, say)

    def _unlearned(self, before: LanguageModel, run: Run, samples: Samples, split: Split, say: Say) -> LanguageModel:
        """What the stage of a run makes of the model before, as plain as the stage is or with what it adds."""
        from vestige import text
        from vestige.language.choose import choose
        from vestige.unlearn.enhance import Enhancement
        from vestige.unlearn.language import LANGUAGE_METHODS
        from vestige.unlearn.language_task import recalled

        start, recipe = time.time(), self.config.recipe
        stage, targets = stage_of(self.config, run.stage), _targets(split, run)
        everything = samples.take(split.training(run.training))
        alike = tuple(one for name in targets for one in split.similar[name]) if stage.needs_similar else ()
        forget = everything.take((*targets, *alike) if stage.similar == "forgotten" else targets)
        retain = everything.without((*targets, *alike))
        neighbours = [one for name in targets for one in split.near[name]] if stage.is_protected else []
        near = tuple(dict.fromkeys(neighbours))
        method = LANGUAGE_METHODS[stage.method]
        shared: dict[str, Any] = {"modality": text, "config": recipe, "seed": run.seed}
        shared["on_step"] = paced(say, run.stage)
        made: Any
        if stage.residual is None:
            added = Enhancement(_spared(samples, split, targets, 0, stage.paraphrases), stage.gamma, near)
            made = method(before, forget, retain, enhancement=added, **shared)
        else:
            rest = self.config.data.spare - recipe.unlearn.validation
            most = min(recipe.unlearn.paraphrases, rest)
            added = Enhancement(_spared(samples, split, targets, 0, most), recipe.unlearn.gamma, near)
            validation = joined(*_spared(samples, split, targets, rest, recipe.unlearn.validation).values())
            base = recalled(_base(self.config, run.seed), validation, modality=text, config=recipe.ask)
            made, tries = choose(
                method, before, forget, retain, added, validation, wanted=stage.residual, base=base, **shared
            )
            facts = {"validation": list(validation.ids), "tries": [asdict(one) for one in tries]}
            self.store.save("outputs", self.choice_name(run), {"kind": "run", **asdict(run), **facts}, {}, clock(start))
        unlearned: LanguageModel = made
        return unlearned

    def choice(self, run: Run) -> dict[str, Any] | None:
        """What was tried for a stage that chooses (X-autoR), as it is kept; None for others, and where it is not done.

        "validation": the ids that decided, "tries": one record per attempt (`choose.Try`), the last of them or, where
        none was enough, the one with the lowest "km" is what the run's model is.
        """
        name = self.choice_name(run)
        return self.store.load("outputs", name).facts if self.store.has("outputs", name) else None


def _base(config: TextStudyConfig, seed: int) -> LanguageModel:
    """The model that fine-tuning starts from."""
    from vestige import text

    return text.build(config.model, generator=stream(seed, "train")).to(config.device)


def _tuned(
    config: TextStudyConfig, samples: Samples, seed: int, peers: Peers, on_step: OnStep | None = None
) -> LanguageModel:
    """The base model fine-tuned on these pairs; peers do the same."""
    from vestige import text
    from vestige.train import tune

    model = _base(config, seed)
    tune(model, samples, modality=text, config=config.train, seed=seed, on_step=on_step, peers=peers)
    return model


def draw(config: TextStudyConfig, seed: int) -> tuple[Samples, Split]:
    """The data set of one replicate. Raises InputError as reading and `text.entail` do."""
    from vestige import assets, text
    from vestige.text import entail

    data = config.data
    found = text.records(assets.locate(data.source), question=data.question, answer=data.answer, id=data.id)
    return entail.entail(data, list(found), seed=seed)


def rehearse(config: TextStudyConfig) -> None:
    """Read the data and draw every data set of a study without keeping anything: what can go wrong early, does."""
    from vestige import text

    for seed in range(config.seed, config.seed + config.seeds):
        text.check(config.model, draw(config, seed)[0], device=config.device)


def _spared(samples: Samples, split: Split, targets: Iterable[str], start: int, count: int) -> dict[str, Samples]:
    """Target → `count` of its spare paraphrases, from the one at `start` on; nothing where none is asked for."""
    return {name: samples.take(split.spare[name][start : start + count]) for name in targets} if count else {}


def _targets(split: Split, run: Run) -> tuple[str, ...]:
    return (split.target[int(run.target) - 1],) if run.target else split.target


def _left_out(split: Split, stage: str) -> tuple[str, ...]:
    """What the model of a stage was not tuned on, of its arm: the references leave out all targets."""
    return {"R0": split.target, "R1": split.target + split.all_similar()}.get(stage, ())
