"""Metrics of unlearning: pure functions of what models answer, in float64.

Logits are (N, classes), labels (N,) of 0…classes−1. Empty or malformed input is an InputError; a value that
does not exist is None, and the caller says why. None of these says that a model has forgotten: each is read
beside its value for the original model, R0 and R1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vestige.types import InputError

Array = NDArray[np.float64]

LOG2 = math.log(2)
"""The largest Jensen–Shannon divergence, in nats."""

BUCKET, BUCKETS = 0.5, 13
"""Width and number of the contest's buckets of ε; the last is open upwards."""


def softmax(logits: ArrayLike) -> Array:
    """The probabilities (N, classes) of logits, without overflow."""
    z = _logits(logits)
    return np.exp(z - _logsumexp(z)[:, None])


def losses(logits: ArrayLike, labels: ArrayLike) -> Array:
    """−log p_y per sample, in nats (N,)."""
    z, y = _labelled(logits, labels)
    return np.asarray(_logsumexp(z) - z[np.arange(len(y)), y], np.float64)


def margins(logits: ArrayLike, labels: ArrayLike) -> Array:
    """The logit-scaled confidence log(p_y / (1 − p_y)) per sample (N,).

    Computed as f_y − log Σ_{j≠y} exp f_j, which neither overflows nor saturates where p_y rounds to 1
    (Carlini et al. 2022, section 4; the margin of Georgiev et al. 2024).
    """
    z, y = _labelled(logits, labels)
    others = z.copy()
    others[np.arange(len(y)), y] = -np.inf
    return np.asarray(z[np.arange(len(y)), y] - _logsumexp(others), np.float64)


def modified_entropy(logits: ArrayLike, labels: ArrayLike) -> Array:
    """−(1 − p_y) log p_y − Σ_{j≠y} p_j log(1 − p_j) per sample, in nats (N,); small for members.

    Low for confident right answers, high for confident wrong ones (Song and Mittal 2021, equation 4).
    """
    z, y = _labelled(logits, labels)
    rows = np.arange(len(y))
    p = softmax(z)
    total = _logsumexp(z)
    log_rest = np.empty_like(z)
    for j in range(z.shape[1]):
        log_rest[:, j] = _logsumexp(np.delete(z, j, axis=1)) - total
    terms = p * log_rest
    terms[rows, y] = np.exp(log_rest[rows, y]) * (z[rows, y] - total)
    return np.asarray(-terms.sum(1), np.float64)


def accuracy(logits: ArrayLike, labels: ArrayLike) -> float:
    """The share of right answers."""
    z, y = _labelled(logits, labels)
    return float((z.argmax(1) == y).mean())


