"""What the store holds of a study → the records that charts are drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from vestige.config import StudyConfig
from vestige.report import table, words
from vestige.report.record import (
    Block,
    ChartRow,
    GalleryRow,
    Line,
    LineChart,
    Null,
    Panel,
    Point,
    Recovered,
    RowChart,
    SampleChart,
    Sampled,
    Segment,
    Sheet,
    Stack,
    StackChart,
    Taken,
)
from vestige.report.shelf import Shelf
from vestige.report.svg import short
from vestige.stages import parse
from vestige.types import Run

TARGETS_SHOWN = 10
STAGES_SHOWN = {"with": 4, "without": 2}
SAMPLES_SHOWN = 16
"""Pictures: targets and stages in the large gallery, columns of a contact sheet."""
BARS_SHOWN = 6
"""Stages whose bars stand beside each other."""
SERIES = (("with", "with similar images in training"), ("without", "without them"))


@dataclass(frozen=True)
class Material:
    """All that a section is made of.

    rows, verdicts, gaps, missing, doses, equivalents, influence: as in result.json; the rows have the times of
    run.json too.
    failed: (training, stage) → why a run of it failed. shelf: what the store keeps of the study's own data;
    variants: that of each variant.
    """

    config: StudyConfig
    rows: Sequence[Mapping[str, Any]]
    verdicts: Sequence[Mapping[str, Any]]
    shelf: Shelf
    failed: Mapping[tuple[str, str], str]
    gaps: Sequence[Mapping[str, Any]] = ()
    missing: Sequence[Mapping[str, Any]] = ()
    doses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    equivalents: Sequence[Mapping[str, Any]] = ()
    variants: Mapping[str, Shelf] = field(default_factory=dict)
    influence: Sequence[Mapping[str, Any]] = ()

    @cached_property
    def by_variant(self) -> Mapping[str, table.Index]:
        names = dict.fromkeys(row["variant"] for row in self.rows)
        return {name: table.index(row for row in self.rows if row["variant"] == name) for name in names}

    @property
    def found(self) -> table.Index:
        """The rows of the study's own data, without variants."""
        return self.by_variant.get("", {})

    @property
    def seeds(self) -> int:
        """How many seeds any number is over."""
        return max((row["seeds"] for row in self.rows), default=0)

    def runs(self, training: str, stages: Sequence[str]) -> list[Run]:
        """The finished runs of one arm at these stages, by seed."""
        chosen = [run for run in self.shelf.runs if run.training == training and run.stage in stages]
        return sorted(chosen, key=lambda run: (run.seed, stages.index(run.stage)))

    def point(self, training: str, stage: str, group: str, metric: str, variant: str = "") -> Point | None:
        row = self.by_variant.get(variant, {}).get((training, stage, group, metric))
        return to_point(row) if row is not None and row["mean"] is not None else None


def to_point(row: Mapping[str, Any], series: str = "") -> Point:
    """A tidy row as a mark. series: the training arm unless it is named."""
    return Point(series or row["training"], row["mean"], row["low"], row["high"], row["n"], row["seeds"])


def recall(material: Material) -> RowChart:
    """NCC of the targets by stage, both arms, beside the null pooled over arms and seeds."""
    rows = []
    for stage in material.config.stages:
        points = [material.point(training, stage, "target", "ncc") for training, _ in SERIES]
        runs = [run for run in material.shelf.runs if run.stage == stage]
        null = _null(material.shelf, runs, "ncc")
        rows.append(ChartRow(stage, words.describe(stage), tuple(point for point in points if point), null))
    arms = tuple(pair for pair in SERIES if pair[0] in material.config.training)
    return RowChart("Mean NCC of the targets", arms, tuple(rows))


