"""The row space of the first layer: what it says about an image, and how to take images out of it.

Gradient descent only ever adds multiples of training images to the first layer's weights. Beside a small
start, [W₁, b₁] = Δᵀ[X, 1]: its rows are mixtures of the training images, mean removed. An image that was
trained on lies in their span, one that was not does not; and where there are fewer training images than
pixels that vary, images with exact black or white are the sparse points of the span and can be taken out
of it one by one, to the pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vestige.image.model import MLP

RIDGE = 3e-9
"""What a squared singular value, relative to the largest, must exceed to count: below it lies the start's noise."""

THICKEST = 0.5
"""The span may take this share of the pixels that vary; beyond it, black pixels no longer single an image out."""

FLAT = 0.005
"""A pixel this near to 0 or 1 counts as exactly black or white."""

SURPLUS = 0.45
"""Exactly black or white pixels beyond those that any point of the span can reach, as a share of what is left.

Chosen on seeds 100 and 101: false candidates of 100 and 200 images mostly stay below it (docs/log.md).
"""

SURPLUS_BETWEEN = 0.55
"""The same in the space between two models: false candidates reach further there. Chosen on seed 100 (docs/log.md)."""

FINISHING = 12
"""Steps in that space, which begin where those in one model's ended: noise lets snapping reach further."""

SHARPNESS = ((0.02, 0.01, -1.0), (0.01, 0.005, -1.0), (0.02, 0.01, -2.0))
"""(first ε, last ε, q) of the penalty Σ (d²/ε² + 1)^(q/2), d the distance to black or white; tried in turn."""

DAMPING = 1e-9
"""Added to the diagonal of the least squares, whose weights may all vanish."""

CLOSE, REFINEMENTS = 1e-5, 3
"""The residual, relative to the right side, that single precision must reach in so many solutions (`solve`)."""

BLOCK = 8
"""Rows of a matrix that are computed at once: few, since what lies above the diagonal is not needed."""


@dataclass(frozen=True)
class RowSpace:
    """Right singular vectors of [W₁, b₁], strongest first. V: (r, D + 1). S: (r,). mean: (D,)."""

    V: Tensor
    S: Tensor
    mean: Tensor

    @classmethod
    def of(cls, model: MLP) -> RowSpace:
        return cls._spanned(_rows(model), model)

    @classmethod
    def between(cls, model: MLP, other: MLP) -> RowSpace:
        """The space of what differs between two models of one start, trained for equally many steps alike.

        The start shrinks by the same factor in both, so its noise is gone from the difference: what is left are
        mixtures of both models' training images, as exact as single precision.
        """
        return cls._spanned(_rows(model) - _rows(other), model)

    @classmethod
    def _spanned(cls, rows: Tensor, model: MLP) -> RowSpace:
        # Once a model, and on the CPU whatever the device, whose own decomposition may be slow (XLA's takes minutes).
        _, S, V = (part.to(rows.device) for part in torch.linalg.svd(rows.cpu(), full_matrices=False))
        return cls(V, S, model.mean.flatten().double())

    def coordinates(self, x: Tensor, rank: int) -> Tensor:
        """The coordinates (m, rank) of images x (m, D), mean removed, in the strongest directions."""
        return self._lifted(x) @ self.V[:rank].T

    def outside(self, x: Tensor) -> Tensor:
        """The share of each image's square, in [0, 1], that the row space does not explain; (m,) float64.

        x: (m, D), mean removed. A direction counts by s²/(s² + ρ): 0 for one of the start's noise.
        """
        z = self._lifted(x)
        c = z @ self.V.T
        rho = RIDGE * self.S[0] ** 2
        left = (z**2).sum(1) - (c**2 * (self.S**2 / (self.S**2 + rho))).sum(1)
        return left.clamp_min(0) / (z**2).sum(1)

    def _lifted(self, x: Tensor) -> Tensor:
        """The bias is the weight of one more pixel that is always 1."""
        return torch.cat([x.double(), x.new_ones(len(x), 1, dtype=torch.float64)], 1)


def _rows(model: MLP) -> Tensor:
    first = model.linear()[0]
    return torch.cat([first.weight, first.bias[:, None]], 1).detach().double()