def average_gap(values: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """The mean of |value − reference| over UA, RA, TA and MIA, whatever is named (Fan et al. 2024).

    Raises InputError unless both name the same quantities, at least one.
    """
    if not values or values.keys() != reference.keys():
        raise InputError(f"the average gap needs the same values of both; got {[*values]} and {[*reference]}")
    return float(np.mean([abs(values[name] - reference[name]) for name in values]))


def tug_of_war(values: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """ToW = Π (1 − |a − a_ref|) over the accuracies on D_f, D_r and D_test; 1 is equal (Zhao et al. 2024)."""
    if not values or values.keys() != reference.keys():
        raise InputError(f"ToW needs the same accuracies of both; got {[*values]} and {[*reference]}")
    return float(np.prod([1 - abs(values[name] - reference[name]) for name in values]))


def jensen_shannon(p: ArrayLike, q: ArrayLike) -> Array:
    """½ KL(p‖m) + ½ KL(q‖m), m = (p + q)/2, per row, in nats: 0 where equal, log 2 where disjoint (N,).

    p, q: probabilities (N, classes). Symmetric; the classes are summed, not averaged.
    """
    a, b = _probabilities(p), _probabilities(q)
    if a.shape != b.shape:
        raise InputError(f"a divergence needs two distributions of one shape, got {a.shape} and {b.shape}")
    middle = (a + b) / 2
    return np.clip((_kl_terms(a, middle) + _kl_terms(b, middle)) / 2, 0, LOG2)


def zrf(p: ArrayLike, untrained: ArrayLike) -> Array:
    """1 − JS(model, untrained network) per sample (N,); its mean over D_f is ZRF (Chundawat et al. 2023, equation 5).

    1: answers as an untrained network does, which R0 need not. In nats, so never below 1 − log 2.
    """
    return np.asarray(1 - jensen_shannon(p, untrained), np.float64)


def activation_distance(p: ArrayLike, reference: ArrayLike) -> Array:
    """‖p − p_ref‖₂ per sample (N,), in 0…√2; its mean over D_f is the metric (Chundawat et al. 2023)."""
    a, b = _probabilities(p), _probabilities(reference)
    if a.shape != b.shape:
        raise InputError(f"a distance needs two distributions of one shape, got {a.shape} and {b.shape}")
    return np.asarray(np.linalg.norm(a - b, axis=1), np.float64)


def relearn_time(accuracy: ArrayLike, original: float) -> int | None:
    """The first step at which the accuracy on D_f is back at the original model's; 0 where it never left.

    accuracy: before any step, after 1, 2, … steps (Golatkar et al. 2020; Tarun et al. 2023). None where
    these steps do not reach it.
    """
    curve = _numbers(accuracy, "a relearning curve")
    reached = np.flatnonzero(curve >= original - 1e-12)
    return int(reached[0]) if len(reached) else None


def residual_knowledge(right: ArrayLike, reference: ArrayLike) -> Array:
    """P[m(x′) = y] / P[ref(x′) = y] per sample, NaN where the denominator is 0 (Hsu et al. 2025).

    right, reference: whether the answer is right at each of the same draws x′ around x, (N, draws) booleans.
    1 is equal; above 1 the model knows more of the neighbourhood than its reference.
    """
    a, b = np.asarray(right, bool), np.asarray(reference, bool)
    if a.shape != b.shape or a.ndim != 2 or a.size == 0:
        raise InputError(f"residual knowledge needs the same draws of both, (N, draws); got {a.shape} and {b.shape}")
    above, below = a.mean(1), b.mean(1)
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0), np.float64)


def klom(unlearned: ArrayLike, retrained: ArrayLike, bins: int = 20) -> Array:
    """KL(retrained ‖ unlearned) between histograms of each sample's margin, in nats (samples,).

    unlearned, retrained: margins (models, samples), at least 2 models each. The bins divide the range of both
    (Georgiev et al. 2024, appendix E.1). To every bin 1/bins of a count is added, so that an empty one leaves
    the divergence finite; 0 for equal sets. With few models its floor is far above 0: read it beside R0's.
    """
    a, b = _pair(unlearned, retrained)
    found = []
    for x, y in zip(a.T, b.T, strict=True):
        edges = (min(x.min(), y.min()), max(x.max(), y.max()))
        if (np.diff(np.linspace(*edges, bins + 1)) <= 0).any():  # one point, as far as floats can tell
            found.append(0.0)
            continue
        of_x, of_y = (
            (np.histogram(values, bins, edges)[0] + 1 / bins) / (len(values) + 1) for values in (x, y)
        )  # one count in all is added
        found.append(float(_kl_terms(of_y[None], of_x[None])[0]))
    return np.array(found)


def epsilons(unlearned: ArrayLike, retrained: ArrayLike, delta: float = 1e-5) -> Array:
    """How well each sample tells unlearned models from retrained ones: ε (samples,), 0 or more, inf if wholly.

    unlearned, retrained: margins (models, samples), at least 2 models each. ε is the *largest* over all attacks
    of max{log(1−δ−FPR) − log FNR, log(1−δ−FNR) − log FPR}. The attacks call a model unlearned where its
    margin lies beyond one threshold, on either side, or between two, inside or outside. One that makes no
    error gives infinity; one with a single error rate of 0 is discarded, as in the contest (Triantafillou
    et al. 2024, algorithm 1).
    """
    a, b = _pair(unlearned, retrained)
    return np.array([_epsilon(x, y, delta) for x, y in zip(a.T, b.T, strict=True)])


