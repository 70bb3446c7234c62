"""Membership attacks: pure functions of confidences, in float64. A score is higher for what looks like a member.

An attack that is fitted on shadow models is never evaluated on them: models carry names, and the functions
refuse a model that is among its shadows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vestige import verify
from vestige.types import InputError

Array = NDArray[np.float64]

FEWEST = 2
"""Shadow models with and without a sample that a spread needs."""


@dataclass(frozen=True)
class Shadows:
    """What shadow models say of some samples.

    names: one per model. margins: log(p/(1−p)) of each sample's label, (models, samples). member: which
    samples each model was trained on, (models, samples) booleans.
    """

    names: tuple[str, ...]
    margins: Array
    member: NDArray[np.bool_]

    def __post_init__(self) -> None:
        _check_confidence(self.margins)
        if self.margins.shape != self.member.shape or len(self.names) != len(self.margins):
            raise InputError(
                f"shadow models need a name, margins and membership each; got {len(self.names)} names, "
                f"{self.margins.shape} and {self.member.shape}"
            )
        if self.member.dtype != np.bool_:
            raise InputError(f"membership must be booleans, got {self.member.dtype}")

    def refuse(self, name: str) -> None:
        """Raise InputError for a model that the attack would be fitted on."""
        if name in self.names:
            raise InputError(f"{name} is one of the shadow models; an attack must be evaluated on others")


def mia_efficacy(retain: ArrayLike, test: ArrayLike, forget: ArrayLike) -> NDArray[np.bool_]:
    """Which forgotten samples an SVC takes for non-members, from p_y alone; its mean is MIA-efficacy (N,).

    retain, test, forget: p_y of each sample, (n,). SVC(C = 3, rbf) is fitted on retain against test, the
    larger of which is thinned evenly to the size of the smaller (Jia et al. 2023). High is "looks forgotten";
    the target is the reference's value, not 1.
    """
    from sklearn.svm import SVC

    members, others, asked = (_shares(part) for part in (retain, test, forget))
    size = min(len(members), len(others))
    members, others = (part[np.linspace(0, len(part) - 1, size).round().astype(int)] for part in (members, others))
    classifier = SVC(C=3, kernel="rbf", gamma="auto")
    classifier.fit(np.concatenate([members, others])[:, None], np.repeat([1, 0], size))
    return np.asarray(classifier.predict(asked[:, None]) == 0)


def lira(shadows: Shadows, name: str, margins: ArrayLike) -> Array:
    """log N(φ; μ_in, σ_in) − log N(φ; μ_out, σ_out) per sample (N,): online LiRA (Carlini et al. 2022, algorithm 1).

    name, margins: the model that is attacked and its φ, (samples,). σ_in and σ_out are pooled over the samples,
    as the paper does with few shadow models. Raises InputError for a model that is one of the shadows, for
    booleans, and where a sample lies in, or outside, fewer than 2 shadow models.
    """
    shadows.refuse(name)
    phi = _check_confidence(np.asarray(margins)[None])[0]
    inside, outside = _moments(shadows, shadows.member), _moments(shadows, ~shadows.member)
    return np.asarray(_log_normal(phi, *inside) - _log_normal(phi, *outside), np.float64)


def lira_offline(shadows: Shadows, name: str, margins: ArrayLike) -> Array:
    """How many pooled σ_out the confidence lies above μ_out (N,): offline LiRA (Carlini et al. 2022, equation 4).

    Its normal distribution function is the paper's 1 − Pr[Z > φ]; left as a z value it does not saturate.
    Raises InputError as `lira` does.
    """
    shadows.refuse(name)
    phi = _check_confidence(np.asarray(margins)[None])[0]
    mean, spread = _moments(shadows, ~shadows.member)
    return np.asarray((phi - mean) / spread, np.float64)


def u_lira(unlearned: ArrayLike, retrained: ArrayLike, fit: Sequence[int], test: Sequence[int]) -> Array:
    """AUC per sample with which held-out unlearned models are told from retrained ones (samples,).

    unlearned, retrained: margins (models, samples); row i of both comes from the same pair of data sets.
    fit, test: rows to fit the two normal distributions of each sample on, and rows to judge (Hayes et al.
    2024; Kurmanji et al. 2023). 0.5: cannot be told apart, which is best. Raises InputError where
    fit and test share a row or fit has fewer than 2.
    """
    a, b = _check_confidence(unlearned), _check_confidence(retrained)
    if set(fit) & set(test):
        raise InputError(f"U-LiRA must not be fitted and tested on the same models; shared: {set(fit) & set(test)}")
    if len(fit) < FEWEST or not test or a.shape[1] != b.shape[1]:
        raise InputError(f"U-LiRA needs 2 models to fit and 1 to test, of the same samples; got {a.shape}, {b.shape}")
    rows, held = list(fit), list(test)
    freedom = (len(rows) - 1) * a.shape[1]
    moments = [(part[rows].mean(0), _spread(part[rows] - part[rows].mean(0), freedom)) for part in (a, b)]

    def score(margins: Array) -> Array:
        return _log_normal(margins, *moments[0]) - _log_normal(margins, *moments[1])

    pairs = zip(score(a[held]).T, score(b[held]).T, strict=True)
    return np.array([verify.auc(x, y) for x, y in pairs])


def rmia(
    shadows: Shadows, name: str, log_p: ArrayLike, shadow_log_p: ArrayLike, population: Sequence[int], gamma: float
) -> Array:
    """P_z[(P(x|θ)/P(x)) / (P(z|θ)/P(z)) ≥ γ] per sample, in 0…1 (N,) (Zarifzadeh et al. 2024, equation 4).

    log_p: log p_y under the model that is attacked, (samples,). shadow_log_p: under the shadow models,
    (models, samples); P(x) is the mean of their p_y, half of them with x, half without. population: columns of
    the z, not trained on by the model; x is never its own z. Raises InputError as `lira` does.
    """
    shadows.refuse(name)
    own, others = np.asarray(log_p, np.float64), np.asarray(shadow_log_p, np.float64)
    if others.shape != shadows.margins.shape or own.shape != others.shape[1:]:
        raise InputError(f"log p of {shadows.margins.shape} was expected, got {others.shape} and {own.shape}")
    if (own > 0).any() or (others > 0).any() or not (np.isfinite(own).all() and np.isfinite(others).all()):
        raise InputError("log p must be finite and at most 0")
    top = others.max(0)
    ratio = own - (top + np.log(np.exp(others - top).mean(0)))
    z = list(population)
    wins = ratio[:, None] - ratio[None, z] >= np.log(gamma)
    itself = np.arange(len(own))[:, None] == np.array(z)[None]
    counts = (~itself).sum(1)
    if not (counts > 0).all():
        raise InputError("RMIA needs a population of other samples")
    return np.asarray((wins & ~itself).sum(1) / counts, np.float64)


def _moments(shadows: Shadows, chosen: NDArray[np.bool_]) -> tuple[Array, float]:
    """The mean of each sample over the chosen models, and the spread pooled over samples."""
    counts = chosen.sum(0)
    if counts.min() < FEWEST:
        raise InputError(
            f"LiRA needs at least {FEWEST} shadow models with each sample and {FEWEST} without; a sample has "
            f"{counts.min()}; raise shadow.models"
        )
    means = np.where(chosen, shadows.margins, 0).sum(0) / counts
    return means, _spread(np.where(chosen, shadows.margins - means, 0), int((counts - 1).sum()))


def _spread(deviations: Array, freedom: int) -> float:
    """The standard deviation pooled over all samples; freedom: what is left of their number after their means."""
    return float(max(np.sqrt((deviations**2).sum() / freedom), 1e-6))


def _log_normal(x: Array, mean: Array, spread: float) -> Array:
    return np.asarray(-(((x - mean) / spread) ** 2) / 2 - np.log(spread), np.float64)


def _check_confidence(margins: ArrayLike) -> Array:
    raw = np.asarray(margins)
    if raw.dtype == np.bool_:
        raise InputError("LiRA works on the logit-scaled confidence, not on whether the answer is right")
    if raw.ndim != 2 or raw.size == 0 or not np.isfinite(raw).all():
        raise InputError(f"margins must be finite, (models, samples); got shape {raw.shape}")
    return raw.astype(np.float64)


def _shares(p: ArrayLike) -> Array:
    x = np.asarray(p, np.float64)
    if x.ndim != 1 or len(x) == 0 or not ((x >= 0) & (x <= 1)).all():
        raise InputError(f"p_y must be numbers in 0…1, at least one; got shape {x.shape}")
    return x
