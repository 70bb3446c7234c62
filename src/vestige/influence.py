"""Influence, exactly: which training samples carry a network's output, by the stationarity of its weights.

A homogeneous network that gradient descent has trained satisfies θ = Σ λ_j ∇m_j with λ_j ≥ 0, so Euler's identity
splits the margin of any sample x into what each training sample contributes:

    m(x) = ⟨θ, ∇m(x)⟩ / L = Σ_j λ_j K(x, x_j) / L + what the start left + what is not explained,

L the number of layers, K the kernel of the margins' gradients (`image.kernel`). λ is found by non-negative least
squares on K (`multipliers`). With weight decay the weights at the start are still there, times (1 − lr·wd)^T; where
they are known, they are taken out of θ first and shown as a part of their own. Sums hold by construction; how much of
θ is explained says how far the parts can be trusted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige import multipliers
from vestige.config import MLPConfig, ModelConfig, TrainConfig
from vestige.types import InputError, Samples, Split

if TYPE_CHECKING:
    from torch import nn

    from vestige.image.kernel import Factors
    from vestige.image.networks import MLP
    from vestige.image.objective import Weights

ENOUGH = 0.5
"""The share of θ that must be explained for shares to be told; below it the model is too far from stationarity."""

PARTS = ("own", "similar", "near", "other", "start", "unexplained")
"""What a margin is split into, in the order in which it is told."""

RANGED = ("own", "similar")
"""The parts whose ranges are told."""

NOT_HOMOGENEOUS = (
    "influence by multipliers applies to the homogeneous MLP only, {found}: it explains the weights as Σ λ∇m, which "
    "holds where scaling all weights scales the output; leave influence out of measure"
)


def check(config: ModelConfig, sharded: bool) -> None:
    """Raise InputError for models that are not one homogeneous MLP. sharded: trained in shards (train.sisa)."""
    if not isinstance(config, MLPConfig):
        raise InputError(NOT_HOMOGENEOUS.format(found=f"and model.kind is {config.kind}"))
    if sharded:
        raise InputError(NOT_HOMOGENEOUS.format(found="and train.sisa makes an ensemble of several"))


@dataclass(frozen=True)
class Start:
    """The network before training, and the factor by which weight decay has shrunk it since, in [0, 1]."""

    model: nn.Module
    left: float


def left_of_start(config: TrainConfig, samples: int) -> float | None:
    """Π (1 − lr·wd) over all gradient steps of training; None with momentum, which leaves no such product."""
    if config.momentum:
        return None
    each = math.ceil(samples / (config.batch or samples))
    left = 1.0
    for step in range(config.steps):
        rate = (1 + math.cos(math.pi * step / config.steps)) / 2 if config.schedule == "cosine" else 1.0
        left *= (1 - config.lr * rate * config.weight_decay) ** each
    return left


@dataclass(frozen=True)
class Trained:
    """A trained network, on the CPU, and its weights θ, from which the start that is left is taken out.

    origin: the weights at the start, None where they are not known. left: the factor on them. size: ‖θ‖².
    """

    model: MLP
    origin: Weights | None
    left: float
    size: float

    @classmethod
    def of(cls, model: nn.Module, start: Start | None) -> Trained:
        """Raises InputError for a network that is not the homogeneous MLP, and for the start of another one."""
        import torch

        from vestige.image.networks import MLP
        from vestige.image.objective import Weights

        if not isinstance(model, MLP):
            raise InputError(NOT_HOMOGENEOUS.format(found=f"got {type(model).__name__}"))
        model = copy.deepcopy(model).cpu()
        theta = Weights.of(model, torch.float64)
        if start is None:
            return cls(model, None, 0.0, theta.squared_norm())
        origin = None
        if isinstance(start.model, MLP):
            origin = Weights.of(copy.deepcopy(start.model).cpu(), torch.float64)
        if origin is None or [w.shape for w in origin.layers] != [w.shape for w in theta.layers]:
            raise InputError("the start of training has other weights than the model; give the network it began as")
        return cls(model, origin, start.left, theta.minus(origin, start.left).squared_norm())

    def factors(self, samples: Samples) -> Factors:
        from vestige.image.kernel import factors

        here = samples.to("cpu")
        return factors(self.model, here.x, here.y)

    def of_start(self, asked: Factors) -> np.ndarray:
        """What the start that is left adds to ⟨weights, ∇m⟩, (N,)."""
        from vestige.image.kernel import project

        if self.origin is None:
            return np.zeros(len(asked))
        return np.asarray(self.left * project(asked, self.origin).numpy())

    def slope(self, asked: Factors) -> np.ndarray:
        """⟨θ, ∇m⟩ of each sample, (N,): degree · margin by Euler's identity, less what the start adds."""
        return np.asarray(asked.degree * asked.margin.numpy() - self.of_start(asked))


