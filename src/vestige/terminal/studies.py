"""What studies of images print: recall, methods beside their references, claims, tuned settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vestige.terminal.records import framed, with_interval

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = (
    ("target", "ncc", "NCC target"),
    ("similar", "ncc", "similar"),
    ("other", "ncc", "other"),
    ("never_seen_same_class", "ncc", "null"),
    ("target", "span_auc", "span"),
    ("member", "auc", "AUC"),
    ("model", "test_accuracy", "test"),
)
CAPTION = (
    "NCC of the best reconstruction (1: comes back verbatim); [95 % interval]; null: never-seen "
    "images of the targets' classes. span: AUC of the targets against that null by how much of them the first layer "
    "holds (1: all there, 0.5: as if never seen). AUC: members against never-seen images. test: accuracy."
)
DOSE_CAPTION = (
    "NCC of the targets' best reconstruction; [95 % interval]; residual: 1 as before, 0 as R1, – where these are "
    "less than 0.05 apart. ×5: five similar samples of each target in training."
)
METHOD_COLUMNS = (
    ("model", "UA", "UA"), ("model", "RA", "RA"), ("model", "TA", "TA"), ("target", "mia_efficacy", "MIA"),
    ("vs_R0", "average_gap", "gap"), ("vs_R0", "tow", "ToW"), ("vs_R0", "js", "JS"), ("target", "zrf", "ZRF"),
    ("target", "lira_auc", "LiRA"), ("target", "u_lira_auc", "U-LiRA"), ("target", "klom", "KLOM"),
    ("target", "forgetting_quality", "FQ"), ("model", "rte", "RTE"),
)  # fmt: skip
METHOD_CAPTION = (
    "Read each column beside before, R0 and R1; best is as R0 (R1: nothing of it was in training), not the extreme. "
    "UA, RA, TA: 1 − accuracy on the targets, accuracy on the retained, on unseen. gap, ToW, JS: to R0; best 0, 1, 0. "
    "LiRA, U-LiRA: AUC, 0.5 is chance. RTE: time, retraining is 1. Intervals and the other metrics: result.json."
)


def show_results(rows: list[dict[str, Any]], times: list[dict[str, Any]]) -> None:
    """The tables of what was measured: recall, or the methods beside their references, or both."""
    metrics = {row["metric"] for row in rows}
    if "UA" in metrics or "ncc" not in metrics:
        show_methods(rows + times)
    if "ncc" in metrics:
        show_table(rows)


def show_methods(rows: list[dict[str, Any]]) -> None:
    """The metrics of each stage beside those of before, R0 and R1, as a table that fits 100 columns."""
    from rich.console import Console
    from rich.table import Table

    lots: dict[tuple[str, str], dict[tuple[str, str, str], float]] = {}
    for row in rows:
        lot = lots.setdefault((row["variant"], row["training"]), {})
        lot[row["stage"], row["group"], row["metric"]] = row["mean"]
    console = Console(width=100)
    for (variant, training), cells in lots.items():
        title = f"{training.capitalize()} similar samples in training{', ' if variant else ''}{variant}"
        table = Table(
            box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", title=title, title_justify="left"
        )
        table.add_column("stage", no_wrap=True)
        for _, _, title in METHOD_COLUMNS:
            table.add_column(title, justify="right", no_wrap=True, min_width=5)
        for stage in dict.fromkeys(stage for stage, _, _ in cells):
            values = [cells.get((stage, group, metric)) for group, metric, _ in METHOD_COLUMNS]
            table.add_row(stage, *["–" if value is None else f"{value:.2f}" for value in values])
        console.print(table)
        console.print()
    console.print(METHOD_CAPTION)


def show_table(rows: list[dict[str, Any]]) -> None:
    """The rows as a table that fits 80 columns: a line per arm and stage, or in a dose study per variant."""
    from rich.console import Console

    if any(row["variant"] for row in rows):
        Console().print(_doses(rows))
        return
    table = framed(CAPTION)
    for title in ("training", "stage"):
        table.add_column(title, no_wrap=True)
    for _, _, title in COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    cells = {(row["training"], row["stage"], row["group"], row["metric"]): row for row in rows}
    for training, stage in dict.fromkeys((row["training"], row["stage"]) for row in rows):
        found = [cells.get((training, stage, group, metric)) for group, metric, _ in COLUMNS]
        first, *others = ["–" if row is None else f"{row['mean']:.2f}" for row in found]
        table.add_row(training, stage, with_interval(found[0]) if found[0] else first, *others)
    Console().print(table)


def _doses(rows: list[dict[str, Any]]) -> Table:
    """A line per variant: NCC of the targets at each stage, and what R0 leaves of it."""
    table = framed(DOSE_CAPTION)
    table.add_column("variant", no_wrap=True)
    for title in ("before", "NCC after R0", "R1", "residual of R0"):
        table.add_column(title, justify="right", no_wrap=True)
    cells = {(row["variant"], row["stage"], row["metric"]): row for row in rows if row["group"] == "target"}
    wanted = (("before", "ncc"), ("R0", "ncc"), ("R1", "ncc"), ("R0", "residual"))
    for variant in dict.fromkeys(row["variant"] for row in rows):
        found = [cells.get((variant, *key)) for key in wanted]
        before, r0, r1, residual = ("–" if row is None else with_interval(row) for row in found)
        table.add_row(variant, before.partition(" ")[0], r0, r1.partition(" ")[0], residual)
    return table


def show_verdict(verdict: dict[str, Any]) -> None:
    """A claim in two lines: whether it holds, and the numbers or why there are none."""
    if verdict["holds"] is None:
        print(f"–   {verdict['claim']}:\n    {verdict['sentence']}")
    else:
        print(f"{'yes' if verdict['holds'] else 'no '} {verdict['claim']}")
        print(f"    {verdict['quantity']}: {with_interval(verdict, '+')}, n = {verdict['n']}")


def show_tuned(found: dict[str, dict[str, Any]]) -> None:
    """What tuning found: a line per method, and its settings."""
    print("gap: mean |Δ| to R0; time: as a share of retraining's\n")
    width = max(map(len, found))
    print(f"{'method':<{width}}    gap  nothing   time  settings")
    for method, entry in found.items():
        settings = ", ".join(f"{key} {value:g}" for key, value in entry["settings"].items())
        print(f"{method:<{width}}  {entry['gap']:.3f}    {entry['before']:.3f}  {entry['time']:>5.2f}  {settings}")
