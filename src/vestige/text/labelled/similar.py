"""Similar samples made from a labelled text: some of its words left out."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vestige.config import DataConfig
from vestige.text.labelled.data import FILL
from vestige.types import InputError, Samples


def make_similar(samples: Samples, count: int, *, config: DataConfig, generator: torch.Generator) -> list[Samples]:
    """`count` similar samples of each sample: a share `config.fraction` of its words left out, drawn anew for each.

    samples: x (N, L) int64 as `unit` gives it. At least one word goes and at least one stays; with fraction 0 copies
    are exact, and so are those of one word. Returns one Samples per sample, with ids "source~mask-0", …. Raises
    InputError for another transform than mask.
    """
    if config.transform != "mask":
        raise InputError(
            f"similar samples of labelled texts are made by leaving words out (data.transform=mask), not by "
            f"{config.transform}"
        )
    kin = samples.family or ("",) * len(samples)
    made = []
    for name, x, y, family in zip(samples.ids, samples.x, samples.y, kin, strict=True):
        copies = [_leave_out(x, config.fraction, generator) for _ in range(count)]
        made.append(
            replace(
                samples,
                ids=tuple(f"{name}~mask-{position}" for position in range(count)),
                x=torch.stack(copies) if copies else x.new_zeros((0, *x.shape)),
                y=y.repeat(count),
                family=(family,) * count if samples.family else (),
                weight=None,
            )
        )
    return made


def _leave_out(x: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """The words x (L,) without some of them, filled at the end."""
    words = x[x != FILL]
    least = int(fraction > 0)
    gone = min(max(round(fraction * len(words)), least), len(words) - 1)
    kept = torch.randperm(len(words), generator=generator)[gone:].sort().values
    made = torch.full_like(x, FILL)
    made[: len(kept)] = words[kept]
    return made
