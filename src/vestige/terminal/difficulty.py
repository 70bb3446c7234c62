"""How hard samples are to unlearn, in lines."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from vestige.terminal.records import with_interval

if TYPE_CHECKING:
    from collections.abc import Mapping


def show_difficulty(record: Mapping[str, Any]) -> None:
    """The difficulty by algorithm, and the five questions on it with their answers."""
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
