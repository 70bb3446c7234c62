"""What may make a sample hard, in two groups that are never mixed: before unlearning, and after it (symptoms).

BEFORE needs one trained model and its training samples, at most what models without the sample say of it. AFTER are
functions of what a run of unlearning left behind; they explain, they never predict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vestige.types import InputError, Samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike
    from torch import Tensor, nn

    from vestige.influence.representer import LastLayer
    from vestige.measures import Measure
    from vestige.modality import Modality

Array = NDArray[np.float64]

NEIGHBOURS = 10
"""Nearest training samples in embedding space."""
DAMPING = 0.1
"""Of the Hessian's diagonal, as a share of its mean (Grosse et al. 2023)."""
RUNNERS, STEPS, OVERSHOOT = 5, 10, 0.02
"""Other classes, steps at most and overshoot of an adversarial step (Moosavi-Dezfooli et al. 2016)."""
HARM = 0.1
"""The loss of true-class probability that counts as harm to another sample."""
TAU = {"ssim": 0.6, "lexical": 0.5, "embedding": 0.95}
"""Measure → from which similarity on a training sample counts as similar."""


class Factor(NamedTuple):
    """group: "before" or "after". what: in words. sign: expected of its rank correlation with difficulty, 0 for none.

    needs: what it needs beside one model and its training samples: "", "references" (p_ref), "trajectory" (p_y through
    training), "pixels" (inputs that are images), or, of symptoms, what must be stored.
    """

    group: Literal["before", "after"]
    what: str
    sign: int
    needs: str = ""


FACTORS: dict[str, Factor] = {
    "margin": Factor("before", "logit of the true class over the runner-up's", 0),
    "boundary_distance": Factor("before", "distance to the boundary in the space the last layer sees", 0),
    "adversarial_step": Factor("before", "smallest step of the pixels that changes the answer", 0, "pixels"),
    "centroid_distance": Factor("before", "distance to the mean embedding of the others of its class", 1),
    "knn_density": Factor("before", "how densely training samples lie around it, in embedding space", 0),
    "knn_disagreement": Factor("before", "share of its nearest training samples with another label", 1),
    "gradient_norm": Factor("before", "length of the gradient of its loss", 1),
    "self_influence": Factor("before", "gradient norm² under the damped Hessian's diagonal, last layer", 1),
    "influence_on_others": Factor("before", "how far a step on it moves the others' losses, last layer", 1),
    "influence_of_others": Factor("before", "gradients of others that point its way, last layer", 0),
    "ksd": Factor("before", "its part of the kernelised Stein discrepancy, in embedding space", 0),
    "entropy": Factor("before", "entropy of the prediction", 1),
    "confidence": Factor("before", "probability of the true class", 0),
    "loss": Factor("before", "loss of the true class", 0),
    "memorisation": Factor("before", "probability of the true class over that of models without it", 1, "references"),
    "learned_at": Factor("before", "share of training until it is answered right for good", 1, "trajectory"),
    "trajectory": Factor("before", "mean probability of the true class through training", -1, "trajectory"),
    "similar_number": Factor("before", "number of similar training samples", 1),
    "similar_mass": Factor("before", "sum of the similarities of its similar training samples", 1),
    "similar_largest": Factor("before", "similarity of the most similar other training sample", 1),
    "expansion": Factor("after", "others that lose 0.1 of p_y, beyond a random step as long", 1, "p_y of the others"),
    "membership_resistance": Factor("after", "what is left of the membership score", 1, "margins"),
    "tolerance": Factor("after", "smallest utility loss at which it is erased", 1, "the path of unlearning"),
    "steps": Factor("after", "steps until p_y is at most p_ref + 0.05", 1, "the path of unlearning"),
    "shift": Factor("after", "how far the weights have moved at that step", 1, "the path of unlearning"),
}
"""Every factor and symptom; `docs/methods.md` has a card for each."""

BEFORE = tuple(name for name, factor in FACTORS.items() if factor.group == "before")
AFTER = tuple(name for name, factor in FACTORS.items() if factor.group == "after")


