"""Search a method's settings by the gap to R0, at a bounded share of retraining's cost, on seeds of its own.

The gap is the mean of five absolute differences to R0: accuracy on the forgotten, the retained and the test
samples, the share of the forgotten that a loss threshold takes for non-members, and the probability of the true
class, sample by sample, on the forgotten. Doing nothing has a gap too, and is shown beside it. The points
are those of a Halton sequence, after the published starting values; the last third lies around the best so far.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige.config import Recipe, StudyConfig, UnlearnConfig
from vestige.presets import SETTINGS
from vestige.provenance import ticks
from vestige.types import InputError, Samples

if TYPE_CHECKING:
    from torch import nn

    from vestige.modality import Modality

SIZE: dict[str, Any] = {
    "data": {"per_class": 100, "targets": 1, "similar": 0, "held_out": 0, "near": 0, "never_seen": 10, "test": 1000},
    "training": ["without"],
}
"""The data that settings are looked for on, unless something else is asked for: without similar samples."""
FORGET = 0.1
"""The share of the training samples, drawn at random, that must be forgotten: one or ten of them are too few for
a difference between before and R0 that is more than chance."""


@dataclass(frozen=True)
class Range:
    """The values that a setting may take: even in their logarithm, or as they are."""

    low: float
    high: float
    log: bool = True
    whole: bool = False

    def at(self, share: float) -> float | int:
        """The value at this share of the way, 0…1."""
        if self.whole:
            return min(int(self.high), math.floor(self.low * math.pow((self.high + 1) / self.low, share)))
        even = self.low + (self.high - self.low) * share
        return float(f"{self.low * math.pow(self.high / self.low, share) if self.log else even:.3g}")


RATE = {"lr": Range(1e-4, 0.5)}
RANGES: dict[str, dict[str, Range]] = {
    "finetune": RATE,
    "relabel": RATE,
    "GA": {**RATE, "steps": Range(1, 30, whole=True)},
    "NegGrad+": {**RATE, "alpha": Range(0.5, 0.999, log=False)},
    "SCRUB": {**RATE, "alpha": Range(0.01, 2), "max_steps": Range(1, 5, whole=True)},
    "BadTeacher": RATE,
    "SalUn": {**RATE, "share": Range(0.1, 0.9, log=False)},
    "L1-sparse": {**RATE, "weight": Range(1e-6, 1e-3)},
    "CF-k": {**RATE, "k": Range(1, 4, whole=True)},
    "EU-k": {**RATE, "k": Range(1, 4, whole=True)},
    "SSD": {"alpha": Range(0.3, 100), "lam": Range(0.03, 1)},
}
"""Method → what is looked for; where there are steps, they are as well, up to the share of retraining's.

Those of GA are passes over the forgotten alone and cost next to nothing.
"""


@dataclass(frozen=True)
class Behaviour:
    """What is compared with R0. The accuracies and `unseen` are shares; p is the true class's on each forgotten."""

    forget: float
    retain: float
    test: float
    unseen: float
    p: np.ndarray

    def differences(self, reference: Behaviour) -> dict[str, float]:
        """The five absolute differences, each in [0, 1]."""
        return {
            "UA": abs(self.forget - reference.forget),
            "RA": abs(self.retain - reference.retain),
            "TA": abs(self.test - reference.test),
            "MIA": abs(self.unseen - reference.unseen),
            "p": float(np.abs(self.p - reference.p).mean()),
        }

    def gap(self, reference: Behaviour) -> float:
        """Their mean."""
        return fmean(self.differences(reference).values())


def unseen(forget: np.ndarray, retain: np.ndarray, test: np.ndarray) -> float:
    """The share of the forgotten that a threshold on the loss takes for non-members.

    The threshold is the retained or test loss that tells these two apart best, with equal weight, by
    "above: never trained on". forget, retain, test: losses, each (N,).
    """
    bars = np.sort(np.concatenate([retain, test]))
    kept = np.searchsorted(np.sort(retain), bars, side="right") / len(retain)
    new = 1 - np.searchsorted(np.sort(test), bars, side="right") / len(test)
    return float((forget > bars[np.argmax(kept + new)]).mean())


def behaviour(model: nn.Module, forget: Samples, retain: Samples, test: Samples, modality: Modality) -> Behaviour:
    """How a model behaves on the three sets. A model that was destroyed is never right and has infinite losses."""
    import torch

    rights, losses = [], []
    with torch.no_grad():
        for part in (forget, retain, test):
            scores = modality.logits(model, part).log_softmax(1)
            right = (scores.argmax(1) == part.y) & ~scores.isnan().any(1)  # argmax calls NaN the first class
            rights.append(float(right.float().mean()))
            losses.append(-scores.gather(1, part.y[:, None])[:, 0].nan_to_num(-math.inf).cpu().numpy())
    return Behaviour(rights[0], rights[1], rights[2], unseen(*losses), np.exp(-losses[0]))


@dataclass(frozen=True)
class Case:
    """One seed: what must be forgotten, the model before, and how it and R0 behave. seconds: of retraining."""

    seed: int
    forget: Samples
    retain: Samples
    test: Samples
    before: nn.Module
    nothing: Behaviour
    reference: Behaviour
    seconds: float


