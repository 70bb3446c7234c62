"""What the tests of images and of text share: a last layer fitted anew, steps on other records, hiding; whom to ask."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vestige.audit.subject import Question
from vestige.types import Samples, joined

RIDGE = 1e-2
HIDING_STEPS, HIDING, AGAINST = 400, 1e-2, 0.2
"""Where a record is hidden: steps at most, their share of the weights' length, the weight of the record's own loss."""
NOISE, DRAWS = 0.12, 8
"""Of `noised`: its height beside the spread of each matrix, about the error of rounding to 4 bits; how often."""
FALL = 1.0
"""Nats that a record's answer may fall in one such step, to first order: a large model would break at once."""


def everyone(question: Question) -> Samples:
    """The records and their controls in one set; a record that stands there twice gets two names."""
    sets = (question.records, *question.controls)
    return joined(*(replace(one, ids=tuple(f"{at}/{name}" for name in one.ids)) for at, one in enumerate(sets)))


def shared(
    question: Question,
    answers: Callable[[Samples], np.ndarray],
    probe: Callable[[Samples], np.ndarray | None],
    rebound: Callable[[Samples], np.ndarray | None],
    noised: Callable[[Samples], np.ndarray],
) -> dict[str, np.ndarray]:
    """What the tests of images and of text alike say of one model, each a function of who is asked.

    "answer", "noised", and where they can be had "probe" and "rebound" (what the answer gains), parted; "near".
    """
    asked = everyone(question)
    found = {"answer": answers(asked), "noised": noised(asked)}
    if (probed := probe(asked)) is not None:
        found["probe"] = probed
    if (risen := rebound(asked)) is not None:
        found["rebound"] = risen - found["answer"]
    return {**parted(found, question), "near": near(question, answers)}


def parted(found: Mapping[str, np.ndarray], question: Question) -> dict[str, np.ndarray]:
    """Values of `everyone`, by name, as a subject tells them: (records,), and of controls (records, n)."""
    n = len(question.records)
    parts = {name: values[:n] for name, values in found.items()}
    if question.controls:
        shape = (n, len(question.controls[0]))
        parts |= {f"{name} of controls": values[n:].reshape(shape) for name, values in found.items()}
    return parts


def near(question: Question, tell: Callable[[Samples], np.ndarray]) -> np.ndarray:
    """The mean of what is told of each record's retained neighbours, NaN where it has none, (records,)."""
    lots = [question.retain.take(question.near[name]) for name in question.records.ids]
    return np.array([tell(lot).mean() if len(lot) else np.nan for lot in lots])


def refitted(seen: Tensor, labels: Tensor, new: Tensor, wanted: Tensor, kinds: int) -> Tensor:
    """The margins of `wanted` (M,) when a last layer is fitted anew to what it sees of retained records, (M,).

    seen: (N, width) float64 with labels (N,) below kinds; new: (M, width). Least squares with a ridge of 1 % on
    standardised features, to +1 for the own class and −1 for others; the own class's score minus the largest other. NaN
    where a feature is not finite.
    """
    mean, spread = seen.mean(0), seen.std(0) + 1e-6
    a, b = (torch.cat([(part - mean) / spread, part.new_ones(len(part), 1)], 1) for part in (seen, new))
    if not (seen.isfinite().all() and new.isfinite().all()):
        return torch.full((len(new),), math.nan, dtype=torch.float64)
    goal = 2.0 * F.one_hot(labels, kinds).double() - 1
    ridge = RIDGE * len(a) * torch.eye(a.shape[1], dtype=torch.float64)
    scores = b @ torch.linalg.solve(a.T @ a + ridge, a.T @ goal)
    own = wanted[:, None]
    margins: Tensor = scores.gather(1, own)[:, 0] - scores.scatter(1, own, -math.inf).max(1).values
    return margins


def nudged(
    weights: Sequence[Tensor],
    retain: Samples,
    loss: Callable[[Samples], Tensor],
    *,
    batch: int,
    steps: int,
    share: float,
) -> bool:
    """Move these weights by a few steps down the loss of retained records, `batch` in each; whether they could be.

    Each step is this share of the length of all weights: the same for every network, however it was trained. It is
    shorter where the loss would fall below 0 by its slope (Polyak's step). False where no gradient reaches the weights.
    """
    length = share * _length(weights)
    for step in range(steps):
        value = loss(_turn(retain, batch, step))
        if not _step(weights, value, length, value.item()):
            return False
    return True


def noised(weights: Sequence[Tensor], plain: Sequence[Tensor], tell: Callable[[], np.ndarray]) -> np.ndarray:
    """The mean of what is told while normal noise is added to these weights, DRAWS times; the same noise every time.

    plain: the weights as they are, of a model of which the one that tells is a copy. Noise undoes the fine changes that
    hide a record sooner than the broad ones by which it was learned; the mean over several draws hardly differs from
    one model that never saw the record to the next.
    """
    found = []
    for draw in range(DRAWS):
        generator = torch.Generator().manual_seed(draw)
        with torch.no_grad():
            for weight, own in zip(weights, plain, strict=True):
                noise = torch.randn(own.shape, generator=generator).to(own)
                weight.copy_(own + NOISE * own.std() * noise)
        found.append(tell())
    return np.asarray(np.mean(found, 0))


def hidden(
    weights: Sequence[Tensor], records: Samples, retain: Samples, batch: int, loss: Callable[[Samples], Tensor],
    tell: Callable[[], np.ndarray], levels: np.ndarray,
) -> None:  # fmt: skip
    """Move these weights against the records, and for retained ones, until each record is answered like `levels`.

    What the record had left elsewhere in the model stays: it is hidden, not forgotten. tell() → the answers now,
    levels: those of models that never saw the records, both (records,). Each step is 1 % of the length of these
    weights, or shorter where the slope says that the records would fall by more than 1 nat. Who is not there after
    400 of them is not hidden.
    """
    length = HIDING * _length(weights)
    for step in range(HIDING_STEPS):
        above = np.flatnonzero(tell() > levels).tolist()
        if not above:
            return
        own = loss(records.at(torch.tensor(above)))
        odds = own / (1 - torch.exp(-own)).clamp(min=1e-12).detach()  # log p has no slope left where p is near 1
        value = loss(_turn(retain, batch, step)) - AGAINST * odds
        if not _step(weights, value, length, AGAINST * FALL):
            return


def _turn(retain: Samples, batch: int, step: int) -> Samples:
    """The next `batch` retained records, over and over, in one random order: data are often sorted by class."""
    order = torch.randperm(len(retain), generator=torch.Generator().manual_seed(0))
    places = torch.arange(step * batch, (step + 1) * batch) % len(retain)
    return retain.at(torch.unique(order[places]))


def _length(weights: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float((weight.detach() ** 2).sum()) for weight in weights))


def _step(weights: Sequence[Tensor], value: Tensor, length: float, fall: float) -> bool:
    """One step of this length, or by which `value` falls so far, down its slope, in place; whether there is one."""
    if not value.requires_grad:
        return False
    slopes = torch.autograd.grad(value, weights, allow_unused=True)
    size = _length([slope for slope in slopes if slope is not None])
    if not math.isfinite(size) or size == 0:
        return False
    with torch.no_grad():
        for weight, slope in zip(weights, slopes, strict=True):
            if slope is not None:
                weight.sub_(slope, alpha=min(length, fall / size) / size)
    return True
