"""What the methods of language models work with: the model before, what it said, steps from it, when to stop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from vestige.config import AskConfig, TextRecipe, TextSteps, TextUnlearnConfig
from vestige.modality import Language
from vestige.random import stream
from vestige.train import CLIP, Batch, OnStep, Stop, cycled, descend
from vestige.types import InputError, Samples, joined
from vestige.unlearn.enhance import PLAIN, Enhancement, Part, noisy
from vestige.unlearn.losses import per_sample

WATCHED = 8
"""Retained pairs that are asked, at most, where a utility budget is kept."""


@dataclass(frozen=True)
class Task:
    """What a method has to work with. before: the model before, θ_0, never changed: the caller's own, no copy.

    forget: the targets; what an enhanced scheme forgets with them stands in `enhancement`.
    """

    before: nn.Module
    forget: Samples
    retain: Samples
    modality: Language
    config: TextRecipe
    seed: int
    enhancement: Enhancement = PLAIN

    def __post_init__(self) -> None:
        if not len(self.forget):
            raise InputError("there is no pair to forget; name at least one")
        retained = set(self.retain.x)
        for found in self.enhancement.paraphrases.values():
            for name, question in zip(found.ids, found.x, strict=True):
                if question in retained:
                    raise InputError(f"the paraphrase {name!r} would be forgotten and retained; leave one of them out")

    @property
    def rule(self) -> TextUnlearnConfig:
        """The settings of unlearning."""
        return self.config.unlearn

    @property
    def alphas(self) -> tuple[float, float, float]:
        """Weights of the losses of the targets, of their paraphrases, of what is retained (paper, eq. 4)."""
        return self.rule.alphas if self.enhancement.is_forgetting else (1.0, 1.0, 1.0)

    @property
    def wide(self) -> Task:
        """The plain task of D_unlearn = {x} ∪ F(x), the targets first: what a loss must be ready to be asked about."""
        more = self.enhancement.paraphrases.values()
        return replace(self, forget=joined(self.forget, *more) if more else self.forget, enhancement=PLAIN)

    def kept(self, batch: Batch) -> Samples:
        """The retained pairs of a batch, and those that are in every batch."""
        part = self.retain.at(batch.retain)
        more = [name for name in self.enhancement.near if name not in part.ids]
        return self.retain.take((*part.ids, *more)) if more else part

    def steps(self, name: str) -> TextSteps:
        """The steps and the rate of the method called `name`: its own, else those shared by all."""
        return self.rule.methods.get(name) or TextSteps(steps=self.rule.steps, lr=self.rule.lr)

    def mean(self, part: Part, model: nn.Module, batch: Samples) -> Tensor:
        """The mean of a loss over a batch, by the samples' weights where they have some."""
        mean: Tensor = batch.mean(part(model, batch))
        return mean

    def nll(self, model: nn.Module, samples: Samples) -> Tensor:
        """ℓ of each sample, (N,)."""
        return self.modality.losses(model, samples) / self.modality.lengths(model, samples)

    def likelihoods(self, samples: Samples) -> Callable[[Samples], Tensor]:
        """A function part → s_0 of each sample in a part of these, (N,): what is asked of the model before, once."""
        with torch.no_grad():
            known = dict(zip(samples.ids, -self.modality.losses(self.before, samples), strict=True))
        return lambda part: torch.stack([known[name] for name in part.ids])

    def tokens(self, model: nn.Module, samples: Samples, values: Tensor) -> Tensor:
        """The mean over each sample's answer tokens, (N,), of values (A,)."""
        return per_sample(values, self.modality.lengths(model, samples))


@dataclass(frozen=True)
class Reference:
    """What the model before sees at the answer tokens, asked once for each sample and kept.

    Kept are hidden states, (A, width), of samples that were come across: a whole set of (A, vocabulary) has no room.
    layer: of this decoder block in place of what the head sees.
    """

    task: Task
    kept: dict[str, Tensor]
    layer: int | None = None

    @torch.no_grad()
    def hidden(self, samples: Samples) -> Tensor:
        """(A, width), sample after sample."""
        task, new = self.task, samples.take(name for name in samples.ids if name not in self.kept)
        if len(new):
            states = task.modality.hidden(task.before, new, self.layer)
            parts = torch.split(states, task.modality.lengths(task.before, new).tolist())
            self.kept.update(zip(new.ids, parts, strict=True))
        return torch.cat([self.kept[name] for name in samples.ids])

    @torch.no_grad()
    def logits(self, samples: Samples) -> Tensor:
        """(A, vocabulary), sample after sample."""
        return self.task.modality.head(self.task.before, self.hidden(samples))


