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

from vestige import report, store
from vestige.config import StudyConfig
from vestige.report import figures, words
from vestige.report.record import ChartRow, Null, Point, Recalls
from vestige.types import InputError, Run

EVIL = '<script>alert(1)</script>"><img onerror=alert(2)> & co'
STAGES = ("before", "R0", "R1", "relabel-1+3", "RF-tau0.6")
NEVER = [f"never/{number}" for number in range(20)]
RECALL = {"before": 0.9, "R0": 0.85, "R1": 0.2, "relabel-1+3": 0.8, "RF-tau0.6": 0.3}


def config_of(**settings: Any) -> StudyConfig:
    data = {"targets": 1, "similar": 2, "per_class": 4, "never_seen": 20, "source": EVIL}
    return StudyConfig.model_validate({"seeds": 2, "stages": STAGES, "data": data, **settings})


def judged(name: str, holds: bool | None, quantity: str = "NCC of targets, R0 − RF-1+5") -> dict[str, Any]:
    numbers = {"mean": 0.2, "low": 0.1, "high": 0.3} if holds is not None else dict.fromkeys(("mean", "low", "high"))
    return {"name": name, "training": "with", "quantity": quantity, "rule": "at least 0.15", "holds": holds,
            "clear": holds, "n": 2, "seeds": 2, "sentence": f"{name} {EVIL}", "claim": name, **numbers}  # fmt: skip


def make_folder(root: Path, done: tuple[str, ...], shape: tuple[int, int, int] = (3, 6, 5)) -> Path:
    """A run folder of two seeds with these stages finished, as `studies.conduct` leaves it."""
    config, rng = config_of(), np.random.default_rng(0)
    shelf = store.open_folder(root, config, "0.1.0", "feed")
    ids = [EVIL, "copy/0", "copy/1", *NEVER]
    split = {"target": [EVIL], "similar": {EVIL: ["copy/0", "copy/1"]}, "held_out": {EVIL: []},
             "other": [], "near": {EVIL: []}, "refill": [], "never_seen": NEVER, "test": []}  # fmt: skip
    rows, models = [], {}
    for seed in (0, 1):
        arrays = {"x": rng.random((len(ids), *shape), np.float32), "y": np.zeros(len(ids), np.int64)}
        shelf.save("data", f"data{seed}", {"ids": ids, "classes": 2, "split": split}, arrays, {})
    for stage in done:
        for training in ("with", "without") if stage in ("before", "R0") else ("with",):
            for seed in (0, 1):
                run = Run(seed, training, stage)
                name = models[run.label] = f"m{len(models)}"
                ncc = np.array([RECALL[stage], 0.7, 0.7, *np.linspace(0.3, 0.5, 20)], np.float32)
                pictures = rng.integers(0, 256, (len(ids), *shape), dtype=np.uint8)
                facts = {**dataclasses.asdict(run), "model": name, "ids": ids, "facts": {}}
                shelf.save("scores", f"s{name}", facts, {"ncc": ncc, "ssim": ncc, "value": ncc, "image": pictures}, {})
            for group, mean in (("target", RECALL[stage]), ("never_seen_same_class", 0.4)):
                rows.append({"training": training, "stage": stage, "group": group, "metric": "ncc", "mean": mean,
                             "low": mean - 0.1, "high": mean + 0.3, "n": 2, "seeds": 2})  # fmt: skip
    provenance = {"version": "0.1.0", "commit": None, "command": f"vestige study {EVIL}", "fingerprint": "f",
                  "source_sha256": "feed", "seeds": {"data": [0, 1]}, "libraries": {"numpy": "2"}, "device": "cpu",
                  "threads": 1, "data": {"0": "data0", "1": "data1"}, "models": models}  # fmt: skip
    verdicts = [judged("similar-samples-keep-it", True), judged("five-mend-it", None)]
    store.write_json(
        root / "result.json",
        {"rows": rows, "comparable": len(done) == len(STAGES), "verdicts": verdicts, "provenance": provenance},
    )
    return root


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


