"""What a language model is still good for."""

from __future__ import annotations

from typing import Any

from vestige.terminal.records import with_interval

UTILITY = {
    "choice_accuracy": "right", "choice_accuracy_norm": "right, by length", "perplexity": "perplexity",
    "task_score": "score",
}  # fmt: skip
UTILITY_CHANGES = {"choice_accuracy": "choice_change", "task_score": "task_change", "perplexity": "perplexity_ratio"}
UTILITY_CAPTION = (
    "[95 % interval]. change: of shares the difference, paired by question; of perplexity, of the right options, the "
    "ratio (× 1: as before)."
)


def show_utility(record: dict[str, Any]) -> None:
    """A line per set of questions and metric: of the model, of the other and what changed; 100 columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    ours, theirs = ({(row["group"], row["metric"]): row for row in record[key]} for key in ("rows", "rows_against"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("questions", "n", "metric", "model", *(("against", "change") if theirs else ())):
        table.add_column(title, overflow="fold")
    for (group, metric), row in ours.items():
        if metric in UTILITY:
            cells = [with_interval(row)]
            if theirs:
                changed = ours.get((group, UTILITY_CHANGES.get(metric, "")))
                times = "× " if metric == "perplexity" else ""
                sign = "" if times else "+"
                cells += [with_interval(theirs[group, metric]), times + with_interval(changed, sign) if changed else ""]
            table.add_row(Text(group), str(row["n"]), UTILITY[metric], *cells)
    console = Console(width=100)
    against = f", against {record['against']}" if theirs else ""
    console.print(Text(f"{record['model']}{against}", style="bold"))
    console.print(table)
    console.print(UTILITY_CAPTION if theirs else "[95 % interval]")
