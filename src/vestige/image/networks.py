"""The networks: the homogeneous MLP, a small CNN, and ResNet-18 for small images.

Each subtracts the mean image of its training set, which is part of the model. None looks at other samples of
a batch: batch normalisation would, and its running statistics would keep a trace of what must be forgotten
and move where weights are held still. ResNet-18 normalises over groups of channels instead (Wu and He 2018).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vestige.types import InputError

GROUPS = 8


class Network(nn.Module, ABC):
    """An image classifier: features of the mean-free image, and a linear head on them."""

    mean: Tensor

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """What the last layer sees, (N, width), of images x (N, C, H, W) in [0, 1]."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The logits (N, classes) of images x (N, C, H, W) in [0, 1]."""

    @abstractmethod
    def start(self, generator: torch.Generator) -> None:
        """Draw fresh weights."""


class MLP(Network):
    """ReLU network with a bias in the first layer only: positively homogeneous in its weights."""

    whole = True  # all samples at once: see `vestige.classifier.logits`

    def __init__(self, mean: Tensor, hidden: tuple[int, ...], classes: int, init_scale: float = 1e-4) -> None:
        super().__init__(mean)
        widths = (mean.numel(), *hidden, classes)
        self.init_scale = init_scale
        self.layers = nn.ModuleList(
            nn.Linear(a, b, bias=position == 0) for position, (a, b) in enumerate(pairwise(widths))
        )

    def linear(self) -> list[nn.Linear]:
        """The layers in order; only the first has a bias."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def features(self, x: Tensor) -> Tensor:
        a = (x - self.mean).flatten(1)
        for layer in self.layers[:-1]:
            a = torch.relu(layer(a))
        return a

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers[-1](self.features(x))
        return out

    def start(self, generator: torch.Generator) -> None:
        """First layer N(0, init_scale²), the others uniform in ±1/√(inputs)."""
        with torch.no_grad():
            for position, layer in enumerate(self.linear()):
                if position == 0:
                    layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * self.init_scale)
                    layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator) * self.init_scale)
                else:
                    _uniform(layer, generator)


class CNN(Network):
    """Convolutions of 3×3, each followed by ReLU and a max-pool that halves the image; then a linear layer.

    Raises InputError for images that are gone before the last convolution.
    """

    def __init__(self, mean: Tensor, channels: tuple[int, ...], classes: int) -> None:
        super().__init__(mean)
        colours, height, width = mean.shape
        height, width = height >> len(channels), width >> len(channels)
        if height * width == 0:
            raise InputError(
                f"{len(channels)} convolutions halve images of {mean.shape[1]}×{mean.shape[2]} to nothing; "
                "give fewer model.channels"
            )
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise((colours, *channels)))
        self.head = nn.Linear(channels[-1] * height * width, classes)

    def features(self, x: Tensor) -> Tensor:
        a = x - self.mean
        for layer in self.convolutions:
            a = torch.relu(F.max_pool2d(layer(a), 2))  # the same bits as the other way round, from fewer pixels
        return a.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.features(x))
        return out

    def start(self, generator: torch.Generator) -> None:
        _start(self, generator)


class Block(nn.Module):
    """Two convolutions with normalisation, and the input added (He et al. 2016, basic block)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.GroupNorm(GROUPS, outputs)
            )
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(GROUPS, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(GROUPS, outputs)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(a)) + self.shortcut(x))


class ResNet18(Network):
    """ResNet-18 for small images: a 3×3 stem, no max-pool, four stages of two basic blocks."""

    def __init__(self, mean: Tensor, width: int, classes: int) -> None:
        super().__init__(mean)
        widths = [width * 2**stage for stage in range(4)]
        self.stem = nn.Conv2d(mean.shape[0], width, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, width)
        blocks = []
        for stage, (inputs, outputs) in enumerate(pairwise((width, *widths))):
            blocks += [Block(inputs, outputs, 1 if stage == 0 else 2), Block(outputs, outputs, 1)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(widths[-1], classes)

    def features(self, x: Tensor) -> Tensor:
        a = self.blocks(torch.relu(self.norm(self.stem(x - self.mean))))
        out: Tensor = a.mean((2, 3))
        return out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.features(x))
        return out

    def start(self, generator: torch.Generator) -> None:
        _start(self, generator)


def _start(model: nn.Module, generator: torch.Generator) -> None:
    """Convolutions as for ReLU (He et al. 2015), linear layers uniform in ±1/√(inputs), no shift anywhere."""
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                inputs = layer.weight[0].numel()
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * math.sqrt(2 / inputs))
            elif isinstance(layer, nn.Linear):
                _uniform(layer, generator)
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                layer.bias.zero_()


def _uniform(layer: nn.Linear, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(layer.in_features)
    layer.weight.copy_((torch.rand(layer.weight.shape, generator=generator) * 2 - 1) * bound)
