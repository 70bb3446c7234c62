"""Results of the enhanced schemes → the records that charts are drawn from."""

from __future__ import annotations

from collections.abc import Sequence

from vestige.report.record import ChartRow, Line, LineChart, PanelChart, Point, RowChart, Trade, TradeChart
from vestige.report.text import charts
from vestige.report.text.material import KM, TextMaterial
from vestige.report.text.variants import enhanced_methods, of_method, plain_and_enhanced, variant
from vestige.report.text.words import describe

ARM = "with"
"""The enhanced schemes are about similar samples in training."""
RESIDUAL, GOAL = "text_residual", 0.2
"""The measure of what is left; what the schemes are to get below."""
GROUPS = {"target": "target", "similar": "similar samples", "held_out": "held-out paraphrases", "near": "near pairs",
          "other": "other pairs"}  # fmt: skip
KEEPS = (
    ("other", KM, "KM of other pairs"),
    ("choices", "choice_accuracy", "Multiple choice answered right"),
)
"""What a model may keep: group, metric, words."""


def measured(material: TextMaterial, stage: str, group: str, metric: str, series: str) -> Point | None:
    """A row of the tidy table as a point; None where there is no such number."""
    row = material.found.get((ARM, stage, group, metric))
    if row is None or row["mean"] is None:
        return None
    return Point(series, row["mean"], row["low"], row["high"], row["n"], row["seeds"])


def ablation(material: TextMaterial) -> RowChart | None:
    """KM on similar and held-out samples by what is added to each method, below the models that stand beside it."""
    series = (("similar", "similar samples, trained on"), ("held_out", "held-out paraphrases"))
    methods = enhanced_methods(material.config)
    stages = [
        "base",
        "before",
        "R0",
        "R1",
        *(name for method in methods for name in of_method(material.config, method)),
    ]
    return _rows(material, "KM", series, stages, KM)


def protection(material: TextMaterial) -> RowChart | None:
    """KM of near and other pairs, of every method that has a stage which protects near pairs."""
    held = [method for method in enhanced_methods(material.config)
            if any(stage.is_protected for stage in of_method(material.config, method).values())]  # fmt: skip
    stages = ["before", *(name for method in held for name in of_method(material.config, method))]
    series = (("near", "near pairs"), ("other", "other pairs"))
    return _rows(material, "KM of innocent pairs", series, stages, KM) if held else None


def _rows(
    material: TextMaterial, heading: str, series: tuple[tuple[str, str], ...], stages: Sequence[str], metric: str
) -> RowChart | None:
    """A row per planned stage, a mark per group. None where nothing was measured."""
    rows = []
    for stage in (stage for stage in stages if stage in material.config.stages):
        found = [measured(material, stage, group, metric, group) for group, _ in series]
        points = tuple(point for point in found if point is not None)
        rows.append(ChartRow(stage, describe(stage, material.config), points, None))
    return RowChart(heading, series, tuple(rows)) if any(row.points for row in rows) else None


def performance(material: TextMaterial) -> tuple[RowChart, ...]:
    """What each method keeps, as it is and enhanced, a chart per measure of utility (paper, Fig. 18)."""
    config = material.config
    series = (("plain", "the method as it is"), ("enhanced", "enhanced"))
    tasks = sorted({(group, metric) for _, _, group, metric in material.found if metric == "task_score"})
    made = []
    for group, metric, heading in (*KEEPS, *((group, metric, f"Score of the {group}") for group, metric in tasks)):
        rows = []
        stages: list[tuple[str, tuple[str | None, str | None]]] = [
            (stage, (stage, None)) for stage in ("base", "before") if stage in config.stages
        ]
        stages += [(method, plain_and_enhanced(config, method)) for method in enhanced_methods(config)]
        for name, pair in stages:
            found = [
                measured(material, stage, group, metric, whose)
                for (whose, _), stage in zip(series, pair, strict=True)
                if stage is not None
            ]
            points = tuple(point for point in found if point is not None)
            rows.append(ChartRow(name, describe(name, config), points, None))
        if any(row.points for row in rows):
            made.append(RowChart(heading, series, tuple(rows)))
    return tuple(made)


