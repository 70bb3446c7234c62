"""Pure losses of the unlearning methods: one value per sample, in nats."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vestige.types import Samples


def divergence(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher ‖ student) of softmaxes at a temperature, in nats.

    teacher, student: logits (N, classes). Returns (N,), at least 0, 0 where they agree. Scaled by
    temperature² as usual in distillation, so that gradients do not shrink with it (Hinton et al. 2015).
    """
    log_p = F.log_softmax(teacher / temperature, 1)
    log_q = F.log_softmax(student / temperature, 1)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(1)


def wrong_labels(samples: Samples, generator: torch.Generator) -> Samples:
    """The same samples with labels drawn evenly among the wrong classes: y′ ≠ y (Golatkar et al. 2020)."""
    shift = torch.randint(1, samples.classes, (len(samples),), generator=generator)
    shift = shift.to(samples.y.device)
    return Samples(samples.ids, samples.x, (samples.y + shift) % samples.classes, samples.classes)
