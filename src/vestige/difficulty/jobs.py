"""Carrying out one job of a difficulty study: a function of the job and of what it needs, on one thread.

Networks are kept channels last, which their convolutions take a third less time for; that changes the last bits of a
sum, the same ones wherever the job runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige import metrics, sisa
from vestige.config import DifficultyConfig
from vestige.difficulty import data as sets
from vestige.difficulty.journal import Part
from vestige.difficulty.plan import METHOD_OF, Job, data_of, name_of, needs, recipe_of
from vestige.random import stream

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from vestige.config import Recipe
    from vestige.modality import Modality
    from vestige.types import Samples

Array = np.ndarray
Parts = Mapping[str, Part]

LENGTHS = tuple(2.0**power for power in range(-12, 2))
"""Lengths of the random steps, over that of the weights; a run is compared with those whose length is nearest."""
DIRECTIONS = 3
MARKS = 4
"""How often the utility is measured on the way of one run, at the first steps at which it has erased enough."""
ENOUGH = 0.9
"""Erasure that counts as enough, as in `factors.tolerance`."""


def carry_out(job: Job, parts: Parts) -> Part:
    """The result of one job. parts: name → what it needs (`plan.needs`). Raises ArithmeticError where it diverges."""
    kinds = {"reference": _reference, "before": _before, "factors": _factors, "unlearn": _unlearn}
    return kinds[job["kind"]](job, parts)


def alone(job: Job) -> Part:
    """The result of one job on its own: what it needs is made first, from its specification alone."""
    parts = {}
    for spec in needs(job):
        parts[name_of(spec)] = make_data(spec) if spec["kind"] == "data" else alone(spec)
    return carry_out(job, parts)


def make_data(spec: Job, everything: Samples | None = None) -> Part:
    """The data set of this specification. everything: all samples of its source, where they were read already.

    Raises InputError for what cannot be drawn, and where the source is another by now.
    """
    from vestige import assets
    from vestige.modality import modality
    from vestige.types import InputError

    room, dosed = modality(spec["modality"]), tuple(spec.get("dosed", ()))
    if everything is None:
        asset = assets.locate(spec["data"]["source"])
        if asset.digest() != spec["sha256"]:
            raise InputError(f"{spec['data']['source']} is not the data that this job is about: its SHA-256 differs")
        everything = room.load(asset)
    config = DifficultyConfig.model_validate(
        {"modality": spec["modality"], "seed": spec["seed"], "data": spec["data"], "doses": spec.get("doses", ()),
         "dosed": max(1, len(dosed)), "samples": max(1, len(dosed))}
    )  # fmt: skip
    samples, train, test = sets.draw(config, everything, modality=room, dose=spec.get("dose", 0), dosed=dosed)
    return Part(*sets.to_entry(samples, train, test, dosed, everything))


@dataclass(frozen=True)
class Place:
    """What every job works with: its room, its recipe, what is trained on, what is for testing."""

    room: Modality
    recipe: Recipe
    train: Samples
    test: Samples

    def answers(self, model: nn.Module) -> tuple[Array, Array]:
        """The margin of the true class of every training sample, and whether it is right, then the test samples."""
        import torch

        margins, right = [], []
        with torch.no_grad():
            for part in (self.train, self.test):
                logits = self.room.logits(model, part).cpu().numpy()
                if not np.isfinite(logits).all():
                    raise ArithmeticError("the model diverged: its logits are not finite")
                labels = part.y.cpu().numpy()
                margins.append(metrics.margins(logits, labels))
                right.append(logits.argmax(1) == labels)
        return margins[0], np.concatenate(right)


def probability(margins: Array | float) -> Array:
    """p of margins log p/(1 − p), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(np.asarray(margins, np.float64) / 2)))


def restore(job: Job, arrays: Mapping[str, Array]) -> nn.Module:
    """The model that a job of kind `before` has kept."""
    import torch

    from vestige.modality import modality

    weights = {
        name.removeprefix("weights."): torch.tensor(value, device=job["device"])
        for name, value in arrays.items()
        if name.startswith("weights.")
    }
    model = sisa.restore(weights, modality=_quick(modality(data_of(job)["modality"])), config=recipe_of(job))
    return _channels_last(model)


