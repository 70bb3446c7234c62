"""The frozen records that cross rooms, and the exceptions.

This room imports nothing heavy: a report can be drawn, and help printed, without torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class VestigeError(Exception):
    """Something the user can act on. The command line prints it and exits with `exit_code`."""

    exit_code = 1


class InputError(VestigeError, ValueError):
    """The input, the configuration or the output folder cannot be used as asked."""

    exit_code = 2


class MissingError(VestigeError):
    """A package or an asset is not on this machine; the message names the command that gets it."""

    exit_code = 3


def first_line(error: Exception) -> str:
    """The first line of what an error of another library says, or its name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@dataclass(frozen=True)
class Samples:
    """Records with ids. Positions never leave a function; ids do.

    ids: one unique name per record.
    x: inputs, first dimension N. Images: a tensor (N, C, H, W), float32 in [0, 1]; text: a numpy array of str.
    y: answers, first dimension N. Images: a tensor (N,) of int64 class labels; text: as x, "" where there is none.
    classes: how many classes there are (images), 0 where there are none.
    family: the family of natural near-duplicates that each record belongs to, "" where it stands alone;
    empty where the data know none.
    weight: how much each counts in a mean over the set, a tensor (N,) of mean 1; None where all count alike.
    """

    ids: tuple[str, ...]
    x: Any
    y: Any
    classes: int = 0
    family: tuple[str, ...] = ()
    weight: Any = None

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.x) == len(self.y):
            raise InputError(
                f"samples need one id, input and answer each; got {len(self.ids)} ids, "
                f"{len(self.x)} inputs, {len(self.y)} answers"
            )
        if self.family and len(self.family) != len(self.ids):
            raise InputError(f"{len(self.ids)} samples need as many families, or none; got {len(self.family)}")
        if self.weight is not None and len(self.weight) != len(self.ids):
            raise InputError(f"{len(self.ids)} samples need as many weights, or none; got {len(self.weight)}")
        if len(set(self.ids)) != len(self.ids):
            raise InputError(f"sample ids must be unique; {len(self.ids) - len(set(self.ids))} are repeated")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, ids: Iterable[str]) -> Samples:
        """The records with these ids, in this order. Raises InputError for an id that is not here."""
        where = {name: position for position, name in enumerate(self.ids)}
        ids = tuple(ids)
        unknown = [name for name in ids if name not in where]
        if unknown:
            raise InputError(f"no sample is called {unknown[0]!r} ({len(unknown)} of {len(ids)} ids are unknown)")
        rows = [where[name] for name in ids]
        family = tuple(self.family[row] for row in rows) if self.family else ()
        weight = None if self.weight is None else self.weight[rows]
        return Samples(ids, self.x[rows], self.y[rows], self.classes, family, weight)

    def at(self, rows: Any) -> Samples:
        """The records at these positions, a slice or a tensor of int64: a batch."""
        if isinstance(rows, slice) and rows == slice(None):
            return self
        places = range(len(self))[rows] if isinstance(rows, slice) else rows.tolist()
        ids = tuple(self.ids[place] for place in places)
        family = tuple(self.family[place] for place in places) if self.family else ()
        # numpy takes a tensor of one position for a number
        chosen = rows if isinstance(rows, slice) else places
        weight = None if self.weight is None else self.weight[rows]
        return Samples(ids, self.x[chosen], self.y[chosen], self.classes, family, weight)

    def evenly(self, most: int) -> Samples:
        """These records or, of more than `most`, so many evenly spread: data are often sorted by class."""
        if len(self) <= most:
            return self
        return self.take(self.ids[at * len(self) // most] for at in range(most))

    def to(self, device: str) -> Samples:
        """The same records on another device: for inputs and answers that are tensors."""
        weight = None if self.weight is None else self.weight.to(device)
        return Samples(self.ids, self.x.to(device), self.y.to(device), self.classes, self.family, weight)

    def without(self, ids: Iterable[str]) -> Samples:
        """The records that are left when those with these ids are taken out, in the same order."""
        gone = set(ids)
        return self.take(name for name in self.ids if name not in gone)

    def mean(self, values: Any) -> Any:
        """The mean over these records of a tensor that has one entry for each, (N, …); each counts by its weight."""
        if self.weight is None:
            return values.mean(0)
        return (self.weight.view(-1, *[1] * (values.ndim - 1)) * values).mean(0)


def joined(*parts: Samples) -> Samples:
    """These records in one set, in their order; families and weights are left out.

    Raises InputError for an id that stands in two of them.
    """
    import numpy as np

    if isinstance(parts[0].x, np.ndarray):
        join: Any = np.concatenate
    else:
        import torch

        join = torch.cat
    ids = tuple(name for part in parts for name in part.ids)
    return Samples(ids, join([part.x for part in parts]), join([part.y for part in parts]), parts[0].classes)


@dataclass(frozen=True)
class Split:
    """Who plays which part in a similarity-entailed data set. All fields hold sample ids.

    target: must be forgotten. similar: target → its similar samples in training.
    other: every other training sample of both arms. near: target → those of other that look most like it
    and are not to be forgotten. refill: others that take the place of the
    similar samples in the *without* arm. held_out: target → similar samples never trained on, for evaluation.
    spare: target → further ones that an enhanced method may unlearn, never trained on before that.
    never_seen: unrelated samples never trained on, the null. test: for accuracy only.
    """

    target: tuple[str, ...]
    similar: Mapping[str, tuple[str, ...]]
    other: tuple[str, ...]
    near: Mapping[str, tuple[str, ...]]
    refill: tuple[str, ...]
    held_out: Mapping[str, tuple[str, ...]]
    never_seen: tuple[str, ...]
    test: tuple[str, ...]
    spare: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def all_similar(self) -> tuple[str, ...]:
        """The similar samples of every target, in the targets' order."""
        return tuple(name for target in self.target for name in self.similar[target])

    def all_near(self) -> tuple[str, ...]:
        """The near samples of all targets, each once."""
        return tuple(dict.fromkeys(name for target in self.target for name in self.near[target]))

    def all_held_out(self) -> tuple[str, ...]:
        """The held-out similar samples of every target, in the targets' order."""
        return tuple(name for target in self.target for name in self.held_out[target])

    def training(self, arm: str) -> tuple[str, ...]:
        """The training ids of one arm, "with" or "without" similar samples; both have the same size."""
        if arm not in ("with", "without"):
            raise InputError(f"a training arm is 'with' or 'without', got {arm!r}")
        extra = self.all_similar() if arm == "with" else self.refill
        return self.target + extra + self.other


def split_of(parts: Mapping[str, Any]) -> Split:
    """The split as it stands in a manifest, where `asdict` has put it."""

    def flat(role: str) -> tuple[str, ...]:
        return tuple(parts[role])

    def families(role: str) -> dict[str, tuple[str, ...]]:
        return {name: tuple(ids) for name, ids in parts.get(role, {}).items()}

    return Split(
        target=flat("target"),
        similar=families("similar"),
        other=flat("other"),
        near=families("near"),
        refill=flat("refill"),
        held_out=families("held_out"),
        never_seen=flat("never_seen"),
        test=flat("test"),
        spare=families("spare"),
    )


@dataclass(frozen=True)
class Scores:
    """What can be got back from one model about each sample.

    ids: the samples asked about.
    value: recall per sample in [0, 1]; 0 nothing comes back, 1 it comes back verbatim.
    evidence: name → one entry per sample (NCC, SSIM, the candidate picture; of texts ROUGE, the answer, …).
    facts: name → one number about the whole attempt (the objective that was reached, …).
    """

    ids: tuple[str, ...]
    value: np.ndarray
    evidence: Mapping[str, np.ndarray]
    facts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {"value": len(self.value)} | {name: len(entry) for name, entry in self.evidence.items()}
        for name, length in lengths.items():
            if length != len(self.ids):
                raise InputError(f"scores of {len(self.ids)} samples need as many entries; {name} has {length}")

    def of(self, ids: Iterable[str], name: str) -> np.ndarray:
        """The evidence called `name` for these ids, in this order."""
        where = {sample: position for position, sample in enumerate(self.ids)}
        return self.evidence[name][[where[sample] for sample in ids]]


@dataclass(frozen=True)
class Run:
    """One condition of a study: which replicate, which training arm, which stage, and in a dose study which variant.

    target: the one sample that this run forgets, of a language study; "" where all targets are forgotten at once.
    """

    seed: int
    training: str
    stage: str
    variant: str = ""
    target: str = ""

    @property
    def label(self) -> str:
        variant = f", {self.variant}" if self.variant else ""
        target = f" · {self.target}" if self.target else ""
        return f"seed {self.seed}{variant} · {self.training} · {self.stage}{target}"


@dataclass(frozen=True)
class ShadowRun:
    """One shadow model of a study: which replicate, which training arm, which of them, unlearned by which stages.

    variant: of a dose study, "" in others.
    """

    seed: int
    training: str
    index: int
    stages: tuple[str, ...]
    variant: str = ""

    @property
    def label(self) -> str:
        variant = f", {self.variant}" if self.variant else ""
        return f"seed {self.seed}{variant} · {self.training} · shadow {self.index}"
