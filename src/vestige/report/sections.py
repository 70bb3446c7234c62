"""What the page of each study holds: a table of studies, and one function per section."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vestige.report import charts, dose, leads, methods, paper, table, words
from vestige.report.charts import Material
from vestige.report.record import Chart, Figure, Section
from vestige.verify import mean_interval

NO_TWO = "no two variants differ in their number alone"
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
    return Section("recall", "How much comes back, stage by stage", figures=(figure, first_layer(material)))


def first_layer(material: Material) -> Figure:
    """Whether the targets are still in the first layer's weights, which needs no reconstruction."""
    chart = charts.span(material)
    caption = (
        "The rows of the first layer are mixtures of training images. The mark is the chance that a target lies nearer "
        "to what they span than a never-seen image of its class does: 1 is held whole, 0.5 as if never seen. It needs "
        f"no reconstruction. {_interval(material)}. Not in the paper."
    )
    return _figure("first-layer", "Whether the first layer still holds the targets", caption,
                   (chart,) if chart.rows else ())  # fmt: skip


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
    null = "Grey: the mean of never-seen images of the targets’ classes in R0, with its interval."
    caption = (
        "What comes back of the targets after retraining without them, over how many similar images of each stayed in "
        f"training. {_interval(material)}. {null}"
    )
    if material.equivalents:
        caption += f" Where the curve first reaches the level of one exact copy: {' '.join(leads.weights(material))}"
    figures = (
        _figure("number", "Recall after R0 over the number", caption, dose.over_number(material), why=NO_TWO),
        _figure("recall-number", "Recall stage by stage", f"{_interval(material)}. {null}", dose.by_stage(material),
                why=NO_TWO),
        dose_gallery(material),
    )  # fmt: skip
    return Section("number", "How many similar samples does it take?", figures=figures)


def dose_gallery(material: Material) -> Figure:
    """The targets as pictures over the number of similar samples."""
    sheet = dose.gallery(material)
    seed = "" if sheet is None else f" of seed {sheet.seed}"
    caption = (
        f"The targets{seed} and the best image that could be reconstructed from each model after R0; the number is its "
        f"NCC. {BACK.replace(', blue for the control', '')}"
    )
    why = "no data set of such a variant was built"
    return _figure("gallery", "Targets and what comes back after R0", caption, (sheet,) if sheet else (), why=why)


def over_strength(material: Material) -> Section:
    """Over how strongly similar samples differ from the target."""
    caption = (
        "What comes back of the targets after retraining without them, over how strongly their similar images differ "
        f"from them; ×5: five of each target. {_interval(material)}. Dashed: as many exact copies, and none at all."
    )
    figure = _figure("strength", "Recall after R0 over the strength", caption, dose.over_strength(material),
                     why="no two variants differ in their strength alone")  # fmt: skip
    return Section("strength", "How similar must they be?", figures=(figure,))


def all_variants(material: Material) -> Section:
    """Every variant in one table."""
    reads = (
        "Means, with 95 % intervals below. Residual: 1 as before unlearning, 0 as R1, where no similar image is left; "
        "it can pass both ends."
    )
    return Section("variants", "All variants", table=dose.variants_table(material), reads=reads)


def compared_methods(material: Material) -> Section:
    """Methods by the common metrics, with the gap to R0."""
    chart = methods.average_gaps(material)
    caption = (
        "The mean distance of UA, RA, TA and MIA-efficacy to those of R0, in order of the last mark of each row; "
        f"“before” is to do nothing. {_interval(material)}."
    )
    sure = (
        "“≠ R0” marks one whose 95 % interval over the seeds leaves 0 out" if material.seeds > 1 else "one seed alone"
    )
    reads = (
        f"Means, with 95 % intervals below; then the gap: this stage minus R0, paired by seed ({sure}). A good method "
        "is like R0 in every column, neither above nor below. RTE is a time and so differs from run to run."
    )
    figure = _figure("gaps", "Average gap to R0", caption, (chart,) if chart else ())
    found = methods.methods_table(material, methods.RETRAINING)
    return Section("methods", "How close each method comes to retraining", figures=(figure,), table=found, reads=reads)


