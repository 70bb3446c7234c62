"""Which runs a language study consists of, and whether they can be: looked at before anything is read or trained."""

from __future__ import annotations

from typing import Any

from vestige.config import TextStudyConfig
from vestige.config.text import ENHANCED
from vestige.stages import TextStage, parse_text
from vestige.types import InputError, Run

SHARED = ("base", "before", "R0", "R1")
"""Stages whose one model serves all targets. base: never tuned on these data. R0, R1: tuned without any target, R1
without their similar samples too."""


def plan(config: TextStudyConfig) -> tuple[Run, ...]:
    """The runs of a study, those first that others need.

    R1, and stages that do something about similar samples, exist in the arm *with* only. Runs of one target are
    numbered from 1, in the order of the data set's targets. Raises InputError for unknown stages, for methods that have
    no use for what is to be added to them, and for more paraphrases than the data set spares.
    """
    from vestige.unlearn.language import LANGUAGE_METHODS

    for name in config.stages:
        if name not in SHARED:
            _check_stage(config, name)
    for name in config.unlearn.methods:
        if name not in LANGUAGE_METHODS:
            raise InputError(f"unlearn.methods names {name!r}; the methods are {', '.join(LANGUAGE_METHODS)}")
    runs = []
    for seed in range(config.seed, config.seed + config.seeds):
        for name in config.stages:
            for training in config.training:
                if training != "with" and (name == "R1" or stage_of(config, name).needs_similar):
                    continue
                alone = config.unit == "target" and name not in SHARED
                targets = [str(number + 1) for number in range(config.data.targets)] if alone else [""]
                runs += [Run(seed, training, name, target=target) for target in targets]
    order = {"before": 0, "R0": 1, "R1": 1, "base": 2}
    return tuple(sorted(runs, key=lambda run: order.get(run.stage, 3)))


def stage_of(config: TextStudyConfig, name: str) -> TextStage:
    """The stage that a name stands for in this study."""
    return parse_text(name, paraphrases=config.unlearn.paraphrases, gamma=config.unlearn.gamma)


def _check_stage(config: TextStudyConfig, name: str) -> None:
    from vestige.unlearn.language import LANGUAGE_METHODS, check_enhancement

    stage, spare = stage_of(config, name), config.data.spare
    if stage.method not in LANGUAGE_METHODS:
        raise InputError(
            f"unknown stage {name!r} of a language study; known: {', '.join((*SHARED, *LANGUAGE_METHODS))}, and "
            "methods with something added, such as NPO_GDN-1+5 (paraphrases), NPO_GDN~0.618 (noise), "
            "Enhanced NPO_GDN (both), NPO_GDN-auto0.2, NPO_GDN-near, NPO_GDN-apart, NPO_GDN-similar"
        )
    needed = stage.paraphrases if stage.residual is None else config.unlearn.validation
    if needed > spare:
        what = "unlearns" if stage.residual is None else "is chosen by"
        raise InputError(
            f"the stage {name!r} {what} {needed} paraphrases of each target that are in no other part of the data set, "
            f"and {spare} are spared; raise data.spare"
        )
    if stage.needs_similar and not config.data.similar:
        raise InputError(f"the stage {name!r} is about similar samples, and data.similar is 0; raise it")
    if stage.needs_similar and "with" not in config.training:
        raise InputError(f"the stage {name!r} is about similar samples in training; add with to training")
    if stage.is_protected and not config.data.near:
        raise InputError(f"the stage {name!r} protects innocent neighbours of the target, and data.near is 0; raise it")
    try:
        check_enhancement(stage.method, forgets=stage.is_enhanced, protects=stage.is_protected)
    except InputError as error:
        raise InputError(f"the stage {name!r}: {error}") from None


def check_layers(config: TextStudyConfig) -> None:
    """Raise InputError where a stage adds noise to layers that the study's model does not have."""
    from vestige import text

    layers = config.unlearn.noise_layers
    if any(stage_of(config, name).is_enhanced for name in config.stages) and set(layers) != {text.EMBED}:
        text.check_places(layers, text.depth(config.model))


def settings_of(config: TextStudyConfig, name: str) -> dict[str, Any]:
    """The settings of unlearning that reach this stage: another method's steps and rate do not, nor what it lacks."""
    stage, unlearn = stage_of(config, name), config.unlearn
    settings = unlearn.plain
    settings["methods"] = {key: value for key, value in settings["methods"].items() if key == stage.method}
    if stage.is_enhanced:
        settings |= {"paraphrases": stage.paraphrases, "gamma": stage.gamma, "alphas": unlearn.alphas}
    if stage.gamma:
        settings |= {"sigma": unlearn.sigma, "noise_layers": unlearn.noise_layers}
    if stage.residual is not None:
        settings |= unlearn.model_dump(mode="json", include=set(ENHANCED))
    return settings
