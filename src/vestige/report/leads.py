"""The question of each study, and the finding that answers it, composed from its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vestige.report import dose, widened, words
from vestige.report.material import Material
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
NEARER = 0.02
"""By how much an average gap must fall below that of doing nothing to be called nearer; as in the study's claims."""
EXPERIMENTS = {"quickstart": "E2", "image-target": "E2", "image-similar": "E1", "image-enhanced": "E6"}
"""The number by which this package knows the paper's experiment."""


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
    if material.config.variants:
        write = of_doses
    elif "recall" not in material.config.measure:
        write = of_methods
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
        (k, stage, material.point("with", stage, "target", "ncc")) for k, stage in widened.widening(material.config)
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
    """By the average gap to R0: what doing nothing has, which methods come nearer, which stay farther."""
    said = [text for arm in ("without", "with") if (text := _nearest(material, arm))]
    return " ".join(said) or "This run cannot say: it needs the stages before and R0, and a method."


def _nearest(material: Material, training: str) -> str:
    """The methods of one arm beside doing nothing."""
    gap = {stage: material.point(training, stage, "vs_R0", "average_gap") for stage in material.config.stages}
    before, found = gap.get("before"), {stage: point.mean for stage, point in gap.items() if point}
    methods = {stage: mean for stage, mean in found.items() if stage not in ("before", "R0", "R1")}
    if before is None or not methods:
        return ""
    best, worst = min(methods, key=methods.__getitem__), max(methods, key=methods.__getitem__)
    nearer = [stage for stage, mean in methods.items() if mean < before.mean - NEARER]
    start = f"{training.capitalize()} similar images, doing nothing lies {number(before.mean, 3)} from retraining"
    start += " by the average gap"
    if not nearer:
        text = f"{start}; none of {plural(len(methods), 'method')} comes clearly nearer"
    else:
        come = "comes" if len(nearer) == 1 else "come"
        text = f"{start}; {len(nearer)} of {plural(len(methods), 'method')} {come} clearly nearer, {best} most"
        text += f" ({number(methods[best], 3)})"
    return f"{text}, {worst} stays farthest ({number(methods[worst], 3)})." if len(methods) > 1 else f"{text}."


def of_doses(material: Material) -> str:
    """What R0 leaves of the targets for each number of copies, and what one exact copy weighs in them."""
    families = {label: found for label, found in dose.by_number(material.doses).items() if label != "exact"}
    if not families:
        return words.said(material.verdicts)
    doses = max(families.values(), key=len)
    points = [(count, material.point("with", "R0", "target", "ncc", variant)) for count, variant in doses]
    told = [f"{number(point.mean)} with {f'{count:g}' if count else 'none'}" for count, point in points if point]
    if not told:
        return "This run cannot say: retraining without the targets was not finished."
    made = material.doses[doses[-1][1]]["made"]
    text = f"Retrained without the targets, the model gives them back with an NCC of {', '.join(told)}"
    return " ".join([f"{text} of their similar images in training ({made}).", *weights(material)])


def weights(material: Material) -> list[str]:
    """The duplicate equivalents as sentences."""
    return [f"{found['sentence'][:1].upper()}{found['sentence'][1:]}." for found in material.equivalents]


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
