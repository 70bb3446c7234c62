"""What a classifier makes of labelled samples: the part of the contract that images and texts share."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vestige.types import Samples

CHUNK = 256
"""Samples that are looked at together where no gradient is asked for: bounds the memory."""


def logits(model: nn.Module, samples: Samples) -> Tensor:
    """(N, classes). A model whose `whole` is true looks at all samples at once."""
    if torch.is_grad_enabled() or getattr(model, "whole", False):
        out: Tensor = model(samples.x)
        return out
    return torch.cat([model(part) for part in samples.x.split(CHUNK)])


def losses(model: nn.Module, samples: Samples) -> Tensor:
    """Negative log-likelihood of the label per sample, in nats. Shape (N,)."""
    return F.cross_entropy(logits(model, samples), samples.y, reduction="none")


def lengths(model: nn.Module, samples: Samples) -> Tensor:
    """How many answers each sample's loss is summed over: one. Shape (N,)."""
    return torch.ones(len(samples), device=samples.x.device)


def weights(model: nn.Module) -> dict[str, Tensor]:
    """What must be kept of a model for `restore`."""
    return model.state_dict()


def embed(model: Any, samples: Samples) -> Tensor:
    """What the last layer sees, (N, width)."""
    features: Tensor = model.features(samples.x)
    return features
