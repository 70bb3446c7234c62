"""Results on standard output: one JSON document, or lines and tables that fit 80 columns."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table


def show_record(record: dict[str, Any], json: bool) -> None:
    """A record as one JSON document, or a line per entry."""
    from vestige.store import SCHEMA_VERSION, to_json

    if json:
        sys.stdout.write(to_json({"schema_version": SCHEMA_VERSION, **record}))
        return
    width = max(map(len, record))
    for key, value in record.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{key:<{width}}  {text if text != '' else '–'}")


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


ROLES = ("train", "evaluate", "unlearn")

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
    table = _table(CAPTION)
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
    table = _table(DOSE_CAPTION)
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


def _table(caption: str) -> Table:
    from rich.table import Table

    return Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold", caption=caption, caption_justify="left")


INFLUENCE_CAPTION = (
    "Parts of the margin (the own class's logit over the others), in logits; they sum to it. own, similar: with the "
    "range in which they can be told apart. start: what is left of the weights before training. Below: the training "
    "samples that carry most, largest first."
)


LAST_LAYER_CAPTION = (
    "Parts of the margin (the own class's logit over the others; of an answer the mean over its tokens), in logits; "
    "they sum to it. unexplained: what the last layer's sum over training samples leaves of it, with ? where that is "
    "more than half. Below: the training samples that carry most, largest first."
)


def show_influence(found: list[dict[str, Any]]) -> None:
    """What carries each sample's margin, by model, and who carries most: lines of 100 columns."""
    from rich.console import Console

    if found[0]["by"] == "gradient":
        _show_gradients(found)
        return
    parts = tuple(found[0]["parts"])
    ranged = tuple(found[0]["ranges"])
    width = max(len(one["target"]) for one in found)
    for key in dict.fromkeys((one["training"], one["stage"]) for one in found):
        lot = [one for one in found if (one["training"], one["stage"]) == key]
        told = lot[0].get("note", f"{100 * lot[0]['explained']:.0f} % of the weights explained")
        print(textwrap.fill(f"{key[0]} similar samples, {key[1]}: {told}", 100, subsequent_indent="  "))
        if lot[0].get("warning"):
            print(textwrap.fill(f"warning: {lot[0]['warning']}", 100, initial_indent="  ", subsequent_indent="  "))
        if lot[0]["why"]:
            print(f"  withheld: {lot[0]['why']}\n")
            continue
        heads = [f"{part:>{20 if part in ranged else _width(part)}}" for part in parts]
        print(f"  {'sample':<{width}}  margin{''.join(heads)}")
        for one in lot:
            cells = [_part(one, part) for part in parts]
            doubt = one["by"] == "representer" and abs(one["parts"]["unexplained"]) > abs(one["margin"]) / 2
            print(f"  {one['target']:<{width}}  {one['margin']:6.2f}{''.join(cells)}{' ?' if doubt else ''}")
            carriers = ", ".join(f"{name} {part:.2f}" for name, part in one["top"] if part > 0)
            print(textwrap.indent(textwrap.fill(carriers, 96 - width), " " * (width + 4)))
            if "enough" in one:
                print(textwrap.indent(textwrap.fill(_enough(one["enough"]), 96 - width), " " * (width + 4)))
        print()
    Console(width=100).print(INFLUENCE_CAPTION if ranged else LAST_LAYER_CAPTION)


def _show_gradients(found: list[dict[str, Any]]) -> None:
    """How alike each sample's gradient is to its kin's, by model, and whose is nearest."""
    groups = tuple(found[0]["similarity"])
    width = max(len(one["target"]) for one in found)
    for key in dict.fromkeys((one["training"], one["stage"]) for one in found):
        lot = [one for one in found if (one["training"], one["stage"]) == key]
        print(textwrap.fill(f"{key[0]} similar samples, {key[1]}: {lot[0]['note']}", 100, subsequent_indent="  "))
        print(f"  {'sample':<{width}}{''.join(f'{group:>9}' for group in groups)}")
        for one in lot:
            cells = [f"{'–' if one['similarity'][group] is None else format(one['similarity'][group], '.2f'):>9}"
                     for group in groups]  # fmt: skip
            print(f"  {one['target']:<{width}}{''.join(cells)}")
            nearest = ", ".join(f"{name} {value:.2f}" for name, value in one["top"])
            print(textwrap.indent(textwrap.fill(nearest, 96 - width), " " * (width + 4)))
        print()