def span(material: Material, group: str = "target") -> RowChart:
    """AUC by which the first layer alone tells a group from never-seen images of the targets' classes, by stage."""
    rows = []
    for stage in material.config.stages:
        points = [material.point(training, stage, group, "span_auc") for training, _ in SERIES]
        rows.append(ChartRow(stage, words.describe(stage), tuple(point for point in points if point), None))
    arms = tuple(pair for pair in SERIES if pair[0] in material.config.training)
    return RowChart("AUC of the first layer", arms, tuple(row for row in rows if row.points))


def similar_recall(material: Material) -> RowChart:
    """NCC of the similar samples and of the kept others by stage, *with*, beside the null pooled over seeds."""
    series = (("similar", "similar samples"), ("other", "other samples, kept"))
    rows = []
    for stage in material.config.stages:
        points = [
            to_point(row, group)
            for group, _ in series
            if (row := material.found.get(("with", stage, group, "ncc"))) is not None and row["mean"] is not None
        ]
        null = _null(material.shelf, material.runs("with", [stage]), "ncc")
        rows.append(ChartRow(stage, words.describe(stage), tuple(points), null))
    return RowChart("Mean NCC", series, tuple(rows))


def blocks(material: Material) -> tuple[Block, ...]:
    """The targets of the first seed in the order that the seed drew them, and one kept sample; a block per arm."""
    shelf, config = material.shelf, material.config
    seed = shelf.first_seed
    if seed is None:
        return ()
    split, kept = shelf.split(seed), kept_sample(shelf, seed)
    names = (*split.target[:TARGETS_SHOWN], *kept)
    arms = [training for training, _ in SERIES if training in config.training]
    most = max((len(split.similar[name]) for name in split.target), default=0) if "with" in arms else 0
    found = []
    for training in arms:
        stages = columns(config, training)
        rows = tuple(
            GalleryRow(
                target=name,
                label=shelf.label(seed, name),
                pixels=shelf.original(seed, name),
                similar=tuple(
                    (copy, shelf.original(seed, copy))
                    for copy in (split.similar.get(name, ()) if training == "with" else ())
                ),
                recovered=tuple(_recovered(material, Run(seed, training, stage), name) for stage in stages),
                kept=name in kept,
            )
            for name in names
        )
        found.append(Block(training, seed, stages, rows, most))
    return tuple(found)


def columns(config: StudyConfig, training: str) -> tuple[str, ...]:
    """The stages that the gallery shows: before, R0, R1 and the last widened one; others fill empty places."""
    offered = [stage for arm, stage in table.planned(config) if arm == training]
    widened = sorted((stage for stage in offered if parse(stage).is_widened), key=words.widest_first)
    chosen = [stage for stage in ("before", "R0", "R1") if stage in offered] + widened[-1:]
    room = STAGES_SHOWN[training] - len(chosen)
    chosen += [stage for stage in offered if stage not in chosen][: max(0, room)]
    return tuple(stage for stage in offered if stage in chosen)


def kept_sample(shelf: Shelf, seed: int) -> tuple[str, ...]:
    """The control: the first other sample that no stage takes out, of a class without a target where there is one."""
    split = shelf.split(seed)
    gone = {name for run, facts in shelf.models.items() if run.seed == seed for name in facts["removed"]}
    stays = [name for name in split.other if name not in gone]
    classes = {shelf.label(seed, target) for target in split.target}
    aside = [name for name in stays if shelf.label(seed, name) not in classes]
    return tuple((aside or stays)[:1])


def plain_stages(config: StudyConfig) -> tuple[str, ...]:
    """The stages that are not widened, R1 last."""
    plain = [stage for stage in config.stages if not parse(stage).is_widened]
    return tuple(sorted(plain, key=lambda stage: stage == "R1"))[:BARS_SHOWN]


