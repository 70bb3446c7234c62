"""Causal language models as the subject of an audit: a folder, a hub name or a GGUF file; tuned again if it can be."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vestige import influence, text
from vestige.audit import probing
from vestige.audit.material import Material
from vestige.audit.request import Written
from vestige.audit.subject import Question
from vestige.config import LMConfig, TextRecipe, TextUnlearnConfig, TuneConfig
from vestige.text.lexical import lexical
from vestige.types import InputError, Samples
from vestige.unlearn.language import LANGUAGE_METHODS, learn
from vestige.verify import auc

if TYPE_CHECKING:
    from vestige.difficulty.predict import Predictor
    from vestige.influence import Kin
    from vestige.text import LanguageModel

CONTROLS = 20
"""Never-seen pairs that stand in for a record, at most."""
REFIT = 200
"""Retained pairs that a head is fitted on, at most."""
REBOUND = 16
"""Retained pairs in a step of `rebound`."""
STEPS = 10
"""Of `rebound`."""
SHARE = 5e-3
"""Length of such a step beside that of all weights."""
AMONG = 2000
"""Training pairs among whose answer tokens a margin is split, at most."""
DRIFT = 20
"""Never-seen pairs that say what such steps do to any answer, at most."""
WATCHED = 100
"""Never-seen and neighbouring pairs that are asked, at most."""
KNOWN = 0.8
"""Chance that the model answers a pair to retain better than a control, below which it counts as not knowing them."""


@dataclass(frozen=True)
class Texts:
    """A causal language model under audit (`subject.Subject`).

    recipe: what tuning starts from, how it and unlearning go. own: where the model before comes from.
    """

    written: Written
    recipe: TextRecipe
    own: LMConfig
    levels: Sequence[str]
    watched: str = "retained pairs"
    no_predictor: str = "no predictor was learned on language models, the studies were of classifiers"

    @classmethod
    def of(cls, written: Written) -> Texts:
        """The subject of a request."""
        asked = written.request.model
        start = asked.language or LMConfig()
        if start.lora is not None:
            raise written.wrong(("model", "language", "lora"), "an audit takes whole models; merge the adapters first")
        chosen = written.request.unlearn or TextUnlearnConfig()
        if not isinstance(chosen, TextUnlearnConfig):
            raise written.wrong(("unlearn",), "these are settings of image methods, and the model takes text")
        if chosen.utility is None:  # a method stops where it would lose more than the request allows
            chosen = chosen.model_copy(update={"utility": written.request.utility})
        start = start.model_copy(update={"source": _source(written, "language", start.source)})
        recipe = TextRecipe(model=start, train=asked.tune or TuneConfig(), unlearn=chosen)
        before = start
        if asked.weights:
            before = start.model_copy(update={"source": _source(written, "weights", asked.weights)})
        found = cls(written, recipe, before, ("answer", "probe", "noised", "rounded"))
        return found if found._start.source in text.TINY else replace(found, levels=(*found.levels, "head"))

    @property
    def trains(self) -> bool:
        return self.written.request.model.tune is not None

    def check(self, material: Material) -> None:
        asked = self.written.request.model
        for place, config in (("language", self.recipe.model), ("weights", self.own)):
            try:
                text.check(config, material.trained)
            except InputError as error:
                raise self.written.wrong(("model", place), str(error)) from None
        if asked.after:
            try:
                text.check(self._after)
            except InputError as error:
                raise self.written.wrong(("model", "after"), str(error)) from None
        if self.written.request.data.retain:
            self._check_known(material)

    def _check_known(self, material: Material) -> None:
        """Raise InputError where the model does not know the pairs to retain: steps on these bring back little."""
        model = text.build(self.own, generator=torch.Generator().manual_seed(0))
        retain = material.trained.without(material.forget)
        known = auc(*(answers(model, lot.evenly(WATCHED)) for lot in (retain, material.never)))
        if known < KNOWN:
            raise self.written.wrong(
                ("data", "retain"),
                f"a pair of these is better answered than a control with a chance of {known:.2f}, where the tests need "
                f"{KNOWN:g}: what is hidden comes back in steps on pairs that the model knows; name such, or take its "
                "own answers",
            )

    @property
    def _after(self) -> LMConfig:
        """Where the model to judge comes from."""
        source = _source(self.written, "after", self.written.request.model.after or "")
        return self.own.model_copy(update={"source": source})

    def learn(self, samples: Samples, seed: int) -> nn.Module:
        return learn(samples, modality=text, config=self.recipe, seed=seed)

    def before(self, samples: Samples, seed: int) -> nn.Module:
        if self.written.request.model.weights is None and self.trains:
            return self.learn(samples, seed)
        return text.build(self.own, generator=torch.Generator().manual_seed(seed))

    def given(self, samples: Samples) -> nn.Module:
        return text.build(self._after, generator=torch.Generator().manual_seed(0))

    def methods(self) -> tuple[str, ...]:
        return (*(["retrain"] if self.trains else []), *(name for name in LANGUAGE_METHODS if name != "retrain"))

    def costs(self, forget: int, retain: int, material: Material) -> list[dict[str, Any]]:
        model = text.build(self.own, generator=torch.Generator().manual_seed(0))
        batch = min(self.recipe.train.batch, len(material.trained))
        part = material.trained.at(slice(0, batch))
        size = sum(weight.numel() for weight in model.parameters()) * 4 / 2**20
        start = time.perf_counter()
        text.losses(model, part).mean().backward()  # type: ignore[no-untyped-call]
        step = (time.perf_counter() - start) / batch
        found = []
        for name in self.methods():
            rule = self.recipe.unlearn.methods.get(name)
            seen = self.recipe.unlearn.forget_batch + self.recipe.unlearn.retain_batch
            pairs = (rule.steps if rule else self.recipe.unlearn.steps) * seen
            if name == "retrain":
                pairs = self.recipe.train.epochs * retain
            found.append({"method": name, "seconds": round(step * pairs, 1), "mib": round(5 * size)})
        return found

    def expected(
        self, model: nn.Module, trained: Samples, close: Sequence[str], ids: Sequence[str], predictor: Predictor
    ) -> tuple[np.ndarray, np.ndarray]:
        raise InputError(self.no_predictor)

    def unlearn(self, method: str, model: nn.Module, forget: Samples, retain: Samples, seed: int) -> nn.Module:
        return LANGUAGE_METHODS[method](model, forget, retain, modality=text, config=self.recipe, seed=seed)

    def keep(self, model: Any) -> dict[str, np.ndarray]:
        return {name: value.cpu().numpy() for name, value in text.weights(model).items()}

    def restore(self, arrays: Mapping[str, np.ndarray], samples: Samples) -> nn.Module:
        return text.restore(self.own, {name: torch.from_numpy(value.copy()) for name, value in arrays.items()})

    def ask(self, model: Any, question: Question) -> dict[str, np.ndarray]:
        from vestige.language.returns import quantised

        everyone = probing.everyone(question)
        more = {"rounded": answers(quantised(model, 4), everyone)}
        if "head" in self.levels and (read := borrowed(model, _head(self._start), everyone)) is not None:
            more["head"] = read
        return {
            **probing.shared(
                question,
                partial(answers, model),
                partial(probe, model, question.retain),
                partial(rebound, model, question.retain, question.never),
                partial(noised, model),
            ),
            **probing.parted(more, question),
            "near_accuracy": probing.near(question, lambda lot: recalls(model, lot, self.recipe)),
            "utility": recalls(model, question.retain.evenly(WATCHED), self.recipe),
            "recall": recalls(model, question.records, self.recipe),
        }

    @property
    def _start(self) -> LMConfig:
        """The model that tuning started from; where none can be tuned, the model before."""
        return self.recipe.model if self.trains else self.own

    def hide(self, model: Any, question: Question, levels: np.ndarray, *, last: bool) -> nn.Module | None:
        return hide(model, question.records, question.retain, levels, last=last)

    def shares(
        self, model: nn.Module, members: Samples, asked: Samples, kin: Mapping[str, Kin], never: Samples
    ) -> list[dict[str, Any]]:
        if len(members) > AMONG:
            raise InputError(f"it is split among {AMONG:,} training pairs at most, and there are {len(members):,}")
        return influence.by_answer_tokens(model, members, asked, kin, modality=text, decay=0.0)

    def controls(self, record: Samples, never: Samples) -> Samples:
        alike = lexical([str(record.x[0])], [str(one) for one in never.x])[0]
        rows = alike.argsort(descending=True, stable=True)[:CONTROLS]
        return never.at(rows)


def answers(model: LanguageModel, samples: Samples) -> np.ndarray:
    """The mean log probability of each true answer's tokens, in nats, at most 0 (N,)."""
    with torch.no_grad():
        summed = text.losses(model, samples).double()
    return np.asarray((-summed / text.lengths(model, samples)).cpu().numpy())