def _enough(few: Mapping[str, Any] | None) -> str:
    """How few of the most similar samples to forget, and what that is expected to leave."""
    if few is None:
        return "how few to forget too cannot be told: too little of the weights is explained without their start"
    taken = few["taken"]
    return (
        f"forget its {len(taken)} most similar too: {', '.join(taken) or 'none'}; expected residual "
        f"{few['residual']:.2f}"
    )


def _part(one: dict[str, Any], part: str) -> str:
    """A part, with its range where it has one."""
    value = f"{one['parts'][part] + 0.0:.2f}"
    if part not in one["ranges"]:
        return f"{value:>{_width(part)}}"
    low, high = (f"{end:.1f}" for end in one["ranges"][part])
    return f"{f'{value} [{low}, {high}]':>20}"


def _width(part: str) -> int:
    return max(8, len(part) + 2)


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
        table = _table("")
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


def show_paraphrases(record: dict[str, Any]) -> None:
    """A line per target: what was asked and kept, what for, and what was dropped, by reason."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=80)
    table = _table("")
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
    table = _table("")
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


def show_tuned(found: dict[str, dict[str, Any]]) -> None:
    """What tuning found: a line per method, and its settings."""
    print("gap: mean |Δ| to R0; time: as a share of retraining's\n")
    width = max(map(len, found))
    print(f"{'method':<{width}}    gap  nothing   time  settings")
    for method, entry in found.items():
        settings = ", ".join(f"{key} {value:g}" for key, value in entry["settings"].items())
        print(f"{method:<{width}}  {entry['gap']:.3f}    {entry['before']:.3f}  {entry['time']:>5.2f}  {settings}")


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


def with_interval(row: dict[str, Any], sign: str = "") -> str:
    """A row's mean with its interval, as 0.81 [0.76, 0.85]; sign "+" shows the sign of the mean."""
    mean, low, high = (None if row[key] is None else round(row[key], 2) + 0.0 for key in ("mean", "low", "high"))
    interval = f" [{low:.2f}, {high:.2f}]" if low is not None else ""
    return f"{mean:{sign}.2f}{interval}"


def show_verdict(verdict: dict[str, Any]) -> None:
    """A claim in two lines: what was found, and the numbers or why there are none."""
    if verdict["holds"] is None:
        print(f"–   {verdict['claim']}:\n    {verdict['sentence']}")
    else:
        print(f"{'yes' if verdict['holds'] else 'no '} {verdict['sentence']}")
        print(f"    {verdict['quantity']}: {with_interval(verdict, '+')}, n = {verdict['n']}")


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
    "-1+m: m paraphrases of the target forgotten too; ~g: noise of strength g; Enhanced: both; -near: near pairs held. "
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


def show_difficulty(record: Mapping[str, Any]) -> None:
    """The difficulty by algorithm, and the chapter's five questions with their answers."""
    from vestige.report.difficulty import verdicts

    for part in record.get("joined", [record]):
        _show_spreads(part)
        print()
    for verdict in verdicts(record):
        print(f"{verdict.question} {verdict.answer.capitalize()}.")
        print(textwrap.fill(verdict.sentence, 80, initial_indent="    ", subsequent_indent="    "))


