"""Measures of similarity within one data set, behind one small contract: nearest, within, pairs.

All speak of positions in the data set. A record is never its own neighbour; ties go to the earlier one.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from vestige import index
from vestige.index import Hits, above, first_of, joined, leave_out, ordered
from vestige.influence import Trained
from vestige.types import InputError, Samples

if TYPE_CHECKING:
    from torch import nn

    from vestige.image.kernel import Factors
    from vestige.image.lowpass import Lowpass
    from vestige.image.networks import MLP

MEASURES = {"image": ("ssim", "aligned", "embedding", "influence"), "text": ("embedding", "lexical")}
"""Modality → its measures. The first one is the default."""
LEARNED = "influence"
"""The measure that is one of a trained model."""
ENCODERS = {"image": "pixels", "text": "minilm"}
"""Modality → the encoder of `embedding` where none is named."""
PAIRS = 100_000_000
"""Up to this many pairs of images, every one is compared; beyond, the likeliest are re-ranked."""
LIKELY = 100
"""Images that `aligned` compares in fine steps, of those most like a record in coarse ones, by two rankings."""
TEXTS = 4096
"""Texts that are compared lexically at a time."""
IMAGES = 1024
"""Images whose gradients are compared, and pairs that are aligned, at a time."""
TARGETS = 1024
"""Records with which these are compared at a time."""
SQUARE = 64
"""Pairs of texts whose value is read off the diagonal of one comparison."""
MIX = 60
"""The constant of reciprocal rank fusion, as in its paper."""
DEPTH = 200
"""How far down each measure's ranking is read for the fusion, at least."""
Say = Callable[[str], None]


class Measure(Protocol):
    """A similarity of the records of one data set; larger is nearer."""

    def nearest(self, rows: Tensor, k: int) -> Hits:
        """The k nearest others of the records at these positions; Hits.query counts in `rows`."""

    def within(self, rows: Tensor, tau: float, first: int = 0) -> Hits:
        """The others, from position `first` on, whose similarity is at least tau."""

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        """The similarity of the records at first with those at second, (F,) float32."""


@dataclass(frozen=True)
class Ssim:
    """Structural similarity of images x (N, C, H, W), uint8 or float32 in [0, 1]; exact.

    lowpass: an index of x, by which only the likeliest are compared in `nearest`; None compares all. workers: threads.
    """

    x: Tensor
    lowpass: Lowpass | None = None
    workers: int = 1

    def nearest(self, rows: Tensor, k: int) -> Hits:
        from vestige.image import search

        if self.lowpass is None:
            return search.nearest(self.x[rows], self.x, k, skip=rows, workers=self.workers)
        return self.lowpass.nearest(self.x[rows], self.x, k, skip=rows)

    def within(self, rows: Tensor, tau: float, first: int = 0) -> Hits:
        from vestige.image import search

        pool = self.x[first:]
        return _from(search.within(self.x[rows], pool, tau, skip=rows - first, workers=self.workers), first)

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        from vestige.image import search

        return search.pairs(self.x, first, second)


@dataclass(frozen=True)
class Aligned:
    """Agreement of images once one is laid over the other (`vestige.image.aligned`).

    Every image is compared in coarse steps; the 100 that agree most and the 100 that correlate most with a record, and
    for a threshold all that reach it, are compared in fine ones. x (N, C, H, W) uint8, prepared; spreads (N,) of them.
    """

    x: Tensor
    spreads: Tensor

    @classmethod
    def of(cls, images: Tensor) -> Aligned:
        """For images (N, C, H, W), uint8 or float32 in [0, 1]. Raises InputError for ones that are too small."""
        from vestige.image.aligned import prepare, spreads

        ready = prepare(images)
        return cls(ready, spreads(ready))

    def nearest(self, rows: Tensor, k: int) -> Hits:
        return first_of(self._compared(self.likely(rows, max(LIKELY, k)), rows), k)

    def within(self, rows: Tensor, tau: float, first: int = 0) -> Hits:
        hits = self._compared(self.likely(rows, LIKELY, tau, first), rows)
        return Hits(*(part[hits.value >= tau] for part in hits))

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        from vestige.image.aligned import aligned

        return _stepwise(IMAGES, first, second, lambda a, b: aligned(self.x[a], self.x[b]))

    def likely(self, rows: Tensor, count: int, tau: float = torch.inf, first: int = 0) -> Hits:
        """The others, from `first` on, that come into question: the `count` first by each ranking, all that reach tau.

        The values are those of the coarse steps.
        """
        from vestige.image.aligned import coarse

        parts = []
        for at, row in enumerate(rows.tolist()):
            values, correlations = coarse(self.x[row, None], self.x[first:], self.spreads[first:])
            picked = values >= tau
            for ranking in (values, correlations):
                leave_out(ranking[None], rows[at, None], first)
                picked[ranking.topk(min(count, len(ranking))).indices] = True
            picked &= values > -torch.inf
            position = picked.nonzero().flatten()
            parts.append(Hits(torch.full_like(position, at), position + first, values[position]))
        return joined(parts)

    def _compared(self, likely: Hits, rows: Tensor) -> Hits:
        return ordered(likely._replace(value=self.pairs(rows[likely.query], likely.position)))