def _place(job: Job, parts: Parts) -> Place:
    from vestige.modality import modality

    data = data_of(job)
    train, test = sets.from_entry(*parts[name_of(data)], device=job.get("before", job)["device"])
    return Place(_quick(modality(data["modality"])), recipe_of(job), train, test)


def _quick(room: Modality) -> Modality:
    """The same room, whose networks are kept channels last."""

    def build(config: Any, samples: Samples, *, generator: torch.Generator) -> nn.Module:
        return _channels_last(room.build(config, samples, generator=generator))

    def restore(config: Any, weights: dict[str, Tensor]) -> nn.Module:
        return _channels_last(room.restore(config, weights))

    quick: Any = SimpleNamespace(**vars(room) | {"build": build, "restore": restore})
    made: Modality = quick
    return made


def _channels_last(model: nn.Module) -> nn.Module:
    import torch

    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _reference(job: Job, parts: Parts) -> Part:
    at = _place(job, parts)
    shown = at.train.without(job["without"])
    model = sisa.learn(shown, modality=at.room, config=at.recipe, seed=job["seed"])
    margins, right = at.answers(model)
    tested = float(right[len(at.train) :].mean())
    return Part({"kind": "reference", "test_accuracy": tested}, {"margins": margins.astype(np.float32)})


