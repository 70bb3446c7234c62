"""Exact SSIM search over any number of images: a fast kernel in float32, everything near the border in float64.

What is found is what a comparison of every pair in float64 finds. For values in [0, 1] the kernel's SSIM differs from
the exact one by less than `error`. With u = 2⁻²⁴, every rounding counted in the worst way (Higham 2002, ch. 3):

- 2·blur(ab) is a sum of terms that are not negative, each rounded at most 25 times (the product, two weights, two sums
  of 11 that differ from 0; zeros add no error), so it is off by at most 25u · 2·blur(ab) ≤ 50u;
- 2·mean_a·mean_b + C1 is off by at most 5u · 2.01; the two differences that make the numerator 2·cov + C2 add 4.02u at
  most, so the numerator is off by less than 65u;
- the denominator var_a + var_b + C2 is at least C2, and the luminance term lies in (0, 1]: 65u / C2 a position;
- what is left (luminance, denominator, quotient, the sum over P positions, |value| ≤ 1) is relative: (P + 20) u.

Hence each of the k nearest has a kernel's value of at least the k-th best of these minus 2·`error`, and each pair
above a threshold one of at least the threshold minus `error`: only such pairs are looked at again, by the one
definition.
Needs torch's default precision of float32 products ("highest").
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from vestige.image.ssim import C1, C2, WINDOW, band, ssim
from vestige.index import Hits, above, first_of, joined, leave_out, ordered
from vestige.types import InputError

UNIT = 2.0**-24
"""Unit roundoff of float32."""
TILE = 150_000
"""Pixels of the pool that are compared with one query at a time: what fits into a core's cache."""
BLOCK, QUERIES = 8192, 256
"""Images of the pool whose values are kept at a time, and queries at a time."""
RECHECK = 512
"""Pairs compared in float64 at a time."""


def nearest(
    queries: Tensor, pool: Tensor, k: int, *, skip: Tensor | None = None, block: int = BLOCK, workers: int = 1
) -> Hits:
    """The k images of the pool with the largest SSIM for each query, exactly.

    queries: (Q, C, H, W), pool: (M, C, H, W), both uint8 or float32 in [0, 1]. skip: (Q,) int64, a position in the
    pool that is left out for that query (itself), −1 for none. Fewer than k are found only where the pool has no more.
    block and workers (threads, each with a core of its own if torch is set to one) change memory and time, never the
    result. Raises InputError for other shapes.
    """
    _check(queries, pool)
    parts = []
    for start in range(0, len(queries), QUERIES):
        rows = slice(start, start + QUERIES)
        own = None if skip is None else skip[rows]
        best = torch.full((len(queries[rows]), k), -torch.inf)
        near: list[Hits] = []
        for first, values in approximate(queries[rows], pool, own, block, workers):
            best = torch.cat([best, values.topk(min(k, values.shape[1]), 1).values], 1).topk(k, 1).values
            near.append(above(values, best[:, -1:] - 2 * error(pool), first))
        lot = joined(near)
        keep = lot.value >= best[lot.query, -1] - 2 * error(pool)
        exact = _exact(queries[rows], pool, Hits(*(part[keep] for part in lot)))
        found = first_of(exact, k)
        parts.append(found._replace(query=found.query + start))
    return joined(parts)


def within(
    queries: Tensor, pool: Tensor, tau: float, *, skip: Tensor | None = None, block: int = BLOCK, workers: int = 1
) -> Hits:
    """Every image of the pool whose SSIM with a query is at least tau, exactly. Arguments as for `nearest`."""
    _check(queries, pool)
    parts = []
    for start in range(0, len(queries), QUERIES):
        rows = slice(start, start + QUERIES)
        own = None if skip is None else skip[rows]
        floor = torch.tensor(tau - error(pool))
        found = approximate(queries[rows], pool, own, block, workers)
        near = [above(values, floor, first) for first, values in found]
        exact = _exact(queries[rows], pool, joined(near))
        keep = exact.value >= tau
        parts.append(Hits(exact.query[keep] + start, exact.position[keep], exact.value[keep]))
    return joined(parts)


