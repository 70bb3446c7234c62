"""Recall of images by reconstruction: what comes back from a model's weights alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vestige.config import MLPConfig, ModelConfig, RecoverConfig
from vestige.image.model import MLP
from vestige.image.objective import OBJECTIVES, Weights
from vestige.image.ssim import ssim
from vestige.types import InputError, Samples, Scores

OnStep = Callable[[int, float], None]


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
    ncc [−1, 1], ssim [−1, 1] and image (N, C, H, W) uint8, and the fact unexplained: ‖θ − Σ λ∇m‖²/‖θ‖².
    Raises InputError for a model that is not the homogeneous MLP: the method does not apply there.
    """
    if not isinstance(model, MLP):
        raise InputError(NOT_HOMOGENEOUS.format(found=f"got {type(model).__name__}"))
    candidates, unexplained = reconstruct(
        model, config=config, per_class=per_class, generator=generator, on_step=on_step
    )
    ncc, best = match(candidates, samples.x - model.mean)
    pictures = (candidates[best] + model.mean).clamp(0, 1)
    evidence = {
        "ncc": ncc.numpy(),
        "ssim": ssim(pictures, samples.x).numpy(),
        "image": (pictures * 255).round().to(torch.uint8).numpy(),
    }
    return Scores(samples.ids, np.clip(evidence["ncc"], 0, 1), evidence, {"unexplained": unexplained})


def reconstruct(
    model: MLP,
    *,
    config: RecoverConfig,
    per_class: int,
    generator: torch.Generator,
    on_step: OnStep | None = None,
) -> tuple[Tensor, float]:
    """Candidates (m, C, H, W), mean removed, that explain the weights, and the share of ‖θ‖² they leave unexplained.

    Cold start: candidates are noise, multipliers equal. on_step(step, unexplained) is called every step.
    """
    dtype = getattr(torch, config.dtype)
    theta = Weights.of(model, dtype)
    objective = OBJECTIVES[config.engine]
    labels = torch.arange(theta.layers[-1].shape[0]).repeat_interleave(per_class)
    mean = model.mean.flatten().to(dtype)
    size = theta.squared_norm()

    x = (config.start * torch.randn(len(labels), mean.numel(), generator=generator)).to(dtype)
    u = torch.zeros(len(labels), dtype=dtype)
    # By Euler's identity Σ λ·(number of layers)·margin = ‖θ‖² at stationarity: that sets the scale.
    scale = size / (len(theta.layers) * config.margin * len(labels) * float(F.softplus(u[0])))
    optimiser = _optimiser(x, u, config)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    loss = np.nan
    for step in range(config.steps):
        value = objective(theta, x, scale * F.softplus(u), labels, config.alpha, config.direction)
        outside = (x - (1 - mean)).relu() - (-mean - x).relu()
        x.grad = value.x / size + 2 * config.box / len(x) * outside
        u.grad = value.multipliers * scale * torch.sigmoid(u) / size
        optimiser.step()
        schedule.step()
        loss = float(value.loss) / size
        if on_step is not None:
            on_step(step, loss)
    return x.to(model.mean.dtype).reshape(len(x), *model.mean.shape), loss


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
