"""What studies of language models print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vestige.terminal.records import with_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

TEXT_COLUMNS = (("target", "target"), ("similar", "similar"), ("held_out", "held-out"), ("near", "near"),
                ("other", "other"))  # fmt: skip
ENHANCED_COLUMNS = (
    ("similar", "text_residual", "residual similar"),
    ("held_out", "text_residual", "residual held-out"),
    ("choices", "choice_accuracy", "multiple choice"),
)
"""Of the studies of enhanced schemes, in a table of their own."""
TEXT_CAPTION = (
    "KM: ROUGE-L recall of the true answer (1: word for word); [95 % interval]. base: before any fine-tuning. R0, R1: "
    "fine-tuned again without the target, without its similar samples too. Read each column beside base and before."
)
ENHANCED_CAPTION = (
    "-1+m: m paraphrases of the target forgotten too; ~g: noise of strength g; Enhanced: both; -near: near pairs held; "
    "-apart: similar samples not retained; -similar: forgotten too. "
    "Residual: 1 as before unlearning, 0 as base; –: base and before are within 0.05, or it was not measured."
)
ROOM_FOR_INTERVALS = 9
"""Characters of a stage's name beside which five columns with intervals fit 100 columns."""


def show_text_results(rows: list[dict[str, Any]]) -> None:
    """KM of every group by stage, a table per training arm that fits 100 columns; residuals where it was enhanced."""
    from rich.console import Console

    cells = {(row["training"], row["stage"], row["group"], row["metric"]): row for row in rows}
    km = [(group, "rougeL_recall", f"KM {head}") for group, head in TEXT_COLUMNS]
    console = Console(width=100)
    for training in sorted({key[0] for key in cells}, key=lambda name: name != "with"):
        stages = list(dict.fromkeys(key[1] for key in cells if key[0] == training))
        title = f"{training.capitalize()} similar samples in training"
        brief = max(map(len, stages)) > ROOM_FOR_INTERVALS
        console.print(_by_stage(title, training, stages, km, cells, brief=brief))
        console.print()
        if any(map(_is_enhanced, stages)):
            console.print(_by_stage("What is left, and what is kept", training, stages, ENHANCED_COLUMNS, cells))
            console.print()
    console.print(TEXT_CAPTION)
    if any(_is_enhanced(stage) for _, stage, *_ in cells):
        console.print(ENHANCED_CAPTION)


def _is_enhanced(stage: str) -> bool:
    from vestige.stages import parse_text

    return parse_text(stage, paraphrases=1, gamma=1.0).is_enhanced


def _by_stage(
    title: str,
    training: str,
    stages: list[str],
    columns: Sequence[tuple[str, str, str]],
    cells: Mapping[tuple[str, str, str, str], dict[str, Any]],
    *,
    brief: bool = False,
) -> Table:
    """A table of means by stage. columns: (group, metric, head). brief: without intervals."""
    from rich.table import Table

    table = Table(
        box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", title=title, title_justify="left"
    )
    table.add_column("stage", no_wrap=True)
    for _, _, head in columns:
        table.add_column(head)
    for stage in stages:
        found = [cells.get((training, stage, group, metric)) for group, metric, _ in columns]
        told = ["–" if row is None or row["mean"] is None else with_interval(row) for row in found]
        table.add_row(stage, *(one.split()[0] if brief else one for one in told))
    return table
