"""The question of each study, and the finding that answers it, composed from its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vestige.report import charts, words
from vestige.report.charts import Material
from vestige.report.record import Recalls
from vestige.report.words import number, plural

QUESTIONS = {
    "quickstart": "Does a forgotten image come back?",
    "image-target": "Do similar samples spoil the unlearning of a target?",
    "image-similar": "Does unlearning a target also remove its similar samples?",
    "image-enhanced": "Does it help to forget the most similar samples too?",
    "image-dose": "How many similar samples, and how similar, keep a forgotten image alive?",
    "image-methods": "Which method forgets most like retraining?",
}
EXPERIMENTS = {"quickstart": "E2", "image-target": "E2", "image-similar": "E1", "image-enhanced": "E6"}
"""The experiment's number in the specification of the paper's experiments."""


def question(study: str) -> str:
    """What the study asks, as the title of its page."""
    return QUESTIONS.get(study, "What is left after unlearning?")


def kicker(material: Material) -> str:
    """Which experiment this is, and on which data."""
    config = material.config
    number_of = EXPERIMENTS.get(config.study)
    return " · ".join(part for part in (number_of, config.study, config.data.source) if part)


def headline(material: Material, recalls: Recalls) -> str:
    """The finding in a sentence or two; that it cannot be told where what it needs was not run."""
    write = LEADS.get(material.config.study)
    return write(material) if write else words.headline(recalls, material.verdicts, material.config)


def similar(material: Material) -> str:
    """E1: by each method, whether the similar samples stay."""
    before = material.point("with", "before", "similar", "ncc")
    said: list[tuple[str, bool]] = []
    for stage, doing, claim in (
        ("R0", "retraining without the targets", "similar-samples-stay"),
        ("relabel", "relabelling the targets", "relabelling-leaves-similar"),
    ):
        after = material.point("with", stage, "similar", "ncc")
        holds = _holds(material).get(claim)
        if after is None or before is None or holds is None:
            continue
        verb = "leaves their similar samples as recoverable as before"
        if not holds:
            verb = "makes their similar samples less recoverable"
        elif said and said[0][1]:
            verb = "does so too"
        numbers = f"NCC {number(after.mean)}, before {number(before.mean)}{'' if holds else _others(material, stage)}"
        said.append((f"{doing} {verb} ({numbers})", holds))
    if not said:
        return "This run cannot say: before and a stage after unlearning were not both finished."
    text = "; ".join(sentence for sentence, _ in said)
    never = material.point("with", "R0", "never_seen_same_class", "ncc")
    null = "" if never is None else f" Never-seen images of the same classes reach {number(never.mean)}."
    return f"{text[0].upper()}{text[1:]}.{null}"


def enhanced(material: Material) -> str:
    """E6: how far recall falls with k, and what it costs."""
    steps = [
        (k, stage, material.point("with", stage, "target", "ncc")) for k, stage in charts.widening(material.config)
    ]
    known = [(k, stage, point.mean) for k, stage, point in steps if point]
    if len(known) < 2 or known[0][0] != 0:
        return "This run cannot say: retraining with and without similar samples was not both finished."
    first, rest = known[0], known[1:]
    falls = ", ".join(f"{number(value)} with {k}" for k, _, value in rest)
    verb = "lowers" if rest[-1][2] < first[2] else "does not lower"
    text = (
        f"Forgetting the most similar samples as well {verb} what comes back of the targets: NCC {number(first[2])} "
        f"without any, {falls}"
    )
    never = material.point("with", rest[-1][1], "never_seen_same_class", "ncc")
    text += f"; never-seen images of the same classes reach {number(never.mean)}." if never else "."
    accuracy = [(k, material.point("with", stage, "model", "test_accuracy")) for k, stage, _ in known]
    told = [f"{number(point.mean)} {f'with {k}' if k else 'without any'}" for k, point in accuracy if point]
    return text + (f" Test accuracy is {', '.join(told)}." if told else "")


def of_methods(material: Material) -> str:
    """Which methods come closest to R0 by their average gap, and which lie farthest from it."""
    found = [
        (row["stage"], row["training"], row["mean"])
        for row in material.rows
        if row["metric"] == "average_gap" and row["stage"] not in ("before", "R0", "R1") and row["mean"] is not None
    ]
    arm = "with" if any(training == "with" for _, training, _ in found) else "without"
    ranked = sorted((mean, stage) for stage, training, mean in found if training == arm)
    if not ranked:
        return words.said(material.verdicts)
    (best, nearest), (worst, farthest) = ranked[0], ranked[-1]
    text = (
        f"Of {plural(len(ranked), 'method')}, {nearest} comes closest to retraining without the targets "
        f"(average gap {number(best, 3)})"
    )
    return text + (f", {farthest} stays farthest from it ({number(worst, 3)})." if len(ranked) > 1 else ".")


def of_doses(material: Material) -> str:
    """The claims in words, which are all that can be said of many variants in a sentence."""
    return words.said(material.verdicts)


LEADS: Mapping[str, Callable[[Material], str]] = {
    "image-similar": similar,
    "image-enhanced": enhanced,
    "image-dose": of_doses,
    "image-methods": of_methods,
}
"""Study → what writes its finding; the others have the target's, see `words.headline`."""


def _others(material: Material, stage: str) -> str:
    """How other samples fared, which nobody asked to forget either."""
    pair = [material.point("with", name, "other", "ncc") for name in (stage, "before")]
    if pair[0] is None or pair[1] is None:
        return ""
    return f"; other kept samples {number(pair[0].mean)}, before {number(pair[1].mean)}"


def _holds(material: Material) -> dict[str, Any]:
    return {verdict["name"]: verdict["holds"] for verdict in material.verdicts}
