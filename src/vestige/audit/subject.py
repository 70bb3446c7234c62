"""What is audited: a model, what can be asked of it, and what can train another like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vestige.audit.material import Material
from vestige.types import Samples

if TYPE_CHECKING:
    from torch import nn

    from vestige.difficulty.predict import Predictor
    from vestige.influence import Kin


@dataclass(frozen=True)
class Question:
    """What a model is asked about: records, their retained neighbours, controls that stand in for them (or none).

    retain: what the model may know. near: record → ids in retain. controls: one Samples per record, never-seen ones
    under the record's answer, all of one number.
    """

    records: Samples
    retain: Samples
    near: Mapping[str, tuple[str, ...]]
    never: Samples
    controls: Sequence[Samples] = ()


class Subject(Protocol):
    """An audited model of one kind: images or language. Each function gives the same for the same seed."""

    @property
    def levels(self) -> Sequence[str]:
        """The level tests, `answer` first. Beside them there is the rise `rebound`."""

    @property
    def watched(self) -> str:
        """What utility is measured on, in words."""

    @property
    def no_predictor(self) -> str:
        """Why nothing tells which records will be hard to forget, "" where something does."""

    @property
    def trains(self) -> bool:
        """Whether another model like it can be trained."""

    def check(self, material: Material) -> None:
        """Everything that can be found wrong before training; may train on a handful. Raises InputError."""

    def learn(self, samples: Samples, seed: int) -> nn.Module:
        """A model trained from scratch, or tuned from its start, on these samples."""

    def before(self, samples: Samples, seed: int) -> nn.Module:
        """The model that must forget: read from its weights, or trained."""

    def given(self, samples: Samples) -> nn.Module:
        """The model that somebody else made of it (`model.after`). samples: some that it was trained on."""

    def methods(self) -> tuple[str, ...]:
        """The methods that it can forget by, `retrain` first where it can be trained."""

    def costs(self, forget: int, retain: int, material: Material) -> list[dict[str, Any]]:
        """Method → `seconds` and `mib`, estimated from a short trial, `retrain` first where it can be trained."""

    def expected(
        self, model: nn.Module, trained: Samples, close: Sequence[str], ids: Sequence[str], predictor: Predictor
    ) -> tuple[np.ndarray, np.ndarray]:
        """The chances of these records to be hard to forget, (N,), and of others that they are compared with, (M,).

        trained: what the model was trained on. close: the records that are similar to them. Raises InputError where the
        factors of difficulty are not defined for this model, or there is no predictor.
        """

    def unlearn(self, method: str, model: nn.Module, forget: Samples, retain: Samples, seed: int) -> nn.Module:
        """A new model that has forgotten; the other one stays as it was."""

    def keep(self, model: nn.Module) -> dict[str, np.ndarray]:
        """What must be stored of a model for `restore`."""

    def restore(self, arrays: Mapping[str, np.ndarray], samples: Samples) -> nn.Module:
        """The model that `keep` stored. samples: some that it was, or could be, trained on."""

    def ask(self, model: nn.Module, question: Question) -> dict[str, np.ndarray]:
        """What the tests say of each record; `near`, `near_accuracy` (records,), and `utility` (n,) of other records.

        The model is left as it was. A test that cannot be made of this model is left out.
        """

    def hide(self, model: nn.Module, question: Question, levels: np.ndarray, *, last: bool) -> nn.Module | None:
        """A copy of the model in which the records are only hidden: answered like `levels` (records,), if they can be.

        last: by its last layer alone, else by all weights. None where the model has no such layer.
        """

    def controls(self, record: Samples, never: Samples) -> Samples:
        """Never-seen records that stand in for this one, under its answer, nearest first."""

    def shares(
        self, model: nn.Module, members: Samples, asked: Samples, kin: Mapping[str, Kin], never: Samples
    ) -> list[dict[str, Any]]:
        """Whose doing each asked record's margin is, split among these members (`influence.share.record`).

        kin: record → its similar and near members. never: records that the model never saw. Raises InputError where
        that cannot be told of this model or of so many members.
        """