def forgetting_quality(eps: ArrayLike) -> float:
    """The mean of H = 2 / 2^bucket over samples: 1 where every ε is below 0.5, 2⁻¹² where all are 6 or more.

    Bucket n holds ε in [0.5 (n − 1), 0.5 n) (Triantafillou et al. 2024, equation 3).
    """
    e = np.asarray(eps, np.float64)
    if e.ndim != 1 or len(e) == 0 or np.isnan(e).any() or (e < 0).any():
        raise InputError("forgetting quality needs one ε of at least 0 per sample")
    bucket = np.digitize(e, np.arange(BUCKETS) * BUCKET)
    return float((2.0 / 2.0**bucket).mean())


def _epsilon(unlearned: Array, retrained: Array, delta: float) -> float:
    """All thresholds between neighbouring margins: how many of each kind lie in every interval of them."""
    cuts = np.unique(np.concatenate([unlearned, retrained]))
    ends = np.triu_indices(len(cuts) + 1, 1)

    def caught(margins: Array) -> Array:
        """The share of these models inside, then outside, every interval."""
        below = np.concatenate([[0], (margins[None] <= cuts[:, None]).sum(1)])
        inside = (below[None, :] - below[:, None])[ends]
        return np.asarray(np.concatenate([inside, len(margins) - inside]) / len(margins), np.float64)

    fpr, fnr = caught(retrained), np.roll(caught(unlearned), len(ends[0]))  # missed inside is caught outside
    if ((fnr == 0) & (fpr == 0)).any():
        return math.inf
    kept = (fnr > 0) & (fpr > 0)
    best = 0.0
    for a, b in ((fpr[kept], fnr[kept]), (fnr[kept], fpr[kept])):
        possible = a < 1 - delta
        best = max([best, *(np.log(1 - delta - a[possible]) - np.log(b[possible])).tolist()])
    return best


def _kl_terms(p: Array, q: Array) -> Array:
    """Σ p log(p/q) per row; 0 log 0 = 0."""
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return np.asarray((p * np.log(ratio)).sum(1), np.float64)


def _logsumexp(z: Array) -> Array:
    top = z.max(1)
    return np.asarray(top + np.log(np.exp(z - top[:, None]).sum(1)), np.float64)


def _logits(logits: ArrayLike) -> Array:
    z = np.asarray(logits, np.float64)
    if z.ndim != 2 or len(z) == 0 or z.shape[1] < 2:
        raise InputError(f"logits must be (N, classes) with at least one sample and two classes, got {z.shape}")
    if not np.isfinite(z).all():
        raise InputError("logits must be finite; a model that diverged has no metrics")
    return z


def _labelled(logits: ArrayLike, labels: ArrayLike) -> tuple[Array, NDArray[np.int64]]:
    z, y = _logits(logits), np.asarray(labels)
    if y.shape != (len(z),) or y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= z.shape[1]:
        raise InputError(f"{len(z)} labels in 0…{z.shape[1] - 1} are needed, got {y.dtype} of shape {y.shape}")
    return z, y.astype(np.int64)


def _probabilities(p: ArrayLike) -> Array:
    a = np.asarray(p, np.float64)
    if a.ndim != 2 or len(a) == 0 or not (a >= 0).all() or not np.allclose(a.sum(1), 1, atol=1e-6):
        raise InputError(f"probabilities must be (N, classes), at least 0 and of sum 1 in each row; got {a.shape}")
    return a


def _numbers(values: ArrayLike, what: str) -> Array:
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or len(x) == 0 or not np.isfinite(x).all():
        raise InputError(f"{what} must be finite numbers, at least one; got shape {x.shape}")
    return x


def _pair(unlearned: ArrayLike, retrained: ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(unlearned, np.float64), np.asarray(retrained, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2 or a.shape[1] == 0:
        raise InputError(
            f"at least 2 unlearned and 2 retrained models with the same samples are needed; got {a.shape} and {b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("margins must be finite; a model that diverged has no metrics")
    return a, b
