"""A language model's inner states, changed on their way through it while a context lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from vestige.config import LMConfig
from vestige.text import sources
from vestige.text.model import LanguageModel, layers
from vestige.text.tiny import LAYERS, TINY
from vestige.types import InputError

EMBED = "embed"
"""The place where tokens have become vectors; the others are the decoder's blocks, by their numbers from 0."""


@contextmanager
def altered(
    model: LanguageModel, alter: Callable[[Tensor, Tensor], Tensor], places: Sequence[str | int]
) -> Iterator[None]:
    """While it lasts, what comes out at these places of this model, and of no copy of it, is alter(states, mask).

    states: (N, length, width). mask: (N, length), true where there are tokens. places: EMBED, the output of the
    model's input embeddings, or numbers of blocks. Raises InputError for places that the model does not have.
    """
    blocks = layers(model)
    check_places(places, len(blocks))
    masks: list[Tensor] = []

    def note(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        masks[:] = [inputs[1]]

    def change(_: nn.Module, inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (alter(output[0], masks[0]), *output[1:])
        return alter(output, masks[0])

    with ExitStack() as hooks:
        hooks.callback(model.register_forward_pre_hook(note).remove)
        for place in dict.fromkeys(places):
            module = model.causal.get_input_embeddings() if place == EMBED else blocks[int(place)]
            hooks.callback(module.register_forward_hook(change).remove)
        yield


def check_places(places: Sequence[str | int], depth: int) -> None:
    """Raise InputError for a place that a model of so many blocks does not have."""
    known = (EMBED, *range(depth))
    for place in places:
        if place not in known:
            raise InputError(
                f"there is no layer {place!r} to add noise to (unlearn.noise_layers); this model has "
                f"{EMBED}, and its blocks 0 to {depth - 1}"
            )


def depth(config: LMConfig) -> int:
    """How many blocks the decoder has; only the model's configuration is read."""
    return LAYERS if config.source in TINY else sources.depth(sources.folder(config.source))
