"""What the page of each language study holds: a table of studies, and one function per section."""

from __future__ import annotations

from collections.abc import Callable

from vestige.report import table
from vestige.report.record import Figure, Section
from vestige.report.sections.shared import figure_of, in_seeds
from vestige.report.text import answers, charts, enhanced, tables
from vestige.report.text import words as said
from vestige.report.text.material import TextMaterial
from vestige.report.words import plural

OURS = "R0 and R1 are ours, as is whatever follows the paper’s eight methods."
WITHIN = (
    "KM is ROUGE-L recall of the true answer. “With pre-unlearning” below 0: the method took something away. “With "
    "pre-finetuning” above 0: something of the training is left; below 0: less is said than before any training."
)


def similar(material: TextMaterial) -> Section:
    """E3: the similar samples in training, target by target."""
    caption = (
        "Each pair of bars is one target: what unlearning it did to KM on its similar samples (mean over "
        f"{material.config.data.similar} of them), which were trained on. {WITHIN} {_means(material)}"
    )
    finds = "The paper finds all methods but one between: the left bar down, the right up."
    figures = (
        _changes(material, "similar", "with", "similar", "Similar samples after unlearning their target",
                 f"{caption} {finds}"),
        _by_stage(material, "similar", "KM on similar samples",
                  "Without them in training, the same questions are asked as unseen ones."),
    )  # fmt: skip
    lead = "If unlearning a target took its paraphrases along, KM on them would fall back to base: ochre bars of 0."
    return Section("similar", "The similar samples of each target", lead, figures)


def target(material: TextMaterial) -> Section:
    """E4: the target with and without similar samples in training, and the difference."""
    drawn = charts.between_arms(material)
    caption = (
        "KM on each target after unlearning it where its similar samples are in training, minus KM where they are not. "
        f"Above 0: they keep it. {_means(material)} The paper finds nearly all above 0."
    )
    both = figure_of("arms", "What similar samples add to each target after unlearning", caption, drawn,
                   f"{said.counterpart('arms', material.config)} R0 is ours.")  # fmt: skip
    arms = [
        _changes(material, "target", arm, arm, f"Each target {arm} similar samples in training",
                 f"Each pair of bars is one target. {WITHIN} {_means(material)}")
        for arm in material.arms
    ]  # fmt: skip
    stages = _by_stage(material, "target", "KM on the targets", "")
    lead = "Where similar samples keep a target, more of it is said after unlearning than without them in training."
    return Section("target", "Each target, with and without similar samples", lead,
                   ((both,) if len(material.arms) == 2 else ()) + (*arms, stages))  # fmt: skip


def heldout(material: TextMaterial) -> Section:
    """E5: paraphrases that were never trained on."""
    arm, group = said.heldout(material)
    with_none = "only the targets and unrelated pairs were trained on" if arm == "without" else "others were trained on"
    caption = (
        "Each pair of bars is one target: what unlearning it did to KM on paraphrases of it that were never trained "
        f"on; {with_none}. {WITHIN} {_means(material)} The paper finds all between: the left bar down, the right up."
    )
    figures = (
        _changes(material, group, arm, "held_out", "Held-out paraphrases after unlearning their target", caption),
        _by_stage(material, group, "KM on held-out paraphrases", ""),
    )
    lead = "What a model learns of a target it also says to paraphrases. Does unlearning the target take that away?"
    return Section("heldout", "Paraphrases that were never trained on", lead, figures)


def summary(material: TextMaterial) -> Section:
    """Every stage by every group."""
    reads = (
        "Means, with 95 % intervals below. KM: ROUGE-L recall. Residual: 1 as before unlearning, 0 as base; "
        "undefined where these are less than 0.05 apart. Gibberish: share of the targets whose answer is no language. "
        "Over-unlearned: targets with less than half the KM of base. Similar samples that are not in training are "
        "asked as unseen questions. Near and other pairs were not to be forgotten."
    )
    return Section("methods", "All stages", table=tables.methods_table(material), reads=reads)


def said_by(material: TextMaterial) -> Section:
    """What the models answer."""
    left = answers.left_out(material)
    more = f" {plural(left, 'further target')} stand in result.json." if left else ""
    reads = f"Greedy answers, word for word; KM is the share of the true answer that is said, in order.{more}"
    return Section("answers", "What the models answer", dialogues=answers.dialogues(material), reads=reads)


def records(material: TextMaterial) -> Section:
    """Every target by itself."""
    reads = (
        "“Most”: the highest KM of any paraphrase, the worst case for who wants it forgotten. Probability to gibberish "
        "are of the target itself: mean probability of a token of the true answer, the share of its end that comes "
        "once the rest is shown, mean log-probability of its least likely tokens, mean loss per token (both in nats)."
    )
    return Section("records", "Target by target", listing=answers.listing(material), reads=reads)


def claims(material: TextMaterial) -> Section:
    """The claims and whether they hold."""
    reads = (
        "The bars stand in the code and were not fitted to this run. A claim holds if the mean reaches it; “whole "
        "interval” says whether all of the 95 % interval does too."
    )
    return Section("claims", "The claims", verdicts=table.verdicts(material.verdicts, "samples", "target"), reads=reads)


AFTER = (summary, said_by, claims, records)
SECTIONS: dict[str, tuple[Callable[[TextMaterial], Section], ...]] = {
    "text-similar": (similar, *AFTER),
    "text-target": (target, *AFTER),
    "text-heldout": (heldout, *AFTER),
    "quickstart-text": (target, *AFTER),
    "text-enhanced": (enhanced.ablation, enhanced.each_target, enhanced.performance, enhanced.near, enhanced.pareto,
                      enhanced.summary, *AFTER[1:]),
    "text-enhanced-equal": (enhanced.ablation, enhanced.each_target, enhanced.performance, enhanced.pareto,
                            enhanced.summary, *AFTER[1:]),
    "text-enhanced-reach": (enhanced.ablation, enhanced.pareto, enhanced.summary, *AFTER[1:]),
    "text-enhanced-sweep": (enhanced.sweep, enhanced.pareto, enhanced.summary, *AFTER[1:]),
}  # fmt: skip
"""Study → the sections of its page, in order. A study that is not named here gets the generic ones."""
GENERIC = (target, similar, *AFTER)


def sections(material: TextMaterial) -> tuple[Section, ...]:
    """The sections of a study's page, with those only that there is something for."""
    made = [make(material) for make in SECTIONS.get(material.config.study, GENERIC)]
    return tuple(one for one in made if one.figures or one.verdicts or one.table or one.dialogues or one.listing)


def _changes(material: TextMaterial, group: str, training: str, kind: str, heading: str, caption: str) -> Figure:
    drawn = charts.changes(material, training, group)
    name = f"{group.replace('_', '-')}-{training}"
    return figure_of(name, heading, caption, drawn, f"{said.counterpart(kind, material.config)} {OURS}")


def _by_stage(material: TextMaterial, group: str, heading: str, more: str) -> Figure:
    chart = charts.by_stage(material, group, heading)
    caption = f"Mean KM after each stage; 1 would be word for word. {_intervals(material)} {more}"
    return figure_of(f"{group.replace('_', '-')}-stages", f"{heading} by stage", caption, (chart,) if chart else ())


def _targets(material: TextMaterial) -> str:
    return in_seeds(material.config.data.targets, material.seeds)


def _means(material: TextMaterial) -> str:
    return f"Above each panel: the mean and its 95 % interval over the targets ({_targets(material)})."


def _intervals(material: TextMaterial) -> str:
    return f"Lines through marks are 95 % intervals over the targets ({_targets(material)}), cut at the edge."
