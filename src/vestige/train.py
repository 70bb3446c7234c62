"""The one training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn

from vestige.config import TrainConfig, TuneConfig
from vestige.modality import Language, Modality
from vestige.random import settled, stream
from vestige.types import Samples

CLIP = 1.0
"""Longest gradient that a language model is tuned by, as is usual (the default of Hugging Face's Trainer)."""

OnStep = Callable[[int, Tensor], None]
"""on_step(step, value): a scalar on the model's device. Reading it waits for the device, so read it seldom."""
Stop = Callable[[int, nn.Module], bool]
"""stop(step, model) → whether this pass was the last."""
Watch = Callable[[int, nn.Module], None]
"""watch(taken, model): the model after so many gradient steps. It may only look."""
Rows = slice | Tensor
ALL = slice(None)


@dataclass(frozen=True)
class Batch:
    """What one gradient step looks at.

    step: the pass that it belongs to, from 0. retain, forget: positions in what is trained on and in what
    must be forgotten.
    """

    step: int
    retain: Rows = field(default_factory=lambda: ALL)
    forget: Rows = field(default_factory=lambda: ALL)

    def parts(self, count: int) -> Iterator[tuple[Batch, float]]:
        """This batch of retained samples in at most `count` pieces of nearly one size, each with its share of it."""
        rows = self.retain
        if count == 1 or isinstance(rows, slice):
            yield self, 1.0
            return
        for piece in rows.tensor_split(min(count, len(rows))):
            yield Batch(self.step, piece, self.forget), len(piece) / len(rows)


@dataclass(frozen=True)
class Peers:
    """Processes that train the same model, each on a device of its own, and share out the pieces of every batch.

    rank: which of `size` this one is. gather(tensor) → the tensors of all of them, (size, …), in each of them.
    """

    rank: int = 0
    size: int = 1
    gather: Callable[[Tensor], Tensor] = lambda tensor: tensor[None]


ALONE = Peers()
"""One process does it all."""

Batches = Callable[[int], Iterable[Batch]]
"""batches(step) → the batches of this pass."""


def everything(step: int) -> Iterable[Batch]:
    """One batch that holds all: a pass is one gradient step."""
    return (Batch(step),)


def batched(
    sizes: Mapping[str, int],
    batch: int | None,
    generator: torch.Generator,
    leader: Callable[[int], str] = lambda step: "retain",
) -> Batches:
    """Batches of at most `batch` samples, in an order drawn anew for every pass; without `batch`, everything.

    sizes: "retain", and where there is one "forget" → number of samples. A pass shows the set that
    leader(step) names once, and beside it the other one, over and over.
    """

    if batch is None:
        return everything
    most = batch

    def draw(step: int) -> Iterator[Batch]:
        lead = leader(step)
        orders = {name: torch.randperm(size, generator=generator) for name, size in sizes.items()}
        parts = {name: torch.split(order, most) for name, order in orders.items()}
        for position in range(len(parts[lead])):
            yield Batch(step, **{name: part[position % len(part)] for name, part in parts.items()})

    return draw


def cycled(sizes: Mapping[str, int], batch: Mapping[str, int], generator: torch.Generator) -> Batches:
    """One batch per pass: the next ones of each set, in an order drawn anew whenever it has been gone through.

    sizes, batch: "retain" and "forget" → number of samples there are, and shown at most in a pass. A set that fits
    into a batch is shown as it is.
    """

    def endless(name: str) -> Iterator[Tensor]:
        size, most = sizes[name], batch[name]
        while True:
            order = torch.randperm(size, generator=generator) if size > most else torch.arange(size)
            yield from torch.split(order, most)

    rows = {name: endless(name) for name in sizes}

    def draw(step: int) -> Iterable[Batch]:
        return (Batch(step, **{name: next(part) for name, part in rows.items()}),)

    return draw


def descend(
    model: nn.Module,
    objective: Callable[[nn.Module, Batch], Tensor],
    *,
    steps: int,
    lr: float,
    weight_decay: float,
    momentum: float = 0.0,
    schedule: Literal["constant", "cosine"] = "constant",
    batches: Batches = everything,
    mask: Mapping[str, Tensor] | None = None,
    optimiser: Literal["sgd", "adamw"] = "sgd",
    warmup: int = 0,
    accumulate: int = 1,
    clip: float | None = None,
    stop: Stop | None = None,
    on_step: OnStep | None = None,
    watch: Watch | None = None,
    peers: Peers = ALONE,
    seed: int = 0,
) -> nn.Module:
    """Gradient descent on `objective(model, batch)`, in place; weights that require no gradient stay.

    By default in full batches without momentum: the flow that theory speaks of.
    steps: passes; in full batches one gradient step each. schedule: of the rate, pass by pass.
    momentum: of SGD. warmup: gradient steps over which the rate rises linearly to its full height.
    accumulate: pieces that a batch of retained samples is computed in; the gradient of a mean over them is the same.
    clip: longest gradient (2-norm) that is taken as it is. stop(step, model) is asked after each pass; before it ends
    all it may put other weights in their place.
    mask: parameter name → 1 where it may move; elsewhere it stays exactly as it is, weight decay and
    momentum included, and modules of which no weight may move are in evaluation mode: running statistics stay too.
    on_step(step, value) is called after each pass, with the mean over its batches; watch after each gradient step.
    peers: who else takes the same steps; the pieces of `accumulate` are shared out among them, and the weights are the
    same to the bit as without them. seed: of what the model itself draws, as dropout does.
    Returns the model in evaluation mode.
    """
    model.train()
    if mask:
        moving = {weight for name, weight in model.named_parameters() if bool(mask[name].any())}
        for module in model.modules():
            module.training = not moving.isdisjoint(module.parameters())
    decay = 0 if mask else weight_decay
    mover: torch.optim.Optimizer
    if optimiser == "adamw":
        mover = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay, fused=True)
    else:
        mover = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=decay)
    taken = 0
    with settled(seed, "layers"):
        for step in range(steps):
            height = (1 + math.cos(math.pi * step / steps)) / 2 if schedule == "cosine" else 1.0
            values = []
            for batch in batches(step):
                taken += 1
                mover.param_groups[0]["lr"] = lr * height * min(1.0, taken / (warmup + 1))
                mover.zero_grad()
                values.append(_backward(model, objective, list(batch.parts(accumulate)), peers))
                if mask:
                    for name, weight in model.named_parameters():
                        if weight.grad is not None:
                            weight.grad.add_(weight.detach(), alpha=weight_decay).mul_(mask[name])
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                mover.step()
                if watch is not None:
                    watch(taken, model)
            if on_step is not None:
                on_step(step, torch.stack(values).mean())
            if stop is not None and stop(step, model):
                break
    mover.zero_grad()  # as large as the weights, and nobody needs them any more
    return model.eval()