def samples(material: Material, metric: str, group: str) -> SampleChart | None:
    """A metric ("ncc", "ssim") of every target, or of every similar sample, by stage; a panel per arm.

    None where no run is there to draw.
    """
    heads = {"with": "With similar images in training", "without": "Without similar images in training"}
    stages = plain_stages(material.config)
    panels = []
    for training in [name for name in ("without", "with") if name in material.config.training]:
        if group == "similar" and training == "without":
            continue
        offered = tuple(stage for stage in stages if training == "with" or not parse(stage).needs_similar)
        found = _sampled(material, metric, group, training, offered)
        if found:
            means = {stage: material.point(training, stage, group, metric) for stage in offered}
            null = _null(material.shelf, material.runs(training, offered), metric)
            known = {stage: point for stage, point in means.items() if point}
            panels.append(Panel(heads[training], found, known, null))
    drawn = tuple(stage for stage in stages if any(stage in panel.measured for panel in panels))
    return SampleChart(metric.upper(), drawn, tuple(panels)) if panels else None


def _sampled(material: Material, metric: str, group: str, training: str, stages: Sequence[str]) -> tuple[Sampled, ...]:
    shelf = material.shelf
    values: dict[tuple[int, str], dict[str, float]] = {}
    for run in material.runs(training, stages):
        split = shelf.split(run.seed)
        names = (*kept_sample(shelf, run.seed), *(split.target if group == "target" else split.all_similar()))
        for name, value in zip(names, shelf.of(run, names, metric).tolist(), strict=True):
            values.setdefault((run.seed, name), {})[run.stage] = value
    many = len({seed for seed, _ in values}) > 1
    found = []
    for (seed, name), by_stage in values.items():
        kept = name in kept_sample(shelf, seed)
        family, label = (f"seed {seed}" if many else ""), short(name)
        if group == "similar" and not kept:
            target, place = _of(shelf, seed, name)
            family, label = short(target), str(place + 1)
        found.append(Sampled(name, label, family, kept, by_stage))
    return tuple(found)


def _of(shelf: Shelf, seed: int, name: str) -> tuple[str, int]:
    """The target that a similar sample was made from, and its place among them."""
    return next((target, names.index(name)) for target, names in shelf.split(seed).similar.items() if name in names)


