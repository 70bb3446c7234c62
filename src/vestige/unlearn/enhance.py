"""Enhancements: wrappers of a method or of its loss, so that a comparison changes one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from vestige.config import Recipe
from vestige.modality import Language, Modality
from vestige.train import OnStep
from vestige.types import InputError, Samples, joined
from vestige.unlearn.methods import Method

Part = Callable[[nn.Module, Samples], Tensor]
"""part(model, batch) → what to lower of each sample, (N,), in a batch of what must be forgotten or is retained."""
Find = Callable[[Samples, Samples], Iterable[str]]
"""find(forget, retain) → ids of `retain` to forget as well, or to count for less."""


def widened(forget: Samples, retain: Samples, extra: Iterable[str]) -> tuple[Samples, Samples]:
    """Move the samples called `extra` from retain to forget. With none, both are returned as they are."""
    moved = retain.take(name for name in dict.fromkeys(extra))
    return joined(forget, moved), retain.without(moved.ids)


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


@dataclass(frozen=True)
class Enhancement:
    """What an enhanced scheme adds to a language method (paper, eq. 3–7); by default nothing.

    paraphrases: target → F(x), pairs that are forgotten with it. gamma: γ, strength of the noise in what is forgotten.
    near: retained pairs that are in every batch of them. watched: pairs that the stop rule asks in place of F.
    """

    paraphrases: Mapping[str, Samples] = field(default_factory=dict)
    gamma: float = 0.0
    near: tuple[str, ...] = ()
    watched: Samples | None = None

    @property
    def is_forgetting(self) -> bool:
        """Whether the loss of what must be forgotten is another than the method's own."""
        return self.gamma > 0 or any(len(found) for found in self.paraphrases.values())


PLAIN = Enhancement()
"""Nothing added: the method as it is."""


def noisy(
    modality: Language,
    gamma: float,
    *,
    sigma: Literal["relative", "absolute"],
    layers: Sequence[str | int],
    generator: torch.Generator,
) -> Callable[[Part], Part]:
    """A wrapper of losses: the same loss of a model whose states are h + γ ξ, ξ ~ N(0, σ²) drawn anew in every pass.

    The noise is in the model that the loss is asked of, while it is asked: the model before, which a loss may ask too,
    has none, nor has anything outside. Positions without a token are left alone. sigma: "relative", σ is the RMS of h
    over the batch's tokens; "absolute", σ = 1 (paper, eq. 3). layers: where, see `Language.altered`.
    """

    def disturb(states: Tensor, mask: Tensor) -> Tensor:
        drawn = torch.randn(states.shape, generator=generator).to(states) * mask[:, :, None]
        if sigma == "absolute":
            return states + gamma * drawn
        real = states.detach() * mask[:, :, None]
        return states + gamma * (real.square().sum() / (mask.sum() * states.shape[2])).sqrt() * drawn

    def wrapped(part: Part) -> Part:
        def loss(now: nn.Module, samples: Samples) -> Tensor:
            with modality.altered(now, disturb, layers):
                return part(now, samples)

        return loss

    return wrapped
