"""The sections of E7: what noise and paraphrases remove, each alone and together, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence

from vestige.report.record import Figure, Section, TradeChart
from vestige.report.sections.shared import figure_of, in_seeds, there
from vestige.report.text import tables, tradeoffs
from vestige.report.text import words as said
from vestige.report.text.material import KM, TextMaterial

ENDS = "Compare with base, which never saw the pairs, and with before."
RESIDUAL = (
    "Residual: 1 as before unlearning, 0 as base; undefined, and left out, for targets where these are within 0.05."
)
FORGOTTEN = (("similar samples", "similar", KM), ("held-out paraphrases", "held_out", KM), ("target", "target", KM))
COST = (("near pairs", "near", KM), ("other pairs", "other", KM), ("multiple choice", "choices", "choice_accuracy"))


def ablation(material: TextMaterial) -> Section:
    """What does the work: the noise, the paraphrases, or both."""
    drawn = there([tradeoffs.ablation(material)])
    caption = (
        "Mean KM on the similar samples, which were trained on, and on held-out paraphrases, which no model saw; "
        "neither was unlearned. The paraphrases that enhanced stages unlearn with a target are in no other part. "
        f"{ENDS} {_intervals(material)}"
    )
    ours = "The paper draws the two schemes, noise only and both; paraphrases only are ours, as are R0 and R1."
    figure = figure_of("ablation", "Noise only, paraphrases only, both", caption, drawn,
                       f"{said.counterpart('ablation', material.config)} {ours}")  # fmt: skip
    return Section("ablation", "What does the work", said.equal_in(material.config), (figure,))


def each_target(material: TextMaterial) -> Section:
    """Every target: what each scheme did to its similar samples."""
    caption = (
        "Each pair of bars is one target: KM on its {} after unlearning minus before it, and minus that of base. The "
        "paper expects the enhanced schemes to bring the second to 0; below 0, less is said than before any training. "
        f"Above each panel: the mean and its 95 % interval over the targets ({_targets(material)})."
    )
    kinds = (
        ("similar", "similar samples", "Similar samples of each target"),
        ("held_out", "held-out paraphrases", "Held-out paraphrases of each target"),
    )
    figures = tuple(
        figure_of(f"{group.replace('_', '-')}-targets", heading, caption.format(what),
                  tradeoffs.by_target(material, group, parts=group == "similar"), _paper(material, group))
        for group, what, heading in kinds
    )  # fmt: skip
    return Section("targets", "Target by target, as it is and enhanced", figures=figures)


def performance(material: TextMaterial) -> Section:
    """What the models are still good for."""
    caption = (
        "What each method keeps, as it is and enhanced. KM of other pairs: trained on, not to be forgotten. Multiple "
        f"choice: everyday questions that no model was tuned on. {_intervals(material)}"
    )
    figure = figure_of("performance", "What the models keep", caption, tradeoffs.performance(material),
                       said.counterpart("performance", material.config))  # fmt: skip
    return Section("performance", "What it costs", figures=(figure,))


def near(material: TextMaterial) -> Section:
    """Collateral damage on innocent neighbours, and what protecting them does."""
    chart = tradeoffs.protection(material)
    caption = (
        f"Each target has {material.config.data.near} near pairs: innocent ones about what looks like it, trained on. "
        "“Near pairs held”: they are in every batch of the regulariser; else they come up there as often as any other "
        f"pair. {_intervals(material)} Not in the paper."
    )
    figure = figure_of("near", "Near pairs, with and without protection", caption, (chart,) if chart else ())
    return Section("near", "Who else is hit", figures=(figure,))


def pareto(material: TextMaterial) -> Section:
    """What is left against what is kept."""
    caption = (
        f"A mark per stage. {RESIDUAL} {{}} Lines through marks are 95 % intervals over the targets, cut at the edge; "
        f"the horizontal line is a residual of {tradeoffs.GOAL:g}. Diamonds: the references R0 and R1, which are not "
        "compared. A residual below 0 counts as 0: saying less than base is no better forgetting. Not in the paper."
    )
    kinds = (("similar", "Similar samples"), ("held_out", "Held-out paraphrases"))
    figures = [
        figure_of(f"pareto-{group.replace('_', '-')}", f"{heading}: what is left against what is kept",
                  caption.format(_defined(material, charts)), charts, why=_no_residual(material, group))
        for group, heading in kinds
        for charts in [tradeoffs.pareto(material, group)]
    ]  # fmt: skip
    return Section("pareto", "What is left against what is kept", "Best is at the lower right.", tuple(figures))


def sweep(material: TextMaterial) -> Section:
    """How much noise, how many paraphrases."""
    unit = "in units of the states’ own RMS" if material.config.unlearn.sigma == "relative" else "as it is"
    caption = f"Dashed: KM of the similar samples before unlearning and in base. {_intervals(material)}"
    price = f"Pairs that were not to be forgotten, and everyday multiple choice. {_intervals(material)}"
    over = (
        ("gamma", "Over the strength of the noise", tradeoffs.over_gamma),
        ("paraphrases", "Over the number of paraphrases", tradeoffs.over_m),
    )
    figures: list[Figure] = []
    for name, heading, charts in over:
        figures += [
            figure_of(name, heading, caption, charts(material, FORGOTTEN, "KM")),
            figure_of(f"{name}-cost", f"{heading}: what it costs", price, charts(material, COST, "Kept")),
        ]
    lead = (
        f"γ is the standard deviation of the noise, {unit}. The paper gives 0.618 for its 1B and 0.318 for its 3B "
        f"model and does not say how many paraphrases. {said.equal_in(material.config)}"
    )
    if material.config.data.compose:
        lead += " Where a family has too few paraphrases, more are composed from them by rule: they add little variety."
    return Section("sweep", "How much noise, how many paraphrases", lead, tuple(figures))


def summary(material: TextMaterial) -> Section:
    """Every stage by every group."""
    reads = (
        f"Means, with 95 % intervals below. KM: ROUGE-L recall. {RESIDUAL} Choice: share of multiple-choice questions "
        "answered right; perplexity: on other pairs, in multiples of that before unlearning. Gibberish: share of the "
        "targets whose answer is no language. Over-unlearned: targets with less than half the KM of base."
    )
    return Section("methods", "All stages", table=tables.methods_table(material, tables.ENHANCED_COLUMNS), reads=reads)


def _paper(material: TextMaterial, group: str) -> str:
    return said.counterpart("enhanced", material.config) if group == "similar" else "Not in the paper."


def _defined(material: TextMaterial, charts: Sequence[TradeChart]) -> str:
    """Of how many targets the drawn residuals are, where not of all."""
    known, all_ = max((trade.leaves.n for chart in charts for trade in chart.trades), default=0), len(material.places)
    return f"It is defined for {known} of {all_} targets." if known < all_ else "It is defined for every target."


def _no_residual(material: TextMaterial, group: str) -> str:
    """Why there is nothing to draw."""
    gone = [one["why"] for one in material.missing if (one["group"], one["metric"]) == (group, tradeoffs.RESIDUAL)]
    if gone:
        return f"the residual is undefined for every target: {gone[0]}"
    return "the runs that it needs were not carried out"


def _targets(material: TextMaterial) -> str:
    return in_seeds(material.config.data.targets, material.seeds)


def _intervals(material: TextMaterial) -> str:
    return f"Lines through marks are 95 % intervals over the targets ({_targets(material)}), cut at the edge."
