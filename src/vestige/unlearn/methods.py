"""Unlearning methods: functions with one signature, found through METHODS.

Most are compositions: an objective to minimise from the model before, and at times a mask of the weights
that may move, or another start. To add one: write its parts, give it a line in METHODS and a card in
docs/methods.md; the contract test picks it up.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor, nn

from vestige.config import Dampening, Recipe, Steps
from vestige.modality import Modality
from vestige.random import stream
from vestige.sisa import Ensemble, forget_shards, learn
from vestige.train import ALL, Batch, OnStep, Rows, Stop, Watch, batched, descend
from vestige.types import InputError, Samples
from vestige.unlearn.losses import divergence, wrong_labels


class Method(Protocol):
    """A way to forget."""

    def __call__(
        self,
        model: nn.Module,
        forget: Samples,
        retain: Samples,
        *,
        modality: Modality,
        config: Recipe,
        seed: int,
        on_step: OnStep | None = None,
    ) -> nn.Module:
        """Return a new model that has forgotten `forget` and keeps `retain`; leave `model` as it was.

        Same inputs and seed, same result.
        """


@dataclass(frozen=True)
class Task:
    """What a method has to work with. before: the trained model, frozen."""

    before: nn.Module
    forget: Samples
    retain: Samples
    modality: Modality
    config: Recipe
    seed: int

    def mean(self, model: nn.Module, samples: Samples, rows: Rows = ALL) -> Tensor:
        """The mean training loss of the samples at these positions, in nats."""
        part = samples.at(rows)
        mean: Tensor = part.mean(self.modality.losses(model, part))
        return mean

    def distance(self, model: nn.Module, samples: Samples, teacher: Tensor, rows: Rows, temperature: float) -> Tensor:
        """The mean divergence from a teacher's logits of all samples, at these positions, in nats."""
        part = samples.at(rows)
        mean: Tensor = part.mean(divergence(teacher[rows], self.modality.logits(model, part), temperature))
        return mean

    def logits(self, model: nn.Module, samples: Samples) -> Tensor:
        """The logits of a teacher: no gradient flows into it."""
        with torch.no_grad():
            return self.modality.logits(model, samples)

    def fresh(self) -> nn.Module:
        """The untrained network that the model before started from (its mean taken from what is retained)."""
        fresh = self.modality.build(self.config.model, self.retain, generator=stream(self.seed, "train"))
        _check_alike(fresh, self.before, self.config)
        return fresh


WATCHED = 1000
"""Retained samples by which a utility budget is kept, at most."""


def within_budget(task: Task) -> Stop | None:
    """Whether a model lost more accuracy on retained samples than it may (`unlearn.utility`); None without a budget.

    Then the weights of the last pass within it are put back. A network that starts anew is not stopped before it gets
    there. stop(-1, model) checks the start.
    """
    if task.config.unlearn.utility is None:
        return None
    few, good = task.retain.evenly(WATCHED), dict[str, Tensor]()

    def accuracy(model: nn.Module) -> float:
        out = task.logits(model, few)
        return float((out.isfinite().all(1) & (out.argmax(1) == few.y)).float().mean())

    floor = accuracy(task.before) - task.config.unlearn.utility - 1e-6

    def stop(step: int, model: nn.Module) -> bool:
        modes = [part.training for part in model.modules()]
        found = accuracy(model.eval())
        for part, mode in zip(model.modules(), modes, strict=True):
            part.training = mode
        if found < floor and good:
            model.load_state_dict(good)
            return True
        if found >= floor:
            good.update({name: value.detach().clone() for name, value in model.state_dict().items()})
        return False

    return stop


Objective = Callable[[nn.Module, Batch], Tensor]
"""objective(model, batch) → what the gradient step lowers."""

Leader = Callable[[Recipe, int], str]
"""leader(recipe, step) → the set that this pass shows once, "retain" or "forget"."""


