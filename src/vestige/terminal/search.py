"""What is said of data: similar records, duplicates, paraphrases, an analysis."""

from __future__ import annotations

from typing import Any

from vestige.terminal.records import framed, with_interval

ROLES = ("train", "evaluate", "unlearn")


def show_similar(record: dict[str, Any]) -> None:
    """A table per target that fits 80 columns: its neighbours, each measure's value, random pairs that reach it."""
    from rich.console import Console
    from rich.text import Text

    measures, pairs = record["measures"], record["null"]["pairs"]
    console = Console(width=80)
    for target in record["targets"]:
        name = f"{target['id']}, {target['label']}" if target["label"] else target["id"]
        console.print(Text(name, style="bold"), overflow="fold")
        if not target["neighbours"]:
            console.print(f"nothing reaches {record['tau']:g}\n")
            continue
        table = framed("")
        table.add_column("", justify="right", no_wrap=True)
        table.add_column("similar", overflow="fold", max_width=34)
        table.add_column("family" if record["modality"] == "text" else "class", overflow="fold", max_width=14)
        for measure in measures:
            table.add_column(measure, justify="right", no_wrap=True)
            table.add_column("random", justify="right", no_wrap=True)
        for one in target["neighbours"]:
            cells = [
                text
                for measure in measures
                for text in (f"{one['similarity'][measure]:.3f}", str(one["random_pairs_reaching"][measure]))
            ]
            table.add_row(str(one["rank"]), Text(one["id"]), Text(one["label"] or "–"), *cells)
        console.print(table)
        console.print()
    console.print(f"random: how many of {pairs:,} {record['null']['what']} reach the value; {record['how']}.")
    if record["model"]:
        console.print(Text(f"influence: by the gradients of {record['model']['what']}."))


def show_duplicates(record: dict[str, Any]) -> None:
    """The counts, and the largest groups, a line each."""
    from rich.console import Console
    from rich.text import Text

    near, exact, compared = record["near"], record["exact"], record["compared"]
    console = Console(width=80)
    console.print(
        f"{near['records']:,} of {record['records']:,} records stand in {near['groups']:,} groups: every two members "
        f"reach {record['by']} {record['tau']:g}. {exact['records']:,} of them equal another exactly, in "
        f"{exact['groups']:,} groups. With one of each group kept, {near['surplus']:,} would go. "
        f"{compared['pairs']:,} pairs were compared"
        + (", every one." if compared["complete"] else ", the likeliest; others may be missing.")
        + f" Of {record['null']['pairs']:,} {record['null']['what']}, {record['null']['reaching_tau']} reach it."
    )
    if not record["groups"]:
        return
    table = framed("")
    for title in ("size", "least"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("members", no_wrap=True)
    for group in record["groups"][:20]:
        members = ", ".join(group["ids"][:8])
        shown = members if len(members) <= 62 else members[:61] + "…"
        table.add_row(str(group["size"]), f"{group['least_similarity']:.3f}", Text(shown))
    console.print(table)
    if len(record["groups"]) > 20:
        console.print(f"… and {len(record['groups']) - 20:,} smaller groups: --json or --out FOLDER")


def show_paraphrases(record: dict[str, Any]) -> None:
    """A line per target: what was asked and kept, what for, and what was dropped, by reason."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=80)
    table = framed("")
    table.add_column("target", overflow="fold", max_width=30)
    for title in ("asked", "kept"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("dropped")
    for one in record["targets"]:
        gone = one["dropped"] | ({"no answer": one["unanswered"]} if one["unanswered"] else {})
        dropped = ", ".join(f"{reason} {number}" for reason, number in gone.items())
        table.add_row(Text(one["id"]), str(one["asked"]), str(one["kept"]), dropped or "–")
    console.print(table)
    roles = [f"{sum(one['roles'].get(role, 0) for one in record['targets'])} {role}" for role in ROLES]
    console.print(f"{', '.join(roles)}. Written to {record['out']}", soft_wrap=True)


def show_measures(record: dict[str, Any]) -> None:
    """The measures of an analysis, each beside its null, and the labels of topics that a model was asked for."""
    print(f"{len(record['samples'])} samples, {len(record['groups'])} targets; encoder: {record['encoder']['what']}\n")
    print(f"{'measure':<12}  {'mean [95 %]':>20}  {'null [95 % of draws]':>26}  unit")
    for one in record["measures"]:
        print(f"{one['name']:<12}  {with_interval(one):>20}  {with_interval(one['null']):>26}  {one['unit']}")
    labels = record.get("labels")
    if labels and labels["asked"]:
        print(
            f"\n{labels['by_model']} of {labels['topics']} topics labelled by {labels['asked']}, the rest by keywords"
        )
