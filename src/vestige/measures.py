"""Measures of similarity within one data set, behind one small contract: nearest, within, pairs.

All speak of positions in the data set. A record is never its own neighbour; ties go to the earlier one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from vestige import index
from vestige.index import Hits, above, first_of, joined, leave_out, ordered
from vestige.types import InputError, Samples

if TYPE_CHECKING:
    from vestige.image.lowpass import Lowpass

MEASURES = {"image": ("ssim", "embedding"), "text": ("embedding", "lexical")}
"""Modality → its measures. The first one is the default."""
ENCODERS = {"image": "pixels", "text": "minilm"}
"""Modality → the encoder of `embedding` where none is named."""
PAIRS = 100_000_000
"""Up to this many pairs of images, every one is compared; beyond, the likeliest are re-ranked."""
TEXTS = 4096
"""Texts that are compared lexically at a time."""
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
class Cosine:
    """Cosine similarity of vectors of unit length (N, d)."""

    vectors: Tensor

    def nearest(self, rows: Tensor, k: int) -> Hits:
        return index.search(self.vectors[rows], self.vectors, k, skip=rows)

    def within(self, rows: Tensor, tau: float, first: int = 0) -> Hits:
        return _from(index.within(self.vectors[rows], self.vectors[first:], tau, skip=rows - first), first)

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        return (self.vectors[first] * self.vectors[second]).sum(1)


@dataclass(frozen=True)
class Lexical:
    """What two texts share in words and letters (`vestige.text.lexical`)."""

    texts: Sequence[str]

    def nearest(self, rows: Tensor, k: int) -> Hits:
        found = joined([above(values, _kth(values, k), at) for at, values in self._values(rows, 0)])
        return first_of(ordered(found), k)

    def within(self, rows: Tensor, tau: float, first: int = 0) -> Hits:
        return ordered(joined([above(values, torch.tensor(tau), at) for at, values in self._values(rows, first)]))

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        from vestige.text.lexical import lexical

        parts = [torch.empty(0)]
        for start in range(0, len(first), SQUARE):
            some = slice(start, start + SQUARE)
            parts.append(lexical(self._at(first[some]), self._at(second[some])).diagonal())
        return torch.cat(parts)

    def _values(self, rows: Tensor, first: int) -> Iterator[tuple[int, Tensor]]:
        from vestige.text.lexical import lexical

        for at in range(first, len(self.texts), TEXTS):
            values = lexical(self._at(rows), self.texts[at : at + TEXTS])
            leave_out(values, rows, at)
            yield at, values

    def _at(self, rows: Tensor) -> list[str]:
        return [self.texts[row] for row in rows.tolist()]


def named(modality: str, by: str, encoder: str | None) -> tuple[str, ...]:
    """The measures that `by` names: one of the modality's, or all. Raises InputError for others."""
    known = MEASURES[modality]
    if by != "all" and by not in known:
        raise InputError(f"unknown measure {by!r} for {modality}; known: {', '.join(known)}, all")
    names = known if by == "all" else (by,)
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


def build(
    samples: Samples, modality: str, names: Sequence[str], *, encoder: str | None = None, targets: int, say: Say
) -> dict[str, Measure]:
    """The measures of these names over a data set, by name. targets: of how many records the nearest will be asked."""
    made: dict[str, Measure] = {}
    for name in names:
        if name == "ssim":
            likely = None
            if targets * len(samples) > PAIRS:
                from vestige.image import lowpass

                say(f"describing {len(samples)} images, to compare the likeliest only")
                likely = lowpass.build(samples.x)
            made[name] = Ssim(samples.x, likely, workers=os.cpu_count() or 1)
        elif name == "embedding":
            made[name] = Cosine(_encode(samples, modality, encoder or ENCODERS[modality], say))
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


def _encode(samples: Samples, modality: str, encoder: str, say: Say) -> Tensor:
    def progress(done: int, total: int) -> None:
        if done == total or done * 10 // total > last[0]:
            last[0] = done * 10 // total
            say(f"encoded {done} of {total} with {encoder}")

    last = [0]
    if modality == "image":
        from vestige.image.encode import encode as encode_images

        return encode_images(replace(samples, family=()), encoder, on_step=progress)
    from vestige.text.encode import encode as encode_texts

    return encode_texts(samples, encoder, on_step=progress)


def _from(hits: Hits, first: int) -> Hits:
    return hits._replace(position=hits.position + first)


def _kth(values: Tensor, k: int) -> Tensor:
    return values.topk(min(k, values.shape[1]), 1).values[:, -1:]
