"""A deletion request: its plan and its verdicts."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from vestige.terminal.records import framed, show_record

if TYPE_CHECKING:
    from collections.abc import Mapping


def show_audit(record: dict[str, Any], folder: object) -> None:
    """The verdicts, a line each with its reason below, utility, the gate, and where the report is."""
    from vestige.report.audit import standstill

    for one in record["verdicts"]:
        print(f"{one['record']}: {one['words']}{_share_left(one)}")
        print(textwrap.fill(one["reason"], 100, initial_indent="    ", subsequent_indent="    "))
    if said := standstill(record):
        print("\n" + textwrap.fill(said, 100))
    utility = record["utility"]
    if utility["before"] is not None:
        what = "recall" if record["modality"] == "text" else "accuracy"
        said = f"{utility['before']:.3f} before, {utility['after']:.3f} after"
        print(f"\n{what} on {utility['n']} {utility['on']}: {said}")
    holds = {True: "holds", False: "does not hold", None: "cannot be told"}[record["gate"]["holds"]]
    print(f"gate: {record['gate']['expression']}: {holds}\nreport: {folder}/report.html")


def _share_left(one: Mapping[str, Any]) -> str:
    """How much is left of what a record had added, with its interval, "" where that cannot be told."""
    if one["left"] is None:
        return ""
    left, low, high = (one[key] + 0.0 for key in ("left", "low", "high"))
    return f" (left of it: {left:.2f} [{low:.2f}, {high:.2f}])"


def show_audit_step(record: dict[str, Any]) -> None:
    """What was done up to a step, a line per entry, and below them how hard each record is expected to be."""
    show_record({key: value for key, value in record.items() if key != "difficulty"}, json=False)
    if "difficulty" in record:
        print()
        _show_difficulty(record["difficulty"])


def _show_difficulty(told: Mapping[str, Any]) -> None:
    """The chance of each record to be a hard one, likeliest first, and what that is worth; or why it is not told."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=100)
    if "missing" in told:
        console.print(Text(f"How hard each record will be to forget is not told: {told['missing']}."))
        return
    table = framed("")
    table.add_column("hard to forget?", overflow="fold", max_width=34)
    for title in ("chance", "harder than"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in told["records"]:
        table.add_row(Text(one["id"]), f"{one['chance']:.2f}", f"{one['harder_than']:.0%}")
    console.print(table)
    console.print(Text(told["reads"]))


def show_audit_plan(record: dict[str, Any]) -> None:
    """What would be removed and kept, the similar records of each, expectations and costs."""
    from rich.console import Console
    from rich.text import Text

    console, found = Console(width=100), record["found"]
    for target in found["records"]:
        if not found["searched"]:
            console.print(Text(target["id"], style="bold"), overflow="fold")
            continue
        alike = sum(one["similar"] for one in target["neighbours"])
        head = f"{target['id']}, {target['label']}" if len(target["label"]) < 40 else target["id"]
        there = sum(one["similar"] and one["fate"] != "unseen" for one in target["neighbours"])
        count = f"{alike} similar" if there == alike else f"{alike} similar, {there} of them in training"
        console.print(Text(f"{head}: {count}", style="bold"), overflow="fold")
        table = framed("")
        table.add_column("nearest", overflow="fold", max_width=34)
        for title in (found["by"], "random"):
            table.add_column(title, justify="right", no_wrap=True)
        table.add_column("similar", no_wrap=True)
        table.add_column("what becomes of it", overflow="fold")
        for one in target["neighbours"][: max(3, alike)]:
            table.add_row(Text(one["id"]), f"{one['similarity']:.3f}", str(one["random_pairs_reaching"]),
                          "yes" if one["similar"] else "no", f"{one['fate']}: {one['why']}")  # fmt: skip
        console.print(table)
    if found["searched"]:
        console.print(
            f"similar: {found['rule']}; random: how many of {found['null']['pairs']:,} random pairs reach the value"
        )
    console.print(f"\n{record['outcome']}\n")
    _show_difficulty(record["difficulty"])
    console.print()
    table = framed("Estimated from a short trial on this machine, for one thread; read them as orders of magnitude.")
    table.add_column("method")
    for title in ("seconds", "MiB"):
        table.add_column(title, justify="right")
    for one in record["costs"]:
        mark = " (chosen)" if one["method"] == record["method"] else ""
        table.add_row(one["method"] + mark, f"{one['seconds']:g}", str(one["mib"]))
    console.print()
    console.print(table)
    console.print("Nothing was changed. Without --plan this is carried out.")
