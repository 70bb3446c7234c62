"""How much to add to a method: the mildest m, γ and number of steps that reach a wanted residual.

What is reached is asked of paraphrases that are neither unlearned nor evaluated, within a budget of what is retained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from vestige.verify import residual

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vestige.config import TextRecipe
    from vestige.modality import Language
    from vestige.train import OnStep
    from vestige.types import Samples
    from vestige.unlearn import LanguageMethod
    from vestige.unlearn.enhance import Enhancement

BUDGET = 0.1
"""Recall of retained pairs that may be lost at most, where the configuration has no budget (`unlearn.utility`)."""


@dataclass(frozen=True)
class Try:
    """One attempt and what it left.

    steps: that were taken. km: mean recall of the validation paraphrases after it; residual: what that leaves, None
    where there was nothing to forget. loss: what retained pairs lost of theirs. is_enough: whether the wanted residual
    was reached.
    """

    paraphrases: int
    gamma: float
    steps: int
    km: float
    residual: float | None
    loss: float
    is_enough: bool


def grid(most: int, gamma: float) -> tuple[tuple[int, float], ...]:
    """m and γ from mild to strong: no paraphrases, half of them, all of them, each without noise and with."""
    return tuple(dict.fromkeys((m, strength) for m in (0, (most + 1) // 2, most) for strength in (0.0, gamma)))


def choose(
    method: LanguageMethod,
    model: nn.Module,
    forget: Samples,
    retain: Samples,
    enhancement: Enhancement,
    validation: Samples,
    *,
    wanted: float,
    base: float,
    modality: Language,
    config: TextRecipe,
    seed: int,
    on_step: OnStep | None = None,
) -> tuple[nn.Module, tuple[Try, ...]]:
    """The model of the first attempt in `grid` that reaches the wanted residual, and all attempts up to it.

    enhancement: the most that may be added: all paraphrases that may be unlearned, and γ. validation: other paraphrases
    of what is forgotten, which decide. base: their mean recall in the base model, where the residual is 0. Each attempt
    takes as few steps as reach it, at most the method's own, and ends where retained pairs lose more than
    `unlearn.utility` (BUDGET where that is not set). Where none reaches it, the one with the lowest recall is taken;
    where the model before knows the validation paraphrases hardly better than the base model, nothing can be chosen by
    them, and the plain method is taken.
    """
    from vestige.unlearn.language_task import guarded, recalled

    km = partial(recalled, modality=modality, config=config.ask)
    few = guarded(retain, seed)
    before, kept = km(model, validation), km(model, few)
    can_tell = residual(before, before, base) is not None
    budget = BUDGET if config.unlearn.utility is None else config.unlearn.utility
    goal = base + wanted * (before - base) if can_tell else None
    unlearn = config.unlearn.model_copy(update={"until": goal, "utility": budget})
    most = max(map(len, enhancement.paraphrases.values()), default=0)
    tries: list[Try] = []
    best, lowest = model, inf
    for m, gamma in grid(most, enhancement.gamma) if can_tell else ((0, 0.0),):
        taken: list[int] = []

        def count(step: int, value: Tensor, taken: list[int] = taken) -> None:
            taken.append(step)
            if on_step is not None:
                on_step(step, value)

        paraphrases = {name: found.at(slice(m)) for name, found in enhancement.paraphrases.items()} if m else {}
        made = method(
            model, forget, retain, modality=modality, config=config.model_copy(update={"unlearn": unlearn}), seed=seed,
            on_step=count,
            enhancement=replace(enhancement, paraphrases=paraphrases, gamma=gamma, watched=validation),
        )  # fmt: skip
        now = km(made, validation)
        is_enough = goal is not None and now <= goal
        tries.append(Try(m, gamma, len(taken), now, residual(now, before, base), kept - km(made, few), is_enough))
        if now < lowest:
            best, lowest = made, now
        if tries[-1].is_enough:
            return made, tuple(tries)
    return best, tuple(tries)
