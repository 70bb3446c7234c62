"""Unlearning methods of language models, found through LANGUAGE_METHODS.

Most add a loss on what must be forgotten to one on what is retained (`optimise`). To add one: write its parts in
`language_losses`, give it a line in LANGUAGE_METHODS and a card in docs/methods.md; the contract test picks it up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor, nn

from vestige.config import TextRecipe
from vestige.modality import Language
from vestige.random import stream
from vestige.train import Batch, OnStep, tune
from vestige.types import InputError, Samples
from vestige.unlearn import language_losses as losses
from vestige.unlearn.enhance import PLAIN, Enhancement
from vestige.unlearn.language_losses import Loss
from vestige.unlearn.language_task import Task, forgetting, movable, moved, stop_rule


class LanguageMethod(Protocol):
    """A way for a language model to forget."""

    def __call__(
        self,
        model: nn.Module,
        forget: Samples,
        retain: Samples,
        *,
        modality: Language,
        config: TextRecipe,
        seed: int,
        on_step: OnStep | None = None,
        enhancement: Enhancement = PLAIN,
    ) -> nn.Module:
        """Return a new model that has forgotten `forget` and keeps `retain`; leave `model` as it was.

        Same inputs and seed, same result. With LoRA the new model shares the frozen weights of `model`.
        Raises InputError for an enhancement that the method has no use for (`check_enhancement`).
        """


def optimise(
    name: str,
    forget_loss: Loss | None,
    retain_loss: Loss | None = None,
    *,
    moving: Callable[[Task], Iterable[str]] | None = None,
) -> LanguageMethod:
    """The method that lowers the sum of these losses by AdamW from the model before, until the stop rule says so.

    name: under which it may have steps and a rate of its own (`unlearn.methods`). moving: the weights that may move.
    """

    def method(
        model: nn.Module,
        forget: Samples,
        retain: Samples,
        *,
        modality: Language,
        config: TextRecipe,
        seed: int,
        on_step: OnStep | None = None,
        enhancement: Enhancement = PLAIN,
    ) -> nn.Module:
        check_enhancement(name, forgets=enhancement.is_forgetting, protects=bool(enhancement.near))
        task = Task(model, forget, retain, modality, config, seed, enhancement)
        if retain_loss and not len(retain):
            raise InputError(f"{name} looks at retained pairs, and there is none; give some")
        away = forgetting(task, forget_loss(task.wide)) if forget_loss else None
        near = retain_loss(task) if retain_loss else None

        def objective(now: nn.Module, batch: Batch) -> Tensor:
            parts = away(now, batch) if away else []
            parts += [task.alphas[2] * task.mean(near, now, task.kept(batch))] if near else []
            return torch.stack(parts).sum()

        return moved(
            task,
            name,
            objective,
            moving=moving(task) if moving else None,
            stop=stop_rule(task, task.steps(name).steps),
            on_step=on_step,
        )

    return method


def learn(
    samples: Samples, *, modality: Language, config: TextRecipe, seed: int, on_step: OnStep | None = None
) -> nn.Module:
    """The model that the recipe names, fine-tuned on these pairs: the model before, R0 or R1."""
    model = modality.build(config.model, samples, generator=stream(seed, "train"))
    return tune(model, samples, modality=modality, config=config.train, seed=seed, on_step=on_step)


def retrain(
    model: nn.Module,
    forget: Samples,
    retain: Samples,
    *,
    modality: Language,
    config: TextRecipe,
    seed: int,
    on_step: OnStep | None = None,
    enhancement: Enhancement = PLAIN,
) -> nn.Module:
    """Fine-tune the model that the recipe names anew, on what is retained: the reference."""
    check_enhancement("retrain", forgets=enhancement.is_forgetting, protects=bool(enhancement.near))
    return learn(retain, modality=modality, config=config, seed=seed, on_step=on_step)


def negated(
    model: nn.Module,
    forget: Samples,
    retain: Samples,
    *,
    modality: Language,
    config: TextRecipe,
    seed: int,
    on_step: OnStep | None = None,
    enhancement: Enhancement = PLAIN,
) -> nn.Module:
    """θ_0 − α (θ_r − θ_0), θ_r fine-tuned further on F: a task vector taken back (Ilharco et al. 2023).

    The stop rule looks at as many points of the way from θ_0 as there are steps. With LoRA the vector is that of the
    adapters' weights.
    """
    check_enhancement("TV", forgets=enhancement.is_forgetting, protects=bool(enhancement.near))
    task = Task(model, forget, retain, modality, config, seed, enhancement)
    steps = task.steps("TV").steps
    after = losses.reinforce(task, "TV", on_step)
    start = dict(model.named_parameters())
    with torch.no_grad():
        vector = {name: weight - start[name] for name, weight in movable(after).items()}
    stop = stop_rule(task, steps)
    for step in range(-1, steps):
        back = config.unlearn.alpha * (step + 1) / steps
        with torch.no_grad():
            for name, weight in movable(after).items():
                weight.copy_(start[name] - back * vector[name])
        if stop(step, after):
            break
    return after


_COMPOSED: dict[str, tuple[Loss | None, Loss | None]] = {
    "finetune": (None, losses.retained),
    "GDR": (losses.mismatched, None),
    "GDR_KLN": (losses.mismatched, losses.near_before),
    "GDR_GDN": (losses.mismatched, losses.retained),
    "NPO_KLN": (losses.disfavoured, losses.near_before),
    "NPO_GDN": (losses.disfavoured, losses.retained),
    "GA_KLN": (losses.ascended, losses.near_before),
    "GA_GDN": (losses.ascended, losses.retained),
    "GA": (losses.ascended, None),
    "NPO": (losses.disfavoured, None),
    "SimNPO": (losses.disfavoured_simply, None),
    "DPO": (losses.preferring(lambda task: losses.random_outputs(task, 1)), None),
    "IdkDPO": (losses.preferring(losses.unknown), None),
    "UNDIAL": (losses.distilled, None),
    "WHP": (losses.made_generic, None),
    "RMU": (losses.misdirected, losses.states_kept),
}
_MOVING = {"RMU": losses.below}
_TAKES = {name: (away is not None, near is not None) for name, (away, near) in _COMPOSED.items()}
_TAKES |= {"retrain": (False, False), "TV": (True, False)}
"""Method → whether it has a loss on what must be forgotten, and one on what is retained."""

LANGUAGE_METHODS: dict[str, LanguageMethod] = {
    "retrain": retrain,
    **{name: optimise(name, *parts, moving=_MOVING.get(name)) for name, parts in _COMPOSED.items()},
    "TV": negated,
}
"""Name, as in the papers, → method."""


def check_enhancement(name: str, *, forgets: bool, protects: bool) -> None:
    """Raise InputError where a method has no use for what is added to it.

    forgets: noise or paraphrases, which the loss of what must be forgotten takes. protects: neighbours of the targets,
    which join the pairs that are retained.
    """
    has_forget_loss, has_retain_loss = _TAKES[name]
    if forgets and not has_forget_loss:
        raise InputError(
            f"{name} has no loss of its own on what must be forgotten, so that noise and paraphrases have nothing to "
            "act on; enhance another method, such as NPO_GDN"
        )
    if protects and not has_retain_loss:
        raise InputError(
            f"{name} has no loss on retained pairs that the neighbours of the target could join; protect them with "
            "another method, such as GDR_GDN or NPO_KLN"
        )
