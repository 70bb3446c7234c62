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
    """One target: its id, class, picture (C, H, W) uint8, similar images, and what comes back."""

    target: str
    label: str
    pixels: np.ndarray
    similar: tuple[tuple[str, np.ndarray], ...]
    recovered: tuple[Recovered, ...]


@dataclass(frozen=True)
class Block:
    """The targets of one training arm; stages are the columns of reconstructions."""

    training: str
    stages: tuple[str, ...]
    rows: tuple[GalleryRow, ...]


@dataclass(frozen=True)
class Gallery:
    """What comes back, as pictures, for one seed. hidden: targets that are left out for room."""

    seed: int
    blocks: tuple[Block, ...]
    hidden: int = 0
    note: str = ""


@dataclass(frozen=True)
class Point:
    """A mean with its 95 % interval; low and high are None where no interval can be given."""

    training: str
    mean: float
    low: float | None
    high: float | None
    n: int
    seeds: int


@dataclass(frozen=True)
class Null:
    """NCC of never-seen images of the targets' classes: 5th percentile, mean, 95th percentile, n."""

    low: float
    mean: float
    high: float
    n: int


@dataclass(frozen=True)
class ChartRow:
    """One stage of the recall chart."""

    stage: str
    what: str
    points: tuple[Point, ...]
    null: Null | None


@dataclass(frozen=True)
class Verdict:
    """A claim, its numbers in words, and whether it holds ("yes", "no", "not computed")."""

    sentence: str
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
    """One table cell: its text, its interval in words, and the mark of a footnote."""

    text: str
    interval: str = ""
    note: str = ""


@dataclass(frozen=True)
class TableRow:
    """One arm × stage of the main table. missing: why it was not computed, "" where it was."""

    training: str
    stage: str
    what: str
    cells: tuple[Cell, ...]
    missing: str = ""


@dataclass(frozen=True)
class Table:
    """The main table: column heads, rows, and the footnotes (mark, text)."""

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[tuple[str, str], ...]


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
class Summary:
    """Everything on the page."""

    title: str
    kicker: str
    headline: str
    deck: str
    banners: tuple[str, ...]
    gallery: Gallery
    chart: tuple[ChartRow, ...]
    chart_reads: str
    verdicts: tuple[Verdict, ...]
    table: Table
    tidy: tuple[Mapping[str, Any], ...]
    limits: tuple[str, ...]
    configuration: str
    provenance: tuple[tuple[str, str], ...]
    command: str
    version: str
