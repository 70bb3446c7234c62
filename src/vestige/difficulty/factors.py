"""What may make a sample hard, in two groups that are never mixed: before unlearning, and after it (symptoms).

BEFORE needs one trained model and its training samples, at most what models without the sample say of it. AFTER are
functions of what a run of unlearning left behind; they explain, they never predict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vestige.types import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike
    from torch import nn

    from vestige.modality import Modality
    from vestige.types import Samples

Array = NDArray[np.float64]

HARM = 0.1
"""The loss of true-class probability that counts as harm to another sample."""


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
    similarity: ArrayLike | None = None,
    tau: float | None = None,
) -> dict[str, Array]:
    """The factors of some training samples of one model, before any unlearning: name → (N,), in the order of BEFORE.

    model: a classifier whose last layer is linear, in evaluation mode. samples: all that it was trained on, as it takes
    them (`Modality.unit`). ids: which of them are asked about, N. references: p_ref, mean probability of the true class
    over models not trained on each, (N,). trajectory: that of the true class at evenly spaced moments of training,
    (moments, N). similarity: of each to every training sample, (N, n), what is its own does not count; by default SSIM
    of images of 11×11 and more, else cosine of the model's own embeddings. tau: from which value on a sample counts as
    similar, by default 0.6 for SSIM, 0.5 for what is given, 0.95 for embeddings. Factors whose needs are not there are
    left out; a value that does not exist is NaN (a class of one has no centroid). Same arguments, same values. Raises
    InputError for unknown or no ids, shapes that do not fit, fewer than 3 samples, a model that diverged or has no
    linear last layer.
    """
    from vestige.difficulty import probes
    from vestige.influence.representer import look

    if len(samples) < 3 or not ids:
        raise InputError(f"factors need at least 3 training samples and an id; got {len(samples)} and {len(ids)}")
    asked = samples.take(ids)
    where = {name: place for place, name in enumerate(samples.ids)}
    rows = np.array([where[name] for name in ids])
    layer = look(model, samples, modality=modality)
    if not (np.isfinite(layer.logits).all() and np.isfinite(layer.inputs).all()):
        raise InputError("the model's answers are not finite; a model that diverged has no factors")
    given = {"references": references, "trajectory": trajectory, "similarity": similarity}
    known = {name: np.asarray(values, np.float64) for name, values in given.items() if values is not None}
    shapes = {"references": (len(ids),), "similarity": (len(ids), len(samples))}
    for name, values in known.items():
        shape = shapes.get(name, (*values.shape[:1], len(ids)))
        if values.shape != shape or not values.size:
            raise InputError(f"{name} of {len(ids)} ids must have shape {shape}, got {values.shape}")
    found = probes.answers(layer, rows) | {"boundary_distance": probes.boundary(layer, rows, probes.weight(model))}
    if probes.pixels(samples):
        found["adversarial_step"] = probes.adversarial_step(model, asked)
    found |= probes.geometry(layer, rows) | {"gradient_norm": probes.gradient_norm(model, asked, modality)}
    found |= probes.influence(layer, rows) | {"ksd": probes.ksd(layer, probes.weight(model))[rows]}
    found |= probes.similar(samples, layer, rows, known.get("similarity"), tau)
    if "references" in known:
        found["memorisation"] = found["confidence"] - known["references"]
    if "trajectory" in known:
        found |= probes.learning(known["trajectory"])
    return {name: np.asarray(found[name], np.float64) for name in BEFORE if name in found}


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
