"""The homogeneous image network, and what the methods ask of a model."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vestige.config import ModelConfig
from vestige.types import Samples


class MLP(nn.Module):
    """ReLU network with a bias in the first layer only: positively homogeneous in its weights.

    The mean image of its training set is subtracted from every input; it is part of the model.
    """

    mean: Tensor

    def __init__(self, mean: Tensor, hidden: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        widths = (mean.numel(), *hidden, classes)
        self.layers = nn.ModuleList(
            nn.Linear(a, b, bias=position == 0) for position, (a, b) in enumerate(pairwise(widths))
        )

    def linear(self) -> list[nn.Linear]:
        """The layers in order; only the first has a bias."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def features(self, x: Tensor) -> Tensor:
        """The last hidden layer (N, width) of images x (N, C, H, W) in [0, 1]."""
        a = (x - self.mean).flatten(1)
        for layer in self.layers[:-1]:
            a = torch.relu(layer(a))
        return a

    def forward(self, x: Tensor) -> Tensor:
        """The logits (N, classes) of images x (N, C, H, W) in [0, 1]."""
        out: Tensor = self.layers[-1](self.features(x))
        return out


def build(config: ModelConfig, samples: Samples, *, generator: torch.Generator) -> MLP:
    """A network with fresh weights for these training samples; they give the mean image and the sizes.

    First layer N(0, init_scale²), the others uniform in ±1/√(inputs) (spec, chapter 2).
    """
    model = MLP(samples.x.mean(0), config.hidden, samples.classes)
    with torch.no_grad():
        for position, layer in enumerate(model.linear()):
            if position == 0:
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * config.init_scale)
                layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator) * config.init_scale)
            else:
                bound = 1 / math.sqrt(layer.in_features)
                layer.weight.copy_((torch.rand(layer.weight.shape, generator=generator) * 2 - 1) * bound)
    return model


def logits(model: nn.Module, samples: Samples) -> Tensor:
    """(N, classes)."""
    out: Tensor = model(samples.x)
    return out


def losses(model: nn.Module, samples: Samples) -> Tensor:
    """Negative log-likelihood of the label per sample, in nats. Shape (N,)."""
    return F.cross_entropy(logits(model, samples), samples.y, reduction="none")


def embed(model: MLP, samples: Samples) -> Tensor:
    """The last hidden layer, (N, width)."""
    return model.features(samples.x)


def restore(config: ModelConfig, weights: dict[str, Tensor]) -> MLP:
    """The network that these weights (a state dict) belong to."""
    classes = weights[f"layers.{len(config.hidden)}.weight"].shape[0]
    model = MLP(weights["mean"], config.hidden, classes)
    model.load_state_dict(weights)
    return model.eval()
