"""Tasks of lm-evaluation-harness by name, asked of our models, with data that are on this machine."""

from __future__ import annotations

import copy
import difflib
import functools
import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige.types import InputError, MissingError, first_line
from vestige.utility.compare import Found

if TYPE_CHECKING:
    from vestige.text import LanguageModel

SCORES = ("acc", "exact_match", "em")
"""Metrics of tasks that say of each question how right it was, 0…1; the first that a task has is read."""


def check(names: Sequence[str], folder: str) -> None:
    """Raise MissingError where the harness or a task's data are not here, InputError for tasks that cannot be read.

    folder: of further tasks, "" for none.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise MissingError(
            "tasks of lm-evaluation-harness need the package lm-eval; get it with: pip install 'vestige[eval]'"
        )
    for name in names:
        _tasks(name, folder)


def ask(
    model: LanguageModel,
    names: Sequence[str],
    folder: str,
    limit: int | None,
    batch: int,
    say: Callable[[str], None],
) -> dict[str, Found]:
    """Score per question of each task, under "task NAME".

    limit: the first so many questions of a task, as the harness counts them; of a group of tasks, evenly over its
    parts, of each at least one. Ids are TASK/NUMBER. No chat template, few-shot examples as the task has them. Raises
    as `check`.
    """
    import torch
    from lm_eval import evaluate
    from lm_eval.defaults import DEFAULT_OTHER_SEED
    from lm_eval.models.huggingface import HFLM

    found: dict[str, Found] = {}
    for name in names:
        say(f"task {name}")
        tasks = _tasks(name, folder)
        each = None if limit is None else max(1, limit // len(tasks))
        # What `lm_eval.simple_evaluate` sets too; that one also reads all tasks again and asks pip for all packages.
        for task in tasks.values():
            if task.get_config("num_fewshot") is None:
                task.set_config("num_fewshot", 0)
            task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
        with _quiet(), redirect_stderr(StringIO()):  # its progress bars cannot be turned off
            asked = HFLM(
                pretrained=model.causal, tokenizer=copy.deepcopy(model.tokenizer), batch_size=batch,
                mixed_precision_dtype=torch.bfloat16 if model.mixed else None,
            )  # fmt: skip
            try:
                told = evaluate(
                    asked, {"tasks": tasks, "groups": {}, "group_map": {}}, limit=each, bootstrap_iters=0,
                    log_samples=True,
                )  # fmt: skip
            except ValueError as error:
                raise InputError(f"the task {name!r} cannot be asked: {first_line(error)}") from None
        scores: dict[str, float] = {}
        for part, task in tasks.items():
            metric = _metric(task)
            for sample in told["samples"][part]:
                # The first of a task's filters is the one that it reports first.
                scores.setdefault(f"{part}/{sample['doc_id']}", float(sample[metric]))
        found[f"task {name}"] = Found(tuple(scores), {"score": np.array(list(scores.values()))})
    return found


def _tasks(name: str, folder: str) -> dict[str, Any]:
    """The tasks behind a name, which may be that of a group, with their data loaded; from this machine alone."""
    import datasets

    with _offline(), _quiet():
        manager = _manager(folder, alone=True) if folder else None
        if manager is None or name not in manager.all_subtasks:
            manager = _manager(folder, alone=False)
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, manager.all_tasks, 3)
            raise InputError(
                f"lm-evaluation-harness has no task {name!r}{'; near: ' + ', '.join(near) if near else ''}; "
                "tasks of your own: YAML files in a folder, given as task folder"
            )
        try:
            with redirect_stderr(StringIO()):
                tasks: dict[str, Any] = manager.load([name])["tasks"]
        except OSError as error:
            raise MissingError(_not_here(name, error, str(datasets.config.HF_DATASETS_CACHE))) from None
        except Exception as error:
            # Data sets and YAML files fail in many ways of their own.
            raise InputError(f"the task {name!r} cannot be loaded: {first_line(error)}") from None
    for part, task in tasks.items():
        if _metric(task) is None:
            raise InputError(
                f"the task {part!r} reports {', '.join(task.aggregation())}; only {', '.join(SCORES)} can be compared "
                "question by question"
            )
    return tasks


def _not_here(name: str, error: OSError, cache: str) -> str:
    """What to get, how, and where to."""
    get = f"python -c \"from lm_eval.tasks import TaskManager; TaskManager().load('{name}')\""
    return (
        f"the data of the task {name!r} are not on this machine ({first_line(error)}); looked in {cache}. Where there "
        f"is a network, get them with: {get}; and copy that folder here, or set HF_HOME. Or name a task over local "
        "files in a task folder: dataset_path: json, dataset_kwargs: {data_files: FILE}"
    )


@functools.cache
def _manager(folder: str, *, alone: bool) -> Any:
    """The index of tasks: the harness's own, about 15,000, and a folder's. alone: the folder's only, which is quick."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=folder or None, include_defaults=not alone)


def _metric(task: Any) -> str | None:
    return next((metric for metric in SCORES if metric in task.aggregation()), None)


@contextmanager
def _offline() -> Iterator[None]:
    """Data are taken from the cache; the network is not asked, whatever the environment says."""
    import datasets
    from huggingface_hub import constants

    places = ((datasets.config, "HF_HUB_OFFLINE"), (constants, "HF_HUB_OFFLINE"))
    before = [getattr(place, name) for place, name in places]
    try:
        for place, name in places:
            setattr(place, name, True)
        yield
    finally:
        for (place, name), value in zip(places, before, strict=True):
            setattr(place, name, value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Errors only: the harness and its data library say a lot."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