def guarded(retain: Samples, seed: int) -> Samples:
    """The retained pairs by which a utility budget is kept: WATCHED at most, drawn by the seed."""
    order = torch.randperm(len(retain), generator=stream(seed, "unlearn-utility"))
    return retain.at(order[:WATCHED])


def recalled(model: nn.Module, samples: Samples, *, modality: Language, config: AskConfig) -> float:
    """The mean recall of these pairs; 0 of a model that diverged, which says nothing."""
    try:
        return float(modality.recover(model, samples, config=config).value.mean())
    except ArithmeticError:
        return 0.0


def stop_rule(task: Task, steps: int) -> Stop:
    """Whether enough is forgotten (`until`) or too much is lost (`utility`), by asking the model every few steps.

    What is forgotten is asked of the targets alone, whatever is forgotten with them, so that methods can be compared
    where they have forgotten the targets as far; of other pairs where the enhancement says so (`watched`).
    Where retained pairs fall below the budget, the weights of the last check are put back. stop(-1, model) checks
    the start. Without either setting no model is asked.
    """
    rule = task.rule
    asked = task.forget if task.enhancement.watched is None else task.enhancement.watched
    few = guarded(task.retain, task.seed)
    good: dict[str, Tensor] = {}
    floor = -1.0
    recall = partial(recalled, modality=task.modality, config=task.config.ask)

    def stop(step: int, model: nn.Module) -> bool:
        nonlocal floor
        if (rule.until is None and rule.utility is None) or ((step + 1) % rule.check_every and step + 1 < steps):
            return False
        if rule.utility is not None:
            now = recall(model, few)
            if step < 0:
                floor = now - rule.utility - 1e-9
            if now < floor:
                _put(model, good)
                return True
            good.update({name: weight.detach().clone() for name, weight in movable(model).items()})
        return rule.until is not None and recall(model, asked) <= rule.until

    return stop


def forgetting(task: Task, part: Part) -> Callable[[nn.Module, Batch], list[Tensor]]:
    """A function (model, batch) → α1 L of the targets in the batch and α2 L of their paraphrases (paper, eq. 4).

    part: L of each pair of `task.wide`. Each L is a mean, of a model with noise where the task says so.
    """
    added, (alpha1, alpha2, _) = task.enhancement, task.alphas
    if added.gamma:
        part = noisy(
            task.modality, added.gamma, sigma=task.rule.sigma, layers=task.rule.noise_layers,
            generator=stream(task.seed, "unlearn-noise"),
        )(part)  # fmt: skip

    def losses(now: nn.Module, batch: Batch) -> list[Tensor]:
        targets = task.forget.at(batch.forget)
        found = [alpha1 * task.mean(part, now, targets)]
        also = [more for name in targets.ids if (more := added.paraphrases.get(name))]
        if also:
            found.append(alpha2 * task.mean(part, now, joined(*also)))
        return found

    return losses


def moved(
    task: Task,
    name: str,
    objective: Callable[[nn.Module, Batch], Tensor],
    *,
    moving: Iterable[str] | None = None,
    stop: Stop | None = None,
    on_step: OnStep | None = None,
) -> nn.Module:
    """A copy of the model before, after the steps of the method called `name` on this objective."""
    own, shared = task.steps(name), task.rule
    model = copied(task.before)
    with _only(model, moving):
        if stop is not None and stop(-1, model):
            return model
        return descend(
            model,
            objective,
            steps=own.steps,
            lr=own.lr,
            weight_decay=task.config.train.weight_decay,
            batches=cycled(
                {"forget": len(task.forget), "retain": len(task.retain)},
                {"forget": shared.forget_batch, "retain": shared.retain_batch},
                stream(task.seed, "unlearn-order"),
            ),
            optimiser="adamw",
            warmup=int(shared.warmup * own.steps),
            clip=CLIP,
            stop=stop,
            on_step=on_step,
        )


def copied(model: nn.Module) -> nn.Module:
    """A copy whose weights can be moved without those of the model; what is frozen (the base of LoRA) is shared."""
    frozen = {id(weight): weight for weight in model.parameters() if not weight.requires_grad}
    return copy.deepcopy(model, frozen)


def movable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that training moves: all, with LoRA the adapters'."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


@contextmanager
def _only(model: nn.Module, names: Iterable[str] | None) -> Iterator[None]:
    """While it lasts, none but the weights of these names get a gradient."""
    chosen = None if names is None else set(names)
    held = [] if chosen is None else [weight for name, weight in movable(model).items() if name not in chosen]
    for weight in held:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in held:
            weight.requires_grad_(True)


@torch.no_grad()
def _put(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    own = dict(model.named_parameters())
    for name, value in weights.items():
        own[name].copy_(value)
