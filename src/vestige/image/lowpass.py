"""Candidates for SSIM search: images as vectors whose inner product tells roughly how similar they are.

At 6×6 windows, each centred window is described by its first Gaussian-weighted polynomials (of
degree 8 at most: orthonormal under SSIM's window, so a sum of products is a covariance) and divided by
sqrt(var + C2 / 2). With a further entry sqrt(C2 / 2) over the same, the inner product of two windows is
(cov + C2 / 2) / sqrt((var_a + C2 / 2)(var_b + C2 / 2)): the contrast-structure term of SSIM with the geometric mean
of the variances in place of the arithmetic one. Luminance and colour are left to the re-ranking. Of all windows'
entries the first 256 principal components are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from vestige import index
from vestige.image import search
from vestige.image.ssim import C2, SIGMA, WINDOW
from vestige.index import Hits

DEGREE, PLACES, WIDTH = 8, 6, 256
LARGEST = 32
"""Larger images are averaged down to at most this many pixels a side."""
CANDIDATES = 600
"""How many are re-ranked per query."""
TRAIN, BATCH = 4096, 1024
"""Images whose principal components are taken; images described at a time."""


@dataclass(frozen=True)
class Lowpass:
    """An index of a pool of images. basis: (entries, 256). vectors: (M, 256) float32."""

    basis: Tensor
    vectors: Tensor

    def candidates(self, queries: Tensor, count: int = CANDIDATES, *, skip: Tensor | None = None) -> Hits:
        """The `count` likeliest neighbours of each query, with the inner products as values."""
        return index.nearest(_all(queries, self.basis), self.vectors, count, skip=skip)

    def nearest(
        self, queries: Tensor, pool: Tensor, k: int, *, skip: Tensor | None = None, count: int = CANDIDATES
    ) -> Hits:
        """The k nearest among the candidates, by exact SSIM: nearly always the k nearest of the whole pool."""
        return search.rerank(queries, pool, self.candidates(queries, count, skip=skip), k)


def build(pool: Tensor) -> Lowpass:
    """The index of a pool (M, C, H, W), uint8 or float32 in [0, 1].

    Principal components are those of 4,096 images, evenly spread over the pool.
    """
    some = pool[torch.linspace(0, len(pool) - 1, min(TRAIN, len(pool))).long()]
    sample = torch.cat([_describe(some[start : start + BATCH]) for start in range(0, len(some), BATCH)])
    # The smaller of the two products of the sample with itself has the same components.
    if len(sample) < sample.shape[1]:
        sizes, sides = torch.linalg.eigh(sample @ sample.T)
        basis = sample.T @ (sides / sizes.clamp(min=1e-6).sqrt())[:, -WIDTH:]
    else:
        basis = torch.linalg.eigh(sample.T @ sample).eigenvectors[:, -WIDTH:]
    return Lowpass(basis, _all(pool, basis))


def _all(images: Tensor, basis: Tensor) -> Tensor:
    return torch.cat([_describe(images[at : at + BATCH]) @ basis for at in range(0, len(images), BATCH)])


def _describe(images: Tensor) -> Tensor:
    """(N, C, H, W) → (N, entries) float32."""
    x = search.unit(images).mean(1)
    pooled = max(-(-max(x.shape[1:]) // LARGEST), 1)
    if pooled > 1 and min(x.shape[1:]) // pooled >= WINDOW:
        x = F.avg_pool2d(x[:, None], pooled)[:, 0]
    down, across = _polynomials(x.shape[1]), _polynomials(x.shape[2])
    half = [x @ band.T for band in across]
    terms = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1) if i + j <= DEGREE]
    made = torch.stack([down[i] @ half[j] for i, j in terms], 1)
    mean = made[:, 0]
    var = (down[0] @ ((x * x) @ across[0].T) - mean**2).clamp(min=0)
    made[:, 0] = (C2 / 2) ** 0.5
    return (made / (var + C2 / 2).sqrt()[:, None]).flatten(1)


@cache
def _polynomials(size: int) -> Tensor:
    """The weighted polynomials at up to 6 places: (degree + 1, places, size); the first one is the window."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    root = torch.exp(-(offsets**2) / (4 * SIGMA**2))
    root /= root.norm()
    powers = torch.linalg.vander(offsets / (WINDOW // 2), N=DEGREE + 1) * root[:, None]
    basis, triangle = torch.linalg.qr(powers)
    filters = (basis * triangle.diag().sign() * root[:, None]).T
    room = size - WINDOW + 1
    places = sorted({(2 * step + 1) * room // (2 * PLACES) for step in range(PLACES)})
    bands = torch.zeros(DEGREE + 1, len(places), size, dtype=torch.float64)
    for row, place in enumerate(places):
        bands[:, row, place : place + WINDOW] = filters
    return bands.float()
