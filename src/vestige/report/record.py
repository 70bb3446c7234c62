"""The plain record that a report is drawn from: frozen dataclasses of numbers, words and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Recovered:
    """One reconstruction beside its null.

    stage: the model it comes from. ncc, ssim: against the original, in [−1, 1], None where not computed.
    bar: the 95th percentile of NCC of never-seen images of the same class in that model.
    pixels: (C, H, W) uint8, or None. why: the reason where there is none.
    """

    stage: str
    ncc: float | None = None
    ssim: float | None = None
    bar: float | None = None
    pixels: np.ndarray | None = None
    why: str = ""

    @property
    def back(self) -> bool | None:
        """Whether it comes back: NCC above the bar. None where it cannot be told."""
        return None if self.ncc is None or self.bar is None else self.ncc > self.bar


@dataclass(frozen=True)
class GalleryRow:
    """One target: its id, class, picture (C, H, W) uint8, similar images, and what comes back.

    kept: whether it is a control instead, which was not to be forgotten.
    """

    target: str
    label: str
    pixels: np.ndarray
    similar: tuple[tuple[str, np.ndarray], ...]
    recovered: tuple[Recovered, ...]
    kept: bool = False


@dataclass(frozen=True)
class Block:
    """The targets of one training arm, for one seed; stages are the columns of reconstructions.

    most_similar: how many similar images any target of either arm has, so that columns stand below each other.
    """

    training: str
    seed: int
    stages: tuple[str, ...]
    rows: tuple[GalleryRow, ...]
    most_similar: int


@dataclass(frozen=True)
class Point:
    """A mean with its 95 % interval; low and high are None where no interval can be given. series: whose it is."""

    series: str
    mean: float
    low: float | None
    high: float | None
    n: int
    seeds: int


@dataclass(frozen=True)
class Null:
    """NCC of never-seen images of the targets' classes: 5th percentile, mean, 95th percentile, n.

    what: what it is instead, in a few words.
    """

    low: float
    mean: float
    high: float
    n: int
    what: str = ""


@dataclass(frozen=True)
class ChartRow:
    """One row of a row chart: a stage or a variant, what it is, and one mark per series."""

    stage: str
    what: str
    points: tuple[Point, ...]
    null: Null | None


@dataclass(frozen=True)
class RowChart:
    """Means by row, one mark per series. series: (name, legend), two at most. heading: the quantity.

    reach: what the axis reaches at least.
    """

    heading: str
    series: tuple[tuple[str, str], ...]
    rows: tuple[ChartRow, ...]
    reach: float = 1.0


@dataclass(frozen=True)
class Sampled:
    """One sample's value at each stage where it was measured.

    family: what it is shown together with (its seed, its target). kept: a control that was not to be forgotten.
    """

    name: str
    label: str
    family: str
    kept: bool
    values: Mapping[str, float]


@dataclass(frozen=True)
class Panel:
    """The samples of one training arm beside their null. means: stage → mean with its interval, controls left out.

    what: the heading in other words. why: the reason where there are no samples.
    """

    heading: str
    samples: tuple[Sampled, ...]
    means: Mapping[str, Point]
    null: Null | None
    what: str = ""
    why: str = ""

    @property
    def measured(self) -> frozenset[str]:
        """The stages at which any sample has a value."""
        return frozenset(stage for sample in self.samples for stage in sample.values)


@dataclass(frozen=True)
class SampleChart:
    """A metric of single samples by stage. stages: the drawn ones, at most six."""

    metric: str
    stages: tuple[str, ...]
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class PanelChart:
    """Signed values of single samples, a small panel per method, all on one scale.

    series: (name, legend, tone), two at most; the names are the keys of the samples' values and of the means.
    """

    heading: str
    series: tuple[tuple[str, str, str], ...]
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Line:
    """Means over a dose: (position, mean with its interval), in the order of the positions."""

    name: str
    dots: tuple[tuple[float, Point], ...]


@dataclass(frozen=True)
class LineChart:
    """A quantity over a dose.

    ticks: (position, label) of the x axis. nulls: (position, null), drawn as a band. levels: (name, value) of
    horizontal references. null_name: what the band is. valued: the line whose means are also written, "" for none.
    """

    y: str
    x: str
    ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    nulls: tuple[tuple[float, Null], ...] = ()
    levels: tuple[tuple[str, float], ...] = ()
    null_name: str = "never seen, 5–95 %"
    valued: str = ""


@dataclass(frozen=True)
class Trade:
    """What one stage keeps and what it leaves. family: what it is coloured by, "" for a reference.

    keeps, leaves: their series is the stage; more is better of the one, less of the other, down to 0.
    """

    stage: str
    family: str
    keeps: Point
    leaves: Point


@dataclass(frozen=True)
class TradeChart:
    """What is left (y) against what is kept (x), a mark per stage. goal: the level of y to get below, None for none."""

    x: str
    y: str
    trades: tuple[Trade, ...]
    goal: float | None = None


@dataclass(frozen=True)
class Taken:
    """What widening took besides the targets: (stage, constructed copies, natural neighbours), means per target."""

    rows: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class Segment:
    """One part of a stacked bar: its mean. least, most: the ends of the range in which it can be told, None where none.

    point: its series is the part's name.
    """

    point: Point
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Stack:
    """One stacked bar: a stage, what it is, its segments; why: the reason where there are none."""

    stage: str
    what: str
    segments: tuple[Segment, ...]
    why: str = ""


@dataclass(frozen=True)
class StackChart:
    """Parts of a whole by stage; parts below 0 stand left of the zero line. parts: (name, legend)."""

    heading: str
    parts: tuple[tuple[str, str], ...]
    rows: tuple[Stack, ...]


@dataclass(frozen=True)
class Sheet:
    """Small pictures in a grid, for one seed. columns: (head, note). rows: (head, note, cells).

    cells: (sample, what came back of it); an original has the stage "original" and no numbers. kept: the controls.
    """

    seed: int
    kept: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, str, tuple[tuple[str, Recovered], ...]], ...]


@dataclass(frozen=True)
class Verdict:
    """A claim, its numbers in words, and whether it holds ("yes", "no", "not computed").

    instead: what was found where it does not hold, or why it was not computed.
    """

    claim: str
    instead: str
    training: str
    quantity: str
    mean: str
    interval: str
    rule: str
    holds: str
    clear: str
    n: str


@dataclass(frozen=True)
class Cell:
    """One table cell: its text, its interval in words, the mark of a footnote.

    gap: the difference to the reference in words, "" where there is none to give. apart: whether the two intervals
    do not overlap, None where that cannot be told.
    """

    text: str
    interval: str = ""
    note: str = ""
    gap: str = ""
    apart: bool | None = None


@dataclass(frozen=True)
class TableRow:
    """One stage under the heading `arm`. missing: why it was not computed, "" where it was."""

    arm: str
    stage: str
    what: str
    cells: tuple[Cell, ...]
    missing: str = ""


@dataclass(frozen=True)
class Table:
    """A table by stage: column heads, rows, and the footnotes (mark, text). head: what a row is."""

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[tuple[str, str], ...]
    head: str = "Stage"


@dataclass(frozen=True)
class Recalls:
    """What the words are made of: one entry per (training, stage).

    targets: rows "target ncc" of the tidy table. null: mean NCC of never-seen images of the same class.
    back: how many targets come back above the null's 95th percentile, and of how many.
    """

    targets: Mapping[tuple[str, str], Point]
    null: Mapping[tuple[str, str], float]
    back: Mapping[tuple[str, str], tuple[int, int]]


@dataclass(frozen=True)
class Reply:
    """What a model says to a question. recall: ROUGE-L recall of the true answer in it. why: where it was not asked."""

    answer: str = ""
    recall: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Asked:
    """One question and what the models say to it. rows: (stage, what it is, a reply per training arm)."""

    name: str
    role: str
    question: str
    truth: str
    rows: tuple[tuple[str, str, tuple[Reply, ...]], ...]


@dataclass(frozen=True)
class Dialogue:
    """The questions of one target, its own first, then paraphrases in parts (heading, questions). arms: the columns."""

    heading: str
    arms: tuple[str, ...]
    own: Asked
    parts: tuple[tuple[str, tuple[Asked, ...]], ...]


@dataclass(frozen=True)
class Listing:
    """Plain rows under their heads, folded below a summary. Cells are numbers, words, or None: not computed."""

    summary: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


Chart = Block | Sheet | RowChart | SampleChart | PanelChart | LineChart | StackChart | Taken | TradeChart


@dataclass(frozen=True)
class Figure:
    """Charts that belong together, with their words. name: its anchor and file name.

    paper: which of the paper's figures it answers. why: the reason where there is no chart.
    """

    name: str
    heading: str
    caption: str
    charts: tuple[Chart, ...] = ()
    paper: str = ""
    why: str = ""


@dataclass(frozen=True)
class Section:
    """One part of the page: a heading, what to look for, then figures, claims, a table, answers or plain rows.

    reads: how to read them.
    """

    name: str
    title: str
    lead: str = ""
    figures: tuple[Figure, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    table: Table | None = None
    reads: str = ""
    dialogues: tuple[Dialogue, ...] = ()
    listing: Listing | None = None


@dataclass(frozen=True)
class Summary:
    """Everything on the page. tidy, gaps, missing: the rows of result.json, those of tidy with what a metric means."""

    title: str
    kicker: str
    headline: str
    deck: str
    banners: tuple[str, ...]
    sections: tuple[Section, ...]
    tidy: tuple[Mapping[str, Any], ...]
    gaps: tuple[Mapping[str, Any], ...]
    missing: tuple[Mapping[str, Any], ...]
    limits: tuple[str, ...]
    configuration: str
    provenance: tuple[tuple[str, str], ...]
    command: str
    version: str

    @property
    def figures(self) -> tuple[Figure, ...]:
        return tuple(figure for section in self.sections for figure in section.figures)
