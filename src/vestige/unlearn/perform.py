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
from vestige.types import InputError, Samples, Split
from vestige.unlearn.enhance import lighten, widen
from vestige.unlearn.methods import METHODS


@dataclass(frozen=True)
class Made:
    """What a stage made: the model, what it took out of training, which neighbours it found, what is left.

    Neighbours that only count for less are in training still.
    """

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
    among them unless the stage is `before`. Raises InputError where the stage would leave nothing in training.
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
    elif stage.residual is not None:
        few = fewest(influence.explain(before, everything), everything, forget, split, stage.residual)
        found = {name: one.taken for name, one in few.items()}
    elif stage.k is not None:
        found = similar.top_k(forget, retain, stage.k)
    elif stage.tau is not None:
        found = similar.threshold(forget, retain, stage.tau)
    extra = [name for names in found.values() for name in names]
    removed = forget.ids if stage.weight else tuple(dict.fromkeys((*forget.ids, *extra)))
    left = everything.without(removed).ids
    if not left:
        raise InputError(
            f"{stage.method} was to forget {len(forget)} samples and {len(removed) - len(forget)} similar ones, "
            f"and only {len(everything)} are in training: nothing would be left; widen by less or raise data.per_class"
        )
    method = METHODS[stage.method]
    if stage.weight is not None:
        method = lighten(method, lambda *_: extra, stage.weight)
    elif extra:
        method = widen(method, lambda *_: extra)
    model = method(before, forget, retain, modality=modality, config=recipe, seed=seed, on_step=on_step)
    return Made(model, removed, found, left)


def fewest(
    explanation: influence.Explanation, members: Samples, forget: Samples, split: Split, residual: float
) -> dict[str, influence.Choice]:
    """For each of these samples as few of the most similar members as are expected to leave so small a residual.

    Residual 0 is what forgetting its constructed similar samples leaves; where members hold none, the OFFERED most
    similar. Raises InputError for a model too far from stationarity.
    """
    if explanation.why_not:
        raise InputError(f"how many to forget cannot be told: {explanation.why_not}; give a number, as in RF-1+5")
    others, there = members.without(forget.ids), set(members.ids)
    order = similar.top_k(forget, others, min(influence.OFFERED, len(others)))
    copies = {name: [other for other in split.similar.get(name, ()) if other in there] for name in forget.ids}
    return influence.choose_k(explanation, forget, order, copies, residual)
