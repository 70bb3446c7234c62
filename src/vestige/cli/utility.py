"""The verb that tells what a language model is good for."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vestige.cli.options import Device, Json


def utility(
    model: Annotated[
        str, typer.Argument(metavar="NAME|FOLDER|GGUF", help="The language model, as smollm2-135m-instruct.")
    ],
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="NAME|FOLDER|GGUF", help="The model before: tell what changed since."),
    ] = None,
    choices: Annotated[
        str,
        typer.Option("--choices", metavar="FILE", help="JSONL of question, options, answer; common: ours; '': none."),
    ] = "common",
    tasks: Annotated[
        str, typer.Option("--tasks", metavar="NAME,…", help="Tasks of lm-evaluation-harness, as commonsense_qa,mmlu.")
    ] = "",
    task_folder: Annotated[
        str, typer.Option("--task-folder", metavar="FOLDER", help="Further tasks: YAML files over local data.")
    ] = "",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Questions of each set and task at most \\[all].")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Questions asked at once.")] = 16,
    device: Device = None,
    json: Json = False,
) -> None:
    """What a language model is good for: multiple choice, tasks by name; and what it lost since another."""
    from vestige.config import UtilityConfig
    from vestige.executor import check_device
    from vestige.terminal import show_utility
    from vestige.utility import tell

    check_device(device or "cpu")
    names = tuple(name.strip() for name in tasks.split(",") if name.strip())
    config = UtilityConfig(choices=choices, limit=limit, remaining=0, tasks=names, task_folder=task_folder, batch=batch)
    record = tell(
        model, against, config, device=device or "cpu", say=lambda message: print(f"  {message}", file=sys.stderr)
    )
    if json:
        from vestige.store import to_json

        sys.stdout.write(to_json(record))
    else:
        show_utility(record)
