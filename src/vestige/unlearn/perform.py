"""Carrying out a stage: train, or apply a method to what must be forgotten and what that is widened to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from vestige import influence, similar
from vestige.config import Recipe
from vestige.modality import Modality
from vestige.sisa import learn
from vestige.stages import Stage
from vestige.train import OnStep
from vestige.types import Samples, Split
from vestige.unlearn.enhance import widen
from vestige.unlearn.methods import METHODS


@dataclass(frozen=True)
class Made:
    """What a stage made: the model, what it took out of training, which neighbours it found, what is left."""

    model: nn.Module
    removed: tuple[str, ...]
    widened: Mapping[str, tuple[str, ...]]
    trained_on: tuple[str, ...]


def perform(
    stage: Stage,
    before: nn.Module | None,
    everything: Samples,
    split: Split,
    *,
    modality: Modality,
    recipe: Recipe,
    seed: int,
    on_step: OnStep | None = None,
) -> Made:
    """Carry out one stage on what a model is, or was, trained on.

    before: the trained model, None where the stage is to train it. everything: its training samples, the targets
    among them unless the stage is `before`.
    """
    if before is None:
        model = learn(everything, modality=modality, config=recipe, seed=seed, on_step=on_step)
        return Made(model, (), {}, everything.ids)
    there = set(everything.ids)
    scope = split.target + (split.all_similar() if stage.scope == "similar" else ())
    forget = everything.take(name for name in scope if name in there)
    retain = everything.without(forget.ids)
    found: Mapping[str, tuple[str, ...]] = {}
    if stage.k is not None and stage.by == "influence":
        found = influence.carriers(before, everything, forget, stage.k)
    elif stage.k is not None:
        found = similar.top_k(forget, retain, stage.k)
    elif stage.tau is not None:
        found = similar.threshold(forget, retain, stage.tau)
    extra = [name for names in found.values() for name in names]
    method = widen(METHODS[stage.method], lambda *_: extra) if extra else METHODS[stage.method]
    model = method(before, forget, retain, modality=modality, config=recipe, seed=seed, on_step=on_step)
    removed = tuple(dict.fromkeys((*forget.ids, *extra)))
    return Made(model, removed, found, everything.without(removed).ids)