@dataclass(frozen=True)
class Explanation:
    """θ as a combination of margin gradients.

    ids: the samples, n of them. multipliers: λ (n,), ≥ 0. explained: the share of ‖θ‖² that Σ λ∇m explains, in
    [0, 1]. violation: of the conditions of the minimum (`multipliers.violation`). factors, gram, slope: of the samples.
    """

    trained: Trained
    ids: tuple[str, ...]
    factors: Factors
    gram: np.ndarray
    slope: np.ndarray
    multipliers: np.ndarray
    explained: float
    violation: float

    @property
    def why_not(self) -> str:
        """Why shares cannot be told, "" where they can."""
        return why_not(self.explained)


def why_not(explained: float) -> str:
    """Why shares cannot be told where this share of θ is explained, "" where they can."""
    if explained >= ENOUGH:
        return ""
    return (
        f"only {100 * explained:.0f} % of the weights are explained by their training samples, "
        f"{100 * ENOUGH:.0f} % are needed: the model is too far from stationarity"
    )


def explain(model: nn.Module, samples: Samples, *, start: Start | None = None) -> Explanation:
    """λ ≥ 0 with θ ≈ Σ λ_j ∇m_j over these samples, by non-negative least squares.

    model: a homogeneous MLP. samples: what it was trained on; with never-seen samples among them, their λ are the null
    of the multiplier test. start: where training began, None where that is not known. Raises InputError for another
    network and for the start of another one.
    """
    from vestige.image.kernel import gram

    trained = Trained.of(model, start)
    made = trained.factors(samples)
    K, b = gram(made).numpy(), trained.slope(made)
    found = multipliers.solve(K, b)
    explained = -multipliers.objective(K, b, found) / trained.size
    return Explanation(trained, samples.ids, made, K, b, found, explained, multipliers.violation(K, b, found))


def tolerance(explanation: Explanation, never_seen: Samples) -> float:
    """How much of ‖θ‖² the fit may lose before it counts as worse: what noise can gain.

    That is the most that letting in any one of these never-seen samples would gain (`multipliers.gains`).
    """
    from vestige.image.kernel import kernel

    asked = explanation.trained.factors(never_seen)
    cross = kernel(explanation.factors, asked).numpy()
    slope, norms = explanation.trained.slope(asked), asked.norms().numpy()
    gain = multipliers.gains(explanation.gram, explanation.multipliers, cross, slope, norms)
    return float(gain.max()) / explanation.trained.size


@dataclass(frozen=True)
class Contributions:
    """The margins of N samples, split: margin = parts.sum(1) + start + unexplained.

    ids: N. of: the n training samples. margin, start, unexplained: (N,). parts: (N, n), λ_j K_ij / L.
    """

    ids: tuple[str, ...]
    of: tuple[str, ...]
    margin: np.ndarray
    parts: np.ndarray
    start: np.ndarray

    @property
    def unexplained(self) -> np.ndarray:
        """What is left of each margin: 0 for a training sample with λ > 0."""
        return np.asarray(self.margin - self.parts.sum(1) - self.start)

    def top(self, name: str, count: int = 5) -> tuple[tuple[str, float], ...]:
        """The training samples that carry most of this sample's margin, itself left out, largest first."""
        row = self.parts[self.ids.index(name)]
        order = [int(at) for at in np.argsort(-row, kind="stable") if self.of[at] != name]
        return tuple((self.of[at], float(row[at])) for at in order[:count])


OFFERED = 15
"""Among how many of those who carry most the least replaceable are sought, at least."""


def carriers(model: nn.Module, members: Samples, forget: Samples, k: int) -> dict[str, tuple[str, ...]]:
    """The k training samples, beside those to forget, that the margin of each of these rests on (`least_replaceable`).

    model: trained on members, forget among them. Raises InputError for a model that is no homogeneous MLP, one too far
    from stationarity, and for fewer samples.
    """
    found = explain(model, members)
    if found.why_not:
        raise InputError(f"who carries most cannot be told: {found.why_not}; widen by SSIM instead")
    others = len(members) - len(set(forget.ids) & set(members.ids))
    if others < k:
        raise InputError(f"the {k} samples that carry most were asked for, only {others} others are there")
    return least_replaceable(found, forget, k)


