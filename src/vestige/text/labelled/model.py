"""The classifier of labelled texts; what the methods ask of it stands in `vestige.classifier`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vestige.config import NetworkConfig, WordsConfig
from vestige.text.labelled.data import FILL, pairs
from vestige.types import InputError, Samples


class Words(nn.Module):
    """The sum of the vectors of its words and pairs of words over √count, a hidden layer of ReLU, a linear head.

    After Joulin et al. 2017. Words and pairs are hashed into one table, so that the model has no vocabulary: it keeps
    no list of the words that it was trained on. No text is looked at beside another.
    """

    def __init__(self, buckets: int, width: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.table = nn.Embedding(buckets, width)
        self.hidden = nn.Linear(width, hidden)
        self.head = nn.Linear(hidden, classes)

    def bag(self, x: Tensor) -> Tensor:
        """What the hidden layer sees, (N, width), of word ids x (N, L)."""
        found = torch.cat([x, pairs(x)], 1)
        there = (found != FILL).to(self.table.weight.dtype)
        vectors = self.table(found % self.table.num_embeddings)
        total: Tensor = (vectors * there.unsqueeze(2)).sum(1)
        return total / there.sum(1, keepdim=True).clamp_min(1).sqrt()

    def features(self, x: Tensor) -> Tensor:
        """What the last layer sees, (N, hidden), of word ids x (N, L)."""
        return torch.relu(self.hidden(self.bag(x)))

    def forward(self, x: Tensor) -> Tensor:
        """The logits (N, classes) of word ids x (N, L)."""
        out: Tensor = self.head(self.features(x))
        return out

    def start(self, generator: torch.Generator) -> None:
        """Draw fresh weights: the table N(0, 1/width), the layers uniform in ±1/√(inputs), no shift."""
        with torch.no_grad():
            shape = self.table.weight.shape
            self.table.weight.copy_(torch.randn(shape, generator=generator) / math.sqrt(shape[1]))
            for layer in (self.hidden, self.head):
                bound = 1 / math.sqrt(layer.in_features)
                layer.weight.copy_((torch.rand(layer.weight.shape, generator=generator) * 2 - 1) * bound)
                layer.bias.zero_()


def build(config: NetworkConfig, samples: Samples, *, generator: torch.Generator) -> Words:
    """A classifier with fresh weights for as many classes as these samples have."""
    if not isinstance(config, WordsConfig):
        raise InputError(f"model.kind {config.kind} takes images; labelled texts take words")
    model = Words(config.buckets, config.width, config.hidden, samples.classes)
    model.start(generator)
    return model.to(samples.y.device)


def restore(config: NetworkConfig, weights: dict[str, Tensor]) -> Words:
    """The classifier that these weights (a state dict) belong to."""
    buckets, width = weights["table.weight"].shape
    classes, hidden = weights["head.weight"].shape
    model = Words(buckets, width, hidden, classes).to(weights["head.weight"].device)
    model.load_state_dict(weights)
    return model.eval()


def check_recover(config: NetworkConfig, sharded: bool) -> None:
    """Reconstruction does not apply: raises InputError."""
    raise InputError("reconstruction takes a homogeneous MLP on images; labelled texts are judged by their outputs")
