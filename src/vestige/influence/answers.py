"""Influence on the head of a language model: representers of answer tokens, summed by pair.

Each answer token is a sample of the last layer (`influence.representer`): the head sees the state before it and gives a
score to every word of the vocabulary. A pair's part is the sum over its tokens, a pair's margin the mean over its own.
Words that no answer here uses are one class together, whose score is the log of their summed exponentials: the softmax
of every answer token stays as it was, and the layer is a hundredth as large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vestige.influence.exact import Contributions
from vestige.influence.representer import LastLayer, Representers, contributions
from vestige.types import Samples

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vestige.modality import Language

CHUNK = 128
"""Answer tokens that are scored at once: each brings the whole vocabulary."""


@dataclass(frozen=True)
class Answers:
    """The answer tokens of N pairs as the head sees them. pairs: their ids. lengths: tokens of each, (N,)."""

    pairs: tuple[str, ...]
    lengths: np.ndarray
    tokens: LastLayer

    def summed(self, values: np.ndarray) -> np.ndarray:
        """(…, A), one entry per token, to (…, N)."""
        return np.asarray(np.add.reduceat(values, np.cumsum(self.lengths) - self.lengths, axis=-1))


def look(model: nn.Module, members: Samples, asked: Samples, *, modality: Language) -> tuple[Answers, Answers]:
    """The answer tokens of what was trained on and of what is asked about, over the words of all these answers."""
    import torch

    words = torch.unique(torch.cat([modality.answers(model, part) for part in (members, asked)]))
    return _seen(model, members, words, modality), _seen(model, asked, words, modality)


def _seen(model: nn.Module, samples: Samples, words: Tensor, modality: Language) -> Answers:
    import torch

    with torch.no_grad():
        states = modality.hidden(model, samples)
        scores = torch.cat([_merged(modality.head(model, part).double(), words) for part in torch.split(states, CHUNK)])
        labels = torch.searchsorted(words, modality.answers(model, samples))
        lengths = modality.lengths(model, samples).cpu().numpy()
    each = np.repeat(1 / lengths, lengths)  # every pair counts the same, however long its answer (`train.tune`)
    names = tuple(f"{name}#{place}" for name, size in zip(samples.ids, lengths, strict=True) for place in range(size))
    seen, said, true = states.double().cpu().numpy(), scores.cpu().numpy(), labels.cpu().numpy()
    return Answers(samples.ids, lengths, LastLayer(names, seen, said, true, each / each.mean()))


def _merged(scores: Tensor, words: Tensor) -> Tensor:
    """(A, vocabulary) to (A, words + 1): all other words are the last class. Changes `scores`."""
    import torch

    kept = scores[:, words]
    scores[:, words] = -torch.inf
    return torch.cat([kept, scores.logsumexp(1, keepdim=True)], 1)


def by_pair(found: Representers, members: Answers, asked: Answers) -> Contributions:
    """What each training pair adds to each pair's mean margin; nothing is left of a start."""
    top = contributions(found, asked.tokens)
    margin = asked.summed(top.margin) / asked.lengths
    parts = asked.summed(members.summed(top.parts).T).T / asked.lengths[:, None]
    return Contributions(asked.pairs, members.pairs, margin, parts, np.zeros(len(asked.pairs)))


def explained(found: Representers, members: Answers) -> float:
    """1 − Σ (m − Σ parts)² / Σ m² over the margins m of the training pairs' tokens; at most 1."""
    top = contributions(found, members.tokens)
    size = float((top.margin**2).sum())
    return 1 - float((top.unexplained**2).sum()) / size if size else 0.0
