"""Question 4: can difficulty be told before unlearning? A predictor of the hardest quartile, and its honest AUC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vestige.difficulty.analyse import Measured

HARD = 0.25
"""The share of samples that counts as hard."""


@dataclass(frozen=True)
class Predictor:
    """A linear predictor that can be kept as JSON.

    factors: which ones, K. weights: (K,), of where a value lies in its population, −0.5…0.5. intercept: of the log-odds.
    trained_on: facts about what it learned from (data, algorithms, n, seeds) for whoever reads it.
    """

    factors: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float
    trained_on: Mapping[str, Any]


def evaluate(measured: Sequence[Measured], *, references: bool = False) -> dict[str, Any]:
    """How well the hardest quartile is predicted from factors before unlearning, on what was never trained on.

    references: whether factors that need models without the sample (memorisation) are used. {"factors", "hard", "n",
    "by": {"sample": result, "algorithm": result, "algorithm and sample": result, "data": result}}, a result {"linear",
    "boosted": {"auc": record, "cells": [{"data", "algorithm", "auc"}…], "roc": {"fpr": […], "tpr": […]}}, "single":
    [{"factor", "auc": record}…, best first]}, or {"missing": why} where there is nothing to hold out.
    """
    raise NotImplementedError


def fit(measured: Sequence[Measured]) -> Predictor:
    """The linear predictor, fitted to everything that was measured."""
    raise NotImplementedError


def predict(
    predictor: Predictor, factors: Mapping[str, np.ndarray], population: Mapping[str, np.ndarray]
) -> np.ndarray:
    """The chance to be among the hardest quartile, (N,), of samples with these factors.

    factors: name → (N,). population: the same of training samples to compare them with, name → (M,); the chance is
    calibrated only where these are like the samples of the study. Raises InputError where a factor is not there.
    """
    raise NotImplementedError


def save(predictor: Predictor, path: Path) -> None:
    """Write it as JSON."""
    raise NotImplementedError


def load(path: Path) -> Predictor:
    """Read it. Raises MissingError where there is no file, InputError where it is no predictor."""
    raise NotImplementedError
