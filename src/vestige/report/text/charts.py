"""Language results → the records that charts are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vestige.report import table
from vestige.report.record import ChartRow, Panel, PanelChart, Point, RowChart, Sampled
from vestige.report.text.material import KM, TextMaterial, Unit, point
from vestige.report.text.words import describe

UNLEARNED, TUNED, APART = "with pre-unlearning", "with pre-finetuning", "with − without"
CHANGES = (
    (UNLEARNED, "with pre-unlearning: after − before", "r0"),
    (TUNED, "with pre-finetuning: after − base", "1"),
)
"""The paper's names of the two differences."""
ARMS = ((APART, "KM with similar samples in training − KM without", "3"),)
SERIES = (("with", "with similar samples in training"), ("without", "without them"))
PANELS = 10
"""Of one chart: R0, R1 and the paper's eight methods."""


def changes(
    material: TextMaterial, training: str, group: str, stages: tuple[str, ...] | None = None
) -> tuple[PanelChart, ...]:
    """The two differences of every target by method: to the model before unlearning and to that before fine-tuning.

    stages: those that have a panel; None for all methods.
    """

    def of(stage: str) -> dict[str, dict[Unit, float]]:
        return {
            UNLEARNED: material.change(training, stage, "before", group),
            TUNED: material.change(training, stage, "base", group),
        }

    if stages is None:
        stages = tuple(stage for stage in material.methods if (training, stage) in table.planned(material.config))
    return _charts(material, "Change in KM", CHANGES, stages, of, lambda stage: _why(material, training, stage, group))


def between_arms(material: TextMaterial, group: str = "target") -> tuple[PanelChart, ...]:
    """The difference between the arms of every target by method. R1 exists in one arm only and is left out."""

    def why(stage: str) -> str:
        lacking = [arm for arm in ("with", "without") if material.mean(arm, stage, group) is None]
        return _why(material, lacking[0], stage, group) if lacking else "no target was asked about in both arms"

    both = set(table.planned(material.config))
    stages = tuple(stage for stage in material.methods if {("with", stage), ("without", stage)} <= both)
    return _charts(
        material, "KM with − without", ARMS, stages, lambda stage: {APART: material.arms_apart(stage, group)}, why
    )


def by_stage(material: TextMaterial, group: str, heading: str) -> RowChart | None:
    """Mean KM of a group by stage, a mark per arm. None where no stage has one."""
    series = tuple(pair for pair in SERIES if pair[0] in material.arms)
    rows = []
    for stage in material.stages:
        found = [(arm, material.found.get((arm, stage, group, KM))) for arm, _ in series]
        points = tuple(
            Point(arm, row["mean"], row["low"], row["high"], row["n"], row["seeds"])
            for arm, row in found
            if row is not None and row["mean"] is not None
        )
        rows.append(ChartRow(stage, describe(stage, material.config), points, None))
    return RowChart(heading, series, tuple(rows)) if any(row.points for row in rows) else None


def _charts(
    material: TextMaterial,
    heading: str,
    series: tuple[tuple[str, str, str], ...],
    stages: tuple[str, ...],
    values: Callable[[str], Mapping[str, Mapping[Unit, float]]],
    why: Callable[[str], str],
) -> tuple[PanelChart, ...]:
    """Charts of at most PANELS panels each, so that one fits a printed page. Empty where nothing is known."""
    panels = []
    for stage in stages:
        found = values(stage)
        samples = tuple(
            Sampled(unit.target, str(place), f"seed {unit.seed}", False,
                    {name: known[unit] for name, known in found.items() if unit in known})
            for unit, place in material.places.items()
        )  # fmt: skip
        means = {name: mean for name, known in found.items() if (mean := point(name, known)) is not None}
        panels.append(
            Panel(
                stage,
                samples if means else (),
                means,
                None,
                describe(stage, material.config),
                "" if means else why(stage),
            )
        )
    if not any(panel.samples for panel in panels):
        return ()
    return tuple(
        PanelChart(heading, series, tuple(panels[start : start + PANELS])) for start in range(0, len(panels), PANELS)
    )


def _why(material: TextMaterial, training: str, stage: str, group: str) -> str:
    """Why a panel is empty."""
    if material.mean(training, stage, group) is not None:
        return "the stages base and before were not finished"
    if any(record["training"] == training and record["stage"] == stage for record in material.records):
        return f"no {group.replace('_', '-')} samples were asked about"
    return table.missing_run(material.failed, training, stage)
