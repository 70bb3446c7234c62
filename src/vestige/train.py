"""The one training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from vestige.config import TrainConfig
from vestige.modality import Modality
from vestige.random import stream
from vestige.types import Samples

OnStep = Callable[[int, Tensor], None]
"""on_step(step, value): a scalar on the model's device. Reading it waits for the device, so read it seldom."""
Rows = slice | Tensor
ALL = slice(None)


@dataclass(frozen=True)
class Batch:
    """What one gradient step looks at.

    step: the pass that it belongs to, from 0. retain, forget: positions in what is trained on and in what
    must be forgotten.
    """

    step: int
    retain: Rows = field(default_factory=lambda: ALL)
    forget: Rows = field(default_factory=lambda: ALL)


Batches = Callable[[int], Iterable[Batch]]
"""batches(step) → the batches of this pass."""


def everything(step: int) -> Iterable[Batch]:
    """One batch that holds all: a pass is one gradient step."""
    return (Batch(step),)


def batched(
    sizes: Mapping[str, int],
    batch: int | None,
    generator: torch.Generator,
    leader: Callable[[int], str] = lambda step: "retain",
) -> Batches:
    """Batches of at most `batch` samples, in an order drawn anew for every pass; without `batch`, everything.

    sizes: "retain", and where there is one "forget" → number of samples. A pass shows the set that
    leader(step) names once, and beside it the other one, over and over.
    """

    if batch is None:
        return everything
    most = batch

    def draw(step: int) -> Iterator[Batch]:
        lead = leader(step)
        orders = {name: torch.randperm(size, generator=generator) for name, size in sizes.items()}
        parts = {name: torch.split(order, most) for name, order in orders.items()}
        for position in range(len(parts[lead])):
            yield Batch(step, **{name: part[position % len(part)] for name, part in parts.items()})

    return draw


def descend(
    model: nn.Module,
    objective: Callable[[nn.Module, Batch], Tensor],
    *,
    steps: int,
    lr: float,
    weight_decay: float,
    momentum: float = 0.0,
    schedule: Literal["constant", "cosine"] = "constant",
    batches: Batches = everything,
    mask: Mapping[str, Tensor] | None = None,
    on_step: OnStep | None = None,
) -> nn.Module:
    """Gradient descent on `objective(model, batch)`, in place.

    By default in full batches without momentum: the flow that theory speaks of.
    steps: passes; in full batches one gradient step each. schedule: of the rate, pass by pass.
    mask: parameter name → 1 where it may move; elsewhere it stays exactly as it is, weight decay and
    momentum included. on_step(step, value) is called after each pass, with the mean over its batches.
    Returns the model in evaluation mode.
    """
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=0 if mask else weight_decay)
    for step in range(steps):
        if schedule == "cosine":
            optimiser.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
        values = []
        for batch in batches(step):
            loss = objective(model, batch)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if mask:
                for name, weight in model.named_parameters():
                    if weight.grad is not None:
                        weight.grad.add_(weight.detach(), alpha=weight_decay).mul_(mask[name])
            optimiser.step()
            values.append(loss.detach())
        if on_step is not None:
            on_step(step, torch.stack(values).mean())
    return model.eval()


def train(
    model: nn.Module,
    samples: Samples,
    *,
    modality: Modality,
    config: TrainConfig,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> nn.Module:
    """Minimise the mean loss of all samples, in place; returns the model. seed: of the order of batches."""

    def loss(now: nn.Module, batch: Batch) -> Tensor:
        part = samples.at(batch.retain)
        mean: Tensor = part.mean(modality.losses(now, part))
        return mean

    return descend(
        model,
        loss,
        steps=config.steps,
        lr=config.lr,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        schedule=config.schedule,
        batches=batched({"retain": len(samples)}, config.batch, stream(seed, "order")),
        on_step=on_step,
    )
