"""The one training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vestige.config import TrainConfig
from vestige.modality import Modality
from vestige.types import Samples

OnStep = Callable[[int, float], None]


def descend(
    model: nn.Module,
    objective: Callable[[nn.Module, int], Tensor],
    *,
    steps: int,
    lr: float,
    weight_decay: float,
    mask: Mapping[str, Tensor] | None = None,
    on_step: OnStep | None = None,
) -> nn.Module:
    """Gradient descent on `objective(model, step)`, in place, without momentum: the flow that theory speaks of.

    mask: parameter name → 1 where it may move; elsewhere it stays exactly as it is, weight decay included.
    on_step(step, value) is called after each step. Returns the model in evaluation mode.
    """
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, weight_decay=0 if mask else weight_decay)
    for step in range(steps):
        loss = objective(model, step)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if mask:
            for name, weight in model.named_parameters():
                if weight.grad is not None:
                    weight.grad.add_(weight.detach(), alpha=weight_decay).mul_(mask[name])
        optimiser.step()
        if on_step is not None:
            on_step(step, float(loss.detach()))
    return model.eval()


def train(
    model: nn.Module,
    samples: Samples,
    *,
    modality: Modality,
    config: TrainConfig,
    on_step: OnStep | None = None,
) -> nn.Module:
    """Minimise the mean loss of all samples, full batch, in place; returns the model."""
    return descend(
        model,
        lambda current, _: modality.losses(current, samples).mean(),
        steps=config.steps,
        lr=config.lr,
        weight_decay=config.weight_decay,
        on_step=on_step,
    )