@dataclass(frozen=True)
class Minimised:
    """The method that takes gradient steps on an objective, with the batches, momentum and decay of training.

    settings: where its steps and rate stand in the recipe. mask: the weights that may move.
    start: the weights to start from, by default those of the model before. leader: what a pass goes over.
    """

    objective: Callable[[Task], Objective]
    settings: Callable[[Recipe], Steps]
    mask: Callable[[Task], Mapping[str, Tensor]] | None = None
    start: Callable[[Task], nn.Module] = lambda task: copy.deepcopy(task.before)
    leader: Leader = lambda recipe, step: "retain"

    def __call__(
        self,
        model: nn.Module,
        forget: Samples,
        retain: Samples,
        *,
        modality: Modality,
        config: Recipe,
        seed: int,
        on_step: OnStep | None = None,
        watch: Watch | None = None,
    ) -> nn.Module:
        """As every `Method`; watch sees the model after each gradient step."""
        task = Task(copy.deepcopy(model).eval(), forget, retain, modality, config, seed)
        learner, stop = self.start(task).requires_grad_(), within_budget(task)
        if stop is not None:
            stop(-1, learner)
        return descend(
            learner,
            self.objective(task),
            steps=self.settings(config).steps,
            lr=self.settings(config).lr,
            weight_decay=config.train.weight_decay,
            momentum=config.train.momentum,
            batches=batched(
                {"retain": len(retain), "forget": len(forget)},
                config.train.batch,
                stream(seed, "unlearn-order"),
                lambda step: self.leader(config, step),
            ),
            mask=self.mask(task) if self.mask else None,
            stop=stop,
            on_step=on_step,
            watch=watch,
            seed=seed,
        )


def retrain(
    model: nn.Module,
    forget: Samples,
    retain: Samples,
    *,
    modality: Modality,
    config: Recipe,
    seed: int,
    on_step: OnStep | None = None,
) -> nn.Module:
    """Train anew on what is retained, from the same initial weights as the model before: the reference."""
    if config.train.sisa is None:
        _check_alike(modality.build(config.model, retain, generator=stream(seed, "train")), model, config)
    return learn(retain, modality=modality, config=config, seed=seed, on_step=on_step)


def fine_tuned(task: Task) -> Objective:
    """The ordinary loss of the retained."""
    return lambda now, batch: task.mean(now, task.retain, batch.retain)


def relabelled(task: Task) -> Objective:
    """Random wrong labels for what must be forgotten, the right ones for the rest (Golatkar et al. 2020)."""
    wrong = wrong_labels(task.forget, stream(task.seed, "unlearn"))
    return lambda now, batch: task.mean(now, wrong, batch.forget) + task.mean(now, task.retain, batch.retain)


def ascended(task: Task) -> Objective:
    """Minus the ordinary loss of what must be forgotten."""
    return lambda now, batch: -task.mean(now, task.forget, batch.forget)


def torn(task: Task) -> Objective:
    """α CE(retain) − (1−α) CE(forget): NegGrad+ (Kurmanji et al. 2023)."""
    alpha = task.config.unlearn.neggrad.alpha

    def objective(now: nn.Module, batch: Batch) -> Tensor:
        away = task.mean(now, task.forget, batch.forget)
        return alpha * task.mean(now, task.retain, batch.retain) - (1 - alpha) * away

    return objective


def scrubbed(task: Task) -> Objective:
    """Away from the model before on the forgotten, first; near it on the retained: SCRUB (Kurmanji et al. 2023).

    Each epoch has a pass of min α KL + γ CE over retain, and each of the first max_steps a pass of max KL over forget
    before it.
    """
    settings = task.config.unlearn.scrub
    on_forget, on_retain = (task.logits(task.before, part) for part in (task.forget, task.retain))

    def objective(now: nn.Module, batch: Batch) -> Tensor:
        if scrubs_away(task.config, batch.step):
            return -task.distance(now, task.forget, on_forget, batch.forget, settings.temperature)
        near = task.distance(now, task.retain, on_retain, batch.retain, settings.temperature)
        return settings.alpha * near + settings.gamma * task.mean(now, task.retain, batch.retain)

    return objective


def scrub_passes(recipe: Recipe) -> Steps:
    """SCRUB's passes: its `steps` epochs with one each, and one more in each epoch that also moves away."""
    own = recipe.unlearn.scrub
    return Steps(steps=own.steps + min(own.max_steps, own.steps), lr=own.lr)


def scrubs_away(recipe: Recipe, step: int) -> bool:
    """Whether this pass of SCRUB is one that moves away on the forgotten."""
    return step < 2 * recipe.unlearn.scrub.max_steps and step % 2 == 0


