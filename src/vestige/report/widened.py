"""Over the number of similar samples that are taken out with each target: recall, what was taken, what it costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vestige.config import StudyConfig
from vestige.report.material import Material, pooled_null
from vestige.report.record import Line, LineChart, Taken
from vestige.stages import parse
from vestige.types import Run


def widening(config: StudyConfig) -> tuple[tuple[int, str], ...]:
    """(k, stage) of the stages that retrain without the targets and the k samples most similar to each, by k."""
    found = {0: "R0"} if "R0" in config.stages else {}
    for stage in config.stages:
        parsed = parse(stage)
        if parsed.method == "retrain" and parsed.k is not None and parsed.is_widened_by_ssim:
            found[parsed.k] = stage
    return tuple(sorted(found.items()))


def over_k(
    material: Material,
    heading: str,
    lines: Sequence[tuple[str, str, str]],
    *,
    levels: Sequence[tuple[str, str, str, str]] = (),
    null: str = "",
) -> LineChart | None:
    """A chart over k, *with*. lines: (name, group, metric). levels: (name, stage, group, metric).

    null: the metric whose null is drawn, "" for none. None where nothing was measured.
    """
    stages = widening(material.config)
    drawn = []
    for name, group, metric in lines:
        points = [(k, material.point("with", stage, group, metric)) for k, stage in stages]
        drawn.append(Line(name, tuple((float(k), point) for k, point in points if point)))
    if not any(found.dots for found in drawn):
        return None
    nulls = [
        (float(k), pooled_null(material.shelf, material.runs("with", [stage]), null)) for k, stage in stages if null
    ]
    known = [(name, material.point("with", stage, group, metric)) for name, stage, group, metric in levels]
    return LineChart(
        y=heading,
        x="similar samples taken out with each target",
        ticks=tuple((float(k), "RF" if k == 0 else f"1+{k}") for k, _ in stages),
        lines=tuple(drawn),
        nulls=tuple((k, one) for k, one in nulls if one),
        levels=tuple((name, point.mean) for name, point in known if point),
        valued=lines[0][0],
    )


def taken(material: Material) -> Taken | None:
    """Of what widening took, how many were constructed copies of the target itself; means per target."""
    rows = []
    for k, stage in widening(material.config):
        counts = []
        for run in material.runs("with", [stage]) if k else ():
            similar = material.shelf.split(run.seed).similar
            for target, names in material.shelf.models.get(run, {}).get("widened", {}).items():
                copies = sum(name in similar[target] for name in names)
                counts.append((copies, len(names) - copies))
        if counts:
            copies, others = np.mean(counts, axis=0).tolist()
            rows.append((stage, copies, others))
    return Taken(tuple(rows)) if rows else None


def cost(material: Material) -> list[tuple[str, list[float]]]:
    """(stage, by how much each seed's test accuracy lies above that of R0)."""
    found = []
    for k, stage in widening(material.config):
        if k == 0:
            continue
        differences = []
        for run in material.runs("with", [stage]):
            base = Run(run.seed, "with", "R0")
            if run in material.shelf.models and base in material.shelf.models:
                ours, theirs = (material.shelf.models[one]["accuracy"]["test"] for one in (run, base))
                if ours["right"] is not None and theirs["right"] is not None:  # None: the model diverged
                    differences.append(ours["right"] / ours["n"] - theirs["right"] / theirs["n"])
        if differences:
            found.append((stage, differences))
    return found