def _before(job: Job, parts: Parts) -> Part:
    """The model, its answers, how it came to them, and what random steps from it do."""
    from vestige.train import train

    at, seed, sharded = _place(job, parts), job["seed"], job["train"]["sisa"] is not None
    moments: list[Array] = []
    if sharded:
        model = sisa.learn(at.train, modality=at.room, config=at.recipe, seed=seed)
    else:
        config = at.recipe.train
        every = -(-len(at.train) // config.batch) if config.batch else 1

        def look(taken: int, now: nn.Module) -> None:
            if taken % every == 0:
                now.eval()
                moments.append(probability(at.answers(now)[0]))
                now.train()

        fresh = at.room.build(at.recipe.model, at.train, generator=stream(seed, "train"))
        model = train(fresh, at.train, modality=at.room, config=config, seed=seed, watch=look)
    margins, right = at.answers(model)
    split = len(at.train)
    arrays: dict[str, Array] = {f"weights.{name}": value.cpu().numpy() for name, value in model.state_dict().items()}
    arrays |= {"margins": margins.astype(np.float32), "right": right, "random": _random_steps(model, at, seed)}
    if moments:
        arrays["trajectory"] = np.stack(moments).astype(np.float32)
    if not sharded:  # for SSD
        from vestige.unlearn.methods import importance

        kept = importance(model.eval(), at.train, at.room)
        arrays |= {f"importance.{name}": value.cpu().numpy() for name, value in kept.items()}
    accuracies = {"test_accuracy": float(right[split:].mean()), "train_accuracy": float(right[:split].mean())}
    return Part({"kind": "before", **accuracies}, arrays)


def _random_steps(model: nn.Module, at: Place, seed: int) -> Array:
    """p of every training sample after steps of LENGTHS in random directions, (lengths, DIRECTIONS, n)."""
    import copy

    import torch

    draw, moved = stream(seed, "random steps"), copy.deepcopy(model)
    start, now = list(model.parameters()), list(moved.parameters())
    length = _length(start)
    after = np.empty((len(LENGTHS), DIRECTIONS, len(at.train)), np.float32)
    with torch.no_grad():
        for number in range(DIRECTIONS):
            step = [torch.randn(weight.shape, generator=draw).to(weight.device) for weight in start]
            whole = _length(step)
            for row, share in enumerate(LENGTHS):
                for weight, origin, part in zip(now, start, step, strict=True):
                    weight.copy_(origin + part * (share * length / whole))
                after[row, number] = probability(at.answers(moved)[0])
    return after


def _length(tensors: list[Any]) -> float:
    return math.sqrt(sum(float(part.detach().double().square().sum()) for part in tensors))


def _factors(job: Job, parts: Parts) -> Part:
    from vestige.difficulty import factors

    at, before = _place(job, parts), parts[name_of(job["before"])]
    where = {name: row for row, name in enumerate(at.train.ids)}
    rows = [where[name] for name in job["ids"]]
    found = factors.before(
        restore(job["before"], before.arrays),
        at.train,
        job["ids"],
        modality=at.room,
        references=np.array(job["references"]),
        trajectory=before.arrays["trajectory"][:, rows],
        similarity=sets.alike(at.train, job["ids"]),
    )
    return Part({"kind": "factors"}, {name: np.asarray(values, np.float64) for name, values in found.items()})


@dataclass
class Path:
    """The way of one unlearning, step by step.

    p: of the sample's true class before any step and after each; lengths: how far the weights have moved, over their
    length before; marks: step, test and retained accuracy after over before, where it was erased enough.
    """

    at: Place
    sample: Samples
    row: int
    right: Array
    p_ref: float
    start: list[Tensor]
    p: list[float]
    lengths: list[float] = field(default_factory=lambda: [0.0])
    marks: list[tuple[int, float, float]] = field(default_factory=list)

    def watch(self, taken: int, model: nn.Module) -> None:
        import torch

        from vestige.difficulty.score import erasable, erasure

        model.eval()
        with torch.no_grad():
            logits = self.at.room.logits(model, self.sample).cpu().numpy()
            if not np.isfinite(logits).all():
                raise ArithmeticError(f"the model diverged at step {taken}: its logits are not finite")
            self.p.append(float(probability(metrics.margins(logits, self.sample.y.cpu().numpy()))[0]))
            self.lengths.append(moved(model, self.start))
        worth = erasable(self.p[0], self.p_ref) and len(self.marks) < MARKS
        if worth and erasure(self.p[-1], self.p[0], self.p_ref) >= ENOUGH:
            self.marks.append((taken, *ratios(self.at.answers(model)[1], self.right, self.row, len(self.at.train))))
        model.train()


def moved(model: nn.Module, start: list[Tensor]) -> float:
    """‖θ − θ_0‖ / ‖θ_0‖."""
    pairs = zip(model.parameters(), start, strict=True)
    return _length([weight.detach() - origin for weight, origin in pairs]) / _length(start)


def ratios(after: Array, before: Array, row: int, n: int) -> tuple[float, float]:
    """Test accuracy, and accuracy on the retained, after over before. row: of what is forgotten among the n trained on.

    after, before: whether each training sample and then each test sample is right. 1 where both are 0.
    """
    kept = np.arange(n) != row
    pairs = ((after[n:], before[n:]), (after[:n][kept], before[:n][kept]))
    test, retained = (float(a.sum() / b.sum()) if b.any() else 1.0 for a, b in pairs)
    return test, retained


def _unlearn(job: Job, parts: Parts) -> Part:
    """The sample is forgotten, and every training and test sample asked once more."""
    import torch

    from vestige.unlearn.methods import METHODS, Minimised, dampen, importance

    at, kept = _place(job, parts), parts[name_of(job["before"])].arrays
    model, seed = restore(job["before"], kept), job["before"]["seed"]
    forget, retain = at.train.take([job["id"]]), at.train.without([job["id"]])
    row, start = at.train.ids.index(job["id"]), [weight.detach().clone() for weight in model.parameters()]
    path = Path(at, forget, row, kept["right"], job["p_ref"], start, [float(probability(kept["margins"][row]))])
    algorithm: str = job["algorithm"]
    method = METHODS[METHOD_OF.get(algorithm, algorithm)]
    if algorithm == "SSD":
        # Importance for everything is that of the model before: computed once, not once a sample.
        whole = {name: torch.tensor(kept[f"importance.{name}"]).to(weight) for name, weight in model.named_parameters()}
        dampen(model, importance(model, forget, at.room), whole, at.recipe.unlearn.ssd)
        after = model
    elif isinstance(method, Minimised):
        after = method(model, forget, retain, modality=at.room, config=at.recipe, seed=seed, watch=path.watch)
    else:
        after = method(model, forget, retain, modality=at.room, config=at.recipe, seed=seed)
    margins, right = at.answers(after)
    test, retained = ratios(right, kept["right"], row, len(at.train))
    facts = {
        "kind": "unlearn",
        "test": test,
        "retained": retained,
        "length": moved(after, start),
        "steps": len(path.p) - 1 if isinstance(method, Minimised) else None,
        "marks": [list(mark) for mark in path.marks],
    }
    arrays = {"margins": margins.astype(np.float32), "p": np.array(path.p), "lengths": np.array(path.lengths)}
    return Part(facts, arrays)
