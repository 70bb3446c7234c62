"""Pure losses of the unlearning methods: one value per sample, in nats."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vestige.modality import Modality
from vestige.types import Samples

Loss = Callable[[nn.Module, Samples, Modality], Tensor]
"""loss(model, samples, modality) → (N,), in nats."""


def ordinary(model: nn.Module, samples: Samples, modality: Modality) -> Tensor:
    """The training loss: the negative log-likelihood of each sample."""
    return modality.losses(model, samples)


def wrong_labels(samples: Samples, generator: torch.Generator) -> Samples:
    """The same samples with labels drawn evenly among the wrong classes: y′ ≠ y (Golatkar et al. 2020)."""
    shift = torch.randint(1, samples.classes, (len(samples),), generator=generator)
    return Samples(samples.ids, samples.x, (samples.y + shift) % samples.classes, samples.classes)
