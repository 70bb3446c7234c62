"""Recall of images by reconstruction: what comes back from a model's weights alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vestige.config import MLPConfig, ModelConfig, RecoverConfig
from vestige.image.model import MLP
from vestige.image.objective import OBJECTIVES, Weights
from vestige.image.span import FINISHING, SHARPNESS, SURPLUS, SURPLUS_BETWEEN, RowSpace, is_thin, snap
from vestige.image.ssim import ssim
from vestige.types import InputError, Samples, Scores

OnStep = Callable[[int, Tensor], None]

START_LEFT = 0.1
"""More of the start than this in the difference of two models means that they did not begin or shrink alike."""

SAME = 0.95
"""Two snapped candidates with a larger NCC are one image."""


@dataclass(frozen=True)
class Found:
    """Images from the row space that pass for exact: x (k, D), mean removed, and the labels (k,) they count under."""

    x: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Reconstruction:
    """candidates: (m, C, H, W), mean removed; the first `found` of them are taken for exact.

    unexplained: ‖θ − Σ λ∇m‖² / ‖θ‖².
    """

    candidates: Tensor
    found: int
    unexplained: float


NOT_HOMOGENEOUS = (
    "reconstruction applies to the homogeneous MLP only, {found}: it explains the weights as Σ λ∇m, which holds "
    "where scaling all weights scales the output; the methods, and all measures but recall, apply to "
    "every network: take --set 'measure=[outputs]', or the study image-methods"
)


def check_recover(config: ModelConfig, sharded: bool) -> None:
    """Raise InputError where reconstruction does not apply: to all but one homogeneous MLP.

    sharded: whether it is trained in shards (train.sisa).
    """
    if not isinstance(config, MLPConfig):
        raise InputError(NOT_HOMOGENEOUS.format(found=f"and model.kind is {config.kind}"))
    if sharded:
        raise InputError(NOT_HOMOGENEOUS.format(found="and train.sisa makes an ensemble of several"))


def recover(
    model: MLP,
    samples: Samples,
    *,
    config: RecoverConfig,
    per_class: int,
    generator: torch.Generator,
    on_step: OnStep | None = None,
) -> Scores:
    """Reconstruct images from the model, then find the best one for each sample.

    The reconstruction sees the weights, the mean image and `per_class` candidates per class, never
    the samples. Returns the NCC of each sample's best candidate, clipped to [0, 1], with evidence
    ncc [−1, 1], ssim [−1, 1], outside [0, 1] (see `RowSpace.outside`) and image (N, C, H, W) uint8, and the
    facts unexplained: ‖θ − Σ λ∇m‖²/‖θ‖², and found: the candidates taken for exact.
    Raises InputError for a model that is not the homogeneous MLP: the method does not apply there.
    """
    if not isinstance(model, MLP):
        raise InputError(NOT_HOMOGENEOUS.format(found=f"got {type(model).__name__}"))
    made = reconstruct(model, config=config, per_class=per_class, generator=generator, on_step=on_step)
    ncc, best = match(made.candidates, samples.x - model.mean)
    pictures = (made.candidates[best] + model.mean).clamp(0, 1)
    found = {
        "ncc": ncc,
        "ssim": ssim(pictures, samples.x),
        "outside": RowSpace.of(model).outside((samples.x - model.mean).flatten(1)),
        "image": (pictures * 255).round().to(torch.uint8),
    }
    evidence = {name: value.cpu().numpy() for name, value in found.items()}
    facts = {"unexplained": made.unexplained, "found": float(made.found)}
    return Scores(samples.ids, np.clip(evidence["ncc"], 0, 1), evidence, facts)


def reconstruct(
    model: MLP,
    *,
    config: RecoverConfig,
    per_class: int,
    generator: torch.Generator,
    on_step: OnStep | None = None,
    beside: MLP | None = None,
    public: Tensor | None = None,
) -> Reconstruction:
    """Candidates that explain the weights: `per_class` of each class, from a cold start.

    Where the training images span little of the pixel space (`span.is_thin`), each round explains the
    weights, then takes images out of the first layer's row space (`span.snap`); those that pass for exact
    (`span.SURPLUS`) stay fixed in the next round, which so explains what is left. Where the first round finds none,
    as in images without flat black or white, the candidates are those of `config.steps` steps from the same cold
    start, as where the span is not thin. on_step(step, unexplained) is called every step.

    What an auditor may have besides: a model of the same start that was trained for as many steps alike, on other
    images (`beside`; the retrained one), in whose difference from this model images stand without noise
    (`RowSpace.between`); and images of the same kind that were not trained on (`public`: (m, C, H, W) in [0, 1]), from
    which snapping starts too. Both help where the span is thin, and are not looked at elsewhere. Raises InputError
    where either does not fit the model, or the other model began or shrank otherwise.
    """
    _check_aids(model, beside, public)
    space, size = RowSpace.of(model), Weights.of(model, getattr(torch, config.dtype)).squared_norm()
    labels = torch.arange(model.linear()[-1].out_features, device=model.mean.device).repeat_interleave(per_class)
    thin = config.rounds > 0 and is_thin(space, len(labels))
    exact = _exact(model, beside, space, len(labels)) if thin and beside is not None else None
    bar = SURPLUS if exact is None else SURPLUS_BETWEEN
    found = Found(model.mean.new_zeros(0, model.mean.numel()), labels[:0])
    start = generator.get_state()
    for turn in range(config.rounds if thin else 0):
        free = _rest(labels, found.labels)
        x, left = explain(
            model,
            found,
            free,
            config=config,
            steps=config.round_steps,
            generator=generator,
            on_step=on_step and partial(_later, on_step, turn * config.round_steps),
        )
        before = len(found.x)
        starts = x if public is None or turn else torch.cat([x, (public.to(x) - model.mean).flatten(1)])
        for sharpness in SHARPNESS:
            points, surplus = snap(space, starts, len(labels), sharpness)
            if exact is not None:
                points, surplus = snap(exact, points, len(labels), sharpness, steps=FINISHING)
            sure = surplus >= bar
            found = _accept(model, found, points[sure], surplus[sure], labels)
        if len(found.x) == before:
            break
    if not len(found.x):
        free = labels
        generator.set_state(start)
        later = config.round_steps if thin else 0
        x, left = explain(
            model,
            found,
            free,
            config=config,
            steps=config.steps,
            generator=generator,
            on_step=on_step and partial(_later, on_step, later),
        )
    # What the last round found takes the place of candidates of its own class.
    room = torch.bincount(_rest(labels, found.labels), minlength=int(labels.max()) + 1).tolist()
    kept = [x[free == label][:count] for label, count in enumerate(room)]
    candidates = torch.cat([found.x, *kept])
    return Reconstruction(candidates.reshape(-1, *model.mean.shape), len(found.x), float(left) / size)


def _check_aids(model: MLP, beside: MLP | None, public: Tensor | None) -> None:
    shapes, others = ([tuple(part.shape) for part in one.state_dict().values()] for one in (model, beside or model))
    if shapes != others:
        raise InputError(f"beside must be a network like the model: weights {shapes}, not {others}")
    size = tuple(model.mean.shape)
    if public is not None and tuple(public.shape[1:]) != size:
        raise InputError(f"public images must have the model's size {size}; got {tuple(public.shape[1:])}")


def _exact(model: MLP, beside: MLP, space: RowSpace, rank: int) -> RowSpace:
    """The space between two models; InputError where the start is still in it, told by directions beyond the images."""
    found = RowSpace.between(model, beside)
    left = float(found.S[-1] / space.S[-1])
    if rank + 1 < len(space.S) and left > START_LEFT:
        raise InputError(
            "beside must have the model's own start, steps, rate and weight decay, so that the start is gone from "
            f"their difference; in its weakest direction {left:.0%} of it is left. Retrain with the same seed"
        )
    return found


def explain(
    model: MLP,
    found: Found,
    free: Tensor,
    *,
    config: RecoverConfig,
    steps: int,
    generator: torch.Generator,
    on_step: OnStep | None = None,
) -> tuple[Tensor, Tensor]:
    """Candidates with labels `free` (k,) that explain the weights together with the images found before.

    Returns them as (k, D), mean removed, and ‖θ − Σ λ∇m‖², a scalar. Nothing is read back from the device
    while it iterates. Cold start: candidates are
    noise, multipliers equal.
    """
    dtype = getattr(torch, config.dtype)
    theta = Weights.of(model, dtype)
    objective = OBJECTIVES[config.engine]
    labels = torch.cat([found.labels, free])
    known = found.x.to(dtype)
    mean = model.mean.flatten().to(dtype)
    size = theta.squared_norm()

    x = (config.start * torch.randn(len(free), mean.numel(), generator=generator)).to(mean)
    u = mean.new_zeros(len(labels))
    # By Euler's identity Σ λ·(number of layers)·margin = ‖θ‖² at stationarity: that sets the scale.
    scale = size / (len(theta.layers) * config.margin * len(labels) * float(F.softplus(torch.zeros((), dtype=dtype))))
    optimiser = _optimiser(x, u, config)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    loss = mean.new_tensor(torch.nan)
    with _products(config.products):
        for step in range(steps):
            both = torch.cat([known, x])
            value = objective(theta, both, scale * F.softplus(u), labels, config.alpha, config.direction)
            outside = (x - (1 - mean)).relu() - (-mean - x).relu()
            x.grad = value.x[len(known) :] / size + 2 * config.box / len(labels) * outside
            u.grad = value.multipliers * scale * torch.sigmoid(u) / size
            optimiser.step()
            schedule.step()
            loss = value.loss
            if on_step is not None:
                on_step(step, loss / size)
    return x.to(model.mean.dtype), loss


def match(candidates: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
    """For each sample its largest NCC with any candidate, in [−1, 1], and that candidate's position.

    candidates (m, C, H, W), samples (N, C, H, W), both with the mean image removed; colour is compared
    at half resolution. Candidates of every class count: a relabelled sample hides under another label.
    """
    if candidates.shape[1] > 1:
        candidates, samples = F.avg_pool2d(candidates, 2), F.avg_pool2d(samples, 2)
    ncc = _standard(samples) @ _standard(candidates).T
    best = ncc.max(1)
    return best.values, best.indices


def _standard(images: Tensor) -> Tensor:
    rows = images.flatten(1)
    return F.normalize(rows - rows.mean(1, keepdim=True), dim=1)


def _optimiser(x: Tensor, u: Tensor, config: RecoverConfig) -> torch.optim.Optimizer:
    groups = [{"params": [x], "lr": config.lr_x}, {"params": [u], "lr": config.lr_u}]
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=0.9)
    return torch.optim.Adam(groups, eps=1e-12)


def _later(on_step: OnStep, done: int, step: int, value: Tensor) -> None:
    on_step(done + step, value)


def _accept(model: MLP, found: Found, points: Tensor, surplus: Tensor, labels: Tensor) -> Found:
    """The images found so far and the new ones among these points, the surest first, each once.

    A point counts under the class that the model gives it; where that class is full, under one with room. Each decision
    needs the one before, so all are taken on the CPU.
    """
    likely = model((points + model.mean.flatten()).reshape(-1, *model.mean.shape)).detach().argsort(1, descending=True)
    points, surplus, likely, known, taken, wanted = (
        part.cpu() for part in (points, surplus, likely, found.x, found.labels, labels)
    )
    x, classes = list(known), taken.tolist()
    room = torch.bincount(wanted).sub(torch.bincount(taken, minlength=int(wanted.max()) + 1)).tolist()
    for at in surplus.argsort(descending=True, stable=True).tolist():
        if x and float((_standard(torch.stack(x)) @ _standard(points[at : at + 1]).T).max()) > SAME:
            continue
        if len(x) == len(wanted):
            break
        label = next(label for label in likely[at].tolist() if room[label])
        room[label] -= 1
        x.append(points[at])
        classes.append(label)
    together = torch.stack(x) if x else known
    return Found(together.to(found.x.device), torch.tensor(classes, dtype=torch.long, device=labels.device))


def _rest(labels: Tensor, taken: Tensor) -> Tensor:
    """`labels` without as many of each class as `taken` has."""
    classes = int(labels.max()) + 1
    left = torch.bincount(labels, minlength=classes) - torch.bincount(taken, minlength=classes)
    return torch.arange(classes, device=labels.device).repeat_interleave(left)


@contextmanager
def _products(kind: str) -> Iterator[None]:
    """Matrix products with bfloat16 inside where the CPU has instructions for it: twice as fast, same recall."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if kind == "fast" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