def rerank(queries: Tensor, pool: Tensor, candidates: Hits, k: int) -> Hits:
    """The k nearest of each query among its candidates (a query's pairs side by side), by exact SSIM.

    Here the candidates' variances are computed in float32 too: a relative error of the denominator of at most 30u / C2
    more, so twice `error` bounds the kernel's.
    """
    _check(queries, pool)
    keep = torch.zeros(len(candidates.query), dtype=torch.bool)
    tile = max(1, TILE // pool[0].numel())
    ends = torch.searchsorted(candidates.query, torch.arange(len(queries) + 1)).tolist()
    for row, (first, last) in enumerate(pairwise(ends)):
        image, lots = _prepare(queries[row : row + 1]), [torch.empty(0)]
        for start in range(first, last, tile):
            ready = _prepare(pool[candidates.position[start : min(start + tile, last)]], torch.float32)
            lots.append(_kernel(image, ready, _Room.like(ready)))
        values = torch.cat(lots)
        if last > first:
            keep[first:last] = values >= values.topk(min(k, last - first)).values[-1] - 4 * error(pool)
    return first_of(_exact(queries, pool, Hits(*(part[keep] for part in candidates))), k)


def pairs(images: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The SSIM of images[first] with images[second], both (F,) positions: (F,) float32, exactly."""
    parts = [torch.empty(0)]
    for start in range(0, len(first), RECHECK):
        rows = slice(start, start + RECHECK)
        parts.append(ssim(unit(images[first[rows]]), unit(images[second[rows]])))
    return torch.cat(parts)


def error(pool: Tensor) -> float:
    """A bound on |kernel's value − SSIM| for images of this shape (see above)."""
    channels, height, width = pool.shape[1:]
    positions = channels * (height - WINDOW + 1) * (width - WINDOW + 1)
    return 65 * UNIT / C2 + (positions + 20) * UNIT


def approximate(
    queries: Tensor, pool: Tensor, skip: Tensor | None = None, block: int = BLOCK, workers: int = 1
) -> Iterator[tuple[int, Tensor]]:
    """The kernel's values, block by block of the pool: (first position, (Q, images in the block) float32).

    −∞ where a query's `skip` lies.
    """
    lots = [_prepare(image[None]) for image in queries]
    tile = max(1, TILE // pool[0].numel())

    def compare(images: Tensor, values: Tensor) -> None:
        ready = _prepare(images)
        room = _Room.like(ready)
        for query, row in zip(lots, values, strict=True):
            row[:] = _kernel(query, ready, room)

    with ThreadPoolExecutor(workers) as threads:
        for first in range(0, len(pool), block):
            some = pool[first : first + block]
            values = torch.empty(len(queries), len(some))
            list(threads.map(compare, torch.split(some, tile), torch.split(values, tile, 1)))
            leave_out(values, skip, first)
            yield first, values


@dataclass(frozen=True)
class _Prepared:
    """Images and what SSIM needs of each alone, image last: x (C, H, W, N), and three maps (C·(H − 10), W − 10, N)."""

    x: Tensor
    mean: Tensor
    square: Tensor
    var: Tensor


@dataclass(frozen=True)
class _Room:
    """Memory that a tile's comparisons use again and again, and the window along both axes."""

    down: Tensor
    across: Tensor
    product: Tensor
    rows: Tensor
    top: Tensor
    both: Tensor
    bottom: Tensor

    @staticmethod
    def like(ready: _Prepared) -> _Room:
        channels, height, width, count = ready.x.shape
        down, across = _windows(channels, height, width, torch.float32)
        return _Room(
            down,
            across,
            torch.empty(channels, height, width * count),
            torch.empty(channels, down.shape[1], width * count),
            *(torch.empty_like(ready.mean) for _ in range(3)),
        )


def _prepare(images: Tensor, dtype: torch.dtype = torch.float64) -> _Prepared:
    """dtype: in which precision the maps are computed; they are kept in float32."""
    x = unit(images).permute(1, 2, 3, 0).contiguous()
    channels, height, width, count = x.shape
    down, across = _windows(channels, height, width, dtype)

    def blurred(maps: Tensor) -> Tensor:
        return torch.bmm(across, torch.bmm(down, maps.view(channels, height, -1)).view(-1, width, count))

    fine = x.to(dtype)
    mean = blurred(fine)
    var = blurred(fine * fine) - mean**2
    return _Prepared(x, mean.float(), (mean**2).float(), var.float())


def _windows(channels: int, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The window along both axes, for batched products: (C, H − 10, H) and (C·(H − 10), W − 10, W)."""
    down, across = band(height, dtype), band(width, dtype)
    return down.expand(channels, -1, -1), across.expand(channels * len(down), -1, -1)


def _kernel(a: _Prepared, b: _Prepared, room: _Room) -> Tensor:
    """SSIM of one image with each of a tile, in float32."""
    width, count = b.x.shape[2:]
    torch.mul(b.x, 2 * a.x, out=room.product.view(b.x.shape))
    torch.bmm(room.down, room.product, out=room.rows)
    torch.bmm(room.across, room.rows.view(-1, width, count), out=room.top)
    torch.mul(b.mean, 2 * a.mean, out=room.both).add_(C1)
    room.top.sub_(room.both).add_(C1 + C2).mul_(room.both)
    torch.add(b.square, a.square + C1, out=room.both)
    torch.add(b.var, a.var + C2, out=room.bottom).mul_(room.both)
    return room.top.div_(room.bottom).mean((0, 1))


def _exact(queries: Tensor, pool: Tensor, lot: Hits) -> Hits:
    """The same pairs with their SSIM, ordered."""
    parts = [torch.empty(0)]
    for start in range(0, len(lot.query), RECHECK):
        rows = slice(start, start + RECHECK)
        parts.append(ssim(unit(queries[lot.query[rows]]), unit(pool[lot.position[rows]])))
    return ordered(Hits(lot.query, lot.position, torch.cat(parts)))


def unit(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _check(queries: Tensor, pool: Tensor) -> None:
    if queries.ndim != 4 or queries.shape[1:] != pool.shape[1:]:
        raise InputError(f"ssim compares images of one shape; got {tuple(queries.shape)} and {tuple(pool.shape)}")
    if min(pool.shape[2:]) < WINDOW:
        raise InputError(f"ssim needs images of at least {WINDOW}×{WINDOW}, got {pool.shape[2]}×{pool.shape[3]}")
    if len(pool) == 0 or len(queries) == 0:
        raise InputError("there is nothing to compare: no queries, or no images to search")