def is_thin(space: RowSpace, rank: int) -> bool:
    """Whether so few directions span so many varying pixels that snapping can single images out."""
    return rank <= THICKEST * int(_varying(space).sum()) and rank <= len(space.S)


def snap(
    space: RowSpace, x: Tensor, rank: int, sharpness: tuple[float, float, float], *, steps: int = 25, batch: int = 128
) -> tuple[Tensor, Tensor]:
    """Move each candidate to the nearest point of the row space with many exactly black or white pixels.

    Minimises Σ_p (d_p²/ε² + 1)^(q/2) over x = mean + c·V with c·v_bias = 1, by iteratively reweighted least
    squares from the candidate's projection; ε shrinks. d is the distance to 0, or to 1 for pixels above 1.
    x: (m, D), mean removed. Returns the points (m, D), mean removed, and their surplus (m,) of exactly black
    or white pixels (see SURPLUS).
    """
    alive = _varying(space)
    basis, bias, mean = space.V[:rank, :-1], space.V[:rank, -1], space.mean[alive]
    narrow = basis[:, alive].contiguous()
    first, last, q = sharpness
    found = []
    for part in torch.split(space.coordinates(x, rank), batch):
        c = part / (part @ bias)[:, None].clamp_min(0.1)
        for step in range(steps):
            epsilon = first * (last / first) ** (step / max(1, steps - 1))
            images = c @ narrow + mean
            white = (images > 1).double()
            weight = (((images - white) / epsilon) ** 2 + 1) ** (q / 2 - 1)
            weight = torch.where(images < 0, 1.0, weight)
            sides = torch.stack([(weight * (white - mean)) @ narrow.T, bias.expand(len(c), -1)], 1)
            a, b = solve(narrow, weight, sides).unbind(1)
            c = a + ((1 - a @ bias) / (b @ bias))[:, None] * b
        found.append(c)
    c = torch.cat(found)
    images = c @ narrow + mean
    flat = ((images.abs() < FLAT) | ((images - 1).abs() < FLAT)).sum(1)
    # Any point of the span can be made flat in rank − 1 pixels.
    surplus = (flat - (rank - 1)).double() / (int(alive.sum()) - rank)
    return (c @ basis).to(x.dtype), surplus


def solve(rows: Tensor, weight: Tensor, sides: Tensor) -> Tensor:
    """s in s (A diag(w) Aᵀ + 1e-9 I) = sides, for each w, to 1e-5 of sides or better.

    rows: A (r, P). weight: (m, P), ≥ 0. sides: (m, k, r). All float64, as is s (m, k, r). The matrices are built
    and factored in single precision, and the residual of double precision is taken away (iterative refinement, Higham
    2002, chapter 12); matrices too ill-conditioned for that are built and factored in double precision.
    """

    def residual(s: Tensor) -> Tensor:
        return sides - ((s @ rows) * weight[:, None]) @ rows.T - DAMPING * s

    size = sides.norm(dim=2)
    factor, failed = torch.linalg.cholesky_ex(_gram(rows.float(), weight.float()))
    s, left = torch.zeros_like(sides), sides
    for _ in range(REFINEMENTS):
        s = s + torch.cholesky_solve(left.float().mT, factor).mT.double()
        left = residual(s)
    close = (left.norm(dim=2) <= CLOSE * size).all(1) & (failed == 0)
    if not close.all():
        far = ~close
        factor = torch.linalg.cholesky(_gram(rows, weight[far]))
        s[far] = torch.cholesky_solve(sides[far].mT, factor).mT
    return s


def _gram(rows: Tensor, weight: Tensor) -> Tensor:
    """A diag(w) Aᵀ + 1e-9 I for each w, (m, r, r): the lower triangle, and a part of the upper one."""
    gram = weight.new_zeros(len(weight), len(rows), len(rows))
    for at in range(0, len(rows), BLOCK):
        end = min(at + BLOCK, len(rows))
        products = (rows[at:end, None] * rows[:end]).flatten(0, 1)
        gram[:, at:end, :end] = (weight @ products.T).view(len(weight), end - at, end)
    gram.diagonal(dim1=1, dim2=2).add_(DAMPING)
    return gram


def _varying(space: RowSpace) -> Tensor:
    """Pixels that are not the same in every training image, as far as the mean image tells."""
    return (space.mean > 0) & (space.mean < 1)