def before(
    model: nn.Module,
    samples: Samples,
    ids: Sequence[str],
    *,
    modality: Modality,
    references: ArrayLike | None = None,
    trajectory: ArrayLike | None = None,
    measure: Measure | None = None,
    tau: float | None = None,
) -> dict[str, Array]:
    """The factors of some training samples of one model, before any unlearning: name → (N,), in the order of BEFORE.

    model: a classifier whose last layer is linear, in evaluation mode. samples: all that it was trained on, as it takes
    them (`Modality.unit`). ids: which of them are asked about, N. references: p_ref, mean probability of the true class
    over models not trained on each, (N,). trajectory: that of the true class at evenly spaced moments of training,
    (moments, N). measure, tau: what similar means and from which value on, by default SSIM ≥ 0.6 of images of 11×11 and
    more, what texts share ≥ 0.5, else cosine ≥ 0.95 of the model's own embeddings. Factors whose needs are not there
    are left out; a value that does not exist is NaN (a class of one has no centroid). Same arguments, same values.
    Raises InputError for unknown or no ids, shapes that do not fit, fewer than 3 samples, a model that diverged or has
    no linear last layer.
    """
    from vestige.influence.representer import look

    if len(samples) < 3 or not ids:
        raise InputError(f"factors need at least 3 training samples and an id; got {len(samples)} and {len(ids)}")
    asked = samples.take(ids)
    where = {name: place for place, name in enumerate(samples.ids)}
    rows = np.array([where[name] for name in ids])
    layer = look(model, samples, modality=modality)
    if not (np.isfinite(layer.logits).all() and np.isfinite(layer.inputs).all()):
        raise InputError("the model's answers are not finite; a model that diverged has no factors")
    given = {"references": (references, (len(ids),)), "trajectory": (trajectory, (len(ids),))}
    for name, (values, shape) in given.items():
        if values is not None and np.shape(values)[-1:] != shape:
            raise InputError(f"{name} must have one entry for each of the {len(ids)} ids, got shape {np.shape(values)}")
    found = _answers(layer, rows) | {"boundary_distance": _boundary(layer, rows, _weight(model))}
    if _pixels(samples):
        found["adversarial_step"] = adversarial_step(model, asked)
    found |= _geometry(layer, rows) | {"gradient_norm": gradient_norm(model, asked, modality)}
    found |= _influence(layer, rows) | {"ksd": ksd(layer, _weight(model))[rows]}
    found |= _similar(samples, layer, rows, measure, tau)
    if references is not None:
        found["memorisation"] = found["confidence"] - np.asarray(references, np.float64)
    if trajectory is not None:
        found |= _learning(np.asarray(trajectory, np.float64))
    return {name: np.asarray(found[name], np.float64) for name in BEFORE if name in found}


def gradient_norm(model: nn.Module, samples: Samples, modality: Modality) -> Array:
    """‖∇_θ L‖ of each sample's loss over all trained weights, (N,)."""
    import torch

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights:
        raise InputError("gradients are of weights that are trained; all weights of this model are frozen")

    def norm(at: int) -> float:
        loss = modality.losses(model, samples.at(slice(at, at + 1))).sum()
        parts = torch.autograd.grad(loss, weights)
        return float(torch.stack([part.double().square().sum() for part in parts]).sum().sqrt())

    return np.array([norm(at) for at in range(len(samples))])


def adversarial_step(model: nn.Module, samples: Samples) -> Array:
    """The length (2-norm, pixels in [0, 1]) of a smallest step that makes the answer wrong, (N,); 0 where it is wrong.

    DeepFool: each step crosses the nearest boundary of the linearised network, towards one of the 5 likeliest other
    classes, at most 10 steps, 2 % beyond (Moosavi-Dezfooli et al. 2016). An upper bound of the smallest one; pixels may
    leave [0, 1]. NaN where 10 steps do not do.
    """
    import torch

    found = np.full(len(samples), np.nan)
    size = 256
    for at in range(0, len(samples), size):
        x = samples.x[at : at + size]
        y = samples.y[at : at + size]
        moved, left = torch.zeros_like(x), torch.arange(len(x))
        for step in range(STEPS + 1):
            now = (x[left] + (1 + OVERSHOOT) * moved[left]).requires_grad_()
            with torch.enable_grad():
                z = model(now)
            wrong = z.argmax(1) != y[left]
            done = left[wrong]
            found[at + done.numpy()] = (1 + OVERSHOOT) * moved[done].flatten(1).norm(dim=1).double().numpy()
            left = left[~wrong]
            if len(left) == 0 or step == STEPS:
                break
            moved[left] += _crossing(z, now, y[left], ~wrong)
    return found


