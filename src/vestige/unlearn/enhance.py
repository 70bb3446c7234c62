"""Enhancements: wrappers method → method, so that a comparison changes one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from torch import nn

from vestige.config import Recipe
from vestige.modality import Modality
from vestige.train import OnStep
from vestige.types import InputError, Samples
from vestige.unlearn.methods import Method

Find = Callable[[Samples, Samples], Iterable[str]]
"""find(forget, retain) → ids of `retain` to forget as well, or to count for less."""


def widened(forget: Samples, retain: Samples, extra: Iterable[str]) -> tuple[Samples, Samples]:
    """Move the samples called `extra` from retain to forget. With none, both are returned as they are."""
    import torch

    moved = retain.take(name for name in dict.fromkeys(extra))
    both = Samples(
        forget.ids + moved.ids,
        torch.cat([forget.x, moved.x]),
        torch.cat([forget.y, moved.y]),
        forget.classes,
    )
    return both, retain.without(moved.ids)


def widen(method: Method, find: Find) -> Method:
    """The method applied to D_unlearn = {x} ∪ T(x), with T(x) found among what is retained (paper, eq. 2)."""

    def wide(
        model: nn.Module,
        forget: Samples,
        retain: Samples,
        *,
        modality: Modality,
        config: Recipe,
        seed: int,
        on_step: OnStep | None = None,
    ) -> nn.Module:
        forget, retain = widened(forget, retain, find(forget, retain))
        return method(model, forget, retain, modality=modality, config=config, seed=seed, on_step=on_step)

    return wide


def lightened(retain: Samples, names: Iterable[str], weight: float) -> Samples:
    """The same samples, those called `names` counting `weight` times as much as each of the others; 0: without them.

    weight: in [0, 1]; outside, InputError is raised.
    """
    import torch

    if not 0 <= weight <= 1:
        raise InputError(f"a weight lies in [0, 1], got {weight:g}")
    chosen = set(names)
    if weight == 0:
        return retain.without(chosen)
    weights = torch.tensor([weight if name in chosen else 1.0 for name in retain.ids], device=retain.x.device)
    return replace(retain, weight=weights / weights.mean())


def lighten(method: Method, find: Find, weight: float) -> Method:
    """The method with T(x) kept among the retained at a lower weight in their mean loss, instead of forgotten.

    weight: 1 is the plain method, 0 does not show T(x) at all: for retraining, `widen`. Does not serve the methods in
    WEIGHTLESS.
    """

    def light(
        model: nn.Module,
        forget: Samples,
        retain: Samples,
        *,
        modality: Modality,
        config: Recipe,
        seed: int,
        on_step: OnStep | None = None,
    ) -> nn.Module:
        retain = lightened(retain, find(forget, retain), weight)
        return method(model, forget, retain, modality=modality, config=config, seed=seed, on_step=on_step)

    return light