def least_replaceable(explanation: Explanation, asked: Samples, k: int) -> dict[str, tuple[str, ...]]:
    """For each of these samples the k training samples without which the others can carry least of its margin.

    One after the other (greedily), those asked left out, among the OFFERED or 2k that carry most. A sample may
    carry much and yet be replaced by others once it is gone: `irreplaceable` tells.
    """
    split_up = contributions(explanation, asked)
    found = {}
    for name in asked.ids:
        top = [other for other, _ in split_up.top(name, len(explanation.ids)) if other not in asked.ids]
        offered = top[: max(OFFERED, 2 * k)]
        one, chosen = asked.take([name]), list[str]()
        while len(chosen) < k:
            left = [other for other in offered if other not in chosen]
            lost = [irreplaceable(explanation, [*asked.ids, *chosen, other], one)[0] for other in left]
            chosen.append(left[int(np.argmax(lost))])
        found[name] = tuple(chosen)
    return found


def contributions(explanation: Explanation, asked: Samples) -> Contributions:
    """What each training sample contributes to the margin of each of these samples."""
    from vestige.image.kernel import kernel

    trained = explanation.trained
    made = trained.factors(asked)
    parts = kernel(made, explanation.factors).numpy() * explanation.multipliers / made.degree
    return Contributions(asked.ids, explanation.ids, made.margin.numpy(), parts, trained.of_start(made) / made.degree)


def irreplaceable(explanation: Explanation, gone: Iterable[str], asked: Samples) -> np.ndarray:
    """How much of each margin only these training samples can carry, (N,), in logits.

    θ is explained anew without them; what the others then carry more than before is taken off. It foretells how
    retraining without them orders samples, not by how much: the network would also learn other features.
    """
    from vestige.image.kernel import kernel

    lost = set(gone)
    stays = np.array([name not in lost for name in explanation.ids])
    again = np.zeros(len(stays))
    again[stays] = multipliers.solve(
        explanation.gram[np.ix_(stays, stays)], explanation.slope[stays], start=explanation.multipliers[stays]
    )
    cross = kernel(explanation.trained.factors(asked), explanation.factors).numpy()
    return np.asarray(cross @ (explanation.multipliers - again) / explanation.factors.degree)


@dataclass(frozen=True)
class Choice:
    """As few as do. taken: their ids, first those to take first. residual: what is then expected."""

    taken: tuple[str, ...]
    residual: float


def choose_k(
    explanation: Explanation,
    asked: Samples,
    order: Mapping[str, Sequence[str]],
    reference: Mapping[str, Sequence[str]],
    residual: float,
) -> dict[str, Choice]:
    """For each of these samples, the smallest k such that forgetting the first k of its order leaves this residual.

    order: sample → who may be forgotten with it, first those to take first. reference: sample → those whose loss counts
    as residual 0 (R1); where there are none, all in its order. residual: in [0, 1], 1 as without the asked alone (R0).
    It is foretold by `irreplaceable`, 1 − (lost with the first k) / (lost with the reference), so no model is trained
    and an error of scale cancels. Where no k does, the one that comes nearest; nobody, where the reference carries
    nothing that others could not. Raises InputError for another residual.
    """
    if not 0 <= residual <= 1:
        raise InputError(f"a residual lies in [0, 1], 0 as R1 and 1 as R0; got {residual:g}")
    chosen = {}
    for name in asked.ids:
        one, offered = asked.take([name]), tuple(order[name])

        def lost(gone: Sequence[str], one: Samples = one) -> float:
            return float(irreplaceable(explanation, [*asked.ids, *gone], one)[0])

        alone = lost(())
        most = lost(reference.get(name) or offered) - alone
        left = [1.0]
        while most > 0 and left[-1] > residual and len(left) <= len(offered):
            left.append(1 - (lost(offered[: len(left)]) - alone) / most)
        k = int(np.argmin(left))
        chosen[name] = Choice(offered[:k], left[k])
    return chosen


Kin = Mapping[str, Iterable[str]]
""""similar", "near" → the training samples that are so to one sample."""


@dataclass(frozen=True)
class Share:
    """One sample's margin and its PARTS, which sum to it, in logits.

    ranges: part → the smallest and largest value that fits θ nearly as well, for "own" and "similar".
    """

    name: str
    margin: float
    parts: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]]


def divide(found: Contributions, name: str, kin: Kin) -> dict[str, float]:
    """The PARTS of one sample's margin, in logits; "other" is all training samples that are not named."""
    at = found.ids.index(name)
    groups = {"own": {name}, **{group: set(ids) - {name} for group, ids in kin.items()}}
    named = set().union(*groups.values())
    groups["other"] = set(found.of) - named

    def total(group: str) -> float:
        return float(sum(found.parts[at, j] for j, other in enumerate(found.of) if other in groups.get(group, ())))

    rest = {"start": float(found.start[at]), "unexplained": float(found.unexplained[at])}
    return {part: total(part) for part in PARTS if part not in rest} | rest


