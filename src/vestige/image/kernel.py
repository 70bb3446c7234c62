"""The kernel of the margins' gradients, K_ij = ⟨∇_θ m_i, ∇_θ m_j⟩, without forming a gradient.

The gradient of an MLP's margin is, in each layer, one outer product: ∇m_i = δ_i a_iᵀ, with a_i what enters the layer
and δ_i what comes back to it. So K_ij = Σ_l (δ_l,i · δ_l,j)(a_l−1,i · a_l−1,j), and the first layer's bias acts like
one more input that is always 1. The margin is f_y − Σ_j q_j f_j with q, the softmax over the wrong classes, held
constant, so that Euler's identity ⟨θ, ∇m⟩ = layers · m holds (Haim et al. 2022; `vestige.image.objective`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vestige.image.model import MLP
from vestige.image.objective import Weights, rivals

BLOCK = 1024
"""Rows of the kernel that are made at once: bounds what stands beside the kernel itself."""


@dataclass(frozen=True)
class Factors:
    """What the gradients of N margins are made of, in float64.

    inputs: what enters each layer, (N, width). back: what comes back to it, ∂m/∂z, (N, width of the layer).
    reached: what each layer gives before its ReLU, as `back`. margin: (N,).
    """

    inputs: tuple[Tensor, ...]
    back: tuple[Tensor, ...]
    reached: tuple[Tensor, ...]
    margin: Tensor

    def __len__(self) -> int:
        return len(self.margin)

    @property
    def degree(self) -> int:
        """The degree of homogeneity: the number of layers."""
        return len(self.inputs)

    def norms(self) -> Tensor:
        """‖∇m_i‖² of each sample, (N,): the kernel's diagonal."""
        return paired(self, self)


def factors(model: MLP, x: Tensor, y: Tensor) -> Factors:
    """The factors of the margins' gradients at images x (N, C, H, W) in [0, 1] under labels y (N,)."""
    theta = Weights.of(model, torch.float64)
    inputs = [(x.double() - model.mean.double()).flatten(1)]
    reached = []
    for layer, weight in enumerate(theta.layers):
        z = inputs[-1] @ weight.T
        reached.append(z + theta.bias if layer == 0 else z)
        inputs.append(reached[-1].relu())
    f = reached[-1]
    toward = F.one_hot(y, f.shape[1]).double() - rivals(f, y, "soft")
    back = [toward]
    for layer in range(len(theta.layers) - 1, 0, -1):
        back.insert(0, (back[0] @ theta.layers[layer]) * (reached[layer - 1] > 0))
    return Factors(tuple(inputs[:-1]), tuple(back), tuple(reached), (toward * f).sum(1))


def kernel(left: Factors, right: Factors, *, block: int = BLOCK) -> Tensor:
    """⟨∇m_i, ∇m_j⟩ for all i of `left` and j of `right`, (N, M) float64, some rows at a time."""
    found = torch.zeros(len(left), len(right), dtype=torch.float64)
    for start in range(0, len(left), block):
        rows = slice(start, start + block)
        for layer in range(left.degree):
            inner = left.inputs[layer][rows] @ right.inputs[layer].T
            if layer == 0:
                inner += 1
            found[rows] += inner.mul_(left.back[layer][rows] @ right.back[layer].T)
    return found


def paired(left: Factors, right: Factors) -> Tensor:
    """⟨∇m_i, ∇m_i'⟩ of the i-th of `left` with the i-th of `right`, (N,) float64."""
    return torch.stack(
        [
            (left.back[layer] * right.back[layer]).sum(1)
            * ((left.inputs[layer] * right.inputs[layer]).sum(1) + (layer == 0))
            for layer in range(left.degree)
        ]
    ).sum(0)


def cosines(left: Factors, right: Factors, *, block: int = BLOCK) -> Tensor:
    """`kernel` over the lengths of both gradients: their cosines in [−1, 1], (N, M); 0 where a gradient is 0."""
    return kernel(left, right, block=block).mul_(_scale(left)[:, None]).mul_(_scale(right)).clamp_(-1, 1)


def paired_cosines(left: Factors, right: Factors) -> Tensor:
    """`cosines` of the i-th of `left` with the i-th of `right`, (N,)."""
    return (paired(left, right) * _scale(left) * _scale(right)).clamp_(-1, 1)


def gram(samples: Factors, *, block: int = BLOCK) -> Tensor:
    """`kernel(samples, samples)`, half of it computed."""
    found = torch.zeros(len(samples), len(samples), dtype=torch.float64)
    for start in range(0, len(samples), block):
        rows = slice(start, start + block)
        found[rows, start:] = kernel(_at(samples, rows), _at(samples, slice(start, None)), block=block)
        found[start:, rows] = found[rows, start:].T.clone()
    return found


def project(samples: Factors, theta: Weights) -> Tensor:
    """⟨θ, ∇m_i⟩ for each sample, (N,), of any weights of the same shapes.

    Of the weights that the factors were made with it is degree · margin (Euler's identity).
    """
    layers = [
        ((a @ weight.double().T) * delta).sum(1)
        for a, delta, weight in zip(samples.inputs, samples.back, theta.layers, strict=True)
    ]
    return torch.stack(layers).sum(0) + samples.back[0] @ theta.bias.double()


def _scale(samples: Factors) -> Tensor:
    """1 / ‖∇m_i‖, and 0 for a gradient of 0."""
    norms = samples.norms()
    return torch.where(norms > 0, norms.rsqrt(), 0.0)


def _at(samples: Factors, rows: slice) -> Factors:
    return Factors(
        tuple(a[rows] for a in samples.inputs),
        tuple(delta[rows] for delta in samples.back),
        tuple(z[rows] for z in samples.reached),
        samples.margin[rows],
    )
