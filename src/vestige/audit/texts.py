"""Causal language models as the subject of an audit: a folder, a hub name or a GGUF file; tuned again if it can be."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vestige import text
from vestige.audit.request import Written
from vestige.audit.subject import Material, Question
from vestige.config import LMConfig, TextRecipe, TextUnlearnConfig, TuneConfig
from vestige.text.lexical import lexical
from vestige.types import InputError, Samples
from vestige.unlearn.language import LANGUAGE_METHODS, learn

if TYPE_CHECKING:
    from vestige.text import LanguageModel

CONTROLS = 20
"""Never-seen pairs that stand in for a record, at most."""
REFIT = 200
"""Retained pairs that a head is fitted on, at most."""
RIDGE = 1e-2
REBOUND_STEPS, REBOUND_BATCH, REBOUND_LENGTH = 5, 8, 2e-3
"""Steps on retained pairs, pairs in each, and the length of a step as a share of the weights' norm."""
WATCHED = 100
"""Never-seen and neighbouring pairs that are asked, at most."""


@dataclass(frozen=True)
class Texts:
    """A causal language model under audit (`subject.Subject`).

    recipe: what tuning starts from, how it and unlearning go. own: where the model before comes from.
    """

    written: Written
    recipe: TextRecipe
    own: LMConfig
    levels: Mapping[str, bool]
    watched: str = "retained pairs"

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
        recipe = TextRecipe(model=start, train=asked.tune or TuneConfig(), unlearn=chosen)
        source = _beside(written, asked.weights) if asked.weights else start.source
        own = start.model_copy(update={"source": source})
        return cls(written, recipe, own, {"answer": False, "probe": True, "rounded": False})

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
                text.check(self.own.model_copy(update={"source": _beside(self.written, asked.after)}))
            except InputError as error:
                raise self.written.wrong(("model", "after"), str(error)) from None
        for name in material.forget:
            if not str(material.trained.take([name]).y[0]).strip():
                raise self.written.wrong(("records",), f"{name!r} has no answer; there is nothing to compare with")

    def learn(self, samples: Samples, seed: int) -> nn.Module:
        return learn(samples, modality=text, config=self.recipe, seed=seed)

    def before(self, samples: Samples, seed: int) -> nn.Module:
        if self.written.request.model.weights is None and self.trains:
            return self.learn(samples, seed)
        return text.build(self.own, generator=torch.Generator().manual_seed(seed))

    def given(self, samples: Samples) -> nn.Module:
        source = _beside(self.written, self.written.request.model.after or "")
        return text.build(self.own.model_copy(update={"source": source}), generator=torch.Generator().manual_seed(0))

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

    def unlearn(self, method: str, model: nn.Module, forget: Samples, retain: Samples, seed: int) -> nn.Module:
        return LANGUAGE_METHODS[method](model, forget, retain, modality=text, config=self.recipe, seed=seed)

    def keep(self, model: Any) -> dict[str, np.ndarray]:
        return {name: value.cpu().numpy() for name, value in text.weights(model).items()}

    def restore(self, arrays: Mapping[str, np.ndarray], samples: Samples) -> nn.Module:
        return text.restore(self.own, {name: torch.from_numpy(value.copy()) for name, value in arrays.items()})

    def ask(self, model: Any, question: Question) -> dict[str, np.ndarray]:
        from vestige.language.returns import quantised

        asked = joined([question.records, *question.controls])
        found = {"answer": answers(model, asked), "rounded": answers(quantised(model, 4), asked)}
        probed = probe(model, question.retain, asked)
        if probed is not None:
            found["probe"] = probed
        found["rebound"] = rebound(model, question.retain, asked) - found["answer"]
        n = len(question.records)
        parts = {name: values[:n] for name, values in found.items()}
        if question.controls:
            shape = (n, len(question.controls[0]))
            parts |= {f"{name} of controls": values[n:].reshape(shape) for name, values in found.items()}
        near = [question.retain.take(question.near[name]) for name in question.records.ids]
        parts["near"] = np.array([answers(model, lot).mean() if len(lot) else np.nan for lot in near])
        parts["near_accuracy"] = np.array(
            [recalls(model, lot, self.recipe).mean() if len(lot) else np.nan for lot in near]
        )
        parts["utility"] = recalls(model, question.retain.at(slice(0, WATCHED)), self.recipe)
        parts["recall"] = recalls(model, question.records, self.recipe)
        return parts

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
    """The mean margin of each answer's tokens under a head fitted anew on retained answers, (N,).

    Least squares as of images (`images.probe`), the classes being the tokens of these answers; what was done to the
    model's own head does not matter. None where there is nothing to fit on.
    """
    few = retain.at(slice(0, REFIT))
    if not len(few):
        return None
    with torch.no_grad():
        seen, new = (text.hidden(model, part).double() for part in (few, asked))
    tokens = torch.cat([text.answers(model, few), text.answers(model, asked)])
    kinds, place = torch.unique(tokens, return_inverse=True)
    mean, spread = seen.mean(0), seen.std(0) + 1e-6
    a, b = (torch.cat([(part - mean) / spread, part.new_ones(len(part), 1)], 1) for part in (seen, new))
    goal = 2.0 * F.one_hot(place[: len(a)], len(kinds)).double() - 1
    ridge = RIDGE * len(a) * torch.eye(a.shape[1], dtype=torch.float64)
    scores = b @ torch.linalg.solve(a.T @ a + ridge, a.T @ goal)
    own = place[len(a) :, None]
    margin = scores.gather(1, own)[:, 0] - scores.scatter(1, own, -math.inf).max(1).values
    parts = torch.split(margin, text.lengths(model, asked).tolist())
    return np.array([float(part.mean()) for part in parts])


def rebound(model: LanguageModel, retain: Samples, asked: Samples) -> np.ndarray:
    """The answers after a *copy* took a few steps on retained pairs only, (N,): what was hidden comes back.

    As of images (`images.rebound`): each step has the length of 0.2 % of all weights.
    """
    learner = copy.deepcopy(model)
    weights = [weight for weight in learner.parameters() if weight.requires_grad]
    length = REBOUND_LENGTH * math.sqrt(sum(float((weight.detach() ** 2).sum()) for weight in weights))
    for step in range(REBOUND_STEPS):
        rows = torch.arange(step * REBOUND_BATCH, (step + 1) * REBOUND_BATCH) % len(retain)
        part = retain.at(torch.unique(rows))
        loss = (text.losses(learner, part) / text.lengths(learner, part)).mean()
        slopes = torch.autograd.grad(loss, weights, allow_unused=True)
        size = math.sqrt(sum(float((slope**2).sum()) for slope in slopes if slope is not None))
        if not math.isfinite(size) or size == 0:
            return np.full(len(asked), np.nan)
        with torch.no_grad():
            for weight, slope in zip(weights, slopes, strict=True):
                if slope is not None:
                    weight.sub_(slope, alpha=length / size)
    return answers(learner, asked)


def joined(sets: list[Samples]) -> Samples:
    """Several sets in one; a record that stands in two of them gets two names."""
    names = tuple(f"{at}/{name}" for at, one in enumerate(sets) for name in one.ids)
    return Samples(names, np.concatenate([one.x for one in sets]), np.concatenate([one.y for one in sets]))


def _beside(written: Written, source: str) -> str:
    """A folder or file counts from where the command runs, else from the request's folder."""
    there = written.path.parent / source
    return str(there) if not Path(source).exists() and there.exists() else source