@dataclass(frozen=True)
class Cosine:
    """Cosine similarity of vectors of unit length (N, d)."""

    vectors: Tensor

    def nearest(self, rows: Tensor, k: int) -> Hits:
        return index.search(self.vectors[rows], self.vectors, k, skip=rows)

    def within(self, rows: Tensor, tau: float, first: int = 0) -> Hits:
        return _from(index.within(self.vectors[rows], self.vectors[first:], tau, skip=rows - first), first)

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        return (self.vectors[first] * self.vectors[second]).sum(1)


class Blockwise(ABC):
    """A measure that compares every record, some at a time: bounds the memory."""

    def nearest(self, rows: Tensor, k: int) -> Hits:
        return first_of(self._reach(rows, 0, lambda values: _kth(values, k)), k)

    def within(self, rows: Tensor, tau: float, first: int = 0) -> Hits:
        return self._reach(rows, first, lambda values: torch.tensor(tau))

    @abstractmethod
    def _values(self, rows: Tensor, first: int) -> Iterator[tuple[int, Tensor]]:
        """The similarities of these records with those from `first` on: where a block begins, (R, B) float32."""

    def _reach(self, rows: Tensor, first: int, floor: Callable[[Tensor], Tensor]) -> Hits:
        parts = []
        for start in range(0, len(rows), TARGETS):
            some = rows[start : start + TARGETS]
            near = []
            for at, values in self._values(some, first):
                leave_out(values, some, at)
                near.append(above(values, floor(values), at))
            found = ordered(joined(near))
            parts.append(found._replace(query=found.query + start))
        return joined(parts)


@dataclass(frozen=True)
class Lexical(Blockwise):
    """What two texts share in words and letters (`vestige.text.lexical`)."""

    texts: Sequence[str]

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        from vestige.text.lexical import lexical

        return _stepwise(SQUARE, first, second, lambda a, b: lexical(self._at(a), self._at(b)).diagonal())

    def _values(self, rows: Tensor, first: int) -> Iterator[tuple[int, Tensor]]:
        from vestige.text.lexical import lexical

        for at in range(first, len(self.texts), TEXTS):
            yield at, lexical(self._at(rows), self.texts[at : at + TEXTS])

    def _at(self, rows: Tensor) -> list[str]:
        return [self.texts[row] for row in rows.tolist()]


@dataclass(frozen=True)
class Influence(Blockwise):
    """Cosine of the gradients of two images' margins in a trained network (`vestige.image.kernel`); exact.

    K_ij / √(K_ii K_jj): what moves the one margin moves the other, in [−1, 1]; 0 for an image without a gradient.
    model: a homogeneous MLP. x (N, C, H, W) float32 in [0, 1] under labels y (N,). All on the CPU.
    """

    model: MLP
    x: Tensor
    y: Tensor

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        from vestige.image.kernel import paired_cosines

        return _stepwise(IMAGES, first, second, lambda a, b: paired_cosines(self._factors(a), self._factors(b)).float())

    def _values(self, rows: Tensor, first: int) -> Iterator[tuple[int, Tensor]]:
        from vestige.image.kernel import cosines

        asked = self._factors(rows)
        for at in range(first, len(self.x), IMAGES):
            yield at, cosines(asked, self._factors(slice(at, at + IMAGES))).float()

    def _factors(self, rows: Tensor | slice) -> Factors:
        from vestige.image.kernel import factors

        return factors(self.model, self.x[rows], self.y[rows])