def recalls(model: LanguageModel, samples: Samples, recipe: TextRecipe) -> np.ndarray:
    """ROUGE-L recall of each true answer in what the model says, in [0, 1] (N,)."""
    if not len(samples):
        return np.zeros(0)
    try:
        return text.recover(model, samples, config=recipe.ask).value
    except ArithmeticError:
        return np.zeros(len(samples))  # a model that diverged says nothing


def probe(model: LanguageModel, retain: Samples, asked: Samples) -> np.ndarray | None:
    """The mean margin of each answer's tokens under a head fitted anew on retained answers (`refitted`), (N,).

    The classes are the tokens of these answers; what was done to the model's own head does not matter. None where
    there is nothing to fit on.
    """
    few = retain.evenly(REFIT)
    if not len(few):
        return None
    with torch.no_grad():
        seen, new = (text.hidden(model, part).double() for part in (few, asked))
    tokens = torch.cat([text.answers(model, few), text.answers(model, asked)])
    kinds, place = torch.unique(tokens, return_inverse=True)
    margin = probing.refitted(seen, place[: len(seen)], new, place[len(seen) :], len(kinds))
    parts = torch.split(margin, text.lengths(model, asked).tolist())
    return np.array([float(part.mean()) for part in parts])


def borrowed(model: LanguageModel, head: nn.Linear, asked: Samples) -> np.ndarray | None:
    """The mean log probability of each answer's tokens under the head of another model, in nats (N,).

    Heads hardly move in fine-tuning: that of the model that tuning started from reads the states of all that were tuned
    from it, and what was done to the model's own head does not matter. None where it takes states of another width.
    """
    with torch.no_grad():
        seen, tokens = text.hidden(model, asked), text.answers(model, asked)
        if seen.shape[1] != head.in_features:
            return None
        each = F.cross_entropy(head(seen.cpu()), tokens.cpu(), reduction="none")
    return np.array([-float(part.mean()) for part in torch.split(each, text.lengths(model, asked).tolist())])


