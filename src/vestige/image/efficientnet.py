"""EfficientNet-Lite0: ImageNet features on a laptop (Tan and Le 2019; Google's Lite variant: no squeeze, ReLU6).

Layers bear the names of the published weights, and pad as TensorFlow does, with which those were trained.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

STAGES = ((1, 16, 3, 1, 1), (6, 24, 3, 2, 2), (6, 40, 5, 2, 2), (6, 80, 3, 2, 3), (6, 112, 5, 1, 3),
          (6, 192, 5, 2, 4), (6, 320, 3, 1, 1))  # fmt: skip
"""Expansion, channels, kernel, stride of the first block, and number of blocks of each stage."""
SIDE, WIDTH = 224, 1280
"""The side of the images it was trained on, and the length of a feature vector."""


class EfficientNetLite0(nn.Module):
    """The network as published, 1,000 ImageNet classes."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = Same(3, 32, 3, 2, bias=False), _norm(32)
        blocks, inside = [], 32
        for expand, outside, kernel, stride, count in STAGES:
            for place in range(count):
                blocks.append(Block(inside, outside, kernel, stride if place == 0 else 1, expand))
                inside = outside
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = Same(inside, WIDTH, 1, bias=False), _norm(WIDTH)
        self._fc = nn.Linear(WIDTH, 1000)

    def features(self, x: Tensor) -> Tensor:
        """What the last layer sees, (N, 1280), of normalised images (N, 3, 224, 224)."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self._fc(self.features(x))
        return logits


class Block(nn.Module):
    """Widen by 1×1, filter each channel, narrow by 1×1; the input is added where it fits."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        middle = inside * expand
        self.expands, self.adds = expand > 1, stride == 1 and inside == outside
        if self.expands:
            self._expand_conv, self._bn0 = Same(inside, middle, 1, bias=False), _norm(middle)
        self._depthwise_conv = Same(middle, middle, kernel, stride, groups=middle, bias=False)
        self._bn1 = _norm(middle)
        self._project_conv, self._bn2 = Same(middle, outside, 1, bias=False), _norm(outside)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class Same(nn.Conv2d):
    """A convolution whose output has ⌈side / stride⌉ pixels; an odd pixel of padding goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for side, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [total // 2, total - total // 2]
        out: Tensor = super().forward(F.pad(x, pads))
        return out


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
