"""Utility in numbers: what was answered, question by question, and paired differences to another model. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vestige.knowledge import BOUNDS
from vestige.types import InputError
from vestige.verify import Measure, mean_interval, share_interval

Z = 1.959964


@dataclass(frozen=True)
class Found:
    """What one model gave for one set of questions.

    ids: one per question. values: what was kept → one number per question, (Q,): right, right_norm (0 or 1); loss
    (summed over the true answer's tokens, nats) and tokens; score (0…1).
    """

    ids: tuple[str, ...]
    values: Mapping[str, np.ndarray]

    def of(self, ids: Sequence[str]) -> Found:
        """The questions with these ids, in this order."""
        where = {name: place for place, name in enumerate(self.ids)}
        rows = [where[name] for name in ids]
        return Found(tuple(ids), {name: value[rows] for name, value in self.values.items()})


def change(after: np.ndarray, before: np.ndarray) -> tuple[float, float, float]:
    """The difference of two shares over the same questions, after − before, with its 95 % interval.

    after, before: right (1) or wrong (0), (Q,), paired. Of Q questions b were won and c lost: the difference is
    (b − c)/Q. The interval is that of Bonett and Price (2012, equation 4): with p = (b + 1)/(Q + 2) and
    q = (c + 1)/(Q + 2), p − q ± 1.96 √((p + q − (p − q)²)/(Q + 2)), cut at ±1. It keeps a width where nothing changed.
    Raises InputError for no questions, and for two sets of unlike size.
    """
    _paired(after, before)
    n = len(after)
    won, lost = int(((after > 0) & (before == 0)).sum()), int(((after == 0) & (before > 0)).sum())
    p, q = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    half = Z * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return (won - lost) / n, max(-1.0, p - q - half), min(1.0, p - q + half)


def per_token(loss: np.ndarray, tokens: np.ndarray) -> tuple[float, float | None, float | None]:
    """Loss per token over several answers, Σ loss ÷ Σ tokens (nats), with a 95 % t interval over the answers.

    loss: summed over each answer's tokens, or a difference of such sums, (Q,). tokens: how many, (Q,). The interval
    linearises the ratio: what each answer has above its share, loss − ratio × tokens, is what varies. None for one.
    Raises InputError for no answers. Source: Cochran 1977, Sampling Techniques, section 6.
    """
    _paired(loss, tokens)
    ratio, n = float(loss.sum() / tokens.sum()), len(loss)
    if n < 2:
        return ratio, None, None
    from scipy.stats import t

    above = loss - ratio * tokens
    error = math.sqrt(n / (n - 1) * float((above**2).sum())) / float(tokens.sum())
    half = float(t.ppf(0.975, n - 1)) * error
    return ratio, ratio - half, ratio + half


def measures(
    found: Mapping[str, Found], before: Mapping[str, Found] | None, pairs: Mapping[str, Sequence[str]]
) -> list[Measure]:
    """Every measure of utility of one model, and what changed since another.

    found, before: set of questions → what each gave; before: None for the other itself, or where it is not there.
    pairs: group → ids of those of found["remaining"] whose perplexity is told.
    """
    made: list[Measure] = []
    for name, one in found.items():
        other = before.get(name) if before else None
        if name == "remaining":
            for group, ids in pairs.items():
                made += _perplexity(group, one.of(ids), other.of(ids) if other else None)
        elif name == "choices":
            for metric, value in (("choice_accuracy", "right"), ("choice_accuracy_norm", "right_norm")):
                hits = int(one.values[value].sum())
                made.append(Measure(name, metric, *share_interval(hits, len(one.ids)), len(one.ids)))
            if other:
                both = one.values["right"], other.values["right"]
                made.append(Measure(name, "choice_change", *change(*both), len(one.ids)))
            made += _perplexity(name, one, other)
        else:
            made += _task(name, one.values["score"], other.values["score"] if other else None)
    return made


def _perplexity(group: str, now: Found, then: Found | None) -> list[Measure]:
    loss, tokens, n = now.values["loss"], now.values["tokens"], len(now.ids)
    made = [Measure(group, "perplexity", *_exp("perplexity", per_token(loss, tokens)), n)]
    if then is not None:
        ratio = per_token(loss - then.values["loss"], tokens)
        made.append(Measure(group, "perplexity_ratio", *_exp("perplexity_ratio", ratio), n))
    return made


def _task(group: str, now: np.ndarray, then: np.ndarray | None) -> list[Measure]:
    n = len(now)
    whole = bool(np.isin(now, (0, 1)).all())
    spread = share_interval(int(now.sum()), n) if whole else mean_interval(now, BOUNDS["task_score"])
    made = [Measure(group, "task_score", *spread, n)]
    if then is not None:
        whole = whole and bool(np.isin(then, (0, 1)).all())
        apart = change(now, then) if whole else mean_interval(now - then, BOUNDS["task_change"])
        made.append(Measure(group, "task_change", *apart, n))
    return made


def _exp(metric: str, values: tuple[float, float | None, float | None]) -> tuple[float, float | None, float | None]:
    """A value and its interval through exp, cut at the metric's lower bound and at what a float holds."""
    least = BOUNDS[metric][0]
    value, low, high = (None if one is None else max(least, math.exp(min(one, 700.0))) for one in values)
    assert value is not None
    return value, low, high


def _paired(one: np.ndarray, other: np.ndarray) -> None:
    if len(one) == 0:
        raise InputError("no questions were asked; the mean of no answers does not exist")
    if len(one) != len(other):
        raise InputError(f"{len(one)} and {len(other)} answers cannot be paired; ask both models the same questions")
