"""Near-duplicates of a whole data set, in groups whose members are all alike: no chaining."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch

from vestige.index import EXACT, Cells, Hits
from vestige.measures import LIKELY, PAIRS, Aligned, Cosine, Lexical, Measure, Ssim
from vestige.types import InputError, Samples

NEAR = 32
"""Candidates per record where not every pair is compared."""
ROWS = 1024
"""Records whose pairs are compared at a time."""
MOST = 5_000_000
"""Pairs that may reach tau."""
TEXTS = 20_000
"""Up to this many texts, the lexical measure compares every pair; more would take hours."""
IMAGES = 10_000
"""Up to this many images, `aligned` looks for the likeliest among all; more would take hours."""

Edges = dict[tuple[int, int], float]


@dataclass(frozen=True)
class Found:
    """Groups of near-duplicates.

    groups: positions of the members, the largest group first; every two of a group reach tau. exact: groups of records
    with the same content. least: per group, the smallest similarity of two members. compared: pairs compared.
    complete: whether every pair was compared. crowded: records all of whose candidates reached tau, so that more
    may (0 where every pair was compared).
    """

    groups: tuple[tuple[int, ...], ...]
    least: tuple[float, ...]
    exact: tuple[tuple[int, ...], ...]
    compared: int
    complete: bool
    crowded: int


def find(samples: Samples, measure: Measure, tau: float, *, say: Callable[[str], None]) -> Found:
    """The groups of near-duplicates of a data set.

    Records of equal content are counted apart, by hash, and stand for one in what follows. Among these, pairs that
    reach tau are joined by `cliques`. Up to 10⁸ pairs of images (100 images to align), 200,000 vectors or 20,000 texts,
    every pair is compared; beyond, each record with its 32 likeliest only (images: `image.lowpass`, or `Aligned.likely`
    by two rankings; vectors: `index.Cells`), which may miss pairs. Raises InputError where more than 5 million pairs
    reach tau, or the texts, or the images to align, are too many.
    """
    same = _equal(samples)
    rows = torch.tensor(sorted(members[0] for members in same))
    edges, compared, complete, crowded = _edges(samples, measure, rows, tau, say)
    standing = {members[0]: members for members in same}
    joined = cliques(edges)
    alone = set(standing) - {row for group in joined for row in group}
    joined += [(row,) for row in alone if len(standing[row]) > 1]
    groups = [(tuple(sorted(one for row in group for one in standing[row])), _least(group, edges)) for group in joined]
    groups.sort(key=lambda lot: (-len(lot[0]), lot[0]))
    exact = sorted((members for members in same if len(members) > 1), key=lambda members: (-len(members), members))
    return Found(
        tuple(group for group, _ in groups), tuple(least for _, least in groups), tuple(exact),
        compared, complete, crowded,
    )  # fmt: skip


def cliques(edges: Mapping[tuple[int, int], float]) -> list[tuple[int, ...]]:
    """Groups in which every two members are joined by an edge: complete linkage, greedily from the nearest pair on.

    edges: (i, j) with i < j → similarity. Pairs are taken from the most similar down, ties in the order of positions;
    the groups of both ends become one if every member of one has an edge to every member of the other, else they stay
    apart. With edges 0–1 (0.99), 1–2 (0.98) and 2–3 (0.97) alone, 0–1 and 2–3 are groups: 1–2 is not followed,
    since 0–2 is no edge. Returns the groups of two and more.
    """
    joined: defaultdict[int, set[int]] = defaultdict(set)
    for first, second in edges:
        joined[first].add(second)
        joined[second].add(first)
    of: dict[int, list[int]] = {node: [node] for node in joined}
    for first, second in sorted(edges, key=lambda pair: (-edges[pair], pair)):
        one, other = of[first], of[second]
        if one is other or not all(joined[member].issuperset(other) for member in one):
            continue
        one += other
        for member in other:
            of[member] = one
    unique = {id(group): tuple(sorted(group)) for group in of.values() if len(group) > 1}
    return sorted(unique.values())


def _edges(
    samples: Samples, measure: Measure, rows: torch.Tensor, tau: float, say: Callable[[str], None]
) -> tuple[Edges, int, bool, int]:
    """Pairs of these rows that reach tau, how many were compared, whether all were, how many records are crowded."""
    count = len(rows)
    every = count * (count - 1) // 2
    if isinstance(measure, Lexical) and count > TEXTS:
        raise InputError(
            f"the lexical measure compares every pair, of at most {TEXTS} texts; here are {count}: use --by embedding"
        )
    kept = torch.zeros(len(samples), dtype=torch.bool)
    kept[rows] = True
    if isinstance(measure, Aligned) and count > IMAGES:
        raise InputError(
            f"aligned looks for the likeliest among all, of at most {IMAGES} images; here are {count}: use --by ssim"
        )
    likely = _likely(measure, count, every)
    edges: Edges = {}
    compared, crowded = 0, 0
    for start in range(0, count, ROWS):
        some = rows[start : start + ROWS]
        if likely is None:
            hits = measure.within(some, tau, int(some[0]))
            compared += len(some) * (len(some) - 1) // 2 + len(some) * start
        else:
            candidates = likely(some)
            hits, full = _reach(measure, some, candidates, tau)
            compared += len(candidates.query)
            crowded += full
        first, second = some[hits.query], hits.position
        mine = kept[second] & (first != second)
        for a, b, value in zip(first[mine].tolist(), second[mine].tolist(), hits.value[mine].tolist(), strict=True):
            edges[min(a, b), max(a, b)] = value
        if len(edges) > MOST:
            raise InputError(f"more than {MOST:,} pairs reach {tau:g}; raise --tau")
        if count > ROWS:
            say(f"compared {min(start + ROWS, count)} of {count} records: {len(edges)} pairs reach {tau:g}")
    return edges, compared, likely is None, crowded


def _likely(measure: Measure, count: int, every: int) -> Callable[[torch.Tensor], Hits] | None:
    """What says which others are likely near-duplicates of records at these positions; None: compare every pair."""
    if isinstance(measure, Ssim) and every > PAIRS:
        from vestige.image import lowpass

        x, made = measure.x, lowpass.build(measure.x)
        return lambda some: made.candidates(x[some], NEAR, skip=some)
    if isinstance(measure, Aligned) and len(measure.x) > LIKELY:
        return lambda some: measure.likely(some, NEAR)
    if isinstance(measure, Cosine) and count > EXACT:
        vectors, cells = measure.vectors, Cells(measure.vectors)
        return lambda some: cells.nearest(vectors[some], NEAR, skip=some)
    return None


def _reach(measure: Measure, some: torch.Tensor, candidates: Hits, tau: float) -> tuple[Hits, int]:
    """The candidates that reach tau, and of how many records all of them do."""
    value = measure.pairs(some[candidates.query], candidates.position)
    keep = value >= tau
    reached = torch.bincount(candidates.query[keep], minlength=len(some))
    return Hits(candidates.query[keep], candidates.position[keep], value[keep]), int((reached >= NEAR).sum())


def _least(group: Iterable[int], edges: Edges) -> float:
    members = sorted(group)
    return min((edges[a, b] for at, a in enumerate(members) for b in members[at + 1 :]), default=1.0)


def _equal(samples: Samples) -> list[tuple[int, ...]]:
    """Positions by content: question and answer, or pixels."""
    lots: defaultdict[bytes, list[int]] = defaultdict(list)
    for row in range(len(samples)):
        x = samples.x[row]
        content = f"{x}\0{samples.y[row]}".encode() if isinstance(x, str) else x.numpy().tobytes()
        lots[hashlib.sha256(content).digest()].append(row)
    return [tuple(members) for members in lots.values()]
