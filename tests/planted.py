"""A set in which it is known beforehand who is hard to unlearn, and a small study of it.

Four blobs with a class each, and samples that a network can only learn by heart:

- easy: a sample inside a blob under the label of another. Its neighbours, which are retained, say what to answer there,
  so whatever loosens the memory, even a little, makes the network fall back to them.
- hard: a sample alone, in a direction in which no other lies. Nothing that is retained says anything there: only its
  own gradient moves the network at that place, and fixed budgets move it too little, or past what models that never
  saw it say. What those say is open; where it happens to be its label, there is nothing to erase.
- plain: members of the blobs, and a copy of one. Models without them answer as models with them do: there is nothing to
  erase, which must be said and must not count as easy.

Settings were chosen on seeds 100 and 101.
"""

from dataclasses import dataclass

import numpy as np
import torch

from vestige import metrics, modality
from vestige.config import Recipe
from vestige.config.image import Ascent, MLPConfig, NegGrad, Relabel, Scrub, Steps, TrainConfig, UnlearnConfig
from vestige.difficulty import factors, score
from vestige.difficulty.table import Measured
from vestige.sisa import learn
from vestige.types import Samples
from vestige.unlearn import METHODS

CLASSES, WIDTH, SPREAD = 4, 48, 0.25
IMAGE = modality.modality("image")
RECIPE = Recipe(
    model=MLPConfig(hidden=(64, 64), init_scale=0.1),
    train=TrainConfig(steps=400, lr=0.5, weight_decay=0.0),
    unlearn=UnlearnConfig(
        finetune=Steps(steps=20, lr=0.2),
        ascent=Ascent(steps=10, lr=0.007),
        neggrad=NegGrad(steps=20, lr=0.05, alpha=0.9),
        scrub=Scrub(steps=10, lr=0.01, max_steps=10),
        relabel=Relabel(steps=10, lr=0.05),
    ),
)
ALGORITHMS = ("finetune", "GA", "NegGrad+", "SCRUB", "relabel")


@dataclass(frozen=True)
class Planted:
    train: Samples
    test: Samples
    hard: tuple[str, ...]
    easy: tuple[str, ...]
    plain: tuple[str, ...]


def plant(seed, each=12, blob=40):
    rng = np.random.default_rng(seed)
    centres = rng.choice([-0.5, 0.5], size=(CLASSES, WIDTH))
    basis = np.linalg.qr(centres.T)[0]
    found = {}

    def near(label):
        return centres[label] + SPREAD * rng.normal(size=WIDTH)

    def alone():
        away = rng.normal(size=WIDTH)
        away -= basis @ (basis.T @ away)
        return away / np.linalg.norm(away) * np.linalg.norm(centres[0])

    for label in range(CLASSES):
        found |= {f"plain/{label}-{number}": (near(label), label) for number in range(blob)}
    found["plain/copy"] = found["plain/0-0"]
    for number in range(each):
        label = number % CLASSES
        found[f"easy/{number}"] = (near(label), (label + 1 + number // CLASSES) % CLASSES)
        found[f"hard/{number}"] = (alone(), label)
    unseen = {f"test/{number}": (near(number % CLASSES), number % CLASSES) for number in range(100)}
    ids = {kind: tuple(name for name in found if name.startswith(kind)) for kind in ("hard", "easy")}
    return Planted(
        _samples(found), _samples(unseen), ids["hard"], ids["easy"], ("plain/0-0", "plain/1-0", "plain/copy")
    )


def study(planted, seed, algorithms=ALGORITHMS):
    """Before, references, unlearning of each sample by each algorithm, the score and the factors: `Measured`."""
    train, test, ids = planted.train, planted.test, (*planted.hard, *planted.easy, *planted.plain)
    before = learn(train, modality=IMAGE, config=RECIPE, seed=seed)
    reference = references(train, ids, seed)
    p_before = dict(zip(train.ids, probabilities(before, train), strict=True))
    h = np.empty((len(algorithms), 1, len(ids)))
    gap = np.abs([[p_before[name] - reference[name] for name in ids]])
    for row, algorithm in enumerate(algorithms):
        for column, name in enumerate(ids):
            forget, retain = train.take([name]), train.without([name])
            after = METHODS[algorithm](before, forget, retain, modality=IMAGE, config=RECIPE, seed=seed)
            found = score.score(
                p_before[name],
                probabilities(after, forget)[0],
                reference[name],
                test=accuracy(after, test) / accuracy(before, test),
                retained=accuracy(after, retain) / accuracy(before, retain),
            )
            h[row, 0, column] = found.h
    known = factors.before(before, train, ids, modality=IMAGE, references=[reference[name] for name in ids])
    table = {name: values[None] for name, values in known.items()}
    return Measured("planted mlp", ids, tuple(algorithms), (seed,), h, np.broadcast_to(gap, h.shape), table)


def references(train, ids, seed, rounds=4):
    """p_ref: the mean over models that were trained without a random half of the samples asked about."""
    rng = np.random.default_rng(seed)
    found = {name: [] for name in ids}
    for turn in range(rounds):
        order = rng.permutation(ids)
        for half in (order[: len(ids) // 2], order[len(ids) // 2 :]):
            model = learn(train.without(half), modality=IMAGE, config=RECIPE, seed=1000 + rounds * seed + turn)
            for name, p in zip(half, probabilities(model, train.take(half)), strict=True):
                found[name].append(p)
    return {name: float(np.mean(values)) for name, values in found.items()}


def probabilities(model, samples):
    with torch.no_grad():
        return np.exp(-metrics.losses(IMAGE.logits(model, samples).numpy(), samples.y.numpy()))


def accuracy(model, samples):
    with torch.no_grad():
        return metrics.accuracy(IMAGE.logits(model, samples).numpy(), samples.y.numpy())


def _samples(found):
    x = torch.tensor(np.stack([0.5 + point / 2 for point, _ in found.values()]), dtype=torch.float32)
    return Samples(tuple(found), x.view(-1, 1, 1, WIDTH), torch.tensor([label for _, label in found.values()]), CLASSES)