def similar_sheet(material: Material) -> Sheet | None:
    """The similar samples of the first seed and one kept sample: the originals, then what each stage gives back."""
    shelf, seed = material.shelf, material.shelf.first_seed
    if seed is None:
        return None
    split, kept = shelf.split(seed), kept_sample(shelf, seed)
    each = max(1, (SAMPLES_SHOWN - len(kept)) // max(len(split.target), 1))
    families = [(short(target), split.similar[target][:each]) for target in split.target][: SAMPLES_SHOWN - len(kept)]
    places = [("Kept", name) for name in kept] + [(head, name) for head, names in families for name in names]
    heads = tuple((head, "" if head == "Kept" else "similar to it") for head, _ in places)
    rows = [("Original", "in training", tuple((name, _original(shelf, seed, name)) for _, name in places))]
    for stage in plain_stages(material.config):
        cells = tuple((name, _recovered(material, Run(seed, "with", stage), name)) for _, name in places)
        rows.append((stage, words.in_short(stage), cells))
    return Sheet(seed, kept, heads, tuple(rows))


def enhanced_sheet(material: Material) -> Sheet | None:
    """The targets of the first seed and one kept sample by row: the original, then what each stage gives back."""
    shelf, seed = material.shelf, material.shelf.first_seed
    if seed is None:
        return None
    kept = kept_sample(shelf, seed)
    stages = (*(stage for stage in material.config.stages if stage != "R1"), "R1")
    stages = tuple(stage for stage in stages if stage in material.config.stages)
    heads = (("Original", ""), *((stage, words.in_short(stage)) for stage in stages))
    rows = []
    for name in (*kept, *shelf.split(seed).target[:TARGETS_SHOWN]):
        found = [(name, _recovered(material, Run(seed, "with", stage), name)) for stage in stages]
        note = f"class {shelf.label(seed, name)}"
        head = f"Kept {short(name)}" if name in kept else f"Target {short(name)}"
        rows.append((head, note, ((name, _original(shelf, seed, name)), *found)))
    return Sheet(seed, kept, heads, tuple(rows))


PARTS = (
    ("own", "itself"), ("similar", "similar images"), ("near", "near images"), ("other", "all others"),
    ("start", "the start"), ("unexplained", "unexplained"),
)  # fmt: skip
"""The parts of a margin, and what carries them."""


def shares(material: Material, training: str) -> StackChart | None:
    """What carries the targets' margin by stage, in one arm. None where nothing was measured."""
    rows = []
    stages = [stage for arm, stage in table.planned(material.config) if arm == training]
    for stage in stages:
        points = [(name, material.found.get((training, stage, "target", f"{name}_share"))) for name, _ in PARTS]
        segments = tuple(
            Segment(to_point(row, name), *_range(material, training, stage, name))
            for name, row in points
            if row is not None and row["mean"] is not None
        )
        rows.append(
            Stack(stage, words.in_short(stage), segments, "" if segments else _untold(material, training, stage))
        )
    names = {segment.point.series for row in rows for segment in row.segments}
    drawn = tuple(pair for pair in PARTS if pair[0] in names)
    heads = {"with": "With similar images in training", "without": "Without similar images in training"}
    return StackChart(heads[training], drawn, tuple(rows)) if drawn else None


def _range(material: Material, training: str, stage: str, part: str) -> tuple[float | None, float | None]:
    """Means over targets of the least and the most that a part can be, in units of the margin before."""
    found = [one for one in material.influence if (one["training"], one["variant"]) == (training, "")]
    ends = [one["ranges"][part] for one in found if one["stage"] == stage and part in one["ranges"]]
    before = [one["margin"] for one in found if one["stage"] == "before"]
    if not ends or not before or np.mean(before) <= 0:
        return None, None
    least, most = (np.mean(ends, axis=0) / np.mean(before)).tolist()
    return least, most


def _untold(material: Material, training: str, stage: str) -> str:
    """Why the parts of a stage are not there."""
    for one in material.missing:
        if (one["training"], one["stage"], one["metric"], one["variant"]) == (training, stage, "other_share", ""):
            return str(one["why"])
    return table.missing_run(material.failed, training, stage)


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
    nulls = [(float(k), _null(material.shelf, material.runs("with", [stage]), null)) for k, stage in stages if null]
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
                differences.append(ours["right"] / ours["n"] - theirs["right"] / theirs["n"])
        if differences:
            found.append((stage, differences))
    return found


def twins(material: Material) -> str:
    """Says which widened stages gave the very result of R1, as they do when both remove the same samples."""
    shelf, seed = material.shelf, material.shelf.first_seed
    reference = shelf.runs.get(Run(seed, "with", "R1")) if seed is not None else None
    if reference is None:
        return ""
    same = [
        run.stage
        for run, entry in shelf.runs.items()
        if run.seed == seed and parse(run.stage).is_widened and entry.facts["sha256"] == reference.facts["sha256"]
    ]
    if not same:
        return ""
    return (
        f"{' and '.join(sorted(same))} found exactly the images that were made from the targets, and so "
        "gives the same model as R1."
    )


def _recovered(material: Material, run: Run, name: str) -> Recovered:
    return material.shelf.recovered(run, name, table.missing_run(material.failed, run.training, run.stage))


def _original(shelf: Shelf, seed: int, name: str) -> Recovered:
    return Recovered("original", pixels=shelf.original(seed, name))


def _null(shelf: Shelf, runs: Iterable[Run], metric: str) -> Null | None:
    """Never-seen images of the targets' classes, pooled over these runs."""
    values = [shelf.of(run, shelf.null(run, target), metric) for run in runs for target in shelf.split(run.seed).target]
    pooled = np.concatenate(values) if values else np.empty(0)
    if not len(pooled):
        return None
    low, high = np.percentile(pooled, [5, 95])
    return Null(float(low), float(pooled.mean()), float(high), len(pooled))
