"""What a difficulty study found, in sentences: no claim beyond its numbers and their intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vestige.report.words import interval, number, plural, signed

Record = Mapping[str, Any]

BAR = 0.82
"""The AUC that the summary of the paper names."""

SAME = 0.7
"""Agreement, noise of the seed apart, above which its whole interval must lie for the same samples to be hard."""

HELD_OUT = {
    "sample": "samples never seen",
    "algorithm": "an algorithm never seen",
    "algorithm and sample": "neither seen",
    "data": "a data set never seen",
}
"""What the predictor was not fitted to → in words."""


@dataclass(frozen=True)
class Verdict:
    """One of the five questions on difficulty and its answer. answer: "yes", "no", "partly" or "not told"."""

    question: str
    answer: str
    sentence: str


def verdicts(record: Record) -> list[Verdict]:
    """The answers to the five questions, in the order of docs/results/difficulty.md."""
    found, parts = record["analyses"], record.get("joined", [record])
    return [
        _of_each(parts, lambda own: _unequal(own.get("inequality"))),
        _of_each(parts, lambda own: _independent(own.get("agreement"))),
        _holding(found.get("holding")),
        _predictable(found.get("predictor")),
        _of_each(parts, lambda own: _similar(own.get("natural"), own.get("constructed"))),
    ]


def _of_each(parts: Sequence[Record], ask: Callable[[Record], Verdict]) -> Verdict:
    """What belongs to one data set, told of each; "partly" where they differ."""
    told = [ask(part["analyses"]) for part in parts]
    if len(told) == 1:
        return told[0]
    same = all(one.answer == told[0].answer for one in told)
    sentence = " ".join(f"{part['name']}: {one.sentence}" for part, one in zip(parts, told, strict=True))
    return Verdict(told[0].question, told[0].answer if same else "partly", sentence)


def side_by_side(record: Record) -> list[dict[str, str]]:
    """What belongs to one data set, a row for each of those that were joined: heading → cell."""

    def told(part: Record, name: str, *keys: str) -> str:
        found = part["analyses"].get(name)
        for key in () if why_not(found) else keys:
            found = found and found[key]
        return with_interval(found) if found and "value" in found else "–"

    return [
        {
            "Study": part["name"],
            "Samples ranked": str(part["analyses"].get("inequality", {}).get("n", "–")),
            "Mean difficulty": told(part, "inequality", "overall", "mean"),
            "Gini": told(part, "inequality", "overall", "gini"),
            "Two algorithms agree": told(part, "agreement", "cross"),
            "Two seeds agree": told(part, "agreement", "ceiling"),
            "Noise of the seed apart": told(part, "agreement", "disattenuated"),
            "Similarity mass, Spearman": told(part, "natural", "overall", "spearman"),
            "Per constructed copy": told(part, "constructed", "overall", "slope"),
        }
        for part in record.get("joined", ())
    ]


def why_not(analysis: Record | None) -> str:
    """Why there is no such analysis, "" where there is one."""
    if analysis is None:
        return "this run did not ask for it"
    return str(analysis.get("missing", ""))


def with_interval(found: Record, digits: int = 2, sign: bool = False) -> str:
    """A number with its interval, as "0.81 [0.76, 0.85]"."""
    if found["value"] is None:
        return "–"
    value = signed(found["value"], digits) if sign else number(found["value"], digits)
    return f"{value} {interval(found['low'], found['high'], digits)}".strip()


def above(found: Record, bar: float) -> bool | None:
    """Whether the whole interval lies above (True) or below (False) a bar; None where neither, or there is none."""
    if found["value"] is None or found["low"] is None:
        return None
    return True if found["low"] > bar else False if found["high"] < bar else None


def plain(name: str) -> str:
    """The name of a factor as words."""
    return name.replace("_", " ")


def _untold(question: str, why: str) -> Verdict:
    return Verdict(question, "not told", f"Not computed because {why}.")


def _unequal(found: Record | None) -> Verdict:
    question = "Are some samples harder to unlearn than others?"
    if why := why_not(found):
        return _untold(question, why)
    assert found is not None
    spread = found["overall"]
    if spread is None:
        return _untold(question, "no sample had something to erase for every algorithm")
    low, high = spread["quantiles"]["0.1"], spread["quantiles"]["0.9"]
    sentence = (
        f"Over {plural(found['n'], 'sample')} the mean difficulty is {with_interval(spread['mean'])}; a tenth lies "
        f"below {number(low)} and a tenth above {number(high)} (Gini {with_interval(spread['gini'])})."
    )
    return Verdict(question, "yes" if high - low > 0.1 else "hardly", sentence)


def _independent(found: Record | None) -> Verdict:
    question = "Is it the same samples whatever the algorithm?"
    if why := why_not(found):
        return _untold(question, why)
    assert found is not None
    cross, ceiling, clean = found["cross"], found["ceiling"], found["disattenuated"]
    if cross["value"] is None:
        same = found["cross_same_seed"]
        if same["value"] is None:
            return _untold(question, "fewer than two algorithms give difficulties that vary")
        return Verdict(
            question, "not told",
            f"With one seed there is no ceiling to compare with; rankings by two algorithms from the same model agree "
            f"with Spearman {with_interval(same)}.",
        )  # fmt: skip
    sentence = (
        f"Rankings by two algorithms agree with Spearman {with_interval(cross)}; two seeds of one algorithm, the most "
        f"that could be hoped for, with {with_interval(ceiling)}."
    )
    if clean["value"] is not None:
        sentence += f" Noise of the seed apart, agreement is {with_interval(clean)} of 1."
    if above(cross, 0.0) is not True:
        return Verdict(question, "no", f"{sentence} Agreement between algorithms is not clear of 0.")
    if above(clean, 1.0) is False:
        return Verdict(question, "partly", f"{sentence} So difficulty depends on the algorithm too.")
    if above(clean, SAME) is True:
        return Verdict(question, "yes", sentence)
    return Verdict(question, "not told", f"{sentence} These intervals are too wide to tell how far.")


def _holding(found: Record | None) -> Verdict:
    question = "Which factors, known before unlearning, go with difficulty?"
    if why := why_not(found):
        return _untold(question, why)
    assert found is not None
    factors = found["factors"]
    if not factors:
        return _untold(question, "no factor could be measured where difficulty varies")
    held = [one for one in factors if one["holds"]]
    if not held:
        kinds = plural(len(found["cells"]), "pair") + " of algorithm and data set"
        return Verdict(question, "no", f"None of {len(factors)} holds in at least 80 % of {kinds}.")
    names = listed([f"{plain(one['name'])} ({number(one['effect']['value'])})" for one in held])
    verb = "holds" if len(held) == 1 else "hold"
    return Verdict(
        question, "yes", f"{len(held)} of {len(factors)} {verb} (mean Spearman with difficulty): {names}."
    )  # fmt: skip


def _predictable(found: Record | None) -> Verdict:
    question = f"Can difficulty be told before unlearning (the bar: AUC {BAR})?"
    if why := why_not(found):
        return _untold(question, why)
    assert found is not None
    told = {name: one for name, one in found["by"].items() if not one.get("missing")}
    if not told:
        return _untold(question, str(next(iter(found["by"].values()))["missing"]))
    parts = [f"on {HELD_OUT.get(name, name)} {with_interval(one['linear']['auc'])}" for name, one in told.items()]
    first = next(iter(told.values()))
    informed = with_interval(first["informed"]["auc"])
    sentence = f"AUC for the hardest quarter, by a linear predictor from one trained model: {listed(parts)}."
    sentence += f" With what needs more models (memorisation, the course of training), as the first: {informed}."
    if first["single"]:
        best = first["single"][0]
        sentence += f" The best single factor, {plain(best['factor'])}, alone: {with_interval(best['auc'])}."
    aucs = [one["linear"]["auc"] for one in told.values()]
    reached = [above(auc, BAR) for auc in aucs]
    if all(reached):
        return Verdict(question, "yes", sentence)
    if all(auc["value"] is not None and auc["value"] >= BAR for auc in aucs):
        return Verdict(question, "partly", f"{sentence} The bar is reached, but lies within an interval.")
    if any(auc["value"] is not None and auc["value"] >= BAR for auc in aucs):
        return Verdict(question, "partly", f"{sentence} The bar is not reached everywhere.")
    return Verdict(question, "no", f"{sentence} The bar is not reached.")


def _similar(natural: Record | None, constructed: Record | None) -> Verdict:
    question = "Does difficulty rise with similar samples in training?"
    lines, signs = [], []
    for found, key, what, digits in (
        (constructed, "slope", "Constructed ones, per copy", 3),
        (natural, "spearman", "Natural ones, Spearman with similarity mass", 2),
    ):
        if why := why_not(found):
            lines.append(f"{what.split(',')[0]}: not computed because {why}.")
            continue
        assert found is not None
        trend = found["overall"][key]
        signs.append(above(trend, 0.0))
        lines.append(f"{what}: {with_interval(trend, digits, sign=True)}.")
        if key == "slope":
            share = found["overall"]["erasable"][-1]["value"]
            lines[-1] += f" With {found['doses'][-1]} each, {100 * share:.0f} % of the targets have anything to erase."
    if not signs:
        return Verdict(question, "not told", " ".join(lines))
    if any(signs):
        return Verdict(question, "yes" if all(signs) else "partly", " ".join(lines))
    lines.append("Difficulty falls." if all(one is False for one in signs) else "No rise is clear of 0.")
    return Verdict(question, "no", " ".join(lines))


def headline(record: Record) -> str:
    """The finding in one sentence."""
    answers = {one.question: one for one in verdicts(record)}
    unequal, same, *_ = answers.values()
    if unequal.answer == "not told":
        return f"This run cannot say which samples are hard to unlearn. {unequal.sentence}"
    who = {
        "yes": "and as far as seeds allow to tell, they are the same ones whatever the algorithm",
        "partly": "and which ones depends in part on the algorithm",
        "no": "but the algorithms do not agree which ones",
        "not told": "and whether the algorithms agree which ones cannot be told",
    }[same.answer]
    if unequal.answer == "hardly":
        return "Hardly any sample is harder to unlearn than the others in this run."
    return f"Some samples are much harder to unlearn than others, {who}."


def deck(record: Record) -> str:
    """How much evidence there is."""
    return (
        f"{plural(count_runs(record), 'run')} of unlearning: {plural(len(record['ids']), 'sample')}, "
        f"{plural(len(record['algorithms']), 'algorithm')}, {plural(len(record['seeds']), 'seed')}; {record['name']}."
    )


def count_runs(record: Record) -> int:
    """How many runs of unlearning a record is about."""
    return sum(part["runs"] for part in record["joined"]) if "joined" in record else len(record["runs"])


def limits(record: Record) -> list[str]:
    """What the page does not show."""
    found = [
        "Difficulty is 1 − H, the harmonic mean of erasure and utility. A sample that the model before knows no better "
        "than models that never saw it has nothing to erase, and is left out of every ranking.",
        "Erasure is a share of what there is to erase. Where that is little, a small miss counts as much as nothing "
        "done: samples that were hardly memorised tend to come out hard for this reason too.",
        "Every algorithm ran with one setting and one budget, chosen on other samples. A larger budget would erase "
        "more, at a higher cost.",
        "Erasure asks for one probability: that of the true class, against models trained without the sample. What "
        "else a model keeps of it is not asked.",
        "Intervals are over samples: they say what other samples of the same data would give, not other data or "
        "models.",
        "A factor that goes with difficulty need not cause it. Symptoms are known only once a sample has been "
        "unlearned, and are used for no prediction.",
    ]
    if len(record["seeds"]) == 1:
        found.append("One seed: there is no ceiling to compare the agreement of algorithms with.")
    return found


def listed(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
