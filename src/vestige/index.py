"""Nearest vectors: exact products in blocks, from memory or streamed from disk; faiss where they are too many."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vestige.types import InputError, MissingError

EXACT = 200_000
"""Up to this many vectors, every one is compared."""
PRODUCTS = 5_000_000_000
"""Up to this many products, too: 5,000 queries of a million vectors cost less than learning their cells."""
BLOCK, QUERIES = 16_384, 1024
"""Vectors, and queries, that are compared at a time."""
TRAIN, PROBED = 100_000, 500
"""Vectors from which faiss learns its cells; vectors on which the number of cells to visit is chosen."""
RECALL = 0.995
"""Recall that is asked for on those, a little more than what is promised (0.99)."""


class Hits(NamedTuple):
    """Pairs that were found, by query, then nearest first; ties go to the earlier position.

    query, position: (F,) int64, where in the queries and in the pool. value: (F,) float32, larger is nearer.
    """

    query: Tensor
    position: Tensor
    value: Tensor


def nearest(queries: Tensor, vectors: Any, k: int, *, skip: Tensor | None = None, block: int = BLOCK) -> Hits:
    """The k vectors with the largest inner product with each query, by comparing all: exact to float32.

    queries: (Q, d) float32. vectors: (M, d) float32, a tensor or an array, also one that lies on disk (np.memmap):
    only `block` rows are in memory at a time. skip: (Q,) positions left out, −1 for none. For rows of unit length the
    product is the cosine. Raises InputError for other shapes.
    """
    _check(queries, vectors)
    parts = []
    for start in range(0, len(queries), QUERIES):
        rows = slice(start, start + QUERIES)
        some, own = queries[rows], None if skip is None else skip[rows]
        best = torch.full((len(some), k), -torch.inf)
        near = []
        for first in range(0, len(vectors), block):
            values = some @ _rows(vectors, slice(first, first + block)).T
            leave_out(values, own, first)
            best = torch.cat([best, values.topk(min(k, values.shape[1]), 1).values], 1).topk(k, 1).values
            near.append(above(values, best[:, -1:], first))
        found = first_of(ordered(joined(near)), k)
        parts.append(found._replace(query=found.query + start))
    return joined(parts)


def within(queries: Tensor, vectors: Any, tau: float, *, skip: Tensor | None = None, block: int = BLOCK) -> Hits:
    """Every vector whose inner product with a query is at least tau. Arguments as for `nearest`."""
    _check(queries, vectors)
    parts = []
    for start in range(0, len(queries), QUERIES):
        rows = slice(start, start + QUERIES)
        near = []
        for first in range(0, len(vectors), block):
            values = queries[rows] @ _rows(vectors, slice(first, first + block)).T
            leave_out(values, None if skip is None else skip[rows], first)
            near.append(above(values, torch.tensor(tau), first))
        found = ordered(joined(near))
        parts.append(found._replace(query=found.query + start))
    return joined(parts)


def search(queries: Tensor, vectors: Any, k: int, *, skip: Tensor | None = None) -> Hits:
    """The k nearest by inner product: exact up to 200,000 vectors or 5·10⁹ products, by `Cells` beyond.

    Arguments as for `nearest`.
    """
    if len(vectors) <= EXACT or len(queries) * len(vectors) <= PRODUCTS:
        return nearest(queries, vectors, k, skip=skip)
    return Cells(vectors).nearest(queries, k, skip=skip)


class Cells:
    """Vectors in cells around centres (inverted file, faiss); a query visits the nearest cells only.

    vectors: (M, d) float32, also from disk. Kept in float16. How many cells a query visits is the smallest number,
    doubled from 1, that finds 99.5 % of the exact 10 nearest of 500 vectors drawn with `seed`; `recall` is the share.
    Raises MissingError where faiss is not installed.
    """

    def __init__(self, vectors: Any, *, seed: int = 0) -> None:
        try:
            import faiss
        except ImportError:
            raise MissingError(
                f"searching {len(vectors)} vectors needs faiss, which is not installed; pip install 'vestige[search]'"
            ) from None
        draw = np.random.default_rng(seed)
        count, width = vectors.shape
        cells = int(4 * np.sqrt(count))
        some = np.sort(draw.choice(count, min(TRAIN, count), replace=False))
        quantizer = faiss.IndexFlatIP(width)
        self._index = faiss.IndexIVFScalarQuantizer(
            quantizer, width, cells, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
        )
        self._index.cp.niter, self._index.cp.seed = 10, seed + 1
        # Fewer vectors per cell than faiss warns about: what counts is the recall, and that is measured below.
        self._index.cp.min_points_per_centroid = 1
        self._index.cp.max_points_per_centroid = max(TRAIN // cells, 39)
        self._index.train(np.ascontiguousarray(vectors[some], np.float32))
        for first in range(0, count, BLOCK):
            self._index.add(np.ascontiguousarray(vectors[first : first + BLOCK], np.float32))
        probe = np.sort(draw.choice(count, min(PROBED, count), replace=False))
        self._visit(_rows(vectors, probe), vectors, cells)

    def _visit(self, probe: Tensor, vectors: Any, cells: int) -> None:
        """Choose how many cells a query visits."""
        k = min(10, len(vectors))
        exact = nearest(probe, vectors, k).position.view(-1, k)
        visited = 1
        while True:
            self._index.nprobe = visited
            self.recall = recall(torch.as_tensor(self._index.search(probe.numpy(), k)[1]), exact)
            if self.recall >= RECALL or visited >= cells:
                return
            visited = min(2 * visited, cells)

    @property
    def visited(self) -> int:
        """How many cells a query visits."""
        return int(self._index.nprobe)

    def nearest(self, queries: Tensor, k: int, *, skip: Tensor | None = None) -> Hits:
        """About the k nearest of each query. Arguments as for the function `nearest`."""
        values, positions = self._index.search(np.ascontiguousarray(queries, np.float32), k + (skip is not None))
        query = torch.arange(len(queries)).repeat_interleave(values.shape[1])
        hits = Hits(query, torch.as_tensor(positions).flatten(), torch.as_tensor(values).flatten())
        keep = hits.position >= 0
        if skip is not None:
            keep &= hits.position != skip[hits.query]
        return first_of(ordered(Hits(*(part[keep] for part in hits))), k)


def recall(found: Tensor, exact: Tensor) -> float:
    """The share of what is exact that was found. found, exact: (Q, k) positions; −1 stands for nothing."""
    hits = (found[:, :, None] == exact[:, None, :]) & (exact[:, None, :] >= 0)
    return float(hits.any(1).sum() / (exact >= 0).sum())


def leave_out(values: Tensor, skip: Tensor | None, first: int) -> None:
    """Put −∞ where a query's `skip` lies. values: (Q, B), of the pool from position `first` on."""
    if skip is not None:
        inside = ((skip >= first) & (skip < first + values.shape[1])).nonzero().flatten()
        values[inside, skip[inside] - first] = -torch.inf


