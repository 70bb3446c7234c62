"""The enhanced stages of a study, by method: who adds noise, who paraphrases, who both."""

from __future__ import annotations

from collections.abc import Mapping

from vestige.config import TextStudyConfig
from vestige.stages import TextStage, parse_text


def variant(stage: str, config: TextStudyConfig) -> TextStage:
    """What a stage is in this study."""
    return parse_text(stage, paraphrases=config.unlearn.paraphrases, gamma=config.unlearn.gamma)


def of_method(config: TextStudyConfig, method: str) -> Mapping[str, TextStage]:
    """The stages of one method, by name, as planned."""
    found = {name: variant(name, config) for name in config.stages}
    return {name: stage for name, stage in found.items() if stage.method == method}


def enhanced_methods(config: TextStudyConfig) -> tuple[str, ...]:
    """The methods of which a study has enhanced stages too, as planned."""
    found = (variant(name, config) for name in config.stages)
    return tuple(dict.fromkeys(stage.method for stage in found if not stage.is_plain))


def plain_and_enhanced(config: TextStudyConfig, method: str) -> tuple[str | None, str | None]:
    """The stage of a method as it is, and the first with what the paper adds: noise and paraphrases, nothing else."""
    lot = of_method(config, method)
    plain = next((name for name, stage in lot.items() if stage.is_plain), None)
    return plain, next((name for name, stage in lot.items() if is_papers(stage)), None)


def is_papers(stage: TextStage) -> bool:
    """Whether a stage is the paper's scheme."""
    return stage.paraphrases > 0 and stage.gamma > 0 and not stage.is_ours


def adds(stage: TextStage) -> str:
    """What a stage adds to its method, in a few words; "" where it adds nothing."""
    parts = []
    if stage.residual is not None:
        parts.append(f"as little added as should leave {stage.residual:g}")
    if stage.paraphrases:
        parts.append(f"{stage.paraphrases} paraphrase{'s' if stage.paraphrases > 1 else ''} too")
    if stage.gamma:
        parts.append(f"noise of {stage.gamma:g}" + ("" if stage.paraphrases else " only"))
    fate = {"retained": [], "apart": ["similar samples not retained"], "forgotten": ["similar samples too"]}
    parts += fate[stage.similar] + (["near pairs held"] if stage.is_protected else [])
    return ", ".join(parts)
