"""What the page of each study holds: a table of studies, and one function per section."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from vestige.report import charts, dose, methods, paper, table, words
from vestige.report.charts import Material
from vestige.report.record import Chart, Figure, Section
from vestige.verify import mean_interval

NOT_RUN = "the runs that it needs were not carried out"
BACK = (
    "“Comes back” (solid frame, blue for the control): its NCC lies above 95 % of never-seen images of the same "
    "class in the same model; “like never seen” (dashed): it does not."
)
CONTROL = (
    "“Kept” is a control that stays in training: the first other sample that no stage takes out, of a class "
    "without a target where there is one."
)


def recovered(material: Material) -> Section:
    """The targets as pictures, both arms."""
    blocks = charts.blocks(material)
    seed = material.shelf.first_seed
    hidden = 0 if seed is None else max(0, len(material.shelf.split(seed).target) - charts.TARGETS_SHOWN)
    left_out = f" but {hidden}, left out for room" if hidden else ""
    caption = (
        f"Every target of seed {seed}{left_out}, in the order in which the seed drew them, beside the best image that "
        f"could be reconstructed from each model’s weights. {BACK} {CONTROL}"
    )
    added = "The paper shows before and after; R1 and widening are ours."
    figure = _figure("gallery", "Targets and what comes back", f"{caption} {charts.twins(material)}", blocks,
                     f"{_counterpart('target gallery', material)} {added}", "the data set was not built")  # fmt: skip
    return Section("recovered", "What comes back", figures=(figure,))


def target_bars(material: Material) -> Section:
    """SSIM and NCC of each target by stage, without and with similar images."""
    return Section(
        "images",
        "Image by image",
        "Where similar images are in training, a bar after unlearning should stay as high as before if they keep the "
        "target; without them it should fall into the grey.",
        (_sample_figure(material, "target", "target bars", "Each target, before and after"),),
    )


def recall(material: Material) -> Section:
    """Mean recall of the targets by stage, both arms."""
    chart = charts.recall(material)
    caption = (
        "Each mark is the mean NCC between a target and the best image that could be reconstructed from the model; "
        f"1 would be verbatim. {_interval(material)}, cut at the edge of the scale. Grey is the null: where 90 % of "
        "never-seen images of the targets’ classes fall in the same models (training sets pooled), with their "
        "mean. A mark inside the grey comes back no better than those do."
    )
    figure = _figure("recall", "Recall of the targets by stage", caption, (chart,) if chart.rows else ())
    return Section("recall", "How much comes back, stage by stage", figures=(figure,))


def similar_bars(material: Material) -> Section:
    """SSIM and NCC of each similar sample and a kept one by stage."""
    return Section(
        "images",
        "Image by image",
        "If unlearning a target took its similar samples along, their bars after it would be lower than before, while "
        "those of the kept sample would not.",
        (_sample_figure(material, "similar", "similar bars", "Each similar sample, before and after"),),
    )


def similar_recall(material: Material) -> Section:
    """Mean recall of the similar samples and of the kept others by stage."""
    chart = charts.similar_recall(material)
    caption = (
        "The mean NCC of all similar samples, and of all other samples that stay in training, with their best "
        f"reconstruction. {_interval(material)}. Grey: where 90 % of never-seen images of the targets’ classes fall, "
        "with their mean. Where both fall alike, the whole model moved, which is not forgetting."
    )
    figure = _figure("recall", "Recall of similar and of other samples by stage", caption, (chart,))
    return Section("recall", "How much comes back, stage by stage", figures=(figure,))


def similar_gallery(material: Material) -> Section:
    """The similar samples as pictures."""
    sheet = charts.similar_sheet(material)
    seed = material.shelf.first_seed
    caption = (
        f"Similar samples of the targets of seed {seed}, as many as there is room for, and the best image that could "
        f"be reconstructed of each; the number is its NCC. {BACK} {CONTROL}"
    )
    figure = _figure("gallery", "Similar samples and what comes back", caption, (sheet,) if sheet else (),
                     _counterpart("similar gallery", material), "the data set was not built")  # fmt: skip
    return Section("recovered", "What comes back", figures=(figure,))


def enhanced_recall(material: Material) -> Section:
    """Recall of the targets over k."""
    drawn = []
    for metric, name in (("ncc", "NCC"), ("ssim", "SSIM")):
        lines = [("targets", "target", metric), ("all others", "other", metric)]
        levels = [("targets before", "before", "target", metric), ("targets in R1", "R1", "target", metric)]
        drawn.append(charts.over_k(material, f"Mean {name}", lines, levels=levels, null=metric))
    caption = (
        "RF is R0, retraining without the targets alone; 1+k also takes out the k training samples most similar to "
        f"each target by SSIM. {_interval(material)}. Dashed: the targets before unlearning, and in R1, where none of "
        "the copies made from them is left. Grey band: never-seen images of the targets’ classes in each model. "
        "“All others”: the training samples that are neither targets nor copies, so also the natural neighbours that "
        "1+k takes out."
    )
    ours = "The paper shows SSIM of single images; NCC, the mean with its interval, the null and R1 are ours."
    figure = _figure("recall", "Recall over the number of similar samples taken out", caption, _there(drawn),
                     f"{_counterpart('enhanced recall', material)} {ours}")  # fmt: skip
    return Section("recall", "How much comes back as more is forgotten", figures=(figure,))


def enhanced_gallery(material: Material) -> Section:
    """The targets as pictures over k."""
    sheet = charts.enhanced_sheet(material)
    caption = (
        f"The targets of seed {material.shelf.first_seed} and the best image that could be reconstructed from each "
        f"model; the number is its NCC. {BACK} {CONTROL} {charts.twins(material)}"
    )
    figure = _figure("gallery", "Targets and what comes back", caption, (sheet,) if sheet else (),
                     _counterpart("enhanced gallery", material), "the data set was not built")  # fmt: skip
    return Section("recovered", "What comes back", figures=(figure,))


def composition(material: Material) -> Section:
    """What was taken: copies or natural neighbours."""
    chart = charts.taken(material)
    caption = (
        f"Of the k samples most similar to a target, how many were copies made from it ({material.config.data.similar} "
        f"are in training) and how many natural neighbours; means over {_targets(material)}. Not in the paper."
    )
    figure = _figure("taken", "Copies and natural neighbours", caption, (chart,) if chart else ())
    return Section("taken", "What was taken out", figures=(figure,))


def collateral(material: Material) -> Section:
    """What widening does to samples that nobody asked to forget."""
    damage = charts.over_k(
        material, "Mean NCC", [("near the targets", "near", "ncc"), ("all others", "other", "ncc")], null="ncc"
    )
    harm = (
        f"Recall of the {material.config.data.near} other training samples nearest to each target by SSIM, which "
        f"nobody asked to forget, and of all others. {_interval(material)}; grey as above. Not in the paper."
    )
    lines = [("test", "model", "test_accuracy"), ("near the targets", "model", "near_accuracy")]
    accuracy = charts.over_k(material, "Accuracy", [*lines, ("targets", "model", "forget_accuracy")])
    price = (
        f"{_cost(material)} {_interval(material)}. The paper gives one number in its text (section 5.1, no figure): "
        "0.5 % less for 1+5 on Fashion-MNIST."
    )
    return Section(
        "collateral",
        "What it costs",
        figures=(
            _figure("collateral", "Recall of innocent neighbours", harm, (damage,) if damage else ()),
            _figure("accuracy", "Accuracy", price, (accuracy,) if accuracy else ()),
        ),
    )


def over_number(material: Material) -> Section:
    """Over the number of similar samples."""
    caption = f"{_interval(material)}. Grey: the mean of never-seen images of the targets’ classes, with its interval."
    stages = _figure("recall-number", "Recall stage by stage", caption, dose.by_stage(material.rows, "number"),
                     why=_no_two("number"))  # fmt: skip
    return Section("number", "How many similar samples does it take?", figures=(_residual(material, "number"), stages))


def over_strength(material: Material) -> Section:
    """Over how strongly similar samples differ from the target."""
    return Section("strength", "How similar must they be?", figures=(_residual(material, "strength"),))


def all_variants(material: Material) -> Section:
    """Every variant in one chart."""
    chart = dose.overview(material.rows)
    caption = f"What comes back of the targets in each variant after R0 and after R1. {_interval(material)}."
    figure = _figure("variants", "All variants", caption, (chart,) if chart else ())
    return Section("variants", "All variants", figures=(figure,))


def compared_methods(material: Material) -> Section:
    """Methods by metrics, with the gap to R0."""
    chart = methods.gaps(material.found, material.config)
    caption = f"The mean of |UA − UA of R0|, |RA − …| and |TA − …|. {_interval(material)}."
    found = methods.methods_table(material.found, material.config, material.failed)
    reads = (
        "Means, with 95 % intervals below; then the gap: this stage minus R0. “≠ R0” marks a gap where the two "
        "intervals do not overlap. A good method is like R0 in every column, neither above nor below."
    )
    figure = _figure("gaps", "Average gap to R0", caption, (chart,) if chart else ())
    return Section("methods", "How close each method comes to retraining", figures=(figure,), table=found, reads=reads)


def claims(material: Material) -> Section:
    """The claims and whether they hold."""
    reads = (
        "The bars stand in the code and were not fitted to this run. A claim holds if the mean difference reaches it; "
        "“whole interval” says whether all of the 95 % t interval does too. Where it does not, the claim holds on "
        "average only."
    )
    return Section("claims", "The claims", verdicts=table.verdicts(material.verdicts), reads=reads)


def all_stages(material: Material) -> Section:
    """The main table."""
    reads = (
        "Means, with 95 % intervals below. Residual: 1 as before unlearning, 0 as the reference where nothing is left "
        "(R1 with similar images, R0 without); it can pass both ends. AUC members: the chance that a training image "
        "has a higher NCC than a never-seen one; 0.5 is chance. Intervals of a few values can pass the end of a scale."
    )
    found = table.main_table(material.found, material.config, material.failed)
    return Section("stages", "All stages", table=found, reads=reads)


GENERIC = (recovered, recall, claims, all_stages)
SECTIONS: dict[str, tuple[Callable[[Material], Section], ...]] = {
    "quickstart": (recovered, target_bars, recall, claims, all_stages),
    "image-target": (recovered, target_bars, recall, claims, all_stages),
    "image-similar": (similar_bars, similar_gallery, similar_recall, claims, all_stages),
    "image-enhanced": (enhanced_recall, enhanced_gallery, composition, collateral, claims, all_stages),
    "image-dose": (over_number, over_strength, all_variants, claims),
    "image-methods": (compared_methods, recall, claims, all_stages),
}
"""Study → the sections of its page, in order. A study that is not named here gets the generic ones."""


def sections(material: Material) -> tuple[Section, ...]:
    """The sections of a study's page; claims are left out where the study makes none."""
    found = [make(material) for make in SECTIONS.get(material.config.study, GENERIC)]
    return tuple(section for section in found if section.name != "claims" or section.verdicts)


