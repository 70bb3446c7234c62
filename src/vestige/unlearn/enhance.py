"""Enhancements: wrappers method → method, so that a comparison changes one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn

from vestige.config import Recipe
from vestige.modality import Modality
from vestige.train import OnStep
from vestige.types import Samples
from vestige.unlearn.methods import Method

Find = Callable[[Samples, Samples], Iterable[str]]
"""find(forget, retain) → ids of `retain` to forget as well."""


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
