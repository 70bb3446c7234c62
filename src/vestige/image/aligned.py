"""Agreement of two images once one is laid over the other: for copies that were moved, cropped, blurred or masked.

One image is moved by up to 2.5 pixels in steps of a half, and scaled by up to 1.25 or blurred, in the way that gives
the largest correlation with the other; a gain is fitted (another exposure); and what still differs is counted by a
bounded loss, as in robust registration (Black and Rangarajan 1996): a masked part costs no more than its area.

    1 − mean_p ρ(b_p − moved a_p) / ½ (S_a + S_b),    S_x = mean_{p, q} ρ(x_p − x_q),    ρ(r) = min(r² / 0.2², 1)

S is how far an image's own pixels differ. With ρ(r) = r² and equal means this is the concordance correlation
coefficient (Lin 1989), which King and Chinchilli (2001) generalise to other losses. The larger value of both directions
counts, so that the order of the two does not matter.
"""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from vestige.image.search import unit
from vestige.types import InputError

SCALES = tuple(1.25 ** (step / 4) for step in range(-4, 5))
SHIFTS = tuple(step / 2 for step in range(-5, 6))
BLUR = 1.0
"""Standard deviation of the blur, in pixels; what is blurred is not scaled."""
COARSE = ([0, 2, 4, 6, 8, 9], [1, 3, 5, 7, 9])
"""Every second scale and the blur; whole pixels: by these ways an image is compared with all others first."""
OFF = 0.2
"""A pixel that differs by this much or more is another one: by how much no longer counts."""
GAIN = 1.5
"""Largest gain; the smallest is one over it."""
LEAST, LARGEST = 8, 32
"""Fewest pixels a side; larger images than the second are averaged down to at most so many."""
PIXELS, PAIRS = 1 << 18, 8
"""Pixels that are compared with one image at a time, and pairs at a time: what fits into a core's cache."""