def _figure(
    name: str, heading: str, caption: str, drawn: Sequence[Chart], of_paper: str = "", why: str = NOT_RUN
) -> Figure:
    return Figure(name, heading, caption.strip(), tuple(drawn), of_paper, "" if drawn else why)


def _there(drawn: Sequence[Chart | None]) -> tuple[Chart, ...]:
    return tuple(chart for chart in drawn if chart is not None)


def _sample_figure(material: Material, group: str, kind: str, heading: str) -> Figure:
    drawn = _there([charts.samples(material, metric, group) for metric in ("ssim", "ncc")])
    who = "target" if group == "target" else "similar sample (1 to n of the target whose number stands below)"
    caption = (
        f"SSIM, as in the paper, and NCC of each {who} and its best reconstruction, single images in single models "
        f"({_targets(material)}), so bars and thin lines have no intervals. {CONTROL} Grey: never-seen images of the "
        "same classes, pooled over the stages shown."
    )
    ours = "NCC, R1 and the null are ours." if group == "target" else "NCC and the null are ours."
    return _figure("bars", heading, caption, drawn, f"{_counterpart(kind, material)} {ours}")


def _residual(material: Material, axis: Literal["number", "strength"]) -> Figure:
    caption = (
        f"1: as before unlearning; 0: as R1, where no copy is left. {_interval(material)}. Variants where before and "
        "R1 are less than 0.05 apart have no residual and no mark."
    )
    drawn = dose.compared(material.rows, axis, "residual", "R0", "Residual of the targets after R0")
    heading = f"What is left after retraining without the targets, over the {axis}"
    return _figure(f"residual-{axis}", heading, caption, drawn, why=_no_two(axis))