def rebound(model: LanguageModel, retain: Samples, never: Samples, asked: Samples) -> np.ndarray | None:
    """The answers after a *copy* took a few steps on retained pairs only (`nudged`), (N,): what was hidden comes back.

    Such steps move every answer, in each model by another factor: that of the mean of never-seen pairs is taken off,
    which changes hardly anything of an answer near 0. What filters the scores after the head does not matter. None
    where no gradient reaches the weights.
    """
    few = never.at(slice(0, DRIFT))
    learner, loss = _learner(model)
    head = learner.causal.get_output_embeddings()
    learner.causal.set_output_embeddings(next((part for part in head.modules() if isinstance(part, nn.Linear)), head))
    before, unseen = answers(learner, asked), answers(learner, few).mean() if len(few) else -1.0
    if not probing.nudged(list(learner.parameters()), retain, loss, batch=REBOUND, steps=STEPS, share=SHARE):
        return None
    factor = answers(learner, few).mean() / unseen if len(few) else 1.0
    return np.asarray(answers(learner, asked) - before * (factor - 1))


def noised(model: LanguageModel, asked: Samples) -> np.ndarray:
    """The mean answers of a *copy* whose matrices are disturbed by noise (`probing.noised`), but for its head, (N,)."""
    learner = copy.deepcopy(model)
    weights, plain = (
        [part.weight.detach() for part in one.modules() if isinstance(part, nn.Linear) and part not in head]
        for one in (learner, model)
        for head in [set(one.causal.get_output_embeddings().modules())]
    )
    return probing.noised(weights, plain, lambda: answers(learner, asked))


def hide(model: LanguageModel, records: Samples, retain: Samples, levels: np.ndarray, *, last: bool) -> LanguageModel:
    """A *copy* that hides the records (`probing.hidden`), in its head or in all weights."""
    learner, loss = _learner(model)
    if last:  # a head of its own, also where it is one with the embeddings
        learner.causal.set_output_embeddings(copy.deepcopy(learner.causal.get_output_embeddings()))
    weights = list((learner.causal.get_output_embeddings() if last else learner).parameters())
    probing.hidden(weights, records, retain, REBOUND, loss, lambda: answers(learner, records), levels)
    return learner


@lru_cache(maxsize=1)
def _head(config: LMConfig) -> nn.Linear:
    """The head of the pre-trained model that this names."""
    start: Any = text.build(config, generator=torch.Generator().manual_seed(0))
    head: nn.Linear = copy.deepcopy(start.causal.get_output_embeddings()).requires_grad_(False)
    return head


def _learner(model: LanguageModel) -> tuple[LanguageModel, Callable[[Samples], Tensor]]:
    """A copy of a model that may be trained, and its loss: the mean over records of the mean over tokens."""
    learner = copy.deepcopy(model).requires_grad_()

    def loss(part: Samples) -> Tensor:
        return (text.losses(learner, part) / text.lengths(learner, part)).mean()

    return learner, loss


def _source(written: Written, name: str, source: str) -> str:
    """Where a model comes from; of pickled weights their conversion."""
    there = written.beside(source)
    if not text.pickled(there):
        return str(there) if there.exists() else source
    if not written.request.model.allow_pickle:
        raise written.wrong(
            ("model", name),
            f"the weights in {there} are a pickle, which may run code when it is read; save them as safetensors, or "
            "set model.allow_pickle: true, by which torch's reader of plain tensors takes them",
        )
    try:
        return str(text.unpickled(there))
    except InputError as error:
        raise written.wrong(("model", name), str(error)) from None
