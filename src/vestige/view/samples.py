"""The gallery per sample: one sample over all stages, as a record that the report's own page draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vestige.report import Opened, Summary
from vestige.report.material import Material, kept_sample
from vestige.report.record import Block, Cell, Figure, GalleryRow, Recovered, Section, Table, TableRow
from vestige.report.shelf import Shelf
from vestige.report.table import ARMS, missing_run, planned
from vestige.report.text import answers
from vestige.report.text import words as said
from vestige.report.text.material import TextMaterial, Unit
from vestige.report.words import describe, number
from vestige.types import Run

COLUMNS = 4
"""Stages that stand beside each other."""


@dataclass(frozen=True)
class Sample:
    """One sample of a run. role: target, similar, kept. of: the target that it is similar to, "" for others."""

    name: str
    seed: int
    variant: str
    role: str
    of: str = ""

    @property
    def family(self) -> str:
        """What it is listed under."""
        return f"{self.variant} · seed {self.seed}" if self.variant else f"Seed {self.seed}"


def samples(opened: Opened) -> tuple[Sample, ...]:
    """The samples of a run that have a page each: targets, what is similar to them, and the control."""
    material = opened.material
    if isinstance(material, TextMaterial):
        asked = {Unit(one["seed"], one["target"]) for one in material.answers}
        return tuple(Sample(unit.target, unit.seed, "", "target") for unit in material.places if unit in asked)
    found: list[Sample] = []
    for variant, shelf in {"": material.shelf, **material.variants}.items():
        scored = {run.seed for run in shelf.runs}
        for seed in sorted(scored & set(shelf.data)):
            split = shelf.split(seed)
            for target in split.target:
                found.append(Sample(target, seed, variant, "target"))
                found += [Sample(name, seed, variant, "similar", target) for name in split.similar[target]]
            found += [Sample(name, seed, variant, "kept") for name in kept_sample(shelf, seed)]
    return tuple(found)


def page_of(opened: Opened, whole: Summary, sample: Sample) -> Summary:
    """The record of one sample's page: the provenance and limits of the whole run, and this sample at every stage."""
    material = opened.material
    made = _of_text(material, sample) if isinstance(material, TextMaterial) else _of_image(material, sample)
    return replace(
        whole,
        title=sample.name,
        kicker=f"{whole.kicker} · {sample.family[0].lower()}{sample.family[1:]}",
        headline=made.headline,
        deck=made.deck,
        sections=made.sections,
        tidy=(),
        gaps=(),
        missing=(),
    )


@dataclass(frozen=True)
class Made:
    """What is particular to one sample's page."""

    headline: str
    deck: str
    sections: tuple[Section, ...]


def _of_image(material: Material, sample: Sample) -> Made:
    shelf = material.variants[sample.variant] if sample.variant else material.shelf
    found = {
        (training, stage): shelf.recovered(run, sample.name, missing_run(material.failed, training, stage))
        for training, stage in planned(material.config)
        if _was_asked(shelf, run := Run(sample.seed, training, stage, sample.variant), sample)
    }
    blocks = [block for training in ARMS for block in _blocks(shelf, sample, training, found)]
    caption = (
        f"{sample.name} beside the best image that could be reconstructed of it from each model’s weights. “Comes "
        "back”: its NCC lies above 95 % of never-seen images of the same class in the same model."
    )
    figure = Figure("gallery", "One sample at every stage", caption, tuple(blocks))
    role = {
        "target": "A target: what was to be forgotten.",
        "similar": f"Similar to the target {sample.of}; in training only with similar images.",
        "kept": "A control: it stays in training at every stage.",
    }[sample.role]
    reads = (
        "NCC and SSIM of the best reconstruction with the original; 1 would be verbatim. “Never seen”: what 95 % of "
        "never-seen images of its class stay below in that model."
    )
    return Made(
        _comes_back(found), f"{role} Class {shelf.label(sample.seed, sample.name)}.",
        (Section("recovered", "What comes back", figures=(figure,)),
         Section("scores", "Scores", table=_scores(found), reads=reads)),
    )  # fmt: skip


def _was_asked(shelf: Shelf, run: Run, sample: Sample) -> bool:
    """Whether a model of this run is asked for the sample: similar ones play no part where they are not in training."""
    return sample.name in shelf.runs[run].facts["ids"] if run in shelf.runs else sample.role != "similar"