def prepare(images: Tensor) -> Tensor:
    """Images (N, C, H, W), uint8 or float32 in [0, 1], as they are compared: uint8, at most 32 pixels a side.

    Raises InputError where a side has less than 8 pixels, or would have once the longer one has 32.
    """
    by = math.ceil(max(images.shape[2:]) / LARGEST)
    if min(images.shape[2:]) // by < LEAST:
        height, width = images.shape[2:]
        raise InputError(f"aligned needs images of at least {LEAST}×{LEAST}, and no side 4 times the other; "
                         f"got {height}×{width}")  # fmt: skip
    if by == 1 and images.dtype == torch.uint8:
        return images
    lots = torch.split(images, max(1, PIXELS // images[0].numel()))
    return torch.cat([(F.avg_pool2d(unit(some), by) * 255).round().byte() for some in lots])


def spreads(images: Tensor) -> Tensor:
    """How far the pixels of each image differ from one another, S above, over all channels: (N,) float32."""
    levels = torch.arange(256) / 255
    loss = _loss(levels[:, None] - levels)
    lots = []
    for some in torch.split(images.flatten(1), 1024):
        counts = torch.zeros(len(some), 256).scatter_add_(1, some.long(), torch.ones(some.shape))
        shares = counts / some.shape[1]
        lots.append(((shares @ loss) * shares).sum(1))
    return torch.cat(lots)


def aligned(a: Tensor, b: Tensor) -> Tensor:
    """The agreement of image pairs, both prepared, (N, C, H, W): (N,) float32 in [−1, 1], 1 for equal images."""
    lots = zip(torch.split(a, PAIRS), torch.split(b, PAIRS), strict=True)
    return torch.cat([torch.maximum(_onto(one, other), _onto(other, one)) for one, other in lots])


def coarse(a: Tensor, pool: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Agreement and correlation of one image, moved in coarse steps, with each of a pool: (M,) each.

    a: (1, C, H, W), pool: (M, C, H, W), both prepared. spread: (M,), of the pool.
    """
    down, across = (_ways(size)[COARSE[0]][:, COARSE[1]] for size in a.shape[2:])
    rows = torch.einsum("fdij,cjk->fdcik", down, unit(a)[0])
    moved = torch.einsum("fdcik,felk->fdecil", rows, across).flatten(0, 2).flatten(1)
    plain = moved - moved.mean(1, keepdim=True)
    plain = plain / plain.norm(dim=1, keepdim=True).clamp(min=1e-6)
    own, values, correlations, size = spreads(a), [], [], max(1, PIXELS // a.numel())
    for some, its in zip(torch.split(pool, size), torch.split(spread, size), strict=True):
        b = unit(some).flatten(1)
        best = (b @ plain.T).max(1)
        values.append(_agreement(moved[best.indices], b, (own + its) / 2))
        correlations.append(best.values / (b - b.mean(1, keepdim=True)).norm(dim=1).clamp(min=1e-6))
    return torch.cat(values), torch.cat(correlations)


def _onto(a: Tensor, b: Tensor) -> Tensor:
    """The agreement of each pair, the first moved onto the second."""
    x, y = unit(a), unit(b)
    down, across = (_ways(size) for size in x.shape[2:])
    # ⟨R a Sᵗ, b⟩ = ⟨R a, b S⟩ and |R a Sᵗ|² = ⟨(R a)ᵗ R a, Sᵗ S⟩: no moved image is made but the best.
    rows, columns = _each(down, x), _each(across.mT, y.mT)
    products = (rows.mT.flatten(4) @ columns.flatten(4).mT).sum(1)
    squares = (rows.mT @ rows).sum(1).flatten(3) @ (across.mT @ across).flatten(2).mT
    sums = _each(down.sum(2), x.sum(1)) @ across.sum(2).mT
    norms = (squares - sums**2 / x[0].numel()).clamp(min=1e-6).sqrt()
    best = ((products - sums * y.mean((1, 2, 3))[:, None, None, None]) / norms).flatten(1).argmax(1)
    family, step = best // len(SHIFTS) ** 2, best % len(SHIFTS) ** 2
    left, right = down[family, step // len(SHIFTS)], across[family, step % len(SHIFTS)]
    moved = (left[:, None] @ x @ right[:, None].mT).flatten(1)
    return _agreement(moved, y.flatten(1), (spreads(a) + spreads(b)) / 2)


def _each(ways: Tensor, images: Tensor) -> Tensor:
    """Products of all ways (families, shifts, …, L) and images (N, …, L, W): (N, …, families, shifts, …, W)."""
    flat = ways.reshape(1, -1, ways.shape[-1]).expand(images.shape[:-2].numel(), -1, -1)
    return torch.bmm(flat, images.flatten(0, -3)).view(*images.shape[:-2], *ways.shape[:-1], images.shape[-1])


def _agreement(moved: Tensor, b: Tensor, spread: Tensor) -> Tensor:
    """1 − mean loss / spread. The gain is of least squares, and again without the pixels that are then off."""
    kept = moved
    for _ in range(2):
        gain = ((kept * b).sum(1) / (kept * moved).sum(1).clamp(min=1e-6)).clamp(1 / GAIN, GAIN)
        apart = (gain[:, None] * moved).clamp(max=1) - b
        kept = moved * (apart.abs() < OFF)
    return (1 - _loss(apart).mean(1) / spread.clamp(min=1e-6)).clamp(min=-1)


def _loss(apart: Tensor) -> Tensor:
    return (apart / OFF).square().clamp(max=1)


@cache
def _ways(size: int) -> Tensor:
    """What moves an image along one side: (families, shifts, size, size); the families are the scales, then the blur.

    Row i weights the pixels that come to lie on i, by linear interpolation; beyond the edge, the edge is repeated.
    """
    middle = (size - 1) / 2
    at = torch.tensor(SCALES)[:, None, None] * (torch.arange(size) - middle) + torch.tensor(SHIFTS)[:, None] + middle
    scaled = (1 - (at.clamp(0, size - 1)[..., None] - torch.arange(size)).abs()).clamp(min=0)
    reach = torch.arange(-4, 5)
    weights = torch.exp(-0.5 * (reach / BLUR) ** 2)
    spots = (torch.arange(size)[:, None] + reach).clamp(0, size - 1)
    blur = torch.zeros(size, size).scatter_add_(1, spots, (weights / weights.sum()).expand(size, -1))
    return torch.cat([scaled, scaled[SCALES.index(1.0), None] @ blur])
