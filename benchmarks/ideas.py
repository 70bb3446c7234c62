"""Further ideas to get more out of a model by reconstruction, each beside the attack as it is, on the same models.

    python benchmarks/ideas.py [--sizes 200 500] [--seeds 100 101 102] [--ideas NAME …] [--json FILE]
    python benchmarks/ideas.py --page FILE.json … [--markdown FILE]     the page of several such records

MNIST without constructed copies, as in `recovery.py`. The model beside the one attacked is retrained without three
images from the same start: what an auditor has. Public images are MNIST's that are in no part of the data set.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from influence_page import table
from recovery import prepare
from vestige import assets, image, provenance
from vestige.config import RecoverConfig
from vestige.executor import one_thread
from vestige.image.model import MLP
from vestige.image.objective import Weights, closed_form
from vestige.image.recover import match, reconstruct
from vestige.random import stream
from vestige.train import train
from vestige.types import Samples

STEPS, STARTS = 1500, 400
"""Iterations by stationarity, as the default's; public images to start from."""


@dataclass(frozen=True, eq=False)
class Case:
    """A model, the one retrained without three of its members, and the images to judge by and to start from."""

    model: MLP
    other: MLP
    members: Samples
    never: Samples
    public: Tensor
    per_class: int
    seed: int

    @property
    def labels(self) -> Tensor:
        return torch.arange(10).repeat_interleave(self.per_class)

    @property
    def mean(self) -> Tensor:
        return self.model.mean.flatten()


