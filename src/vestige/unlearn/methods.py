"""Unlearning methods: functions with one signature, found through METHODS.

To add one: write the function, give it a line in METHODS and a card in docs/methods.md; the contract
test picks it up.
"""

from __future__ import annotations

import copy
from typing import Protocol

from torch import nn

from vestige.config import Recipe
from vestige.modality import Modality
from vestige.random import stream
from vestige.train import OnStep, descend, train
from vestige.types import Samples
from vestige.unlearn.losses import ordinary, wrong_labels


class Method(Protocol):
    """A way to forget."""

    def __call__(
        self,
        model: nn.Module,
        forget: Samples,
        retain: Samples,
        *,
        modality: Modality,
        config: Recipe,
        seed: int,
        on_step: OnStep | None = None,
    ) -> nn.Module:
        """Return a new model that has forgotten `forget` and keeps `retain`; leave `model` as it was.

        Same inputs and seed, same result.
        """


def retrain(
    model: nn.Module,
    forget: Samples,
    retain: Samples,
    *,
    modality: Modality,
    config: Recipe,
    seed: int,
    on_step: OnStep | None = None,
) -> nn.Module:
    """Train anew on what is retained, from the same initial weights as the model before: the reference."""
    fresh = modality.build(config.model, retain, generator=stream(seed, "train"))
    return train(fresh, retain, modality=modality, config=config.train, on_step=on_step)


def relabel(
    model: nn.Module,
    forget: Samples,
    retain: Samples,
    *,
    modality: Modality,
    config: Recipe,
    seed: int,
    on_step: OnStep | None = None,
) -> nn.Module:
    """Fine-tune on random wrong labels for what must be forgotten, and on the right ones for the rest.

    Minimises mean CE(forget, y′) + mean CE(retain, y), y′ ≠ y fixed by the seed (spec, chapter 7).
    """
    wrong = wrong_labels(forget, stream(seed, "unlearn"))
    return descend(
        copy.deepcopy(model),
        lambda now: ordinary(now, wrong, modality).mean() + ordinary(now, retain, modality).mean(),
        steps=config.unlearn.steps,
        lr=config.unlearn.lr,
        weight_decay=config.train.weight_decay,
        on_step=on_step,
    )


METHODS: dict[str, Method] = {"retrain": retrain, "relabel": relabel}
"""Name, as in the papers, → method."""

FROM_SCRATCH = frozenset({"retrain"})
"""Methods that do not look at the model before."""