def answers(material: Material) -> Section:
    """What models answer on and around the targets, and how fast they relearn them."""
    reads = (
        "JS and activation distance: 0 is the reference itself. Residual knowledge: 1 is as many right answers around "
        "the targets as the reference. ZRF and relearning are read beside R0. Intervals and gaps as above."
    )
    return Section("answers", "What the models answer", table=methods.methods_table(material, methods.ANSWERS),
                   reads=reads)  # fmt: skip


def membership(material: Material) -> Section:
    """What membership attacks say of the targets."""
    reads = (
        "AUC: the chance that a target looks more like a member than never-seen images of its class; 0.5 is chance, "
        "but R0 is what to be like: below it is a trace too. Intervals and gaps as above."
    )
    return Section("membership", "Whether the targets look like members",
                   table=methods.methods_table(material, methods.TARGETS), reads=reads)  # fmt: skip


def shadows(material: Material) -> Section:
    """How far unlearned shadow models are from retrained ones."""
    reads = (
        "Every stage is applied to shadow models, which are then compared with others that never saw the targets. "
        "U-LiRA: 0.5 is best, none can be told apart. KLOM: the distance of their margins; its floor is what R0 shows."
    )
    return Section("shadows", "Unlearned shadow models beside retrained ones",
                   table=methods.methods_table(material, methods.SHADOWS), reads=reads)  # fmt: skip


def members(material: Material) -> Section:
    """What membership attacks say of what each model was trained on."""
    reads = (
        "Of all samples that the model was trained on, against never-seen ones: how much the attacks can see at all."
    )
    return Section("members", "What the attacks see of all members",
                   table=methods.methods_table(material, methods.MEMBERS), reads=reads)  # fmt: skip


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
DOSES = (over_number, over_strength, all_variants, claims)
OUTPUTS = (compared_methods, answers, membership, shadows, members)
SECTIONS: dict[str, tuple[Callable[[Material], Section], ...]] = {
    "quickstart": (recovered, target_bars, recall, claims, all_stages),
    "image-target": (recovered, target_bars, recall, claims, all_stages),
    "image-similar": (similar_bars, similar_gallery, similar_recall, claims, all_stages),
    "image-enhanced": (enhanced_recall, enhanced_gallery, composition, collateral, claims, all_stages),
    "image-dose": DOSES,
    "image-methods": (*OUTPUTS, claims),
}
"""Study → the sections of its page, in order. A study that is not named here gets the generic ones."""


def sections(material: Material) -> tuple[Section, ...]:
    """The sections of a study's page, with those only that its variants and its measurements give something for.

    Claims are left out where the study makes none.
    """
    config = material.config
    chosen = DOSES if config.variants else SECTIONS.get(config.study, GENERIC)
    if "outputs" in config.measure and not config.variants:
        chosen = (*(make for make in chosen if make not in (*OUTPUTS, claims)), *OUTPUTS, claims)
    if "recall" not in config.measure:
        chosen = tuple(make for make in chosen if make in (*OUTPUTS, claims))
    found = [make(material) for make in chosen]
    empty = {section.name for section in found if not (section.figures or section.verdicts or section.table)}
    return tuple(section for section in found if section.name not in empty)


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


def _counterpart(kind: str, material: Material) -> str:
    return paper.counterpart(kind, material.config.data)


def _targets(material: Material) -> str:
    count = words.plural(material.config.data.targets, "target")
    return f"{count}, one seed" if material.seeds <= 1 else f"{count} in each of {material.seeds} seeds"


def _interval(material: Material) -> str:
    over = "over that seed’s samples" if material.seeds <= 1 else "over the seeds’ means"
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