def _backward(
    model: nn.Module,
    objective: Callable[[nn.Module, Batch], Tensor],
    parts: list[tuple[Batch, float]],
    peers: Peers,
) -> Tensor:
    """Leave the gradient of the parts' sum of objective · share in the model; returns that sum.

    Peers take one part each at a time. Their gradients are added in the order of the parts, as one process adds them.
    """

    def add(part: Batch, share: float) -> Tensor:
        loss = objective(model, part) * share
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    if peers.size == 1:
        return torch.stack([add(*part) for part in parts]).sum()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    values = []
    for start in range(0, len(parts), peers.size):
        now = parts[start : start + peers.size]
        sums = [weight.grad for weight in weights]
        model.zero_grad()
        # Who is left over takes the last part too, so that all gather alike; that is not counted.
        value = add(*now[min(peers.rank, len(now) - 1)])
        values.append(peers.gather(value)[: len(now)])
        for weight, sum_ in zip(weights, sums, strict=True):
            if weight.grad is not None:
                found = [*peers.gather(weight.grad)[: len(now)]]
                weight.grad = reduce(torch.add, found if sum_ is None else [sum_, *found])
    return torch.cat(values).sum()


def train(
    model: nn.Module,
    samples: Samples,
    *,
    modality: Modality,
    config: TrainConfig,
    seed: int = 0,
    on_step: OnStep | None = None,
    watch: Watch | None = None,
) -> nn.Module:
    """Minimise the mean loss of all samples, in place; returns the model. seed: of the order of batches."""

    def loss(now: nn.Module, batch: Batch) -> Tensor:
        part = samples.at(batch.retain)
        mean: Tensor = part.mean(modality.losses(now, part))
        return mean

    return descend(
        model,
        loss,
        steps=config.steps,
        lr=config.lr,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        schedule=config.schedule,
        batches=batched({"retain": len(samples)}, config.batch, stream(seed, "order")),
        on_step=on_step,
        watch=watch,
        seed=seed,
    )


def tune(
    model: nn.Module,
    samples: Samples,
    *,
    modality: Modality | Language,
    config: TuneConfig,
    seed: int = 0,
    on_step: OnStep | None = None,
    peers: Peers = ALONE,
) -> nn.Module:
    """Fine-tune a language model by AdamW, in place, on the mean over samples of the NLL per answer token; returns it.

    A sample counts the same however long its answer is, so that neither batches nor `accumulate` change what is
    minimised. Gradients are clipped at CLIP. seed: of the order. on_step is called after each epoch. peers: as of
    `descend`; all of them start from the same model.
    """

    def loss(now: nn.Module, batch: Batch) -> Tensor:
        part = samples.at(batch.retain)
        mean: Tensor = part.mean(modality.losses(now, part) / modality.lengths(now, part))
        return mean

    return descend(
        model,
        loss,
        steps=config.epochs,
        lr=config.lr,
        weight_decay=config.weight_decay,
        batches=batched({"retain": len(samples)}, config.batch, stream(seed, "order")),
        optimiser="adamw",
        warmup=int(config.warmup * config.epochs * -(-len(samples) // config.batch)),
        accumulate=config.accumulate,
        clip=CLIP,
        on_step=on_step,
        peers=peers,
        seed=seed,
    )
