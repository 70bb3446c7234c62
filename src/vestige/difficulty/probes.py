"""What one model says about its training samples, in closed forms or by few gradients; `factors` puts it together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vestige import metrics
from vestige.types import InputError, Samples

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vestige.influence.representer import LastLayer
    from vestige.modality import Modality

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

CHUNK = 256
"""Samples that are moved at once."""
NEIGHBOURS = 10
"""Nearest training samples in embedding space."""
DAMPING = 0.1
"""Of the Hessian's diagonal, as a share of its mean (Grosse et al. 2023)."""
RUNNERS, STEPS, OVERSHOOT = 5, 10, 0.02
"""Other classes, steps at most and overshoot of an adversarial step (Moosavi-Dezfooli et al. 2016)."""
TAU = {"ssim": 0.6, "given": 0.5, "embedding": 0.95}
"""Similarity → from which value on a training sample counts as similar."""


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
    for at in range(0, len(samples), CHUNK):
        x, y = samples.x[at : at + CHUNK], samples.y[at : at + CHUNK]
        moved, left = torch.zeros_like(x), torch.arange(len(x), device=x.device)
        for step in range(STEPS + 1):
            now = (x[left] + (1 + OVERSHOOT) * moved[left]).requires_grad_()
            with torch.enable_grad():
                z = model(now)
            wrong = z.argmax(1) != y[left]
            done = left[wrong]
            length = (1 + OVERSHOOT) * moved[done].flatten(1).norm(dim=1)
            found[at + done.cpu().numpy()] = length.double().cpu().numpy()
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
    best = z.new_full((len(rows),), torch.inf)
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
    width = weight.shape[1]
    z, scores = layer.inputs[:, :width], -residual(layer) @ weight
    found = np.full(len(z), np.nan)
    for label in np.unique(layer.answers):
        rows = np.flatnonzero(layer.answers == label)
        if len(rows) < 2 or (z[rows] == z[rows[0]]).all():
            continue
        u = stein(z[rows], scores[rows])
        np.fill_diagonal(u, 0)
        found[rows] = u.sum(1) / (len(rows) - 1)
    return found


def stein(z: Array, s: Array) -> Array:
    """The Stein kernel of samples z with the scores s, (m, d) each: (m, m); see `ksd`."""
    from scipy.spatial.distance import pdist

    inner, across, own = z @ z.T, s @ z.T, (s * z).sum(1)
    distance = np.clip(np.diag(inner)[:, None] + np.diag(inner) - 2 * inner, 0, None)
    base = max(float(np.median(pdist(z))) ** 2, 1e-12) + distance
    # ∇_j k = (z_i − z_j) base^(−3/2) = −∇_i k
    pull = own[:, None] - across - across.T + own
    trace = z.shape[1] * base**-1.5 - 3 * distance * base**-2.5
    return np.asarray((s @ s.T) * base**-0.5 + pull * base**-1.5 + trace)


def answers(layer: LastLayer, rows: Rows) -> dict[str, Array]:
    """Margin, confidence, loss and entropy."""
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


def boundary(layer: LastLayer, rows: Rows, weight: Array) -> Array:
    """min over j ≠ y of (f_y − f_j) / ‖W_y − W_j‖: exact in the space of the last layer; below 0 where it is wrong."""
    z, y = layer.logits[rows], layer.answers[rows]
    gap = z[np.arange(len(y)), y][:, None] - z
    apart = np.linalg.norm(weight[y][:, None] - weight[None], axis=2)
    apart[np.arange(len(y)), y] = np.inf
    gap[np.arange(len(y)), y] = np.inf
    away = np.where(np.isinf(gap), np.inf, gap / np.maximum(np.where(np.isinf(apart), 1, apart), 1e-300))
    return np.asarray(away.min(1))


def geometry(layer: LastLayer, rows: Rows) -> dict[str, Array]:
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


def influence(layer: LastLayer, rows: Rows) -> dict[str, Array]:
    """Of the last layer alone, whose gradients are residual ⊗ input: K_ij = (r_i·r_j)(f_i·f_j)."""
    r, f, n = residual(layer), layer.inputs, len(layer.inputs)
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


def similar(samples: Samples, layer: LastLayer, rows: Rows, given: Array | None, tau: float | None) -> dict[str, Array]:
    """Number and mass of similar samples, and the largest similarity of any other."""
    import torch

    from vestige.image.ssim import WINDOW
    from vestige.measures import Ssim

    if given is None and pixels(samples) and min(samples.x.shape[2:]) >= WINDOW:
        ssim = Ssim(samples.x.cpu())
        within = ssim.within(torch.from_numpy(rows), TAU["ssim"] if tau is None else tau)
        query, value = within.query.numpy(), within.value.double().numpy()
        number, mass, largest = np.zeros(len(rows)), np.zeros(len(rows)), np.full(len(rows), -np.inf)
        np.add.at(number, query, 1)
        np.add.at(mass, query, value)
        np.maximum.at(largest, query, value)
        alone = np.flatnonzero(number == 0)
        if len(alone):
            first = ssim.nearest(torch.from_numpy(rows[alone]), 1)
            largest[alone[first.query.numpy()]] = first.value.double().numpy()
    else:
        if given is None:
            z = layer.inputs / np.maximum(np.linalg.norm(layer.inputs, axis=1, keepdims=True), 1e-300)
            alike, least = z[rows] @ z.T, TAU["embedding"]
        else:
            alike, least = given.copy(), TAU["given"]
        alike[np.arange(len(rows)), rows] = -np.inf
        near = alike >= (least if tau is None else tau)
        number, mass, largest = near.sum(1), np.where(near, alike, 0).sum(1), alike.max(1)
    return {"similar_number": number, "similar_mass": mass, "similar_largest": largest}


def learning(trajectory: Array) -> dict[str, Array]:
    """When the true class came to have the larger half of the probability for good, and its mean on the way."""
    unsure = trajectory < 0.5
    last = len(unsure) - np.argmax(unsure[::-1], 0)
    return {"learned_at": np.where(unsure.any(0), last, 0) / len(unsure), "trajectory": trajectory.mean(0)}


def residual(layer: LastLayer) -> Array:
    """∂L/∂z = p − e_y, (n, classes), without cancellation where p_y is near 1."""
    r = metrics.softmax(layer.logits)
    y = np.arange(len(r)), layer.answers
    r[y] = 0
    r[y] = -r.sum(1)
    return r


def weight(model: nn.Module) -> Array:
    """W of the last linear layer, (classes, width), float64."""
    import torch

    last = [part for part in model.modules() if isinstance(part, torch.nn.Linear)][-1]
    return np.asarray(last.weight.detach().double().cpu().numpy())


def pixels(samples: Samples) -> bool:
    import torch

    return isinstance(samples.x, torch.Tensor) and samples.x.ndim == 4 and samples.x.is_floating_point()
