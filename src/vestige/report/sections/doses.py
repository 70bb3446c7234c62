"""Over the number and the strength of similar samples."""

from __future__ import annotations

from vestige.report import dose, leads
from vestige.report.material import Material
from vestige.report.record import Figure, Section
from vestige.report.sections.shared import BACK, figure_of, interval

NO_TWO = "no two variants differ in their number alone"


def over_number(material: Material) -> Section:
    """Over the number of similar samples."""
    null = "Grey: the mean of never-seen images of the targets’ classes in R0, with its interval."
    caption = (
        "What comes back of the targets after retraining without them, over how many similar images of each stayed in "
        f"training. {interval(material)}. {null}"
    )
    if material.equivalents:
        caption += f" Where the curve first reaches the level of one exact copy: {' '.join(leads.weights(material))}"
    figures = (
        figure_of("number", "Recall after R0 over the number", caption, dose.over_number(material), why=NO_TWO),
        figure_of("recall-number", "Recall stage by stage", f"{interval(material)}. {null}", dose.by_stage(material),
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
    return figure_of("gallery", "Targets and what comes back after R0", caption, (sheet,) if sheet else (), why=why)


def over_strength(material: Material) -> Section:
    """Over how strongly similar samples differ from the target."""
    caption = (
        "What comes back of the targets after retraining without them (R0), over how strongly their similar images "
        f"differ from them; ×5: five of each target. {interval(material)}. Dashed: as many exact copies, and none at "
        "all. Where before is low too, such copies in training spoil the attack, and R0's value says little of what "
        "they carry; what lies in the first layer, which needs no attack, stands in the table below."
    )
    figure = figure_of("strength", "Recall after R0 over the strength", caption, dose.over_strength(material),
                     why="no two variants differ in their strength alone")  # fmt: skip
    return Section("strength", "How similar must they be?", figures=(figure,))


def all_variants(material: Material) -> Section:
    """Every variant in one table."""
    reads = (
        "Means, with 95 % intervals below. Residual: 1 as before unlearning, 0 as R1, where no similar image is left; "
        "it can pass both ends. In the first layer: the chance that a target lies nearer to the row space of R0's "
        "first layer than a never-seen image of its class; 0.5 says nothing."
    )
    return Section("variants", "All variants", table=dose.variants_table(material), reads=reads)