def case_of(n: int, seed: int) -> Case:
    model, members, never, settings, _ = prepare(n, seed, [])
    kept = members.take(members.ids[3:])
    other = train(
        image.build(settings.model, kept, generator=stream(seed, "train")), kept, modality=image, config=settings.train
    )  # fmt: skip
    everything = image.load(assets.locate("mnist"))
    taken = {*members.ids, *never.ids}
    free = np.array([at for at, name in enumerate(everything.ids) if name not in taken])
    chosen = np.random.default_rng([seed, 7]).choice(free, min(4_000, len(free)), replace=False)
    public = torch.as_tensor(np.asarray(everything.x)[chosen]).float() / 255
    return Case(model, other, members, never, public, n // 10, seed)


def as_it_is(case: Case) -> Tensor:
    """The default attack."""
    return attack(case, RecoverConfig())


@cache
def stationarity(case: Case, start: int = 0) -> Tensor:
    """The attack without the row space, from a cold start of this number."""
    return attack(case, RecoverConfig(rounds=0), start)


def attack(case: Case, config: RecoverConfig, start: int = 0, **more: Any) -> Tensor:
    draw = stream(case.seed + start, "recover")
    made = reconstruct(case.model, config=config, per_class=case.per_class, generator=draw, **more)
    return made.candidates.flatten(1)


def pair(case: Case) -> Tensor:
    """The default attack beside the retrained model."""
    return attack(case, RecoverConfig(), beside=case.other)


def public_starts(case: Case) -> Tensor:
    """The default attack, snapping from public images too."""
    return attack(case, RecoverConfig(), public=case.public[:STARTS])


def pair_and_public(case: Case) -> Tensor:
    """Both."""
    return attack(case, RecoverConfig(), beside=case.other, public=case.public[:STARTS])


def more_of_both(case: Case) -> Tensor:
    """Both, from 1,000 public images and in up to eight rounds."""
    return attack(case, RecoverConfig(rounds=8), beside=case.other, public=case.public[:1000])


def agreement(case: Case) -> Tensor:
    """Candidates of one cold start that recur (NCC > 0.8) from another one, by stationarity alone."""
    first, second = stationarity(case), stationarity(case, 1000)
    return first[(standard(first) @ standard(second).T).max(1).values > 0.8]


def two_starts(case: Case) -> Tensor:
    """All candidates of two cold starts, by stationarity alone."""
    return torch.cat([stationarity(case), stationarity(case, 1000)])


class Descent:
    """The stationarity attack's steps, from any start, with whatever is added to the gradient."""

    def __init__(self, case: Case) -> None:
        self.case, self.config = case, RecoverConfig()
        self.theta = Weights.of(case.model, torch.float32)
        self.size = self.theta.squared_norm()
        euler = len(self.theta.layers) * self.config.margin * len(case.labels) * float(np.log(2))
        self.scale = self.size / euler
        self.draw = stream(case.seed, "recover")

    def noise(self, count: int) -> Tensor:
        return self.config.start * torch.randn(count, self.case.mean.numel(), generator=self.draw)

    def value(self, x: Tensor, u: Tensor, labels: Tensor, theta: Weights | None = None) -> Any:
        weights = self.scale * F.softplus(u)
        return closed_form(theta or self.theta, x, weights, labels, self.config.alpha, self.config.direction)

    def run(
        self, x: Tensor, u: Tensor, labels: Tensor, steps: int, extra: Callable[[Tensor], Tensor] | None = None,
        free: Tensor | None = None, other: tuple[Weights, Tensor, Tensor] | None = None,
    ) -> None:  # fmt: skip
        """Moves x and u. free: 1 where a row may move. other: another model, what its mean adds, its multipliers."""
        config, mean = self.config, self.case.mean
        groups = [{"params": [x], "lr": config.lr_x}, {"params": [u], "lr": config.lr_u}]
        if other:
            groups.append({"params": [other[2]], "lr": config.lr_u})
        optimiser = torch.optim.Adam(groups, eps=1e-12)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            value = self.value(x, u, labels)
            outside = (x - (1 - mean)).relu() - (-mean - x).relu()
            x.grad = value.x / self.size + 2 * config.box / len(self.case.labels) * outside
            u.grad = value.multipliers * self.scale * torch.sigmoid(u) / self.size
            if other:
                second = self.value(x + other[1], other[2], labels, other[0])
                x.grad += second.x / self.size
                other[2].grad = second.multipliers * self.scale * torch.sigmoid(other[2]) / self.size
            if extra:
                x.grad += extra(x)
            if free is not None:
                x.grad *= free[:, None]
                u.grad *= free
            optimiser.step()
            schedule.step()


def both_models(case: Case) -> Tensor:
    """Candidates that explain both models, each by multipliers of its own."""
    do = Descent(case)
    x, u = do.noise(len(case.labels)), torch.zeros(len(case.labels))
    shift = case.mean - case.other.mean.flatten()
    other = (Weights.of(case.other, torch.float32), shift, torch.zeros(len(case.labels)))
    do.run(x, u, case.labels, STEPS, other=other)
    return x


def pursuit(case: Case) -> Tensor:
    """Sliding Frank–Wolfe: a fifth of the candidates at a time, those that best explain what is left, then all moved.

    Of four times as many, moved for 60 steps with multipliers near 0 beside the fixed others, the best are taken.
    """
    do = Descent(case)
    x, u, labels = torch.zeros(0, case.mean.numel()), torch.zeros(0), case.labels[:0]
    for stage in range(5):
        count = case.per_class * (stage + 1) // 5 - case.per_class * stage // 5
        fresh = torch.arange(10).repeat_interleave(4 * count)
        y, tiny = do.noise(len(fresh)), torch.full((len(fresh),), -8.0)
        both, weights, kinds = torch.cat([x, y]), torch.cat([u, tiny]), torch.cat([labels, fresh])
        free = torch.cat([torch.zeros(len(x)), torch.ones(len(y))])
        do.run(both, weights, kinds, 60, free=free)
        gain = -do.value(both, torch.cat([u, tiny]), kinds).multipliers[len(x) :]
        best = [
            at for kind in range(10) for at in torch.where(fresh == kind)[0][gain[fresh == kind].topk(count).indices]
        ]
        x, labels = torch.cat([x, both[len(x) :][best]]), torch.cat([labels, fresh[best]])
        u = torch.cat([u, torch.zeros(len(best))])
        do.run(x, u, labels, 300)
    return x


def splitting(case: Case) -> Tensor:
    """Every 300 steps the tenth of each class with the least multipliers is replaced by halves of the largest tenth."""
    do = Descent(case)
    x, u = do.noise(len(case.labels)), torch.zeros(len(case.labels))
    for phase in range(5):
        do.run(x, u, case.labels, STEPS // 5)
        if phase == 4:
            break
        count = max(1, case.per_class // 10)
        for kind in range(10):
            rows = torch.where(case.labels == kind)[0]
            order = rows[F.softplus(u[rows]).argsort()]
            weak, strong = order[:count], order[-count:]
            half = torch.log(torch.expm1((F.softplus(u[strong]) / 2).clamp_min(1e-6)))
            u[weak], u[strong] = half, half
            x[weak] = x[strong] + 0.1 * x[strong].norm(dim=1, keepdim=True) * F.normalize(do.noise(count), dim=1)
    return x


def prior(case: Case, strength: float = 0.1) -> Tensor:
    """What lies outside the 100 strongest directions of public images costs, as leaving [0, 1] does."""
    do = Descent(case)
    _, _, V = torch.pca_lowrank((case.public - case.model.mean).flatten(1), q=100, center=False)
    x, u = do.noise(len(case.labels)), torch.zeros(len(case.labels))
    pull = 2 * strength * do.config.box / len(case.labels)
    do.run(x, u, case.labels, STEPS, extra=lambda now: pull * (now - now @ V @ V.T))
    return x


def standard(images: Tensor) -> Tensor:
    return F.normalize(images - images.mean(1, keepdim=True), dim=1)


IDEAS: dict[str, Callable[[Case], Tensor]] = {
    "as it is": as_it_is,
    "beside the retrained model": pair,
    "from public images too": public_starts,
    "both": pair_and_public,
    "both, 1,000 public images, eight rounds": more_of_both,
    "stationarity alone": stationarity,
    "explaining both models": both_models,
    "matching pursuit": pursuit,
    "splitting": splitting,
    "public images as a prior, 0.1": prior,
    "public images as a prior, 1": lambda case: prior(case, 1.0),
    "two cold starts": two_starts,
    "where two cold starts agree": agreement,
}
LARGE = ("stationarity alone", "explaining both models", "matching pursuit")
"""What is tried at 500 images, where the row space is not thin: the default is stationarity alone there."""


def judged(case: Case, candidates: Tensor) -> dict[str, float]:
    shape = (-1, *case.model.mean.shape)
    ncc, null = (match(candidates.reshape(shape), part.x - case.model.mean)[0] for part in (case.members, case.never))
    back = match(case.members.x - case.model.mean, candidates.reshape(shape))[0]
    return {
        "recovered": int((ncc > 0.9).sum()), "mean": float(ncc.mean()), "null": float(null.mean()),
        "candidates": len(candidates), "true": int((back > 0.9).sum()),
    }  # fmt: skip


def page(records: list[dict[str, Any]]) -> str:
    rows = []
    for chosen, n in sorted({(record["seed"] >= 100, record["n"]) for record in records}):
        for name in IDEAS:
            found = [one for one in records if (one["seed"] >= 100, one["n"], one["idea"]) == (chosen, n, name)]
            found.sort(key=lambda record: record["seed"])
            if found:
                rows.append((
                    n, ", ".join(str(one["seed"]) for one in found), name,
                    ", ".join(str(one["recovered"]) for one in found),
                    *(", ".join(f"{one[key]:.2f}" for one in found) for key in ("mean", "null")),
                    ", ".join(f"{one['true']} of {one['candidates']}" for one in found),
                ))  # fmt: skip
    heads = ("images", "seeds", "idea", "members with NCC > 0.9", "mean NCC", "never seen", "candidates like a member")
    return (
        "# Further ideas for reconstruction\n\n"
        "In `benchmarks/`: `python ideas.py --sizes 200 --json A.json`; `python ideas.py --sizes 500 --seeds 100 "
        "--json B.json`; `python ideas.py --sizes 200 --seeds 0 1 2 --ideas 'as it is' "
        "'both, 1,000 public images, eight rounds' --json C.json`; "
        "`python ideas.py --page A.json B.json C.json --markdown ../docs/results/ideas.md`\n\n"
        f"{table(heads, rows)}\n\n"
        "A value a seed; what was kept was chosen on seeds 100–102. MNIST, 784-400-400-10 for 200 images and "
        "784-800-800-10 for 500, the model before unlearning, no constructed copies; a candidate is like a member with "
        f"NCC > 0.9. One thread, {provenance.host()['processor']}, torch {torch.__version__}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 500])
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--ideas", nargs="+", default=list(IDEAS), choices=list(IDEAS), metavar="NAME")
    parser.add_argument("--json", type=Path, help="also write what was measured here")
    parser.add_argument("--page", type=Path, nargs="+", help="only write the page of these records")
    parser.add_argument("--markdown", type=Path, help="where to write it")
    options = parser.parse_args()
    one_thread()
    records: list[dict[str, Any]] = []
    if options.page:
        records = [record for path in options.page for record in json.loads(path.read_text())]
    for n in () if options.page else options.sizes:
        for seed in options.seeds:
            case = case_of(n, seed)
            for name in options.ideas:
                if n > 200 and name not in LARGE:
                    continue
                records.append({"n": n, "seed": seed, "idea": name, **judged(case, IDEAS[name](case))})
                print(records[-1], flush=True)
                if options.json:
                    options.json.write_text(json.dumps(records, indent=1) + "\n")
    text = page(records)
    print(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