def _crossing(z: Tensor, x: Tensor, y: Tensor, there: Tensor) -> Tensor:
    """The smallest step across a boundary of the linearised network, of the samples that are still right."""
    import torch

    rows = there.nonzero().flatten()
    others = z.detach()[rows].scatter(1, y[:, None], -torch.inf).topk(min(RUNNERS, z.shape[1] - 1), 1).indices
    best = torch.full((len(rows),), torch.inf)
    step = torch.zeros_like(x[rows])
    for rank in range(others.shape[1]):
        gap = z[rows, y] - z[rows, others[:, rank]]
        (slope,) = torch.autograd.grad(gap.sum(), x, retain_graph=True)
        slope = slope[rows]
        length = slope.flatten(1).norm(dim=1).clamp_min(1e-12)
        away = gap.detach() / length
        nearer = away < best
        best = torch.where(nearer, away, best)
        shape = (-1, *[1] * (x.ndim - 1))
        step = torch.where(nearer.view(shape), -slope * ((away + 1e-6) / length).view(shape), step)
    return step


def ksd(layer: LastLayer, weight: Array) -> Array:
    """Each sample's part of the kernelised Stein discrepancy of its class from what the model takes it for, (n,).

    ξ_i = mean over j ≠ i of its class of s_i·s_j k + s_i·∇_j k + s_j·∇_i k + tr ∇_i∇_j k, k = (c² + ‖z_i −
    z_j‖²)^(−1/2), c the median distance within the class, s = ∇_z log p(y|z) = W_y − Σ_c p_c W_c in the space of the
    last layer (Liu et al. 2016, equation 8; Gorham and Mackey 2017 for the kernel; the score as Sarvmaili et al. 2025,
    last-layer variant, the density of z taken as flat). Large where the sample and others of its class are pulled the
    same way by the model. weight: W of the last layer without its bias, (classes, width). NaN for a class of one, 0
    distances included (c = 0).
    """
    from scipy.spatial.distance import pdist

    width = weight.shape[1]
    z, scores = layer.inputs[:, :width], -_residual(layer) @ weight
    found = np.full(len(z), np.nan)
    for label in np.unique(layer.answers):
        rows = np.flatnonzero(layer.answers == label)
        if len(rows) < 2 or (c2 := float(np.median(pdist(z[rows]))) ** 2) == 0:
            continue
        a, s = z[rows], scores[rows]
        inner = a @ a.T
        distance = np.clip(np.diag(inner)[:, None] + np.diag(inner) - 2 * inner, 0, None)
        base = c2 + distance
        own, across = (s * a).sum(1), s @ a.T
        # ∇_j k = (z_i − z_j) base^(−3/2) = −∇_i k
        pull = own[:, None] - across - across.T + own
        trace = width * base**-1.5 - 3 * distance * base**-2.5
        u = (s @ s.T) * base**-0.5 + pull * base**-1.5 + trace
        np.fill_diagonal(u, 0)
        found[rows] = u.sum(1) / (len(rows) - 1)
    return found


def _answers(layer: LastLayer, rows: Array) -> dict[str, Array]:
    """Margin, confidence, loss and entropy."""
    from vestige import metrics

    z, y = layer.logits[rows], layer.answers[rows]
    p, loss = metrics.softmax(z), metrics.losses(z, y)
    others = z.copy()
    others[np.arange(len(y)), y] = -np.inf
    entropy = -np.sum(p * np.log(np.maximum(p, 1e-300)), 1)
    return {
        "margin": z[np.arange(len(y)), y] - others.max(1),
        "confidence": np.exp(-loss),
        "loss": loss,
        "entropy": entropy,
    }


def _boundary(layer: LastLayer, rows: Array, weight: Array) -> Array:
    """min over j ≠ y of (f_y − f_j) / ‖W_y − W_j‖: exact in the space of the last layer; below 0 where it is wrong."""
    z, y = layer.logits[rows], layer.answers[rows]
    gap = z[np.arange(len(y)), y][:, None] - z
    apart = np.linalg.norm(weight[y][:, None] - weight[None], axis=2)
    apart[np.arange(len(y)), y] = np.inf
    gap[np.arange(len(y)), y] = np.inf
    away = np.where(np.isinf(gap), np.inf, gap / np.maximum(np.where(np.isinf(apart), 1, apart), 1e-300))
    return np.asarray(away.min(1))


