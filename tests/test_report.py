"""The report: a record of plain values, figures that return what they drew, and one safe page."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from vestige import report, store, studies
from vestige.config import StudyConfig
from vestige.report import dose, figures, leads, sections, svg, words
from vestige.report.record import Figure, Point, Recalls, Sheet
from vestige.report.table import verdicts
from vestige.types import InputError, Run

EVIL = '<script>alert(1)</script>"><img onerror=alert(2)> & co'
STAGES = ("before", "R0", "R1", "relabel-1+3", "RF-tau0.6")
NEVER = [f"never/{number}" for number in range(20)]
OTHERS = ["other/0", "other/1", "other/2"]
RECALL = {"before": 0.9, "R0": 0.85, "R1": 0.2, "relabel": 0.75, "relabel-1+3": 0.8, "RF-tau0.6": 0.3, "RF-1+3": 0.6,
          "RF-1+5": 0.3, "RF-1+7": 0.25, "RF-1+10": 0.2}  # fmt: skip
ACCURACY = {"R0": 8, "RF-1+3": 8, "RF-1+5": 7, "RF-1+10": 5}
"""Right answers of ten, by stage; 8 elsewhere."""


def config_of(**settings: Any) -> StudyConfig:
    data = {"targets": 1, "similar": 2, "per_class": 4, "never_seen": 20, "source": EVIL, **settings.pop("data", {})}
    return StudyConfig.model_validate({"seeds": 2, "stages": STAGES, "data": data, **settings})


def judged(name: str, holds: bool | None, quantity: str = "NCC of targets, R0 − RF-1+5") -> dict[str, Any]:
    numbers = {"mean": 0.2, "low": 0.1, "high": 0.3} if holds is not None else dict.fromkeys(("mean", "low", "high"))
    return {"name": name, "training": "with", "quantity": quantity, "rule": "at least 0.15", "holds": holds,
            "clear": holds, "n": 2, "seeds": 2, "sentence": f"{name} {EVIL}", "claim": name, **numbers}  # fmt: skip


def make_folder(
    root: Path,
    done: tuple[str, ...],
    shape: tuple[int, int, int] = (3, 6, 5),
    target: str = EVIL,
    rows: list[dict[str, Any]] | None = None,
    more: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """A run folder with these stages finished, as `studies.conduct` leaves it: by default two seeds, one target.

    NCC of the target is RECALL of the stage, 0.7 of its copies, 0.75 of others, 0.3 … 0.5 of never-seen images; SSIM
    lies 0.1 below. rows: the tidy table instead of the one that goes with these. more: other parts of result.json.
    """
    config, rng = config_of(**settings), np.random.default_rng(0)
    seeds = range(config.seeds)
    shelf = store.open_folder(root, config, "0.1.0", "feed")
    copies = ["copy/0", "copy/1"]
    ids = [target, *copies, *OTHERS, *NEVER]
    split = {"target": [target], "similar": {target: copies}, "held_out": {target: []}, "other": OTHERS,
             "near": {target: OTHERS[:1]}, "refill": [], "never_seen": NEVER, "test": []}  # fmt: skip
    found, models = [], {}
    labels = np.array([name == "other/2" for name in ids], np.int64)
    for seed in seeds:
        arrays = {"x": rng.random((len(ids), *shape), np.float32), "y": labels}
        shelf.save("data", f"data{seed}", {"ids": ids, "classes": 2, "split": split}, arrays, {})
    for stage in done:
        for training in config.training if stage in ("before", "R0", "relabel") else ("with",):
            for seed in seeds:
                run = Run(seed, training, stage)
                name = models[run.label] = f"m{len(models)}"
                ncc = np.array([RECALL[stage], 0.7, 0.7, 0.75, 0.75, 0.75, *np.linspace(0.3, 0.5, 20)], np.float32)
                pictures = rng.integers(0, 256, (len(ids), *shape), dtype=np.uint8)
                facts = {**dataclasses.asdict(run), "model": name, "ids": ids, "facts": {}}
                evidence = {"ncc": ncc, "ssim": ncc - 0.1, "value": ncc, "image": pictures}
                shelf.save("scores", f"s{name}", facts, evidence, {})
                k = int(stage.rpartition("+")[2]) if "+" in stage else 0
                made = {"accuracy": {"test": {"right": ACCURACY.get(stage, 8) - seed, "n": 10}},
                        "widened": {target: [*copies, *(f"other/{i}" for i in range(k - 2))]} if k else {},
                        "removed": [target] if stage != "before" else []}  # fmt: skip
                shelf.save("models", name, made, {"w": np.zeros(1, np.float32)}, {})
            for group, mean in (("target", RECALL[stage]), ("similar", 0.7), ("other", 0.75), ("near", 0.75),
                                ("never_seen_same_class", 0.4)):  # fmt: skip
                found += [tidy(training, stage, group, "ncc", mean), tidy(training, stage, group, "ssim", mean - 0.1)]
            found.append(tidy(training, stage, "model", "test_accuracy", ACCURACY.get(stage, 8) / 10))
    provenance = {"version": "0.1.0", "commit": None, "command": f"vestige study {EVIL}", "fingerprint": "f",
                  "source_sha256": "feed", "seeds": {"data": [*seeds]}, "libraries": {"numpy": "2"}, "device": "cpu",
                  "threads": 1, "data": {str(seed): f"data{seed}" for seed in seeds}, "variants": {},
                  "models": models}  # fmt: skip
    verdicts = [judged("similar-samples-keep-it", True), judged("five-mend-it", None)]
    store.write_json(
        root / "result.json",
        {"rows": found if rows is None else rows, "comparable": len(done) == len(config.stages),
         "verdicts": verdicts, "gaps": [], "missing": [], "doses": {}, "equivalents": [], "provenance": provenance,
         **(more or {})},
    )  # fmt: skip
    return root


def tidy(training: str, stage: str, group: str, metric: str, mean: float, **more: Any) -> dict[str, Any]:
    """A row of result.json: two targets, two seeds, an interval from 0.1 below to 0.3 above."""
    return {"variant": "", "training": training, "stage": stage, "group": group, "metric": metric, "mean": mean,
            "low": mean - 0.1, "high": mean + 0.3, "n": 2, "seeds": 2, **more}  # fmt: skip


def figure_of(summary: report.Summary, name: str) -> Figure:
    return next(figure for figure in summary.figures if figure.name == name)


def numbers_of(figure: Figure) -> list[dict[str, Any]]:
    return figures.numbers(figure, [figures.draw(chart) for chart in figure.charts])[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("run") / "whole", STAGES)


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("run") / "part", ("before", "R0"))


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return report.write_report(folder).read_text(encoding="utf-8")


def recalls_of(before: float, after: float, back: int = 3, **stages: float) -> Recalls:
    """Three targets of one seed, *with*: their mean NCC by stage beside a null of 0.4."""
    values = {"before": before, "R0": after, **stages}
    targets = {("with", name): Point("with", value, None, None, 3, 1) for name, value in values.items()}
    counts = {("with", name): (back if name == "before" else 3 * (value > 0.5), 3) for name, value in values.items()}
    return Recalls(targets, dict.fromkeys(targets, 0.4), counts)


def test_gallery_returns_the_numbers_it_drew(folder: Path) -> None:
    drawn = [figures.draw(block) for block in figure_of(report.summarise(folder), "gallery").charts]
    with_similar, without = ([row for row in numbers if row["sample"] == EVIL] for _, numbers in drawn)
    # R1 and the widened stages exist with similar samples only; 0.49 is the 95th percentile of 0.3 … 0.5.
    assert [record["stage"] for record in with_similar] == ["before", "R0", "R1", "RF-tau0.6"]
    assert [record["stage"] for record in without] == ["before", "R0"]
    assert [record["back"] for record in with_similar] == [True, True, False, False]
    assert with_similar[0]["ncc"] == pytest.approx(0.9)
    assert with_similar[0]["bar"] == pytest.approx(0.49)
    assert drawn[0][0].count("<image") == 1 + 2 + 4 + 1 + 4  # the target, its copies; the kept sample
    assert {row["sample"] for row in drawn[0][1]} == {EVIL, "other/2"}  # the kept one is of a class without a target


def test_pictures_are_grey_or_rgb() -> None:
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    for shape, mode in (((1, 4, 6), "L"), ((3, 4, 6), "RGB")):
        pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        picture = Image.open(BytesIO(b64decode(svg.png(pixels).partition(",")[2])))
        assert (picture.mode, picture.size) == (mode, (6, 4))
        assert (np.asarray(picture).reshape(4, 6, -1) == pixels.transpose(1, 2, 0)).all()


def test_everything_from_data_is_escaped(html: str) -> None:
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html
    for drawing in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(drawing)  # well-formed whatever the ids are


def test_the_policy_admits_this_style_and_nothing_else(html: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    style = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert policy is not None
    assert len(style) == 1
    expected = report.style_hash(style[0])
    assert policy[1].replace("&#39;", "'") == f"default-src 'none'; img-src data:; style-src '{expected}'"
    assert " style=" not in html
    assert not re.findall(r'(?:src|href)="(?!data:image/png)', html)


def test_a_partial_run_says_what_was_not_computed(partial: Path) -> None:
    page = report.write_report(partial).read_text(encoding="utf-8")
    summary = report.summarise(partial)
    assert summary.banners[0].startswith("Not comparable")
    assert "not computed because this run was not carried out" in page
    table = next(section.table for section in summary.sections if section.name == "stages")
    verdicts = next(section.verdicts for section in summary.sections if section.name == "claims")
    assert table is not None
    assert {row.stage for row in table.rows if row.missing} == {"R1", "relabel-1+3", "RF-tau0.6"}
    assert page.count(">not computed</text>") == 4  # R1 and RF-tau0.6 in the gallery, of the target and the kept one
    for row in table.rows:
        assert row.missing or all(cell.text != "–" or cell.note for cell in row.cells)
    assert [verdict.holds for verdict in verdicts] == ["yes", "not computed"]


def test_a_table_says_what_was_claimed_and_only_where_that_fails_what_was_found() -> None:
    records = [judged("copies carry more", holds) | {"sentence": "they do not"} for holds in (True, False, None)]
    said = [(verdict.claim, verdict.instead, verdict.holds) for verdict in verdicts(records)]
    assert said == [
        ("copies carry more", "", "yes"), ("copies carry more", "they do not", "no"),
        ("copies carry more", "they do not", "not computed"),
    ]  # fmt: skip


def test_a_run_without_any_stage_still_gives_a_page(tmp_path: Path) -> None:
    for study in (*sections.SECTIONS, "another"):
        root = make_folder(tmp_path / study, (), study=study)
        page = report.write_report(root).read_text(encoding="utf-8")
        assert "This run cannot say" in page or study == "image-dose"
        for figure in report.summarise(root).figures:
            assert figure.charts or figure.why
        assert page.count("Not computed because") == sum(not one.charts for one in report.summarise(root).figures)


def test_why_a_run_failed_is_told(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "failed", ("before",))
    failed = [{"run": "seed 0 · with · R0", "why": "Traceback …\nValueError: no <room>"}]
    store.write_json(root / "run.json", {"failed": failed})
    page = report.write_report(root).read_text(encoding="utf-8")
    assert "the run failed: ValueError: no &lt;room&gt;" in page


def test_headline_turns_on_the_claims() -> None:
    config = config_of(seeds=1, stages=("before", "R0", "R1", "RF-1+5"), data={"targets": 3, "similar": 5})
    held = [judged(name, True) for name in ("similar-samples-keep-it", "they-are-the-reason", "five-mend-it")]
    recalls = recalls_of(0.78, 0.77, R1=0.3, **{"RF-1+5": 0.31})
    assert words.headline(recalls, held, config) == (
        "Retrained from scratch without them, the model still gives back the 3 images it was asked to forget "
        "(NCC 0.77, before 0.78), because 5 near-copies of each stayed in training; forgetting their 5 most "
        "similar images as well mends it (0.31; never-seen images of the class reach 0.40)."
    )
    no_mend = words.headline(recalls, [*held[:2], judged("five-mend-it", False)], config)
    assert "does not clearly mend it (0.31" in no_mend
    no_reason = words.headline(recalls, [held[0], judged("they-are-the-reason", False)], config)
    assert "because" not in no_reason
    assert "does not clearly change it (0.30)" in no_reason
    part = words.headline(recalls_of(0.78, 0.77, **{"RF-1+5": 0.6}), held, config)
    assert "removes only part of it (0.60" in part


def test_headline_does_not_claim_what_the_numbers_do_not_show() -> None:
    config = config_of(seeds=1, data={"targets": 3})
    lost = words.headline(recalls_of(0.8, 0.3), [judged("similar-samples-keep-it", False)], config)
    assert "no longer gives back the 3 images" in lost
    less = words.headline(recalls_of(0.8, 0.6), [judged("similar-samples-keep-it", False)], config)
    assert "gives back less of the 3 images" in less
    nothing = words.headline(recalls_of(0.4, 0.4, back=0), [judged("similar-samples-keep-it", True)], config)
    assert "cannot show forgetting" in nothing
    assert "cannot say" in words.headline(Recalls({}, {}, {}), [], config)


def test_numbers_read_as_numbers() -> None:
    assert words.number(-0.126) == "−0.13"
    assert words.number(-0.001) == "0.00"
    assert words.number(None) == "–"
    assert words.interval(None, 1.0) == ""


def test_every_stage_name_is_described() -> None:
    assert words.describe("RF-1+3") == "retrained without the targets and the 3 images most similar to each"
    assert words.describe("relabel-1+3").startswith("relabel: the targets and the 3 images")
    assert "SSIM of at least 0.6" in words.describe("RF-tau0.6")
    assert words.describe("RF-1+3@0.5") == (
        "retrained without the targets and with a weight of 0.5 for the 3 images most similar to each"
    )
    assert (words.in_short("RF-1+3@0.5"), words.in_short("RF-auto0.1")) == ("+ 3 similar × 0.5", "+ similar, to 0.1")
    assert sorted(["RF-1+3", "RF-1+5@0.5", "RF-auto0.1@0"], key=words.widest_first)[-1] == "RF-1+3"
    for name in (*studies.METHOD_STAGES, "SISA"):
        assert not words.describe(name).startswith("the targets forgotten by")


def test_figures_stand_alone(folder: Path, tmp_path: Path) -> None:
    paths = report.write_figures(folder, tmp_path / "figures")
    assert [path.name for path in paths] == ["gallery.svg", "bars.svg", "recall.svg"]
    for path in paths:
        drawing = ElementTree.parse(path).getroot()
        assert drawing.find("{http://www.w3.org/2000/svg}style") is not None
        assert "http" not in path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")


def test_each_study_has_its_own_question_and_sections(tmp_path: Path) -> None:
    titles = set()
    for study in sections.SECTIONS:
        titles.add(report.summarise(make_folder(tmp_path / study, ("before", "R0"), study=study)).title)
    assert len(titles) == len(sections.SECTIONS)
    other = report.summarise(make_folder(tmp_path / "other", ("before", "R0"), study="another"))
    assert other.title == leads.question("another")
    assert [section.name for section in other.sections] == ["recovered", "recall", "claims", "stages"]


def test_target_bars_show_every_image_at_every_stage(folder: Path) -> None:
    figure = figure_of(report.summarise(folder), "bars")
    records = numbers_of(figure)
    assert figure.paper.startswith("In kind the paper’s Fig.\u00a09 ")  # the toy data are not in the paper
    # Two seeds, two arms, the target and a kept sample each, SSIM and NCC.
    for metric, value in (("SSIM", 0.75), ("NCC", 0.85)):
        found = [row for row in records if row["metric"] == metric and row["kind"] == "sample"]
        assert [row["panel"].split()[0] for row in found] == ["Without"] * 2 + ["With"] * 2
        assert [row["R0"] for row in found] == pytest.approx([value] * 4)
        assert [row.get("R1") for row in found[:2]] == [None, None]
        assert found[2]["R1"] == pytest.approx(0.2 if metric == "NCC" else 0.1)
    kept = [row for row in records if row["kind"] == "kept"]
    assert {row["sample"] for row in kept} == {"other/2"}
    # The null: 20 images of 0.3 … 0.5 in every model.
    null = next(row for row in records if row["kind"] == "null" and row["metric"] == "NCC")
    assert (null["low"], null["mean"], null["high"]) == pytest.approx((0.31, 0.4, 0.49), abs=0.005)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"source": "mnist"}, "Counterpart of the paper’s Fig.\u00a09."),
        ({"source": "fmnist"}, "Counterpart of the paper’s Fig.\u00a030."),
        ({"source": "mnist", "transform": "noise"}, "Counterpart of the paper’s Fig.\u00a036."),
        ({"source": "fmnist", "transform": "noise"}, "In kind the paper’s Fig.\u00a09 (there MNIST)"),
    ],
)
def test_figures_name_their_counterpart_in_the_paper(tmp_path: Path, data: dict[str, str], expected: str) -> None:
    root = make_folder(tmp_path / "run", ("before", "R0"), data=data)
    assert figure_of(report.summarise(root), "bars").paper.startswith(expected)
    assert expected in report.write_report(root).read_text(encoding="utf-8")


def test_similar_study_shows_every_similar_sample(tmp_path: Path) -> None:
    settings = {"study": "image-similar", "training": ["with"], "stages": ["before", "R0", "relabel"]}
    root = make_folder(tmp_path / "run", ("before", "R0", "relabel"), data={"source": "mnist"}, **settings)
    summary = report.summarise(root)
    bars, gallery = figure_of(summary, "bars"), figure_of(summary, "gallery")
    assert bars.paper.startswith("Counterpart of the paper’s Fig.\u00a027, and 34 for relabelling.")
    assert gallery.paper == "Counterpart of the paper’s Fig.\u00a08, and 35 for relabelling."
    found = [row for row in numbers_of(bars) if row["kind"] == "sample" and row["metric"] == "NCC"]
    assert [row["sample"] for row in found] == ["copy/0", "copy/1"] * 2
    assert [row["relabel"] for row in found] == pytest.approx([0.7] * 4)
    sheet = gallery.charts[0]
    assert isinstance(sheet, Sheet)
    assert [head for head, _, _ in sheet.rows] == ["Original", "before", "R0", "relabel"]
    assert [row["sample"] for row in numbers_of(gallery)] == ["other/2", "copy/0", "copy/1"] * 3
    means = {(row["stage"], row["kind"]): row["mean"] for row in numbers_of(figure_of(summary, "recall"))}
    assert means["R0", "similar"] == 0.7
    assert means["R0", "other"] == 0.75


def test_enhanced_study_goes_over_k(tmp_path: Path) -> None:
    stages = ("before", "R0", "R1", "RF-1+3", "RF-1+5", "RF-1+10")
    settings = {"study": "image-enhanced", "training": ["with"], "stages": stages, "data": {"source": "mnist"}}
    summary = report.summarise(make_folder(tmp_path / "run", stages, **settings))
    recall = figure_of(summary, "recall")
    assert recall.paper.startswith("Counterpart of the paper’s Fig.\u00a015.")
    assert figure_of(summary, "gallery").paper == "Counterpart of the paper’s Fig.\u00a016."
    records = numbers_of(recall)
    targets = [row for row in records if row["kind"] == "targets" and row["metric"] == "Mean NCC"]
    assert [(row["at"], row["mean"]) for row in targets] == [("RF", 0.85), ("1+3", 0.6), ("1+5", 0.3), ("1+10", 0.2)]
    assert [row["mean"] for row in records if row["kind"] == "targets in R1"] == pytest.approx([0.2, 0.1])
    assert [row["mean"] for row in records if row["kind"] == "null"] == pytest.approx([0.4] * 4 + [0.3] * 4, abs=1e-6)
    taken = [tuple(row.values()) for row in numbers_of(figure_of(summary, "taken"))]
    assert taken == [("RF-1+3", 2, 1), ("RF-1+5", 2, 3), ("RF-1+10", 2, 8)]
    # Both seeds lose one right answer of ten from R0 to RF-1+5, and three to RF-1+10.
    cost = figure_of(summary, "accuracy").caption
    assert "RF-1+3 0.0 [0.0, 0.0], RF-1+5 −10.0 [−10.0, −10.0], RF-1+10 −30.0 [−30.0, −30.0]" in cost
    assert "NCC 0.85 without any, 0.60 with 3, 0.30 with 5, 0.20 with 10" in summary.headline
    assert "0.80 without any, 0.80 with 3, 0.70 with 5, 0.50 with 10" in summary.headline


def test_a_control_is_never_taken_out(tmp_path: Path) -> None:
    settings = {"study": "image-enhanced", "training": ["with"], "stages": ["R0", "RF-1+3"]}
    root = make_folder(tmp_path / "run", ("R0", "RF-1+3"), **settings)
    assert {row["sample"] for row in numbers_of(figure_of(report.summarise(root), "gallery"))} == {EVIL, "other/2"}
    for path in (root / "models").glob("*/result.json"):  # now one stage takes it out: another takes its place
        store.write_json(path, {**store.read_json(path), "removed": [EVIL, "other/2"]})
    assert {row["sample"] for row in numbers_of(figure_of(report.summarise(root), "gallery"))} == {EVIL, "other/0"}


def test_similar_headline_turns_on_the_claims(tmp_path: Path) -> None:
    settings = {"study": "image-similar", "training": ["with"], "stages": ["before", "R0", "relabel"]}
    root = make_folder(tmp_path / "run", ("before", "R0", "relabel"), **settings)
    record = store.read_json(root / "result.json")
    for first, second, expected in (
        (True, True, "leaves their similar samples as recoverable as before (NCC 0.70, before 0.70); relabelling the "
                     "targets does so too"),
        (True, False, "relabelling the targets makes their similar samples less recoverable (NCC 0.70, before 0.70; "
                      "other kept samples 0.75, before 0.75)"),
        (None, None, "This run cannot say"),
    ):  # fmt: skip
        record["verdicts"] = [judged("similar-samples-stay", first), judged("relabelling-leaves-similar", second)]
        store.write_json(root / "result.json", record)
        assert expected in report.summarise(root).headline


def dose_of(copies: int, transform: str = "mask", exact: bool = False, **strength: float) -> dict[str, Any]:
    made = f"{transform} of {strength}"
    return {"transform": transform, "strength": strength, "copies": copies, "exact": exact, "made": made}


DOSES = {
    "none": dose_of(0, block=2, fraction=0.3),
    "exact <b> ×1": dose_of(1, exact=True, block=2, fraction=0.0),
    "mask 0.3 ×5": dose_of(5, block=2, fraction=0.3),
    "mask 0.3 ×1": dose_of(1, block=2, fraction=0.3),
    "mask 0.1 ×5": dose_of(5, block=2, fraction=0.1),
    "blur 2 ×5": dose_of(5, "blur", blur=2.0),
}
LEFT = {"none": 0.3, "exact <b> ×1": 0.8, "mask 0.3 ×5": 0.9, "mask 0.3 ×1": 0.4, "mask 0.1 ×5": 1.0, "blur 2 ×5": 0.6}


def test_dose_families_differ_in_one_thing_alone() -> None:
    assert dose.by_number(DOSES) == {
        "exact": [(0.0, "none"), (1.0, "exact <b> ×1")],
        "mask 0.3": [(0.0, "none"), (1.0, "mask 0.3 ×1"), (5.0, "mask 0.3 ×5")],
    }
    assert dose.by_strength(DOSES) == {("mask", "fraction"): {"×5": [(0.1, "mask 0.1 ×5"), (0.3, "mask 0.3 ×5")]}}
    both = {"a": dose_of(5, block=2, fraction=0.1), "b": dose_of(5, block=2, fraction=0.3),
            "c": dose_of(5, block=4, fraction=0.3)}  # fmt: skip
    assert dose.kind(both, "c") == "mask 4 0.3"
    assert dose.by_strength(both) == {("mask", "fraction"): {"block 2 ×5": [(0.1, "a"), (0.3, "b")]}}
    assert dose.by_number(both) == {}


def test_dose_study_goes_over_number_and_strength(tmp_path: Path) -> None:
    rows = []
    for variant, left in LEFT.items():
        for stage, ncc in (("before", 0.9), ("R0", left), ("R1", 0.3)):
            rows.append(tidy("with", stage, "target", "ncc", ncc, variant=variant))
            rows.append(tidy("with", stage, "never_seen_same_class", "ncc", 0.4, variant=variant))
        if variant != "none":
            rows.append(tidy("with", "R0", "target", "residual", left, variant=variant))
    equivalent = {"sentence": "one exact copy weighs as much as 2.0 <i> copies"}
    settings = {"study": "image-dose", "training": ["with"], "stages": ["before", "R0", "R1"]}
    settings["variants"] = {
        name: {"data": {"similar": one["copies"], "transform": one["transform"], **one["strength"]}}
        for name, one in DOSES.items()
    }
    root = make_folder(tmp_path / "run", (), rows=rows, more={"doses": DOSES, "equivalents": [equivalent]}, **settings)
    summary = report.summarise(root)
    by_number = numbers_of(figure_of(summary, "number"))
    assert [(row["at"], row["kind"], row["mean"]) for row in by_number if row["kind"] != "null"] == [
        ("0", "exact", 0.3), ("1", "exact", 0.8), ("0", "mask 0.3", 0.3), ("1", "mask 0.3", 0.4),
        ("5", "mask 0.3", 0.9),
    ]  # fmt: skip
    by_strength = numbers_of(figure_of(summary, "strength"))
    assert [(row.get("at"), row["kind"], row["mean"]) for row in by_strength] == [
        ("0.1", "R0, ×5", 1.0), ("0.3", "R0, ×5", 0.9), ("0.1", "before, ×5", 0.9), ("0.3", "before, ×5", 0.9),
        (None, "R0, none", 0.3),
    ]  # fmt: skip
    stages = numbers_of(figure_of(summary, "recall-number"))
    assert [row["kind"] for row in stages] == ["before"] * 3 + ["R0"] * 3 + ["R1"] * 3 + ["null"] * 3
    table = next(section.table for section in summary.sections if section.name == "variants")
    assert table is not None
    assert [(line.stage, line.cells[1].text) for line in table.rows] == [
        (variant, f"{left:.2f}") for variant, left in LEFT.items()
    ]
    residual = {line.stage: line.cells[3] for line in table.rows}
    assert (residual["mask 0.3 ×1"].text, residual["none"].text, residual["none"].note) == ("0.40", "–", "a")
    assert "0.30 with none, 0.40 with 1, 0.90 with 5" in summary.headline
    assert "1 image to forget in each of 2 seeds." in summary.deck
    page = report.write_report(root).read_text(encoding="utf-8")
    assert "One exact copy weighs as much as 2.0 &lt;i&gt; copies." in page
    assert "<td>mask 0.3 ×5</td>" in page
    assert "exact &lt;b&gt; ×1" in page
    assert "<b> ×1" not in page


def test_no_variant_column_without_variants(html: str) -> None:
    assert '<th scope="col">Variant</th>' not in html


def test_methods_study_marks_the_gap_to_retraining(tmp_path: Path) -> None:
    def row(stage: str, group: str, metric: str, mean: float) -> dict[str, Any]:
        return tidy("with", stage, group, metric, mean, low=mean, high=mean)

    def gap(stage: str, metric: str, mean: float, low: float, high: float, reference: str = "R0") -> dict[str, Any]:
        return {"variant": "", "training": "with", "stage": stage, "reference": reference, "group": "model",
                "metric": metric, "mean": mean, "low": low, "high": high, "seeds": 2}  # fmt: skip

    rows = [row("R0", "model", "UA", 0.2), row("GA", "model", "UA", 0.5), row("SCRUB", "model", "UA", 0.22),
            row("before", "vs_R0", "average_gap", 0.08), row("GA", "vs_R0", "average_gap", 0.12),
            row("SCRUB", "vs_R0", "average_gap", 0.02), row("GA", "target", "lira_auc", 0.4),
            tidy("with", "SCRUB", "target", "lira_auc", 0.6, seeds=1)]  # fmt: skip
    gaps = [gap("R0", "UA", 0.0, 0.0, 0.0), gap("GA", "UA", 0.3, 0.2, 0.4), gap("GA", "UA", 9.0, 9.0, 9.0, "R1"),
            gap("SCRUB", "UA", 0.02, -0.1, 0.14)]  # fmt: skip
    gone = {"variant": "", "training": "with", "group": "target", "metric": "lira_auc", "why": "shadow <3> failed"}
    missing = [{**gone, "seed": seed, "stage": stage} for seed, stage in ((0, "R0"), (1, "R0"), (1, "SCRUB"))]
    settings = {"study": "image-methods", "training": ["with"], "stages": ["before", "R0", "GA", "SCRUB", "SSD"],
                "measure": ["outputs", "membership"]}  # fmt: skip
    root = make_folder(tmp_path / "run", (), rows=rows, more={"gaps": gaps, "missing": missing}, **settings)
    times = [row("R0", "model", "rte", 1.0), row("GA", "model", "rte", 0.01)]
    store.write_json(root / "run.json", {"rte": times})
    summary = report.summarise(root)
    assert [section.name for section in summary.sections] == ["methods", "membership", "claims"]
    table = summary.sections[0].table
    assert table is not None
    assert table.columns == ("UA: error on the targets", "Average gap to R0", "RTE: time, R0 = 1")
    cells = {line.stage: [(cell.text, cell.gap, cell.apart) for cell in line.cells] for line in table.rows}
    assert cells["R0"][0] == ("0.20", "", None)  # the reference has no gap to itself
    assert cells["GA"] == [("0.50", "+0.30", True), ("0.12", "", None), ("0.01", "", None)]
    assert cells["SCRUB"][0] == ("0.22", "+0.02", False)
    assert cells["SCRUB"][2][0] == "–"
    assert next(line.missing for line in table.rows if line.stage == "SSD").startswith("not computed because")
    attacks = summary.sections[1].table
    assert attacks is not None
    told = {line.stage: (line.cells[0].text, line.cells[0].note) for line in attacks.rows if line.cells}
    assert (told["R0"], told["GA"], told["SCRUB"]) == (("–", "b"), ("0.40", ""), ("0.60", "c"))
    assert [text for _, text in attacks.notes] == [
        "not computed because the result does not hold it for this stage.",
        "not computed because shadow <3> failed.",
        "in 1 seed only; elsewhere shadow <3> failed.",
    ]
    drawn = [(line["stage"], line["mean"]) for line in numbers_of(figure_of(summary, "gaps"))]
    assert drawn == [("SCRUB", 0.02), ("before", 0.08), ("GA", 0.12)]
    assert [(one["stage"], one["seeds"]) for one in summary.missing] == [("R0", "0, 1"), ("SCRUB", "1")]
    page = report.write_report(root).read_text(encoding="utf-8")
    assert '<small class="gap apart">+0.30 ≠ R0</small>' in page
    assert "4 gaps to R0 and R1" in page
    assert "<td>shadow &lt;3&gt; failed</td>" in page
    assert "doing nothing lies 0.080 from retraining" in summary.headline
    assert "1 of 2 methods comes clearly nearer, SCRUB most (0.020), GA stays farthest (0.120)" in summary.headline


def test_a_study_of_outputs_has_no_figures_of_recall(tmp_path: Path) -> None:
    """And one that measures both has the sections of both."""
    for measure, expected in (
        (["outputs"], ["methods", "claims"]),
        (["recall", "outputs"], ["recovered", "images", "recall", "stages", "methods", "claims"]),
    ):
        root = make_folder(tmp_path / "-".join(measure), ("before", "R0"), study="image-target", measure=measure)
        assert [section.name for section in report.summarise(root).sections] == expected


def test_the_numbers_drawn_stand_below_each_figure(folder: Path, html: str) -> None:
    summary = report.summarise(folder)
    drawn = [(count, figure) for count, figure in enumerate(summary.figures, 1) if figure.charts]
    assert html.count("The numbers drawn (") == len(drawn)
    for count, figure in drawn:
        block = html.split(f'id="figure-{figure.name}"')[1].split("</figure>")[0]
        assert f"Figure {count}. {figure.heading}." in block
        assert f"The numbers drawn ({len(numbers_of(figure))} rows)" in block
        assert block.count('role="img" aria-label="') == len(figure.charts)
    recall = html.split('id="figure-recall"')[1].split("</figure>")[0]
    assert '<td>R0</td><td>with</td><td class="n">0.850</td>' in recall


def test_the_same_results_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    first = report.write_report(folder).read_bytes()
    again = make_folder(tmp_path / "again", STAGES)
    assert report.write_report(again).read_bytes() == first
    for path in report.write_figures(folder, tmp_path / "one"):
        other = [found for found in report.write_figures(again, tmp_path / "two") if found.name == path.name]
        assert other[0].read_bytes() == path.read_bytes()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        report.write_report(tmp_path)


def test_the_report_needs_no_torch(folder: Path) -> None:
    code = (
        "import sys, pathlib; from vestige.report import write_report; "
        f"write_report(pathlib.Path({str(folder)!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "ReLU layers of 300 and 300 units, 1000 full-batch steps."),
        (
            {"model": {"kind": "cnn"}, "train": {"steps": 20, "batch": 50}},
            "a CNN with convolutions of 16, 32 and 64 channels, 20 passes in batches of 50.",
        ),
        (
            {"model": {"kind": "resnet18", "width": 8}, "train": {"sisa": {"shards": 1}}},
            "ResNet-18 of width 8, 1000 full-batch steps, in 1 shard of 3 slices.",
        ),
    ],
)
def test_the_limits_name_the_network_and_its_training(settings, said):
    assert any(said in line for line in words.limits(Recalls({}, {}, {}), config_of(**settings), 10))


SHARES = {
    "before": {"own": 0.3, "similar": 0.6, "near": -0.2, "other": 0.3, "start": 0.0, "unexplained": 0.0},
    "R0": {"own": 0.0, "similar": 0.7, "near": -0.2, "other": 0.3, "start": 0.05, "unexplained": 0.05},
}


def influenced(tmp_path: Path, why: str = "") -> report.Summary:
    rows = [
        tidy("with", stage, "target", f"{part}_share", value)
        for stage, parts in SHARES.items()
        for part, value in parts.items()
        if not (why and stage == "R0")
    ]
    rows.append(tidy("with", "R0", "model", "explained", 0.9))
    one = {"seed": 0, "variant": "", "training": "with", "target": EVIL, "margin": 4.0, "why": ""}
    kept = [
        {**one, "stage": stage, "ranges": {"own": [0.0, 2.0], "similar": [2.0, 4.0]}, "parts": parts}
        for stage, parts in SHARES.items()
    ]
    lost = {"seed": 0, "variant": "", "training": "with", "stage": "R0", "group": "target", "metric": "other_share"}
    more = {"influence": kept, "missing": [{**lost, "why": why}] if why else []}
    made = make_folder(
        tmp_path / "run", ("before", "R0"), rows=rows, more=more, training=("with",), measure=("recall", "influence")
    )
    return report.summarise(made)


def test_carriers_are_stacked_and_sum(tmp_path: Path) -> None:
    summary = influenced(tmp_path)
    figure = figure_of(summary, "carriers")
    found = {(record["stage"], record["kind"]): record for record in numbers_of(figure)}
    assert found["before", "sum"]["mean"] == pytest.approx(1.0)
    assert found["R0", "sum"]["mean"] == pytest.approx(0.9)
    assert (found["before", "own"]["at least"], found["before", "own"]["at most"]) == (0.0, 0.5)
    assert found["R0", "near"]["mean"] == -0.2
    drawn = figures.draw(figure.charts[0])[0]
    assert "not computed because this run was not carried out" in drawn, "R1 was not run"
    section = next(section for section in summary.sections if section.name == "carriers")
    assert "similar images carry 0.70 of the margin that a target had before [0.60, 1.00]" in section.reads
    names = [section.name for section in summary.sections]
    assert names.index("carriers") < names.index("claims")


def test_shares_that_are_withheld_say_why(tmp_path: Path) -> None:
    figure = figure_of(influenced(tmp_path, "the model is too far from stationarity"), "carriers")
    assert "not computed because the model is too far from stationarity" in figures.draw(figure.charts[0])[0]


def test_no_carriers_where_they_were_not_asked_for(folder: Path) -> None:
    assert "carriers" not in [section.name for section in report.summarise(folder).sections]