def test_chart_returns_the_numbers_it_drew() -> None:
    points = (Point("with", 0.8, 0.7, 1.2, 3, 1), Point("without", 0.3, None, None, 3, 1))
    rows = (ChartRow("R0", "what", points, Null(0.2, 0.4, 0.6, 90)), ChartRow("R1", "what", (), None))
    svg, numbers = figures.recall_chart(rows)
    assert numbers == [
        {"stage": "R0", "kind": "null", "low": 0.2, "mean": 0.4, "high": 0.6, "n": 90},
        {"stage": "R0", "kind": "with", "mean": 0.8, "low": 0.7, "high": 1.2, "n": 3, "seeds": 1},
        {"stage": "R0", "kind": "without", "mean": 0.3, "low": None, "high": None, "n": 3, "seeds": 1},
    ]
    assert len(re.findall("<circle", svg)) == 2  # the legend and one mark
    assert len(re.findall('class="whisker"', svg)) == 1  # no interval, no whisker
    assert "not computed" in svg


def test_an_interval_beyond_the_scale_is_cut_at_its_edge() -> None:
    inside = (ChartRow("R0", "", (Point("with", 0.8, 0.7, 1.0, 3, 1),), None),)
    beyond = (ChartRow("R0", "", (Point("with", 0.8, 0.7, 1.4, 3, 1),), None),)
    whiskers = [
        re.findall(r'class="whisker" x1="\S+" x2="\S+"', figures.recall_chart(rows)[0]) for rows in (inside, beyond)
    ]
    assert whiskers[0] == whiskers[1] != []


def test_gallery_returns_the_numbers_it_drew(folder: Path) -> None:
    drawn = figures.gallery(report.summarise(folder).gallery.blocks)
    with_similar, without = (numbers for _, numbers in drawn)
    # R1 and the widened stages exist with similar samples only; 0.49 is the 95th percentile of 0.3 … 0.5.
    assert [record["stage"] for record in with_similar] == ["before", "R0", "R1", "RF-tau0.6"]
    assert [record["stage"] for record in without] == ["before", "R0"]
    assert [record["back"] for record in with_similar] == [True, True, False, False]
    assert with_similar[0]["ncc"] == pytest.approx(0.9)
    assert with_similar[0]["bar"] == pytest.approx(0.49)
    assert drawn[0][0].count("<image") == 1 + 2 + 4


def test_pictures_are_grey_or_rgb() -> None:
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    for shape, mode in (((1, 4, 6), "L"), ((3, 4, 6), "RGB")):
        pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        picture = Image.open(BytesIO(b64decode(figures.png(pixels).partition(",")[2])))
        assert (picture.mode, picture.size) == (mode, (6, 4))
        assert (np.asarray(picture).reshape(4, 6, -1) == pixels.transpose(1, 2, 0)).all()


def test_everything_from_data_is_escaped(html: str) -> None:
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(svg)  # well-formed whatever the ids are


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
    assert {row.stage for row in summary.table.rows if row.missing} == {"R1", "relabel-1+3", "RF-tau0.6"}
    assert page.count(">not computed</text>") == 2  # R1 and RF-tau0.6 in the gallery
    for row in summary.table.rows:
        assert row.missing or all(cell.text != "–" or cell.note for cell in row.cells)
    assert [verdict.holds for verdict in summary.verdicts] == ["yes", "not computed"]


def test_a_run_without_any_stage_still_gives_a_page(tmp_path: Path) -> None:
    page = report.write_report(make_folder(tmp_path / "none", ())).read_text(encoding="utf-8")
    assert "This run cannot say" in page


def test_why_a_run_failed_is_told(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "failed", ("before",))
    failed = [{"run": "seed 0 · with · R0", "why": "Traceback …\nValueError: no <room>"}]
    store.write_json(root / "run.json", {"failed": failed})
    page = report.write_report(root).read_text(encoding="utf-8")
    assert "the run failed: ValueError: no &lt;room&gt;" in page


def test_headline_turns_on_the_claims() -> None:
    config = config_of(seeds=1, stages=("before", "R0", "R1", "RF-1+5"), data={"targets": 3})
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


def test_figures_stand_alone(folder: Path, tmp_path: Path) -> None:
    for path in report.write_figures(folder, tmp_path / "figures"):
        drawing = ElementTree.parse(path).getroot()
        assert drawing.find("{http://www.w3.org/2000/svg}style") is not None
        assert "http" not in path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        report.write_report(tmp_path)


def test_the_report_needs_no_torch(folder: Path) -> None:
    code = (
        "import sys, pathlib; from vestige.report import write_report; "
        f"write_report(pathlib.Path({str(folder)!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