def by_target(material: TextMaterial, group: str, *, parts: bool) -> tuple[PanelChart, ...]:
    """The two differences of every target, a panel per stage (paper, Fig. 17). parts: also noise or paraphrases only.

    With them a chart per method, without one for all.
    """
    config = material.config
    stages = []
    for method in enhanced_methods(config):
        lot = of_method(config, method)
        pair = plain_and_enhanced(config, method)
        stages.append(tuple(name for name in lot if (parts and not lot[name].is_ours) or name in pair))
    lots = stages if parts else [tuple(name for lot in stages for name in lot)]
    return tuple(chart for lot in lots for chart in charts.changes(material, ARM, group, lot))


def pareto(material: TextMaterial, group: str) -> tuple[TradeChart, ...]:
    """What is left of a group against what is kept, a chart per measure of utility."""
    made = []
    for whose, metric, heading in KEEPS:
        trades = []
        for stage in material.methods:
            keeps = measured(material, stage, whose, metric, stage)
            leaves = measured(material, stage, group, RESIDUAL, stage)
            if keeps is not None and leaves is not None:
                family = "" if stage in ("R0", "R1") else variant(stage, material.config).method
                trades.append(Trade(stage, family, keeps, leaves))
        if trades:
            made.append(TradeChart(heading, f"Residual on {GROUPS[group]}", tuple(trades), GOAL))
    return tuple(made)


def over_gamma(material: TextMaterial, lines: Sequence[tuple[str, str, str]], heading: str) -> tuple[LineChart, ...]:
    """A chart over γ for each method and number of paraphrases. lines: (name, group, metric)."""
    made = []
    for method in enhanced_methods(material.config):
        lot = _swept(material, method)
        for m in dict.fromkeys(m for _, m, _ in lot):
            stages = sorted((gamma, name) for name, other, gamma in lot if other == m)
            what = f"γ, the strength of the noise, {f'with {m} paraphrases too' if m else 'without paraphrases'}"
            made.append(_over(material, stages, lines, f"{heading}, {method}", what))
    return tuple(chart for chart in made if chart is not None)


def over_m(material: TextMaterial, lines: Sequence[tuple[str, str, str]], heading: str) -> tuple[LineChart, ...]:
    """A chart over the number of paraphrases for each method and strength of the noise. lines: as `over_gamma`."""
    made = []
    for method in enhanced_methods(material.config):
        lot = _swept(material, method)
        for gamma in dict.fromkeys(gamma for _, _, gamma in lot):
            stages = sorted((float(m), name) for name, m, other in lot if other == gamma)
            what = f"m, paraphrases forgotten with each target, {f'noise of {gamma:g}' if gamma else 'without noise'}"
            made.append(_over(material, stages, lines, f"{heading}, {method}", what))
    return tuple(chart for chart in made if chart is not None)


def _swept(material: TextMaterial, method: str) -> list[tuple[str, int, float]]:
    """Name, m and γ of a method's stages that differ in these only."""
    lot = of_method(material.config, method).items()
    return [(name, one.paraphrases, one.gamma) for name, one in lot if not one.is_ours and one.residual is None]


LEAST_DOSES = 3
"""Two doses are no curve."""


def _over(
    material: TextMaterial, stages: Sequence[tuple[float, str]], lines: Sequence[tuple[str, str, str]], y: str, x: str
) -> LineChart | None:
    """Means over a dose. None for fewer than three doses, or where nothing was measured."""
    drawn = []
    for name, group, metric in lines:
        found = [(dose, measured(material, stage, group, metric, name)) for dose, stage in stages]
        drawn.append(Line(name, tuple((dose, point) for dose, point in found if point is not None)))
    if len(stages) < LEAST_DOSES or not any(line.dots for line in drawn):
        return None
    ends = [(f"similar, {stage}", measured(material, stage, "similar", KM, stage)) for stage in ("before", "base")]
    levels = tuple((name, point.mean) for name, point in ends if point and any(one[1] == "similar" for one in lines))
    ticks = tuple((dose, f"{dose:g}") for dose, _ in stages)
    return LineChart(y, x, ticks, tuple(line for line in drawn if line.dots), levels=levels)
