"""The small contract behind which image and text differ. Everything else is written once."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from vestige.assets import Asset
    from vestige.config import AskConfig, DataConfig, LMConfig, NetworkConfig, RecoverConfig
    from vestige.types import Samples, Scores


class Modality(Protocol):
    """What `vestige.image` exports, and `vestige.text.labelled` but for `jitter` and `recover`.

    The meaning is shared, not the scale of recall.
    """

    def load(self, asset: Asset) -> Samples:
        """All records of a data set, checked."""

    def unit(self, samples: Samples) -> Samples:
        """The same records in the form that models take."""

    def make_similar(
        self, samples: Samples, count: int, *, config: DataConfig, generator: torch.Generator
    ) -> list[Samples]:
        """`count` similar samples of each sample."""

    def jitter(self, samples: Samples, count: int, *, radius: float, generator: torch.Generator) -> list[Samples]:
        """`count` random neighbours of each sample, none further away than `radius`."""

    def build(self, config: NetworkConfig, samples: Samples, *, generator: torch.Generator) -> nn.Module:
        """A model with fresh weights for these training samples."""

    def restore(self, config: NetworkConfig, weights: dict[str, Tensor]) -> nn.Module:
        """The model that these weights belong to."""

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """What must be kept of a model for `restore`."""

    def logits(self, model: nn.Module, samples: Samples) -> Tensor:
        """The model's scores of the possible answers. Images: (N, classes); text: (answer tokens, vocabulary)."""

    def losses(self, model: nn.Module, samples: Samples) -> Tensor:
        """The summed negative log-likelihood per sample, in nats. Shape (N,)."""

    def lengths(self, model: nn.Module, samples: Samples) -> Tensor:
        """How many answer tokens each of these sums runs over, 1 for images. Shape (N,)."""

    def check_recover(self, config: NetworkConfig, sharded: bool) -> None:
        """Raise InputError where `recover` has nothing to say about models of this kind, or trained in shards."""

    def embed(self, model: Any, samples: Samples) -> Tensor:
        """One feature vector per sample, (N, width)."""

    def recover(
        self,
        model: Any,
        samples: Samples,
        *,
        config: RecoverConfig,
        per_class: int,
        generator: torch.Generator,
        on_step: Callable[[int, Tensor], None] | None = None,
    ) -> Scores:
        """What can be got back from the model about each sample."""


class Language(Protocol):
    """What the methods of language models need of `vestige.text`. A is the number of answer tokens of all samples."""

    def build(self, config: LMConfig, samples: Samples | None = None, *, generator: torch.Generator) -> nn.Module:
        """The model that fine-tuning starts from."""

    def losses(self, model: Any, samples: Samples) -> Tensor:
        """The summed negative log-likelihood of the answer, in nats. Shape (N,)."""

    def lengths(self, model: Any, samples: Samples) -> Tensor:
        """How many answer tokens each of these sums runs over. Shape (N,)."""

    def logits(self, model: Any, samples: Samples) -> Tensor:
        """The scores before each answer token, sample after sample: (A, vocabulary)."""

    def hidden(self, model: Any, samples: Samples, layer: int | None = None) -> Tensor:
        """What the head sees there, or what decoder block `layer` (from 0) gives there: (A, width)."""

    def head(self, model: Any, hidden: Tensor) -> Tensor:
        """The scores that the model's head gives for what it sees: (A, vocabulary)."""

    def answers(self, model: Any, samples: Samples) -> Tensor:
        """The answer tokens themselves: (A,)."""

    def layers(self, model: Any) -> nn.ModuleList:
        """The decoder's blocks, from input to head."""

    def altered(
        self, model: Any, alter: Callable[[Tensor, Tensor], Tensor], places: Sequence[str | int]
    ) -> AbstractContextManager[None]:
        """While it lasts, what comes out at these places of the model is alter(states, mask of tokens)."""

    def noise(self, model: Any, count: int, *, generator: torch.Generator) -> str:
        """A text of `count` random tokens."""

    def recover(self, model: Any, samples: Samples, *, config: AskConfig) -> Scores:
        """What the model answers, and how much of the true answer is in it."""


def with_model(base: Modality, build: Callable[[Samples, torch.Generator], nn.Module]) -> Modality:
    """The modality with a network of the user's own, for the methods that need it untrained.

    build(samples, generator) → the network with fresh weights; its forward gives what `logits` returns.
    """
    parts = {name: getattr(base, name) for name in dir(Modality) if not name.startswith("_")}

    def own(config: NetworkConfig, samples: Samples, *, generator: torch.Generator) -> nn.Module:
        return build(samples, generator)

    made: Any = SimpleNamespace(**parts | {"build": own})
    modality: Modality = made
    return modality


MODALITIES = {"image": "vestige.image", "text": "vestige.text", "labelled": "vestige.text.labelled"}
"""labelled: texts with labels, for a classifier; text: questions and answers, for a language model."""


def modality(name: str) -> Modality:
    """The modality of this name; its libraries are imported on first use."""
    return importlib.import_module(MODALITIES[name])
