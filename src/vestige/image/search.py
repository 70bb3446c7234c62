"""Exact SSIM search over any number of images: a fast kernel in float32, everything near the border in float64.

What is found is what a comparison of every pair in float64 finds. For values a, b in [0, 1] the kernel's value differs
from the exact one by less than `error`. With u = 2⁻²⁴, and every rounding counted in the worst way (Higham 2002, ch. 3):

- 2·blur(ab) is a sum of terms that are not negative, each rounded at most 25 times (the product, two weights, two sums
  of 11 that differ from 0; zeros add no error), so it is off by at most 25u · 2·blur(ab) ≤ 50u;
- 2·mean_a·mean_b + C1 by at most 5u · 2.01; the differences that make the numerator 2·cov + C2 add 2u · 2.01 at most,
  so the numerator is off by less than 65u;
- the denominator var_a + var_b + C2 is at least C2, and the luminance term lies in (0, 1]: 65u / C2 a position;
- what is left (the luminance term, the quotient, the sum over P positions, |value| ≤ 1) is relative: (P + 20) u.

Hence the k best of a query lie, by the kernel's values, less than 2·`error` below the k-th best of these; only such pairs are
looked at again. Under a threshold, pairs within `error` below it are. Needs torch's default precision of float32 products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vestige.image.ssim import C1, C2, WINDOW, band, blur, ssim
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


def nearest(queries: Tensor, pool: Tensor, k: int, *, skip: Tensor | None = None, block: int = BLOCK) -> Hits:
    """The k images of the pool with the largest SSIM for each query, exactly.

    queries: (Q, C, H, W), pool: (M, C, H, W), both uint8 or float32 in [0, 1]. skip: (Q,) int64, a position in the
    pool that is left out for that query (itself), −1 for none. Fewer than k are found only where the pool has no more.
    block changes memory and time, never the result. Raises InputError for other shapes.
    """
    _check(queries, pool)
    parts = []
    for start in range(0, len(queries), QUERIES):
        rows = slice(start, start + QUERIES)
        own = None if skip is None else skip[rows]
        best = torch.full((len(queries[rows]), k), -torch.inf)
        near: list[Hits] = []
        for first, values in approximate(queries[rows], pool, own, block):
            best = torch.cat([best, values.topk(min(k, values.shape[1]), 1).values], 1).topk(k, 1).values
            near.append(above(values, best[:, -1:] - 2 * error(pool), first))
        lot = joined(near)
        keep = lot.value >= best[lot.query, -1] - 2 * error(pool)
        exact = _exact(queries[rows], pool, Hits(*(part[keep] for part in lot)))
        found = first_of(exact, k)
        parts.append(found._replace(query=found.query + start))
    return joined(parts)


def within(queries: Tensor, pool: Tensor, tau: float, *, skip: Tensor | None = None, block: int = BLOCK) -> Hits:
    """Every image of the pool whose SSIM with a query is at least tau, exactly. Arguments as for `nearest`."""
    _check(queries, pool)
    parts = []
    for start in range(0, len(queries), QUERIES):
        rows = slice(start, start + QUERIES)
        own = None if skip is None else skip[rows]
        floor = torch.tensor(tau - error(pool))
        near = [above(values, floor, first) for first, values in approximate(queries[rows], pool, own, block)]
        exact = _exact(queries[rows], pool, joined(near))
        keep = exact.value >= tau
        parts.append(Hits(exact.query[keep] + start, exact.position[keep], exact.value[keep]))
    return joined(parts)


def rerank(queries: Tensor, pool: Tensor, candidates: Tensor, k: int) -> Hits:
    """The k nearest of each query among its candidates. candidates: (Q, R) positions in the pool, −1 for none."""
    _check(queries, pool)
    query, column = (candidates >= 0).nonzero(as_tuple=True)
    position = candidates[query, column]
    return first_of(_exact(queries, pool, Hits(query, position, torch.empty(len(query)))), k)


def error(pool: Tensor) -> float:
    """A bound on |kernel's value − SSIM| for images of this shape (see above)."""
    channels, height, width = pool.shape[1:]
    positions = channels * (height - WINDOW + 1) * (width - WINDOW + 1)
    return 65 * UNIT / C2 + (positions + 20) * UNIT


def approximate(
    queries: Tensor, pool: Tensor, skip: Tensor | None = None, block: int = BLOCK
) -> Iterator[tuple[int, Tensor]]:
    """The kernel's values, block by block of the pool: (first position, (Q, images in the block) float32).

    −∞ where a query's `skip` lies.
    """
    lots = [_prepare(image[None]) for image in queries]
    tile = max(1, TILE // pool[0].numel())
    for first in range(0, len(pool), block):
        last = min(first + block, len(pool))
        values = torch.empty(len(queries), last - first)
        for start in range(first, last, tile):
            ready = _prepare(pool[start : min(start + tile, last)])
            room = _Room.like(ready)
            for row, query in enumerate(lots):
                values[row, start - first : start - first + tile] = _kernel(query, ready, room)
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
        down, across = (band(side, torch.float32) for side in (height, width))
        return _Room(
            down.expand(channels, -1, -1),
            across.expand(len(ready.mean), -1, -1),
            torch.empty(channels, height, width * count),
            torch.empty(channels, len(down), width * count),
            *(torch.empty_like(ready.mean) for _ in range(3)),
        )


def _prepare(images: Tensor) -> _Prepared:
    x = _unit(images)
    exact = x.double()
    mean = blur(exact)
    var = blur(exact * exact) - mean**2

    def last(maps: Tensor) -> Tensor:
        return maps.float().permute(1, 2, 3, 0).contiguous()

    return _Prepared(last(x), *(last(maps).flatten(0, 1) for maps in (mean, mean**2, var)))


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
        parts.append(ssim(_unit(queries[lot.query[rows]]), _unit(pool[lot.position[rows]])))
    return ordered(Hits(lot.query, lot.position, torch.cat(parts)))


def _unit(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _check(queries: Tensor, pool: Tensor) -> None:
    if queries.ndim != 4 or queries.shape[1:] != pool.shape[1:]:
        raise InputError(f"ssim compares images of one shape; got {tuple(queries.shape)} and {tuple(pool.shape)}")
    if min(pool.shape[2:]) < WINDOW:
        raise InputError(f"ssim needs images of at least {WINDOW}×{WINDOW}, got {pool.shape[2]}×{pool.shape[3]}")
    if len(pool) == 0 or len(queries) == 0:
        raise InputError("there is nothing to compare: no queries, or no images to search")
