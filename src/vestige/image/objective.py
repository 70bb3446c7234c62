"""The reconstruction objective: how well candidates explain a model's weights.

A homogeneous network trained long enough satisfies θ = Σ λ_i ∇_θ m_i(θ; x_i) with λ_i ≥ 0 (stationarity;
Haim et al. 2022, Buzaglo et al. 2023). Candidates x, λ are judged by ‖θ − Σ λ_i ∇m_i‖². The objective is
written twice: in closed form, where no per-sample gradient is formed, and plainly with autograd, the slow
reference that a test compares it with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vestige.image.model import MLP


@dataclass(frozen=True)
class Weights:
    """The weights of a homogeneous network: one matrix (out, in) per layer, and the first layer's bias."""

    layers: tuple[Tensor, ...]
    bias: Tensor

    @classmethod
    def of(cls, model: MLP, dtype: torch.dtype) -> Weights:
        linear = model.linear()
        return cls(tuple(layer.weight.detach().to(dtype) for layer in linear), linear[0].bias.detach().to(dtype))

    def minus(self, other: Weights, factor: float) -> Weights:
        """These weights less `factor` times the others."""
        layers = tuple(a - factor * b for a, b in zip(self.layers, other.layers, strict=True))
        return Weights(layers, self.bias - factor * other.bias)

    def squared_norm(self) -> float:
        return float(sum((matrix**2).sum() for matrix in self.layers) + (self.bias**2).sum())


@dataclass(frozen=True)
class Value:
    """‖θ − Σ λ_i ∇m_i‖² and its gradients. loss: scalar. x: (m, D). multipliers: (m,)."""

    loss: Tensor
    x: Tensor
    multipliers: Tensor


def rivals(f: Tensor, labels: Tensor, direction: str) -> Tensor:
    """The weights q of the wrong classes in the margin f_y − Σ_j q_j f_j; (m, classes), 0 at the label.

    "soft": softmax over the wrong classes, the direction that gradient descent on cross-entropy follows.
    "runner_up": all on the largest wrong logit, as published.
    """
    wrong = f.masked_fill(F.one_hot(labels, f.shape[1]).bool(), -torch.inf)
    if direction == "soft":
        return wrong.softmax(1)
    return F.one_hot(wrong.argmax(1), f.shape[1]).to(f.dtype)


