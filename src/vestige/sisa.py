"""SISA: training in shards and slices, so that forgetting retrains only a part (Bourtoule et al. 2021).

Each shard trains a model of its own, and is shown its slices one after the other: stage s trains on slices
1…s, going on from the model of stage s−1, which is kept. To forget a sample, its shard goes back to the model
that had not seen its slice yet. Where a sample belongs is a function of its id and the seed alone, and
a shard's mean image comes from its first slice, so that nothing reaches back: the result of forgetting is, to
the bit, that of training without the sample from the start.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from vestige.config import Recipe, Sisa
from vestige.modality import Modality
from vestige.random import stream
from vestige.train import OnStep, train
from vestige.types import InputError, Samples


class Kept(nn.Module):
    """A state dict held as buffers: part of the model's state, but nothing that is trained."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, value in weights.items():
            self.register_buffer(name.replace(".", "/"), value.clone())

    def weights(self) -> dict[str, Tensor]:
        return {name.replace("/", "."): value.clone() for name, value in self.named_buffers()}


class Ensemble(nn.Module):
    """Models that vote by their mean probability, with what is needed to forget.

    members: one trained model per shard. checkpoints: shard → its states after each slice but the last.
    seed: that of training; it says which shard and slice a sample belongs to.
    """

    seed: Tensor

    def __init__(self, members: list[nn.Module], checkpoints: list[list[dict[str, Tensor]]], seed: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.checkpoints = nn.ModuleList(nn.ModuleList(map(Kept, states)) for states in checkpoints)
        self.register_buffer("seed", torch.tensor([seed]))

    @property
    def parts(self) -> Sisa:
        """The number of shards and slices."""
        return Sisa(shards=len(self.members), slices=len(self.states(0)) + 1)

    def states(self, shard: int) -> list[dict[str, Tensor]]:
        """The kept states of one shard."""
        return [kept.weights() for kept in self.checkpoints[shard].children() if isinstance(kept, Kept)]

    def forward(self, x: Tensor) -> Tensor:
        """The logarithm of the members' mean probability, (N, classes): logits whose softmax is that mean."""
        votes = torch.stack([torch.log_softmax(member(x), 1) for member in self.members])
        return torch.logsumexp(votes, 0) - math.log(len(self.members))


def place(name: str, seed: int, parts: Sisa) -> tuple[int, int]:
    """The shard and the slice of the sample with this id, each drawn evenly and apart from all other samples."""
    number = int.from_bytes(hashlib.sha256(f"{seed}/sisa/{name}".encode()).digest()[:8], "big")
    return number % parts.shards, number // parts.shards % parts.slices


def learn(
    samples: Samples, *, modality: Modality, config: Recipe, seed: int, on_step: OnStep | None = None
) -> nn.Module:
    """A model trained from scratch by the recipe: an ordinary one, or an Ensemble where `train.sisa` asks for it.

    Raises InputError where a shard has nothing to start with.
    """
    parts = config.train.sisa
    if parts is None:
        fresh = modality.build(config.model, samples, generator=stream(seed, "train"))
        return train(fresh, samples, modality=modality, config=config.train, seed=seed, on_step=on_step)
    tell = _counted(on_step)
    members, checkpoints = [], []
    for shard in range(parts.shards):
        stages = list(_stages(shard, samples, None, 0, parts, modality, config, seed, tell))
        members.append(stages[-1])
        checkpoints.append([stage.state_dict() for stage in stages[:-1]])
    return Ensemble(members, checkpoints, seed).eval()


def restore(weights: Mapping[str, Tensor], *, modality: Modality, config: Recipe) -> nn.Module:
    """The model that these weights (a state dict) belong to, trained by this recipe."""
    parts = config.train.sisa
    if parts is None:
        return modality.restore(config.model, dict(weights))

    def under(prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}

    members = [modality.restore(config.model, under(f"members.{shard}.")) for shard in range(parts.shards)]
    kept = [[under(f"checkpoints.{shard}.{i}.") for i in range(parts.slices - 1)] for shard in range(parts.shards)]
    return Ensemble(members, kept, int(weights["seed"])).eval()


def forget_shards(
    model: nn.Module,
    forget: Samples,
    retain: Samples,
    *,
    modality: Modality,
    config: Recipe,
    seed: int,
    on_step: OnStep | None = None,
) -> nn.Module:
    """Retrain the shards that hold what must be forgotten, each from the slice where it first appears.

    Randomness and division are those of training, whatever `seed`. Raises InputError for a model that was
    not trained in shards.
    """
    if not isinstance(model, Ensemble):
        raise InputError(NOT_SHARDED.format(found=type(model).__name__))
    parts, trained_with, tell = model.parts, int(model.seed), _counted(on_step)
    homes = [place(name, trained_with, parts) for name in forget.ids]
    members, checkpoints = [], []
    for shard, member in enumerate(model.members):
        states = model.states(shard)
        first = min((slice_ for home, slice_ in homes if home == shard), default=None)
        if first is None:
            members.append(copy.deepcopy(member))
        else:
            before = modality.restore(config.model, states[first - 1]) if first else None
            stages = list(_stages(shard, retain, before, first, parts, modality, config, trained_with, tell))
            members.append(stages[-1])
            states = states[:first] + [stage.state_dict() for stage in stages[:-1]]
        checkpoints.append(states)
    return Ensemble(members, checkpoints, trained_with).eval()


NOT_SHARDED = (
    "SISA forgets by retraining one shard of a model that was trained in shards and slices; this is an ordinary "
    "{found}, whose every weight has seen every sample; train with --set train.sisa.shards=5"
)


def _stages(
    shard: int,
    samples: Samples,
    model: nn.Module | None,
    first: int,
    parts: Sisa,
    modality: Modality,
    config: Recipe,
    seed: int,
    on_step: OnStep,
) -> Iterator[nn.Module]:
    """The models of a shard after each slice from `first` on. model: the one before, None where there is none.

    All slices together take as many sample passes as training without them: 2/(slices + 1) of the passes
    for each (Bourtoule et al. 2021, section IV).
    """
    passes = max(1, round(2 * config.train.steps / (parts.slices + 1)))
    recipe = config.train.model_copy(update={"steps": passes, "sisa": None})
    homes = {name: place(name, seed, parts) for name in samples.ids}
    for number in range(first, parts.slices):
        shown = samples.take(name for name, home in homes.items() if home[0] == shard and home[1] <= number)
        if len(shown) == 0:
            raise InputError(
                f"shard {shard + 1} of {parts.shards} has no samples in its first slice of {parts.slices}; "
                f"lower train.sisa.shards or train.sisa.slices for {len(samples)} samples"
            )
        if model is None:
            model = modality.build(config.model, shown, generator=stream(seed, f"train/{shard}"))
        model = copy.deepcopy(model).requires_grad_()
        order = int(torch.randint(2**31, (1,), generator=stream(seed, f"order/{shard}/{number}")))
        model = train(model, shown, modality=modality, config=recipe, seed=order, on_step=on_step)
        yield model


def _counted(on_step: OnStep | None) -> OnStep:
    """One count of steps over many trainings."""
    count = 0

    def tell(_: int, value: Tensor) -> None:
        nonlocal count
        if on_step is not None:
            on_step(count, value)
        count += 1

    return tell
