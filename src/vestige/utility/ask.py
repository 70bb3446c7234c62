"""Asking a language model for its utility: everything is checked first, answers are kept question by question."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige.config import LMConfig, UtilityConfig, fingerprint
from vestige.store import digest
from vestige.types import InputError
from vestige.utility import harness
from vestige.utility.compare import Found

if TYPE_CHECKING:
    from vestige.text import LanguageModel
    from vestige.types import Samples


def check(config: UtilityConfig) -> None:
    """Everything that can be found wrong before a model is loaded.

    Raises InputError for a file of questions that cannot be read, a task that is unknown or has no score per
    question, and where nothing is asked; MissingError where lm-evaluation-harness or a task's data are not here.
    """
    from vestige.text import choices

    if not (config.choices or config.tasks or config.remaining):
        raise InputError("utility: nothing is asked; set choices, tasks or remaining")
    if config.choices:
        choices.read(config.choices)
    if config.task_folder and not Path(config.task_folder).is_dir():
        raise InputError(f"there is no folder {config.task_folder!r} of tasks")
    if config.tasks:
        harness.check(config.tasks, config.task_folder)


def check_room(config: UtilityConfig, model: LMConfig) -> None:
    """Raise InputError for multiple-choice questions that are too long for this model."""
    from vestige.text import choices

    if config.choices:
        choices.check(model, choices.few(choices.read(config.choices), config.limit))


def source(config: UtilityConfig) -> str:
    """A fingerprint of what is asked: settings and the content of files, wherever they lie."""
    from vestige.text import choices

    folder = sorted(Path(config.task_folder).rglob("*")) if config.task_folder else []
    content: dict[str, Any] = {
        "choices": digest(choices.locate(config.choices)) if config.choices else "",
        "task_folder": [(file.name, digest(file)) for file in folder if file.is_file()],
    }
    version = importlib.metadata.version("lm_eval") if config.tasks else ""
    return fingerprint({**config.model_dump(mode="json"), **content}, version)


def ask(
    model: LanguageModel, config: UtilityConfig, remaining: Samples | None, say: Callable[[str], None]
) -> dict[str, Found]:
    """What a model gives for every set of questions: "choices", "remaining", "task NAME" → each question's numbers.

    remaining: pairs whose perplexity is told; None: none. `check` and `check_room` come first. Raises ArithmeticError
    for a model whose scores are not finite.
    """
    from vestige.text import choices

    found: dict[str, Found] = {}
    if config.choices:
        asked = choices.few(choices.read(config.choices), config.limit)
        say(f"{len(asked)} multiple-choice questions")
        pairs = list(zip(choices.weigh(model, asked, batch=config.batch), asked, strict=True))
        values = {
            "right": [choices.chosen(*pair) == pair[1].answer for pair in pairs],
            "right_norm": [choices.chosen(*pair, norm=True) == pair[1].answer for pair in pairs],
            "loss": [-each.log_p[one.answer] for each, one in pairs],
            "tokens": [each.tokens[one.answer] for each, one in pairs],
        }
        arrays = {name: np.array(value, np.float64) for name, value in values.items()}
        found["choices"] = Found(tuple(one.id for one in asked), arrays)
    if remaining is not None and len(remaining):
        found["remaining"] = _losses(model, remaining)
    if config.tasks:
        found |= harness.ask(model, config.tasks, config.task_folder, config.limit, config.batch, say)
    return found


def pack(found: Mapping[str, Found]) -> tuple[dict[str, list[str]], dict[str, np.ndarray]]:
    """The ids of each set, and its arrays under `set:what`, as the store keeps them."""
    ids = {name: list(one.ids) for name, one in found.items()}
    return ids, {f"{name}:{what}": value for name, one in found.items() for what, value in one.values.items()}


def unpack(ids: Mapping[str, list[str]], arrays: Mapping[str, np.ndarray]) -> dict[str, Found]:
    """What `pack` was given."""
    values: dict[str, dict[str, np.ndarray]] = {name: {} for name in ids}
    for key, array in arrays.items():
        name, _, what = key.rpartition(":")
        values[name][what] = array
    return {name: Found(tuple(ids[name]), values[name]) for name in ids}


def _losses(model: LanguageModel, samples: Samples) -> Found:
    import torch

    from vestige import text

    with torch.no_grad(), model.autocast():
        loss, tokens = text.losses(model, samples), text.lengths(model, samples)
    if not loss.isfinite().all():
        raise ArithmeticError("the model diverged: its scores are not finite")
    return Found(samples.ids, {"loss": loss.double().cpu().numpy(), "tokens": tokens.double().cpu().numpy()})
