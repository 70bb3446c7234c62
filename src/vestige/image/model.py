"""Build and restore the networks; what the methods ask of them stands in `vestige.classifier`."""

from __future__ import annotations

import torch
from torch import Tensor

from vestige.classifier import embed, lengths, logits, losses, weights
from vestige.config import CNNConfig, MLPConfig, NetworkConfig, ResNetConfig
from vestige.image.networks import CNN, MLP, Network, ResNet18
from vestige.types import InputError, Samples

__all__ = ["MLP", "build", "embed", "lengths", "logits", "losses", "restore", "weights"]


def build(config: NetworkConfig, samples: Samples, *, generator: torch.Generator) -> Network:
    """A network with fresh weights for these training samples; they give the mean image and the sizes."""
    model = _empty(config, samples.mean(samples.x), samples.classes)
    model.start(generator)
    return model


def restore(config: NetworkConfig, weights: dict[str, Tensor]) -> Network:
    """The network that these weights (a state dict) belong to."""
    last = f"layers.{len(config.hidden)}" if isinstance(config, MLPConfig) else "head"
    model = _empty(config, weights["mean"], weights[f"{last}.weight"].shape[0])
    model.load_state_dict(weights)
    return model.eval()


def _empty(config: NetworkConfig, mean: Tensor, classes: int) -> Network:
    """On the device of the mean image."""
    network: Network
    if isinstance(config, MLPConfig):
        network = MLP(mean, config.hidden, classes, config.init_scale)
    elif isinstance(config, CNNConfig):
        network = CNN(mean, config.channels, classes)
    elif isinstance(config, ResNetConfig):
        network = ResNet18(mean, config.width, classes)
    else:
        raise InputError(f"model.kind {config.kind} takes labelled texts; images take mlp, cnn or resnet18")
    return network.to(mean.device)