def above(values: Tensor, floor: Tensor, first: int) -> Hits:
    """The pairs whose value is at least `floor`. values: (Q, B), of the pool from position `first` on."""
    query, column = ((values >= floor) & (values > -torch.inf)).nonzero(as_tuple=True)
    return Hits(query, column + first, values[query, column])


def ordered(hits: Hits) -> Hits:
    """The same by query, then nearest first, then by position."""
    order = torch.argsort(hits.position, stable=True)
    for key in (-hits.value, hits.query):
        order = order[torch.argsort(key[order], stable=True)]
    return Hits(*(part[order] for part in hits))


def first_of(hits: Hits, k: int) -> Hits:
    """The first k of each query, of ordered ones."""
    place = torch.arange(len(hits.query)) - torch.searchsorted(hits.query, hits.query)
    return Hits(*(part[place < k] for part in hits))


def joined(parts: list[Hits]) -> Hits:
    """One after the other."""
    return Hits(*(torch.cat(lots) for lots in zip(*parts, strict=True)))


def _rows(vectors: Any, rows: Any) -> Tensor:
    """Some of the vectors, in memory."""
    return vectors[rows] if isinstance(vectors, Tensor) else torch.from_numpy(np.array(vectors[rows], np.float32))


def _check(queries: Tensor, vectors: Any) -> None:
    if queries.ndim != 2 or len(vectors.shape) != 2 or queries.shape[1] != vectors.shape[1]:
        raise InputError(f"vectors must be (N, d) of one d; got {tuple(queries.shape)} and {tuple(vectors.shape)}")