def _geometry(layer: LastLayer, rows: Array) -> dict[str, Array]:
    """Centroid, density and labels around each sample, in the space of the last layer."""
    z, y = layer.inputs, layer.answers
    counts = np.bincount(y)
    sums = np.zeros((len(counts), z.shape[1]))
    np.add.at(sums, y, z)
    others = counts[y[rows]] - 1
    middle = (sums[y[rows]] - z[rows]) / np.maximum(others, 1)[:, None]
    centroid = np.where(others > 0, np.linalg.norm(z[rows] - middle, axis=1), np.nan)
    k = min(NEIGHBOURS, len(z) - 1)
    squares = (z**2).sum(1)
    distance, disagree = np.empty(len(rows)), np.empty(len(rows))
    for at, row in enumerate(rows):
        away = squares + squares[row] - 2 * (z @ z[row])
        away[row] = np.inf
        near = np.argpartition(away, k - 1)[:k]
        distance[at] = np.sqrt(np.clip(away[near], 0, None)).mean()
        disagree[at] = (y[near] != y[row]).mean()
    density = -np.log(np.maximum(distance, 1e-12))
    return {"centroid_distance": centroid, "knn_density": density, "knn_disagreement": disagree}


def _influence(layer: LastLayer, rows: Array) -> dict[str, Array]:
    """Of the last layer alone, whose gradients are residual ⊗ input: K_ij = (r_i·r_j)(f_i·f_j)."""
    from vestige import metrics

    r, f, n = _residual(layer), layer.inputs, len(layer.inputs)
    p = metrics.softmax(layer.logits)
    curvature = (p * (1 - p)).T @ f**2 / n
    damped = curvature + max(DAMPING * float(curvature.mean()), 1e-300)
    norms = np.linalg.norm(r, axis=1) * np.linalg.norm(f, axis=1)
    kernel = (r[rows] @ r.T) * (f[rows] @ f.T)
    cosine = kernel / np.maximum(norms[rows][:, None] * norms, 1e-300)
    for values in (kernel, cosine):
        values[np.arange(len(rows)), rows] = 0
    return {
        "self_influence": ((r[rows] ** 2) @ (1 / damped) * f[rows] ** 2).sum(1),
        "influence_on_others": np.abs(kernel).mean(1) * n / (n - 1),
        "influence_of_others": np.clip(cosine, 0, None).sum(1),
    }


def _similar(
    samples: Samples, layer: LastLayer, rows: Array, measure: Measure | None, tau: float | None
) -> dict[str, Array]:
    """Number and mass of similar samples, and the largest similarity of any other."""
    import torch

    if measure is None:
        name, measure = _measure(samples, layer)
        tau = TAU[name] if tau is None else tau
    if tau is None:
        raise InputError("a measure of your own needs tau, from which on a sample counts as similar")
    within = measure.within(torch.from_numpy(rows), tau)
    query, value = within.query.numpy(), within.value.double().numpy()
    number, mass, largest = np.zeros(len(rows)), np.zeros(len(rows)), np.full(len(rows), -np.inf)
    np.add.at(number, query, 1)
    np.add.at(mass, query, value)
    np.maximum.at(largest, query, value)
    alone = np.flatnonzero(number == 0)
    if len(alone):
        first = measure.nearest(torch.from_numpy(rows[alone]), 1)
        largest[alone[first.query.numpy()]] = first.value.double().numpy()
    return {"similar_number": number, "similar_mass": mass, "similar_largest": largest}


def _measure(samples: Samples, layer: LastLayer) -> tuple[str, Measure]:
    import torch

    from vestige.image.ssim import WINDOW
    from vestige.measures import Cosine, Lexical, Ssim

    if _pixels(samples) and min(samples.x.shape[2:]) >= WINDOW:
        return "ssim", Ssim(samples.x)
    if samples.x.dtype.kind == "U" if isinstance(samples.x, np.ndarray) else False:
        return "lexical", Lexical(samples.x.tolist())
    z = torch.from_numpy(layer.inputs)
    return "embedding", Cosine((z / z.norm(dim=1, keepdim=True).clamp_min(1e-12)).float())