def closed_form(
    theta: Weights, x: Tensor, multipliers: Tensor, labels: Tensor, alpha: float, direction: str = "soft"
) -> Value:
    """The objective and its gradient from batched products alone, as `autograd` gives them.

    x: (m, D) mean-removed candidates. multipliers: λ (m,). labels: (m,). ReLU is exact forward; its
    derivative is sigmoid(alpha z). Where m is small beside a layer's widths, that layer's residual
    R = δᵀa − W is never formed either: ‖R‖², aRᵀ and δR follow from the m×m products aaᵀ and δδᵀ.
    """
    W = theta.layers
    last = len(W) - 1

    # Forward: inputs a[l] of layer l, pre-activations z, the smooth derivative s.
    a, z, s = [x], [], []
    for layer in range(last):
        out = a[-1] @ W[layer].T
        if layer == 0:
            out += theta.bias
        z.append(out)
        s.append(torch.sigmoid(alpha * out))
        a.append(out.relu())
    f = a[-1] @ W[last].T
    sign = F.one_hot(labels, f.shape[1]).to(f.dtype)
    q = rivals(f, labels, direction)
    toward = sign - q

    # Backward: δ[l] = ∂(Σ λ m)/∂z[l], u its value before the ReLU's derivative.
    u, delta = [torch.empty(0)] * last, [torch.empty(0)] * (last + 1)
    delta[last] = multipliers[:, None] * toward
    for layer in range(last - 1, -1, -1):
        u[layer] = delta[layer + 1] @ W[layer + 1]
        delta[layer] = u[layer] * s[layer]

    # Residuals R = δᵀa − W: the loss, A = a Rᵀ and B = δ R. In layer 0, B lacks −δW where Gram is used.
    loss = x.new_zeros(())
    A, B = [], []
    shallow = _gram_is_cheaper(len(x), W[0])
    for layer in range(last + 1):
        one = 1.0 if layer == 0 else 0.0  # the bias acts like one more input that is always 1
        if _gram_is_cheaper(len(x), W[layer]):
            inner = a[layer] @ a[layer].T + one
            outer = delta[layer] @ delta[layer].T
            reached = z[layer] if layer < last else f
            loss = loss + (W[layer] ** 2).sum() - 2 * (delta[layer] * reached).sum() + (inner * outer).sum()
            loss = loss + one * (theta.bias**2).sum()
            A.append(inner @ delta[layer] - reached)
            B.append(outer @ a[layer] - (u[layer - 1] if layer else 0.0))
        else:
            R = delta[layer].T @ a[layer] - W[layer]
            loss = loss + (R**2).sum()
            A.append(a[layer] @ R.T)
            if layer == 0:
                r = delta[0].sum(0) - theta.bias
                loss = loss + (r**2).sum()
                A[0] += r
            B.append(delta[layer] @ R)

    # Gradient (half of it): first up through the backward pass, then down through the forward pass.
    g_z = []
    g_delta = A[0]
    for layer in range(last):
        g_z.append(alpha * s[layer] * (1 - s[layer]) * u[layer] * g_delta)
        g_delta = (g_delta * s[layer]) @ W[layer + 1].T + A[layer + 1]
    g_multipliers = (g_delta * toward).sum(1)
    if direction == "soft":
        g_q = -multipliers[:, None] * g_delta
        g_f = q * (g_q - (q * g_q).sum(1, keepdim=True))
    else:
        g_f = torch.zeros_like(f)
    g_a = B[last] + g_f @ W[last]
    for layer in range(last - 1, 0, -1):
        g_z[layer] += g_a * s[layer]
        g_a = B[layer] + g_z[layer] @ W[layer]
    g_z[0] += g_a * s[0]
    g_x = B[0] + (g_z[0] - delta[0] if shallow else g_z[0]) @ W[0]
    return Value(loss, 2 * g_x, 2 * g_multipliers)


def autograd(
    theta: Weights, x: Tensor, multipliers: Tensor, labels: Tensor, alpha: float, direction: str = "soft"
) -> Value:
    """The same objective, written as it is defined and differentiated twice by autograd: the reference."""
    x, multipliers = x.detach().requires_grad_(), multipliers.detach().requires_grad_()
    matrices = [matrix.detach().requires_grad_() for matrix in theta.layers]
    bias = theta.bias.detach().requires_grad_()
    a = F.linear(x, matrices[0], bias)
    for matrix in matrices[1:]:
        a = F.linear(_SmoothReLU.apply(a, alpha), matrix)  # type: ignore[no-untyped-call]
    toward = F.one_hot(labels, a.shape[1]).to(a.dtype) - rivals(a, labels, direction)
    explained = torch.autograd.grad(a, [*matrices, bias], multipliers[:, None] * toward, create_graph=True)
    loss = sum(
        (((part - weight.detach()) ** 2).sum() for part, weight in zip(explained, [*matrices, bias], strict=True)),
        start=x.new_zeros(()),
    )
    g_x, g_multipliers = torch.autograd.grad(loss, [x, multipliers])
    return Value(loss.detach(), g_x, g_multipliers)


OBJECTIVES = {"closed": closed_form, "autograd": autograd}


def _gram_is_cheaper(candidates: int, matrix: Tensor) -> bool:
    """2 m² (in + out) multiplications against 3 m·in·out."""
    rows, columns = matrix.shape
    return 2 * candidates * (rows + columns) < 3 * rows * columns


class _SmoothReLU(torch.autograd.Function):
    """ReLU forward, sigmoid(alpha z) as its derivative, itself differentiable."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, alpha: float) -> Tensor:
        ctx.save_for_backward(z)
        ctx.alpha = alpha
        return z.relu()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (z,) = ctx.saved_tensors
        return gradient * torch.sigmoid(ctx.alpha * z), None
