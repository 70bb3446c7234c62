"""Structural similarity: the one definition used everywhere."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from vestige.types import InputError

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of image pairs (Wang et al. 2004).

    a, b: (N, C, H, W) in [0, 1], H and W at least 11. Returns (N,), at most 1; 1 for equal images.
    Gaussian window 11×11 with σ 1.5, valid positions only, population covariance, data range 1,
    averaged over positions and channels: equal to scikit-image with those settings. Computed in float64,
    because a variance as a difference of means loses all its digits on flat images in float32.
    Raises InputError for other shapes.
    """
    if a.shape != b.shape or a.ndim != 4:
        raise InputError(f"ssim compares (N, C, H, W) with the same; got {tuple(a.shape)} and {tuple(b.shape)}")
    if min(a.shape[2:]) < WINDOW:
        raise InputError(f"ssim needs images of at least {WINDOW}×{WINDOW}, got {a.shape[2]}×{a.shape[3]}")
    dtype, a, b = a.dtype, a.double(), b.double()
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    score = (2 * mean_a * mean_b + C1) * (2 * cov + C2) / ((mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2))
    return score.flatten(1).mean(1).to(dtype)


def ssim_matrix(a: Tensor, b: Tensor, block: int = 64) -> Tensor:
    """SSIM of every image of `a` (N, C, H, W) with every one of `b` (M, C, H, W); returns (N, M).

    Each image is blurred once; a pair then costs only the blur of its product.
    """
    if a.shape[1:] != b.shape[1:] or a.ndim != 4:
        raise InputError(f"ssim compares images of one shape; got {tuple(a.shape[1:])} and {tuple(b.shape[1:])}")
    if min(a.shape[2:]) < WINDOW:
        raise InputError(f"ssim needs images of at least {WINDOW}×{WINDOW}, got {a.shape[2]}×{a.shape[3]}")
    dtype, a, b = a.dtype, a.double(), b.double()
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    rows = []
    for image, mu, var in zip(a, mean_a, var_a, strict=True):
        parts = []
        for start in range(0, len(b), block):
            mu_b, var_b_ = mean_b[start : start + block], var_b[start : start + block]
            cov = blur(image * b[start : start + block]) - mu * mu_b
            top = (2 * mu * mu_b + C1) * (2 * cov + C2)
            parts.append((top / ((mu**2 + mu_b**2 + C1) * (var + var_b_ + C2))).flatten(1).mean(1))
        rows.append(torch.cat(parts))
    return torch.stack(rows).to(dtype)


def blur(images: Tensor) -> Tensor:
    """Gaussian mean at every valid position: (N, C, H, W) → (N, C, H − 10, W − 10), as two small products."""
    rows, columns = (band(size, images.dtype).to(images.device) for size in images.shape[2:])
    return rows @ images @ columns.T


@cache
def band(size: int, dtype: torch.dtype) -> Tensor:
    """The window along one axis: (size − 10, size), each row the 11 weights at one position."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    rows = torch.zeros(size - WINDOW + 1, size, dtype=torch.float64)
    for row in range(len(rows)):
        rows[row, row : row + WINDOW] = weights
    return rows.to(dtype)