def _learning(trajectory: Array) -> dict[str, Array]:
    """When the true class came to have the larger half of the probability for good, and its mean on the way."""
    if trajectory.ndim != 2 or len(trajectory) == 0:
        raise InputError(f"a trajectory must be (moments, N), got {trajectory.shape}")
    unsure = trajectory < 0.5
    last = len(unsure) - np.argmax(unsure[::-1], 0)
    return {"learned_at": np.where(unsure.any(0), last, 0) / len(unsure), "trajectory": trajectory.mean(0)}


def _residual(layer: LastLayer) -> Array:
    """∂L/∂z = p − e_y, (n, classes), without cancellation where p_y is near 1."""
    from vestige import metrics

    r = metrics.softmax(layer.logits)
    y = np.arange(len(r)), layer.answers
    r[y] = 0
    r[y] = -r.sum(1)
    return r


def _weight(model: nn.Module) -> Array:
    """W of the last linear layer, (classes, width), float64."""
    import torch

    last = [part for part in model.modules() if isinstance(part, torch.nn.Linear)][-1]
    return np.asarray(last.weight.detach().double().cpu().numpy())


def _pixels(samples: Samples) -> bool:
    import torch

    return isinstance(samples.x, torch.Tensor) and samples.x.ndim == 4 and samples.x.is_floating_point()


def expansion(before: ArrayLike, after: ArrayLike, random: ArrayLike) -> float:
    """How many other samples lose more than 0.1 of their true-class probability, beyond a random step of equal norm.

    before, after: p_y of all other training samples, (n,). random: the same after steps of the same length in random
    directions, (draws, n). Count after − mean count over the draws; below 0 where unlearning harms fewer. Raises
    InputError for shapes that do not fit.
    """
    p, q, drawn = (np.asarray(values, np.float64) for values in (before, after, random))
    if p.ndim != 1 or len(p) == 0 or q.shape != p.shape or drawn.ndim != 2 or drawn.shape[1:] != p.shape:
        raise InputError(f"expansion needs (n,), (n,) and (draws, n); got {p.shape}, {q.shape}, {drawn.shape}")
    return float((p - q > HARM).sum() - (p - drawn > HARM).sum(1).mean())


def membership_resistance(before: ArrayLike, after: ArrayLike, reference: ArrayLike) -> Array:
    """(φ_after − φ_ref) / (φ_before − φ_ref), φ = log p/(1 − p): 1 as before, 0 as models that never saw it, (N,).

    reference: mean φ over the models without the sample; φ − φ_ref is LiRA's offline score but for its spread (Carlini
    et al. 2022, equation 4; `metrics.margins`). NaN where φ_before is not above φ_ref by 0.05.
    """
    a, b, r = (np.asarray(values, np.float64) for values in (after, before, reference))
    return np.asarray(np.divide(a - r, b - r, out=np.full(np.shape(a - r), np.nan), where=b - r >= 0.05))


def tolerance(erasure: ArrayLike, utility: ArrayLike, target: float = 0.9) -> float:
    """The smallest utility loss 1 − U on the path at which E ≥ target; NaN where that is never reached.

    erasure, utility: at step 0, 1, … of one unlearning, (T,).
    """
    e, u = np.asarray(erasure, np.float64), np.asarray(utility, np.float64)
    if e.shape != u.shape or e.ndim != 1:
        raise InputError(f"a path has one erasure and one utility per step; got {e.shape} and {u.shape}")
    met = e >= target
    return float((1 - u[met]).min()) if met.any() else float("nan")


def steps_to(p: ArrayLike, reference: float) -> int | None:
    """The first step with p_y ≤ p_ref + 0.05; None where there is none. p: at step 0, 1, …, (T,)."""
    reached = np.flatnonzero(np.asarray(p, np.float64) <= reference + 0.05 + 1e-12)
    return int(reached[0]) if len(reached) else None


def shift_at(lengths: ArrayLike, p: ArrayLike, reference: float) -> float:
    """‖θ_t − θ_0‖ / ‖θ_0‖ at the step of `steps_to`; NaN where there is none. lengths: at step 0, 1, …, (T,)."""
    if np.shape(lengths) != np.shape(p):
        raise InputError(f"a path has one length and one p per step; got {np.shape(lengths)} and {np.shape(p)}")
    step = steps_to(p, reference)
    return float("nan") if step is None else float(np.asarray(lengths, np.float64)[step])