def prepare(config: StudyConfig, samples: Samples, seed: int) -> Case:
    """Draw one data set, train on it, and retrain without a random share of it."""
    import torch

    from vestige import dataset
    from vestige.modality import modality
    from vestige.random import stream
    from vestige.sisa import learn

    room = modality(config.modality)
    drawn, split = dataset.entail(config.data, samples, modality=room, seed=seed)
    drawn = drawn.to(config.device)
    members, test = drawn.take(split.training("without")), drawn.take(split.test)
    order = torch.randperm(len(members), generator=stream(seed, "forget"))
    forget = members.at(order[: max(1, round(FORGET * len(members)))])
    retain = members.without(forget.ids)
    before = learn(members, modality=room, config=config.recipe, seed=seed)
    start = ticks(config.device)
    after = learn(retain, modality=room, config=config.recipe, seed=seed)
    seconds = ticks(config.device) - start
    sets = (forget, retain, test, room)
    return Case(seed, forget, retain, test, before, behaviour(before, *sets), behaviour(after, *sets), seconds)


def apply(method: str, recipe: Recipe, case: Case, modality: Modality) -> tuple[Behaviour, float]:
    """How the model behaves after the method, and the seconds that it took (`ticks`)."""
    from vestige.unlearn import METHODS

    device = next(case.before.parameters()).device.type
    start = ticks(device)
    after = METHODS[method](case.before, case.forget, case.retain, modality=modality, config=recipe, seed=case.seed)
    seconds = ticks(device) - start
    return behaviour(after, case.forget, case.retain, case.test, modality), seconds


@dataclass(frozen=True)
class Trial:
    """Settings that were tried: gap and time as a share of retraining's, means over the cases; all: none left out."""

    settings: Mapping[str, float | int]
    gap: float
    time: float
    all: bool


def check(method: str) -> None:
    """Raise InputError for a method that there is not, or that has nothing to tune."""
    if method not in RANGES:
        raise InputError(f"there is nothing to tune for {method!r}; methods with settings: {', '.join(RANGES)}")


def tune(
    method: str, config: StudyConfig, cases: Iterable[Case], *, trials: int, share: float, budget: float
) -> list[Trial]:
    """Try settings of one method, best first; the one tried first, the published starting values, is among them.

    share: passes that a method may take, as a share of retraining's. budget: seconds after which no further
    settings are tried. A trial ends early once it cannot be the best any more.
    """
    from scipy.stats.qmc import Halton

    from vestige.modality import modality

    check(method)
    room, cases = modality(config.modality), list(cases)
    where, ranges = SETTINGS[method], dict(RANGES[method])
    published = UnlearnConfig().model_dump()[where]
    if "steps" in published:
        most = max(1, int(share * config.train.steps))
        ranges.setdefault("steps", Range(1, most, whole=True))
        published["steps"] = min(published["steps"], most)
    points = Halton(len(ranges), scramble=False).fast_forward(1).random(trials)
    start = time.monotonic()
    found: list[tuple[Trial, np.ndarray | None]] = []
    for number, point in enumerate(points):
        if number and time.monotonic() - start > budget:
            break
        best, place = min(found, key=lambda pair: pair[0].gap) if found else (None, None)
        if number > trials * 2 // 3 and place is not None:
            point = np.clip(place + (point - 0.5) / 3, 0, 1)
        drawn = {name: kind.at(part) for (name, kind), part in zip(ranges.items(), point, strict=True)}
        settings = {**published, **drawn} if number else published
        trial = _try(method, settings, config, cases, room, best.gap if best else math.inf)
        found.append((trial, point if number else None))
    return sorted((trial for trial, _ in found), key=lambda trial: (not trial.all, trial.gap))


def _try(
    method: str, settings: Mapping[str, float | int], config: StudyConfig, cases: list[Case], room: Modality, bar: float
) -> Trial:
    where = SETTINGS[method]
    unlearn = UnlearnConfig.model_validate({where: settings})
    recipe = config.recipe.model_copy(update={"unlearn": unlearn})
    gaps: list[float] = []
    times: list[float] = []
    for case in cases:
        after, seconds = apply(method, recipe, case, room)
        gaps.append(after.gap(case.reference))
        times.append(seconds / case.seconds)
        if sum(gaps) / len(cases) >= bar:  # no gap is below 0
            break
    return Trial(settings, fmean(gaps), fmean(times), len(gaps) == len(cases))


def search(
    methods: list[str],
    config: StudyConfig,
    *,
    seeds: list[int],
    trials: int,
    share: float,
    budget: float,
    say: Callable[[str], None],
) -> Iterable[tuple[str, dict[str, Any]]]:
    """Tune methods one after the other: (method, preset entry: settings, gap and what found them)."""
    from vestige import assets
    from vestige.modality import modality

    for method in methods:
        check(method)
    room = modality(config.modality)
    samples = room.load(assets.locate(config.data.source))
    cases: list[Case] = []
    for seed in seeds if methods else ():
        cases.append(prepare(config, samples, seed))
        say(f"seed {seed}: trained and retrained in {cases[-1].seconds:.1f} s each")
    for method in methods:
        tried = tune(method, config, cases, trials=trials, share=share, budget=budget)
        first = tried[0]
        yield (
            method,
            {
                "settings": dict(first.settings),
                "gap": round(first.gap, 4),
                "before": round(fmean(case.nothing.gap(case.reference) for case in cases), 4),
                "time": round(first.time, 3),
                "trials": len(tried),
                "found": {
                    "data": config.data.source,
                    "images": len(cases[0].forget) + len(cases[0].retain),
                    "forget": len(cases[0].forget),
                    "model": config.model.model_dump(mode="json"),
                    "train": config.train.model_dump(mode="json", exclude_defaults=True),
                    "seeds": seeds,
                    "share": share,
                    "budget": budget,
                },
            },
        )