def badly_taught(task: Task) -> Objective:
    """Like an untrained network on the forgotten, like the model before on the retained (Chundawat et al. 2023)."""
    bad = task.logits(task.fresh(), task.forget)
    good = task.logits(task.before, task.retain)

    def objective(now: nn.Module, batch: Batch) -> Tensor:
        on_forget = task.distance(now, task.forget, bad, batch.forget, 1.0)
        return on_forget + task.distance(now, task.retain, good, batch.retain, 1.0)

    return objective


def sparse(task: Task) -> Objective:
    """The ordinary loss of the retained and a falling L1 penalty: L1-sparse (Jia et al. 2023)."""
    settings = task.config.unlearn.sparse

    def objective(now: nn.Module, batch: Batch) -> Tensor:
        size = torch.stack([weight.abs().sum() for weight in now.parameters()]).sum()
        left = 1 - batch.step / settings.steps
        return task.mean(now, task.retain, batch.retain) + settings.weight * left * size

    return objective


def salient(task: Task) -> dict[str, Tensor]:
    """1 for the weights with the largest |∇CE(forget)| at the model before (Fan et al. 2024).

    `share` of all weights, those with the smallest absolute gradients, are 0; and so are all whose gradient is 0.
    """
    gradients = _gradient(task, task.before, task.forget)
    size = torch.cat([part.abs().flatten() for part in gradients.values()])
    moving = len(size) - int(task.config.unlearn.salun.share * len(size))
    # By rank, not above a bar: many gradients may be exactly as large as the bar, most of all 0.
    largest = torch.zeros_like(size).index_fill(0, size.argsort(descending=True, stable=True)[:moving], 1)
    parts = torch.split(torch.where(size > 0, largest, 0), [part.numel() for part in gradients.values()])
    return {name: part.view_as(like) for part, (name, like) in zip(parts, gradients.items(), strict=True)}


def last_layers(settings: Callable[[Recipe], int]) -> Callable[[Task], dict[str, Tensor]]:
    """1 for the weights of the last k layers: the last k modules that own weights, inside blocks too."""

    def mask(task: Task) -> dict[str, Tensor]:
        moving = set(_last(task.before, settings(task.config)))
        named = task.before.named_parameters()
        return {name: torch.full_like(weight, float(name in moving)) for name, weight in named}

    return mask


def restarted(task: Task) -> nn.Module:
    """The model before with its last k layers as they were before training: EU-k (Goel et al. 2022)."""
    moving = _last(task.before, task.config.unlearn.eu_k.k)
    fresh = dict(task.fresh().named_parameters())
    model = copy.deepcopy(task.before)
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name in moving:
            weights[name].copy_(fresh[name])
    return model


def dampened(
    model: nn.Module,
    forget: Samples,
    retain: Samples,
    *,
    modality: Modality,
    config: Recipe,
    seed: int,
    on_step: OnStep | None = None,
) -> nn.Module:
    """Shrink the weights that matter much more to the forgotten than to all: SSD (Foster et al. 2024).

    Where I_f > α I_D: θ ← θ·min(λ I_D / I_f, 1), I the mean squared gradient of the samples' losses.
    One step; its value is the share of the weights that were dampened.
    """
    after = copy.deepcopy(model).eval().requires_grad_()
    of_forget = importance(after, forget, modality)
    of_retain = importance(after, retain, modality)
    share = len(forget) / (len(forget) + len(retain))
    whole = {name: share * part + (1 - share) * of_retain[name] for name, part in of_forget.items()}
    chosen = dampen(after, of_forget, whole, config.unlearn.ssd)
    if on_step is not None:
        on_step(0, chosen)
    return after


def dampen(
    model: nn.Module, of_forget: Mapping[str, Tensor], whole: Mapping[str, Tensor], settings: Dampening
) -> Tensor:
    """Shrink weights in place by their importance for the forgotten and for everything; the share that was."""
    dampened = []
    with torch.no_grad():
        for name, weight in model.named_parameters():
            factor = (settings.lam * whole[name] / of_forget[name].clamp_min(1e-30)).clamp_max(1)
            chosen = of_forget[name] > settings.alpha * whole[name]
            weight.mul_(torch.where(chosen, factor, torch.ones_like(factor)))
            dampened.append(chosen.flatten())
    return torch.cat(dampened).float().mean()