def _show_spreads(record: Mapping[str, Any]) -> None:
    spreads = record["analyses"].get("inequality", {"missing": "it was not asked for"})
    print(f"Difficulty 1 − H of {len(record['ids'])} samples, {record['name']}: 0 as if never seen, 1 not unlearned\n")
    if "missing" in spreads:
        print(f"not computed because {spreads['missing']}")
    else:
        rows = {**spreads["algorithms"], "together": spreads["overall"]}
        width = max(map(len, rows))
        print(f"{'':<{width}}  {'mean [95 %]':>18}  {'tenth below':>11}  {'tenth above':>11}  {'Gini':>5}")
        for name, one in rows.items():
            if one is None:
                print(f"{name:<{width}}  nothing to erase")
                continue
            mean = one["mean"]
            said = with_interval({"mean": mean["value"], "low": mean["low"], "high": mean["high"]})
            ends = (f"{one['quantiles'][share]:>11.2f}" for share in ("0.1", "0.9"))
            gini = one["gini"]["value"]
            print(f"{name:<{width}}  {said:>18}  {'  '.join(ends)}  {'–' if gini is None else format(gini, '5.2f'):>5}")


def show_expected(record: Mapping[str, Any]) -> None:
    """A line per sample, the likeliest to be hard first; then how well such is told at all."""
    width = max(len(row["id"]) for row in record["rows"])
    print(f"Chance to be among the hardest quarter, {record['about']}; learned from {record['study']}\n")
    print(f"{'sample':<{width}}  chance  measured difficulty")
    for row in record["rows"]:
        measured = "–" if row["measured"] is None else f"{row['measured']:.2f}"
        print(f"{row['id']:<{width}}  {row['chance']:>6.2f}  {measured}")
    judged = record["judged"]
    if "missing" in judged:
        print(f"\nHow well it is told is not known, because {judged['missing']}.")
        return
    auc = judged["auc"]
    said = with_interval({"mean": auc["value"], "low": auc["low"], "high": auc["high"]})
    what = {"sample": "samples", "data": "a data set"}[judged["by"]]
    print(f"\nAUC of such predictions in the study, on {what} that they were not learned from: {said} (0.5: guessing)")


def show_audit(record: dict[str, Any], folder: object) -> None:
    """The verdicts, a line each with its reason below, utility, the gate, and where the report is."""
    for one in record["verdicts"]:
        print(f"{one['record']}: {one['words']}{_share_left(one)}")
        print(textwrap.fill(one["reason"], 100, initial_indent="    ", subsequent_indent="    "))
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


def show_audit_plan(record: dict[str, Any]) -> None:
    """What would be removed and kept, the similar records of each, expectations and costs."""
    from rich.console import Console
    from rich.text import Text

    console, found = Console(width=100), record["found"]
    for target in found["records"]:
        alike = sum(one["similar"] for one in target["neighbours"])
        head = f"{target['id']}, {target['label']}" if len(target["label"]) < 40 else target["id"]
        console.print(Text(f"{head}: {alike} similar", style="bold"), overflow="fold")
        table = _table("")
        table.add_column("nearest", overflow="fold", max_width=34)
        for title in (found["by"], "random"):
            table.add_column(title, justify="right", no_wrap=True)
        table.add_column("similar", no_wrap=True)
        table.add_column("what becomes of it", overflow="fold")
        for one in target["neighbours"][: max(3, alike)]:
            table.add_row(Text(one["id"]), f"{one['similarity']:.3f}", str(one["random_pairs_reaching"]),
                          "yes" if one["similar"] else "no", f"{one['fate']}: {one['why']}")  # fmt: skip
        console.print(table)
    console.print(
        f"similar: {found['rule']}; random: how many of {found['null']['pairs']:,} random pairs reach the value"
    )
    console.print(f"\n{record['outcome']}\n")
    table = _table("Estimated from a short trial on this machine, for one thread; read them as orders of magnitude.")
    table.add_column("method")
    for title in ("seconds", "MiB"):
        table.add_column(title, justify="right")
    for one in record["costs"]:
        mark = " (chosen)" if one["method"] == record["method"] else ""
        table.add_row(one["method"] + mark, f"{one['seconds']:g}", str(one["mib"]))
    console.print()
    console.print(table)
    console.print("Nothing was changed. Without --plan this is carried out.")
