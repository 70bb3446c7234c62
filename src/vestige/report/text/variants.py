"""The enhanced stages of a study, by method: who adds noise, who paraphrases, who both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vestige.config import TextStudyConfig
from vestige.stages import parse


class Variant(NamedTuple):
    """What a stage adds to its method. m: paraphrases of the target unlearned with it. gamma: strength of the noise."""

    stage: str
    method: str
    m: int
    gamma: float
    near: bool

    @property
    def is_plain(self) -> bool:
        return not (self.m or self.gamma or self.near)

    @property
    def is_enhanced(self) -> bool:
        """Whether it is the paper's scheme, noise and paraphrases, and no more."""
        return bool(self.m and self.gamma) and not self.near


def variant(stage: str, config: TextStudyConfig) -> Variant:
    """What a stage adds to its method; a name that leaves it open takes it from the configuration."""
    found = parse(stage)
    return Variant(stage, found.method or stage, found.k or 0, found.gamma or 0.0, found.near)


def of_method(config: TextStudyConfig, method: str) -> tuple[Variant, ...]:
    """The stages of one method as planned."""
    found = (variant(stage, config) for stage in config.stages)
    return tuple(one for one in found if one.method == method)


def enhanced_methods(config: TextStudyConfig) -> tuple[str, ...]:
    """The methods that a study also enhances, as planned."""
    found = (variant(stage, config) for stage in config.stages)
    return tuple(dict.fromkeys(one.method for one in found if not one.is_plain))


def pair(lot: Sequence[Variant]) -> tuple[Variant | None, Variant | None]:
    """The plain stage of a method, and its first enhanced one."""
    plain = next((one for one in lot if one.is_plain), None)
    return plain, next((one for one in lot if one.is_enhanced), None)


def says(one: Variant) -> str:
    """What a stage adds to its method, in a few words; "" where it adds nothing."""
    parts = [f"{one.m} paraphrase{'s' if one.m > 1 else ''} of the target too"] if one.m else []
    parts += [f"noise of {one.gamma:g}" + (" only" if not one.m else "")] if one.gamma else []
    return ", ".join(parts + (["near pairs held"] if one.near else []))