def named(modality: str, by: str, encoder: str | None, *, learned: bool) -> tuple[str, ...]:
    """The measures that `by` names: one of the modality's, or all. learned: whether there is a trained model.

    Raises InputError for others, and for an encoder or a model that none of them uses.
    """
    known = MEASURES[modality]
    if by != "all" and by not in known:
        raise InputError(f"unknown measure {by!r} for {modality}; known: {', '.join(known)}, all")
    names = tuple(name for name in known if learned or name != LEARNED) if by == "all" else (by,)
    if by == LEARNED and not learned:
        raise InputError(
            f"the measure {LEARNED} is one of a trained model; name its run folder: vestige similar --by {LEARNED} "
            "--run FOLDER --ids …"
        )
    if learned and LEARNED not in names:
        raise InputError(f"--run is used by the measures {LEARNED} and all; this is by {by}")
    if encoder and "embedding" not in names:
        raise InputError(f"--encoder {encoder} is used by the measures embedding and all; this is by {by}")
    return names


def check_encoder(modality: str, encoder: str | None) -> None:
    """Raise InputError for an encoder that is unknown, MissingError for one that is not there."""
    chosen = encoder or ENCODERS[modality]
    if modality == "image":
        from vestige.image.encode import check

        check(chosen)
    else:
        from vestige.text.encode import load_encoder

        load_encoder(chosen)


def encode(samples: Samples, modality: str, encoder: str, say: Say) -> Tensor:
    """One vector of unit length per record, (N, d) float32; every tenth is said. Raises as `check_encoder`."""

    def progress(done: int, total: int) -> None:
        if done == total or done * 10 // total > last[0]:
            last[0] = done * 10 // total
            say(f"encoded {done} of {total} with {encoder}")

    last = [0]
    if modality == "image":
        from vestige.image.encode import encode as encode_images

        return encode_images(samples, encoder, on_step=progress)
    from vestige.text.encode import encode as encode_texts

    return encode_texts(samples, encoder, on_step=progress)


def build(
    samples: Samples,
    modality: str,
    names: Sequence[str],
    *,
    encoder: str | None = None,
    model: nn.Module | None = None,
    targets: int,
    say: Say,
) -> dict[str, Measure]:
    """The measures of these names over a data set, by name.

    model: of `influence`. targets: of how many records the nearest will be asked. Raises InputError for a model that
    is not the homogeneous MLP.
    """
    made: dict[str, Measure] = {}
    for name in names:
        if name == "ssim":
            likely = None
            if targets * len(samples) > PAIRS:
                from vestige.image import lowpass

                say(f"describing {len(samples)} images, to compare the likeliest only")
                likely = lowpass.build(samples.x)
            made[name] = Ssim(samples.x, likely, workers=os.cpu_count() or 1)
        elif name == "aligned":
            made[name] = Aligned.of(samples.x)
        elif name == "embedding":
            made[name] = Cosine(encode(samples, modality, encoder or ENCODERS[modality], say))
        elif name == LEARNED and model is not None:
            made[name] = Influence(Trained.of(model, None).model, samples.x, samples.y)
        else:
            from vestige.text.data import texts

            made[name] = Lexical(texts(samples))
    return made


def fuse(measures: Mapping[str, Measure], rows: Tensor, k: int) -> Hits:
    """The k others that stand highest in all rankings together: reciprocal rank fusion (Cormack et al. 2009).

    A record's value is the sum over measures of 1 / (60 + its rank in the measure), ranks from 1, over those measures
    that have it among their max(200, 10 k) nearest. First by one of two measures and third by the other:
    1/61 + 1/63 = 0.03227. Ties go to the earlier record.
    """
    scores: dict[tuple[int, int], float] = {}
    for measure in measures.values():
        hits = measure.nearest(rows, max(DEPTH, 10 * k))
        place = torch.arange(len(hits.query)) - torch.searchsorted(hits.query, hits.query)
        for query, position, rank in zip(hits.query.tolist(), hits.position.tolist(), place.tolist(), strict=True):
            scores[query, position] = scores.get((query, position), 0.0) + 1 / (MIX + 1 + rank)
    query, position = torch.tensor(list(scores)).T
    return first_of(ordered(Hits(query, position, torch.tensor(list(scores.values())))), k)


def _stepwise(size: int, first: Tensor, second: Tensor, compare: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """What `compare` says of pairs, so many at a time, (F,) float32: bounds the memory."""
    starts = range(0, len(first), size)
    parts = (compare(first[start : start + size], second[start : start + size]) for start in starts)
    return torch.cat([torch.empty(0), *parts])


def _from(hits: Hits, first: int) -> Hits:
    return hits._replace(position=hits.position + first)


def _kth(values: Tensor, k: int) -> Tensor:
    return values.topk(min(k, values.shape[1]), 1).values[:, -1:]