def _no_two(axis: str) -> str:
    return f"no two variants differ in their {axis} alone"


def _counterpart(kind: str, material: Material) -> str:
    return paper.counterpart(kind, material.config.data)


def _targets(material: Material) -> str:
    count = words.plural(material.config.data.targets, "target")
    seeds = max((row["seeds"] for row in material.rows), default=0)
    return f"{count}, one seed" if seeds <= 1 else f"{count} in each of {seeds} seeds"


def _interval(material: Material) -> str:
    seeds = max((row["seeds"] for row in material.rows), default=0)
    over = "over that seed’s samples" if seeds <= 1 else "over the seeds’ means"
    return f"Lines through marks are 95 % intervals {over} ({_targets(material)})"


def _cost(material: Material) -> str:
    """How much test accuracy each stage costs against R0, paired by seed."""
    said = []
    for stage, differences in charts.cost(material):
        mean, low, high = mean_interval([100 * value for value in differences])
        spread = words.interval(low, high, 1)
        said.append(f"{stage} {words.signed(mean, 1)}{' ' + spread if spread else ''}")
    if not said:
        return "Against R0: not computed because RF-1+k and R0 were not both run."
    return f"Test accuracy against R0 in percentage points, paired by seed [95 % t interval]: {', '.join(said)}."