def _blocks(shelf: Shelf, sample: Sample, training: str, found: Mapping[tuple[str, str], Recovered]) -> list[Block]:
    """The sample in one training arm, a few stages at a time."""
    stages = [stage for arm, stage in found if arm == training]
    split = shelf.split(sample.seed)
    near = split.similar.get(sample.name, ()) if training == "with" else ()
    row = GalleryRow(
        target=sample.name,
        label=shelf.label(sample.seed, sample.name),
        pixels=shelf.original(sample.seed, sample.name),
        similar=tuple((name, shelf.original(sample.seed, name)) for name in near),
        recovered=(),
        kept=sample.role == "kept",
    )
    most = len(split.similar.get(sample.name, ()))
    made = []
    for start in range(0, len(stages), COLUMNS):
        shown = tuple(stages[start : start + COLUMNS])
        cells = tuple(found[training, stage] for stage in shown)
        made.append(Block(training, sample.seed, shown, (replace(row, recovered=cells),), most))
    return made


def _scores(found: Mapping[tuple[str, str], Recovered]) -> Table:
    rows = []
    for (training, stage), one in found.items():
        back = {True: "yes", False: "no", None: "–"}[one.back]
        cells = (Cell(number(one.ncc)), Cell(number(one.ssim)), Cell(number(one.bar)), Cell(back))
        missing = "" if one.ncc is not None else f"not computed because {one.why}"
        rows.append(TableRow(ARMS[training], stage, describe(stage), cells, missing))
    return Table(("NCC", "SSIM", "Never seen, 95 %", "Comes back"), tuple(rows), ())


def _comes_back(found: Mapping[tuple[str, str], Recovered]) -> str:
    """At which stages it comes back, where that can be told."""
    told = []
    for training, words in (("with", "With similar images in training"), ("without", "Without them")):
        mine = {stage: one.back for (arm, stage), one in found.items() if arm == training}
        back, gone = ([stage for stage, value in mine.items() if value is wanted] for wanted in (True, False))
        if back:
            told.append(f"{words} it comes back at {_and(back)}" + (f", not at {_and(gone)}." if gone else "."))
        elif gone:
            told.append(f"{words} it does not come back at {_and(gone)}.")
    return " ".join(told) or "No stage of this run can tell whether it comes back."


def _of_text(material: TextMaterial, sample: Sample) -> Made:
    unit = Unit(sample.seed, sample.name)
    dialogue = answers.dialogue(material, unit, most=len(material.answers))
    reads = "KM is ROUGE-L recall: the share of the true answer that is said, in order. Means over its paraphrases."
    sections = [Section("scores", "Scores", table=_scores_of_text(material, unit), reads=reads)]
    if dialogue is not None:
        sections.insert(0, Section("answers", "What the models answer", dialogues=(dialogue,)))
    told = [
        f"{words} its KM is {number(before)} before unlearning and {number(after)} after R0."
        for arm, words in (("with", "With similar samples in training"), ("without", "Without them"))
        if (before := material.of(unit, arm, "before", "target")) is not None
        and (after := material.of(unit, arm, "R0", "target")) is not None
    ]
    question = dialogue.own.question if dialogue else ""
    return Made(question, " ".join(told), tuple(sections))


def _scores_of_text(material: TextMaterial, unit: Unit) -> Table:
    named = (*answers.OF_GROUPS, *((head, "target", metric) for head, metric in answers.OF_TARGET))
    columns = [one for one in named if _has(material, unit, *one[1:])]
    rows = []
    for training, stage in planned(material.config):
        cells = tuple(Cell(number(material.of(unit, training, stage, group, metric))) for _, group, metric in columns)
        there = (unit, training, stage, "target") in material.by_key
        missing = "" if there else f"not computed because {missing_run(material.failed, training, stage)}"
        rows.append(
            TableRow(said.by_arm(material.arms)[training], stage, said.describe(stage, material.config), cells, missing)
        )
    return Table(tuple(head for head, *_ in columns), tuple(rows), ())


def _has(material: TextMaterial, unit: Unit, group: str, metric: str) -> bool:
    """Whether any stage has this number."""
    return any(
        material.of(unit, training, stage, group, metric) is not None for training, stage in planned(material.config)
    )


def _and(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