def shares(explanation: Explanation, asked: Samples, kin: Mapping[str, Kin], slack: float) -> tuple[Share, ...]:
    """The margin of each of these samples, split into PARTS, with how far own and similar can be told apart.

    kin: sample → its similar and near training samples. slack: the share of ‖θ‖² by which a fit may be worse and still
    count (`tolerance`); near-copies have nearly the same gradient, so much may move between them.
    """
    found = contributions(explanation, asked)
    made = []
    for at, name in enumerate(asked.ids):
        parts = divide(found, name, kin.get(name, {}))
        groups = dict(zip(RANGED, ({name}, set(kin.get(name, {}).get("similar", ())) - {name}), strict=True))
        ranges = {part: _range(explanation, asked, at, ids, slack) for part, ids in groups.items()}
        made.append(Share(name, float(found.margin[at]), parts, ranges))
    return tuple(made)


def _range(explanation: Explanation, asked: Samples, at: int, ids: set[str], slack: float) -> tuple[float, float]:
    """The least and the most that these training samples may contribute to one sample's margin."""
    from vestige.image.kernel import kernel

    inside = np.array([name in ids for name in explanation.ids])
    if not inside.any():
        return 0.0, 0.0
    row = kernel(explanation.trained.factors(asked.at(slice(at, at + 1))), explanation.factors).numpy()[0]
    direction = np.where(inside, row, 0.0) / explanation.factors.degree
    budget = slack * explanation.trained.size
    return multipliers.extremes(explanation.gram, explanation.slope, explanation.multipliers, direction, budget)


def record(share: Share, found: Contributions, explained: float) -> dict[str, Any]:
    """A share as a plain record, with the training samples that carry most; why: the reason where it cannot be told."""
    return {
        "target": share.name, "margin": share.margin, "parts": dict(share.parts),
        "ranges": {part: list(ends) for part, ends in share.ranges.items()},
        "top": [list(pair) for pair in found.top(share.name)], "explained": explained, "why": why_not(explained),
    }  # fmt: skip


def kin_of(split: Split, training: str) -> dict[str, Kin]:
    """Each target's similar and near samples in this training arm."""
    return {
        name: {"similar": split.similar[name] if training == "with" else (), "near": split.near[name]}
        for name in split.target
    }


def ask(
    model: nn.Module, members: Samples, candidates: Samples, split: Split, training: str, *, start: Start | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What is kept of one model: facts, and arrays in float64.

    members: what its weights were trained on, n of them. candidates: all whose membership is asked: the original arm,
    never-seen samples and others. Arrays: multipliers λ (n,); joint, λ of all candidates fitted together; margin, start
    (N,) and parts (N, n) of the N samples of the original arm (`Contributions`); ranges (targets, RANGED, 2).
    """
    found = explain(model, members, start=start)
    slack = tolerance(found, candidates.take(split.never_seen))
    arm = candidates.take(split.training(training))
    split_up = contributions(found, arm)
    targets = shares(found, arm.take(split.target), kin_of(split, training), slack)
    together = explain(model, candidates, start=start)
    facts = {
        "ids": list(arm.ids), "of": list(members.ids), "candidates": list(candidates.ids),
        "targets": list(split.target),
        "facts": {"explained": found.explained, "violation": found.violation, "tolerance": slack},
    }  # fmt: skip
    ranges = [[share.ranges[part] for part in RANGED] for share in targets]
    arrays = {
        "multipliers": found.multipliers, "joint": together.multipliers, "margin": split_up.margin,
        "start": split_up.start, "parts": split_up.parts, "ranges": np.array(ranges),
    }  # fmt: skip
    return facts, arrays


@dataclass(frozen=True)
class Kept:
    """What was kept of one model by `ask`. joint: sample → λ fitted with all candidates. shares: of the targets."""

    contributions: Contributions
    joint: Mapping[str, float]
    explained: float
    shares: tuple[Share, ...]

    @property
    def margins(self) -> dict[str, float]:
        """Target → its margin."""
        return {share.name: share.margin for share in self.shares}


def restore(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray], split: Split, training: str) -> Kept:
    """What `ask` gave, as it was kept."""
    found = Contributions(tuple(facts["ids"]), tuple(facts["of"]), arrays["margin"], arrays["parts"], arrays["start"])
    kin = kin_of(split, training)
    told = tuple(
        Share(
            name,
            float(found.margin[found.ids.index(name)]),
            divide(found, name, kin[name]),
            {part: (float(low), float(high)) for part, (low, high) in zip(RANGED, ranges, strict=True)},
        )
        for name, ranges in zip(facts["targets"], arrays["ranges"], strict=True)
    )
    joint = dict(zip(facts["candidates"], arrays["joint"].tolist(), strict=True))
    return Kept(found, joint, facts["facts"]["explained"], told)
