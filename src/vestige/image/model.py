"""Build and restore the networks, and what the methods ask of a model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vestige.config import CNNConfig, MLPConfig, NetworkConfig, ResNetConfig
from vestige.image.networks import CNN, MLP, Network, ResNet18
from vestige.types import InputError, Samples

__all__ = ["MLP", "build", "embed", "lengths", "logits", "losses", "restore", "weights"]

CHUNK = 256
"""Images that convolutions see at once where no gradient is asked for: bounds the memory."""


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


def logits(model: nn.Module, samples: Samples) -> Tensor:
    """(N, classes)."""
    if torch.is_grad_enabled() or isinstance(model, MLP):
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


def embed(model: Network, samples: Samples) -> Tensor:
    """What the last layer sees, (N, width)."""
    return model.features(samples.x)


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
