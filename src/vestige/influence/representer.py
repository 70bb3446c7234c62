"""Influence on the last layer of any network, by representers (Yeh et al. 2018).

Where the last layer W is stationary under weight decay λ, (1/n) Σ ∂L_i/∂z fᵢᵀ + λW = 0, so the logits of any x are

    z(x) = Σ_i α_i ⟨f_i, f(x)⟩,    α_i = −∂L_i/∂z / (λ n),

f what the last layer sees, with a 1 beside it where the layer has a bias. What the layers before it owe to each sample
is not asked. A layer as it was trained is rarely stationary; `refit` fits one to the network's own answers until it is,
as the published method does for a given network. In both cases what the sum leaves of the network's margin is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vestige.influence.exact import ENOUGH, Contributions
from vestige.types import InputError, Samples

if TYPE_CHECKING:
    from torch import nn

    from vestige.modality import Modality

CHUNK = 256
"""Samples that the network sees at once: bounds the memory."""

DECAY = 3e-3
"""λ of a refit where training had none (Yeh et al. 2018, CIFAR-10)."""

STATIONARY = 1e-4
"""A refit that stays further from stationarity than this is warned of."""

PATIENCE = 2000
"""Steps of L-BFGS at most; `Representers.violation` says how far from stationarity they led."""


@dataclass(frozen=True)
class LastLayer:
    """What the last layer sees of N samples and makes of it, in float64.

    inputs: (N, width), a last column of 1 where the layer has a bias. logits: (N, classes). answers: labels, (N,).
    weight: how much each counts in a mean, (N,) of mean 1.
    """

    ids: tuple[str, ...]
    inputs: np.ndarray
    logits: np.ndarray
    answers: np.ndarray
    weight: np.ndarray

    @property
    def toward(self) -> np.ndarray:
        """The direction of each margin, (N, classes): the answer less the softmax over all others, held constant."""
        rest = self.logits.copy()
        rest[np.arange(len(rest)), self.answers] = -np.inf
        return np.asarray(self.wanted - softmax(rest))

    @property
    def wanted(self) -> np.ndarray:
        """The answers as probabilities, (N, classes)."""
        return np.asarray(np.eye(self.logits.shape[1])[self.answers])

    @property
    def margin(self) -> np.ndarray:
        """The answer's logit over the others', (N,), as in `influence.exact`."""
        return np.asarray((self.toward * self.logits).sum(1))


def look(model: nn.Module, samples: Samples, *, modality: Modality) -> LastLayer:
    """What the last layer of a classifier sees of these samples. Raises InputError for a model without one."""
    import torch

    inputs, logits = [], []
    with torch.no_grad():
        for at in range(0, len(samples), CHUNK):
            part = samples.at(slice(at, at + CHUNK))
            inputs.append(modality.embed(model, part).double().cpu().numpy())
            logits.append(modality.logits(model, part).double().cpu().numpy())
    seen, said = np.concatenate(inputs), np.concatenate(logits)
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    if not layers or (layers[-1].out_features, layers[-1].in_features) != (said.shape[1], seen.shape[1]):
        raise InputError(
            f"representers need a linear last layer that makes {said.shape[1]} logits of the {seen.shape[1]} numbers "
            f"that it sees; {type(model).__name__} does not end in one"
        )
    if layers[-1].bias is not None:
        seen = np.column_stack([seen, np.ones(len(seen))])
    weight = np.ones(len(samples)) if samples.weight is None else samples.weight.double().cpu().numpy()
    return LastLayer(samples.ids, seen, said, samples.y.cpu().numpy(), weight)


@dataclass(frozen=True)
class Representers:
    """The last layer as a sum over n training samples.

    alpha: α (n, classes). decay: λ. refit: whether α belongs to a layer fitted to the network's answers, not to the
    network's own layer. explained: 1 − ‖z − Σ α⟨f, f⟩‖² / ‖z‖² over the training samples' logits (each less its mean
    over classes, which no margin sees); at most 1, below 0 where the sum is further from z than nothing is, 0 where z
    is 0. violation: of the refit, ‖W − Σ α fᵀ‖ / ‖W‖, 0 at stationarity; of the layer as trained, None.
    """

    members: LastLayer
    alpha: np.ndarray
    decay: float
    refit: bool
    explained: float
    violation: float | None

    @property
    def stopped(self) -> str:
        """Why a refit is not to be relied on, "" where it is."""
        if self.violation is not None and self.violation > STATIONARY:
            return (
                f"the refit stopped {self.violation:.0e} away from stationarity; the parts are off by as much or more"
            )
        return ""

    @property
    def warning(self) -> str:
        """Why the parts rest on little, "" where they do not."""
        return self.stopped or too_little(self.explained, "logits", self.refit)


def too_little(explained: float, what: str, refit: bool) -> str:
    """The warning where sums over training samples explain little of the `what`, "" where they do not."""
    if explained >= ENOUGH:
        return ""
    return (
        f"the sum over training samples explains only {100 * max(explained, 0):.0f} % of the {what} "
        f"({100 * ENOUGH:.0f} % would do): the last layer is too far from stationarity; read the parts with what "
        "is unexplained beside them" + ("" if refit else ", or refit it")
    )


def represent(members: LastLayer, *, decay: float, refit: bool) -> Representers:
    """α of these training samples.

    members: all that the network was trained on. decay: λ > 0, the factor on λ‖W‖²/2 beside the mean loss, for the
    layer as it was trained that of its training. refit: fit a layer to the network's answers first (Yeh et al. 2018,
    section 3.2). Raises InputError for another decay.
    """
    if not decay > 0:
        raise InputError(
            f"representers divide by the weight decay of the last layer, which is {decay:g} here; refit the layer with "
            "one above 0"
        )
    scale = members.weight[:, None] / (decay * len(members.ids))
    wanted, said, violation = members.wanted, members.logits, None
    if refit:
        wanted = softmax(members.logits)
        W = fit(members.inputs, wanted, decay=decay, weight=members.weight)
        said = members.inputs @ W.T
    alpha = scale * (wanted - softmax(said))
    if refit:
        violation = float(np.linalg.norm(W - alpha.T @ members.inputs) / np.linalg.norm(W))
    z = members.logits - members.logits.mean(1, keepdims=True)
    left = z - members.inputs @ (members.inputs.T @ alpha)
    size = float((z**2).sum())
    explained = 1 - float((left**2).sum()) / size if size else 0.0
    return Representers(members, alpha, decay, refit, explained, violation)


def fit(inputs: np.ndarray, wanted: np.ndarray, *, decay: float, weight: np.ndarray | None = None) -> np.ndarray:
    """W (classes, width) that minimises the mean cross-entropy to `wanted` plus λ‖W‖²/2, by L-BFGS.

    inputs: (n, width). wanted: probabilities, (n, classes). decay: λ > 0. weight: of the samples in the mean, (n,).
    """
    from scipy.optimize import minimize

    classes, each = wanted.shape[1], (np.ones(len(inputs)) if weight is None else weight) / len(inputs)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        W = flat.reshape(classes, -1)
        z = inputs @ W.T
        p = softmax(z)
        top = z.max(1, keepdims=True)
        log_p = z - top - np.log(np.exp(z - top).sum(1, keepdims=True))
        slope = (each[:, None] * (p - wanted)).T @ inputs + decay * W
        return float(-(each @ (wanted * log_p).sum(1)) + decay * (W**2).sum() / 2), slope.ravel()

    start = np.zeros(classes * inputs.shape[1])
    limits = {"maxiter": PATIENCE, "maxfun": 2 * PATIENCE, "ftol": 0.0, "gtol": 1e-10, "maxcor": 30}
    return np.asarray(minimize(objective, start, jac=True, method="L-BFGS-B", options=limits).x.reshape(classes, -1))


def contributions(found: Representers, asked: LastLayer) -> Contributions:
    """What each training sample adds to each margin through the last layer: ⟨c, α_j⟩⟨f_j, f⟩, c the margin's direction.

    As `influence.contributions`; nothing is left of a start.
    """
    parts = (asked.inputs @ found.members.inputs.T) * (asked.toward @ found.alpha.T)
    return Contributions(asked.ids, found.members.ids, asked.margin, parts, np.zeros(len(asked.ids)))


def softmax(z: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    from scipy.special import softmax as of

    return np.asarray(of(z, axis=-1))
