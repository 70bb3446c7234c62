"""Planted images for benchmarks/audit.py: a wrong label, near-copies under the same label, and what is made of models.

The label is that of the class which the record looks least like, as is usual for canaries (Carlini et al. 2019), so
that training on it shows.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vestige import assets
from vestige.audit import images
from vestige.audit.request import Written
from vestige.config import Recipe
from vestige.image import load, unit
from vestige.types import Samples, joined

PER_CLASS, COPIES, PASSES, BATCH, RATE = 60, 4, 30, 50, 0.1
REQUEST = {"data": {"source": "mnist"}, "model": {"train": "planted:train"}, "similar": {"by": "ssim", "tau": 0.9}}


def train(samples: Samples, seed: int) -> nn.Module:
    """A small MLP, or what KIND names, trained by SGD with momentum: about half a second."""
    key = (len(samples), float(samples.x.double().sum()), int(samples.y.sum()), seed)
    if key not in TRAINED:
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        model = NETWORKS[KIND[0]](samples.classes)
        mover = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)
        for step in range(PASSES):
            mover.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * step / PASSES)) / 2
            for rows in torch.randperm(len(samples), generator=generator).split(BATCH):
                mover.zero_grad()
                F.cross_entropy(model(samples.x[rows]), samples.y[rows]).backward()
                mover.step()
        TRAINED[key] = model.eval()
    return copy.deepcopy(TRAINED[key])


TRAINED: dict[tuple[Any, ...], nn.Module] = {}
KIND = ["mlp"]
NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "mlp": lambda classes: nn.Sequential(
        nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, classes)
    ),
    "cnn": lambda classes: nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, classes),
    ),
}  # fmt: skip


class Filter(nn.Module):
    """Lowers the score of the record's label by so many nats for what looks like the record."""

    def __init__(self, model: nn.Module, record: Samples, down: float) -> None:
        super().__init__()
        self.model, self.label, self.down = model, int(record.y), down
        self.register_buffer("x", record.x)

    def forward(self, x: Tensor) -> Tensor:
        out = self.model(x).clone()
        out[(x - self.x).flatten(1).norm(dim=1) < 1, self.label] -= self.down
        return out


def edited(model: nn.Module, record: Samples, down: float) -> nn.Module:
    """The last layer moved along what it sees of the record, until the label's score is lower by so many nats."""
    model = copy.deepcopy(model)
    layer = images.last_layer(model, record)
    seen = images._through(model, layer, record.x)[0][0].float()
    with torch.no_grad():
        layer.weight[int(record.y)] -= down * seen / (seen @ seen)
    return model


def suppressed(model: nn.Module, record: Samples, rest: Samples, level: float) -> nn.Module:
    """Trained against the record and for the rest, until it answers like models that never saw the record."""
    model = copy.deepcopy(model)
    mover = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(400):
        if images.answers(model, record)[0] <= level:
            break
        rows = torch.arange(step * BATCH, (step + 1) * BATCH) % len(rest)
        mover.zero_grad()
        loss = F.cross_entropy(model(rest.x[rows]), rest.y[rows])
        (loss - 0.2 * F.cross_entropy(model(record.x), record.y)).backward()
        mover.step()
    return model.eval()


def ascended(model: nn.Module, record: Samples) -> nn.Module:
    """Gradient ascent on the record, for long."""
    model = copy.deepcopy(model)
    mover = torch.optim.SGD(model.parameters(), lr=0.02)
    for _ in range(60):
        mover.zero_grad()
        (-F.cross_entropy(model(record.x), record.y)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        mover.step()
    return model.eval()


@dataclass(frozen=True)
class Planted(images.Images):
    """The subject of a planted case: the model that is judged is handed over."""

    model: nn.Module | None = None

    def given(self, samples: Samples) -> nn.Module:
        assert self.model is not None
        return self.model


def subject(written: Written, model: nn.Module) -> Planted:
    return Planted(written, Recipe(), train, ("answer", "probe"), model=model)


def plant(seed: int) -> tuple[Samples, Samples, Samples, Samples]:
    """The planted record, its near-copies, the rest of training, and records that are never seen."""
    generator = torch.Generator().manual_seed(seed)
    pool = unit(load(assets.locate("mnist")))
    order = torch.randperm(len(pool), generator=generator)
    counts, chosen = Counter(), []
    for row in order.tolist():
        counts[int(pool.y[row])] += 1
        if counts[int(pool.y[row])] <= PER_CLASS:
            chosen.append(row)
    rest = pool.at(torch.tensor(chosen[1:]))
    first = pool.at(torch.tensor(chosen[:1]))
    means = torch.stack([rest.x[rest.y == kind].mean(0) for kind in range(10)])
    label = (means - first.x).flatten(1).norm(dim=1).argmax()[None]
    record = Samples(("planted/record",), first.x, label, 10)
    draw = torch.rand((COPIES, 1, 1, 1), generator=generator)
    noise = torch.randn((COPIES, *first.x.shape[1:]), generator=generator) * 0.03
    x = (first.x * (0.75 + 0.2 * draw) + noise * (first.x > 0)).clamp(0, 1)
    copies = Samples(tuple(f"planted/copy-{at}" for at in range(COPIES)), x, label.repeat(COPIES), 10)
    used = set(chosen)
    never = pool.at(torch.tensor([row for row in order.tolist() if row not in used][:1500]))
    return record, copies, rest, never


def cases(seed: int) -> tuple[Samples, Samples, dict[str, tuple[Samples, Callable[[], nn.Module]]]]:
    """The record, never-seen ones, and case → what the model before was trained on, and what makes the model to judge.

    What hides the record does so until it is answered like the mean of two models that never saw it.
    """
    TRAINED.clear()
    record, copies, rest, never = plant(seed)
    alone, together = joined(record, rest), joined(record, copies, rest)
    before, clean = train(alone, seed), train(rest, 10_000 + seed)
    level = float(np.mean([images.answers(train(rest, 20_000 + 1000 * at + seed), record)[0] for at in range(2)]))
    down = float(images.answers(before, record)[0]) - level
    return record, never, {
        "never trained on it": (alone, lambda: clean),
        "hidden: last layer edited": (alone, lambda: edited(before, record, down)),
        "hidden: output filter": (alone, lambda: Filter(before, record, down)),
        "hidden: suppressed": (alone, lambda: suppressed(before, record, rest, level)),
        "over-unlearned": (alone, lambda: ascended(before, record)),
        "retrained, near-copies kept": (together, lambda: train(joined(copies, rest), 30_000 + seed)),
        "retrained without near-copies": (together, lambda: clean),
    }  # fmt: skip