def importance(model: nn.Module, samples: Samples, modality: Modality) -> dict[str, Tensor]:
    """The mean over samples of each weight's squared gradient: the diagonal of the empirical Fisher matrix."""
    weights = dict(model.named_parameters())
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for place in range(len(samples)):
        loss = modality.losses(model, samples.at(slice(place, place + 1))).sum()
        for key, part in zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True):
            total[key] += part**2 / len(samples)
    return total


METHODS: dict[str, Method] = {
    "retrain": retrain,
    "finetune": Minimised(fine_tuned, lambda recipe: recipe.unlearn.finetune),
    "relabel": Minimised(relabelled, lambda recipe: recipe.unlearn.relabel),
    "GA": Minimised(ascended, lambda recipe: recipe.unlearn.ascent, leader=lambda recipe, step: "forget"),
    "NegGrad+": Minimised(torn, lambda recipe: recipe.unlearn.neggrad),
    "SCRUB": Minimised(
        scrubbed,
        scrub_passes,
        leader=lambda recipe, step: "forget" if scrubs_away(recipe, step) else "retain",
    ),
    "BadTeacher": Minimised(badly_taught, lambda recipe: recipe.unlearn.bad_teacher),
    "SalUn": Minimised(relabelled, lambda recipe: recipe.unlearn.salun, mask=salient),
    "L1-sparse": Minimised(sparse, lambda recipe: recipe.unlearn.sparse),
    "CF-k": Minimised(
        fine_tuned, lambda recipe: recipe.unlearn.cf_k, mask=last_layers(lambda recipe: recipe.unlearn.cf_k.k)
    ),
    "EU-k": Minimised(
        fine_tuned,
        lambda recipe: recipe.unlearn.eu_k,
        mask=last_layers(lambda recipe: recipe.unlearn.eu_k.k),
        start=restarted,
    ),
    "SSD": dampened,
    "SISA": forget_shards,
}
"""Name, as in the papers, → method."""

FROM_SCRATCH = frozenset({"retrain"})
"""Methods that do not look at the model before."""

NEEDS_UNTRAINED = frozenset({"BadTeacher", "EU-k"})
"""Methods that need the untrained network beside the model before: they take no ensemble of shards."""


WEIGHTLESS = frozenset({"GA", "SSD", "SISA"})
"""Methods that take no mean loss over all that is retained, so that weights in it (`enhance.lighten`) cannot serve."""


def _gradient(task: Task, model: nn.Module, samples: Samples) -> dict[str, Tensor]:
    """The gradient of the mean loss, no more samples at once than a batch of training holds."""
    weights = dict(model.named_parameters())
    size = task.config.train.batch or len(samples)
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for start in range(0, len(samples), size):
        part = samples.at(slice(start, start + size))
        gradients = torch.autograd.grad(task.mean(model, part), list(weights.values()))
        for name, gradient in zip(weights, gradients, strict=True):
            total[name] += gradient * (len(part) / len(samples))
    return total


def _check_alike(fresh: nn.Module, model: nn.Module, config: Recipe) -> None:
    """Raise InputError where the recipe builds another network than the one that must forget."""
    ours, theirs = ({name: weight.shape for name, weight in net.named_parameters()} for net in (fresh, model))
    if ours != theirs:
        raise InputError(
            f"this method needs the untrained network, and the recipe builds model.kind {config.model.kind!r}, "
            f"whose weights are not those of the {type(model).__name__} that must forget; give the recipe of that "
            "model, or a modality that builds it: modality.with_model(modality, build)"
        )


def _last(model: nn.Module, k: int) -> list[str]:
    """The parameter names of the last k modules that own some; of a model trained in shards, those of each member."""
    if isinstance(model, Ensemble):
        members = enumerate(model.members)
        return [f"members.{number}.{name}" for number, member in members for name in _last(member, k)]
    owned = [
        [f"{path}.{name}" if path else name for name, _ in module.named_parameters(recurse=False)]
        for path, module in model.named_modules()
    ]
    layers = [names for names in owned if names]
    if k > len(layers):
        raise InputError(f"the last {k} layers were asked for, the model has {len(layers)}; lower k")
    return list(chain.from_iterable(layers[-k:]))
