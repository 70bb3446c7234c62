"""The page of language studies: panels by method, answers side by side, tables; nothing of data becomes markup."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from texts import EIGHT, STAGES, WITH, config_of, km, make_text_folder, result
from vestige import report, store
from vestige.report import figures, panels
from vestige.report.record import Figure, Panel, PanelChart, Point, Sampled
from vestige.report.text import answers, charts, tables, words
from vestige.report.text.material import TextMaterial, Unit, point
from vestige.terminal import show_text_results

EVIL = '<script>alert(1)</script>"><img onerror=alert(2)> & co'


def material_of(study: str = "text-target", done: tuple[str, ...] = STAGES, **settings: Any) -> TextMaterial:
    config = config_of(study, **settings)
    made = result(config, done)
    return TextMaterial(config, made["rows"], made["records"], made["answers"], made["verdicts"], made["missing"], {})


def numbers_of(figure: Figure) -> list[dict[str, Any]]:
    return figures.numbers(figure, [figures.draw(chart) for chart in figure.charts])[1]


def summary_of(tmp_path: Path, study: str = "text-target", **more: Any) -> report.Summary:
    settings = more.pop("settings", {})
    return report.summarise(make_text_folder(tmp_path / "run", config_of(study, **settings), **more))


def figure_of(summary: report.Summary, name: str) -> Figure:
    return next(figure for figure in summary.figures if figure.name == name)


def test_the_two_differences_are_those_of_the_paper(tmp_path: Path) -> None:
    drawn = numbers_of(figure_of(summary_of(tmp_path, "text-similar"), "similar-with"))
    one = next(row for row in drawn if row["panel"] == "GA_GDN" and row["kind"] == "sample" and row["at"] == "2")
    after, before, base = (km(stage, "with", "similar", 1) for stage in ("GA_GDN", "before", "base"))
    assert one["with pre-unlearning"] == pytest.approx(after - before)
    assert one["with pre-finetuning"] == pytest.approx(after - base)
    assert list(dict.fromkeys(row["panel"] for row in drawn)) == ["R0", "R1", *EIGHT]


def test_the_arms_are_compared_target_by_target(tmp_path: Path) -> None:
    summary = summary_of(tmp_path)
    drawn = numbers_of(figure_of(summary, "arms"))
    assert list(dict.fromkeys(row["panel"] for row in drawn)) == ["R0", *EIGHT], "R1 exists in one arm only"
    one = next(row for row in drawn if row["panel"] == "GDR" and row["kind"] == "sample")
    assert one["with − without"] == pytest.approx(0.2)
    mean = next(row for row in drawn if row["panel"] == "GDR" and row["kind"].startswith("mean"))
    assert (mean["n"], mean["seeds"]) == (6, 2)
    assert {"target-with", "target-without", "target-stages"} <= {figure.name for figure in summary.figures}


def test_held_out_paraphrases_are_looked_at_without_similar_samples(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, "text-heldout")
    figure = figure_of(summary, "similar-without")
    drawn = numbers_of(figure)
    assert {row["panel"] for row in drawn} == {"R0", *EIGHT}
    one = next(row for row in drawn if row["panel"] == "GDR" and row["kind"] == "sample")
    assert one["with pre-unlearning"] == pytest.approx(km("GDR", "without", "similar", 0) - 0.62)
    assert "Fig.\u00a013" in figure.paper
    assert words.heldout(material_of("text-heldout", training=("with",))) == ("with", "held_out")


def test_a_stage_of_the_other_arm_is_left_out() -> None:
    assert material_of(training=("without",)).stages == tuple(stage for stage in STAGES if stage != "R1")


def test_a_mean_has_its_interval_over_the_targets() -> None:
    units = [Unit(seed, target) for seed in (0, 1) for target in ("a", "b")]
    both = point("x", dict(zip(units, (0.1, 0.3, 0.2, 0.4), strict=True)))
    assert both == Point("x", 0.25, pytest.approx(0.0446, abs=1e-4), pytest.approx(0.4554, abs=1e-4), 4, 2)
    one = point("x", dict(zip(units[:2], (0.1, 0.3), strict=True)))
    assert one is not None
    assert (one.n, one.seeds) == (2, 1)
    assert one.low == -1.0, "cut at the end of the scale"
    assert point("x", {}) is None


def test_bars_stand_up_and_down_from_zero() -> None:
    samples = (
        Sampled("a", "1", "seed 0", False, {"down": -0.5, "up": 0.25}),
        Sampled("b", "2", "seed 0", False, {"down": 0.0}),
    )
    panel = Panel("GA", samples, {"down": Point("down", -0.25, None, None, 2, 1)}, None, "what")
    chart = PanelChart("Change", (("down", "d", "r0"), ("up", "u", "1")), (panel,))
    drawn, numbers = panels.draw(chart)
    boxes = re.findall(r'<rect class="bar tone-(r0|1)" x="[^"]*" y="([^"]*)" width="[^"]*" height="([^"]*)"', drawn)
    down, up, flat = [(float(y), float(height)) for _, y, height in boxes[-3:]]
    assert down[1] == pytest.approx(2 * up[1], abs=0.11)
    assert up[0] + up[1] == pytest.approx(down[0], abs=0.11), "both begin at zero"
    assert flat[1] == pytest.approx(panels.LEAST_BAR), "a zero can be told from what is missing"
    assert "seed 0, b: not computed" in drawn
    assert numbers[0] == {
        "panel": "GA",
        "kind": "mean down",
        "mean": -0.25,
        "low": None,
        "high": None,
        "n": 2,
        "seeds": 1,
    }
    ElementTree.fromstring(drawn)


def test_many_targets_still_fit() -> None:
    material = material_of("text-similar", data={"targets": 50})
    (chart,) = charts.changes(material, "with", "similar")
    drawn, numbers = panels.draw(chart)
    places = [float(x) for x in re.findall(r'<rect class="bar tone-1" x="([^"]*)"', drawn)]
    assert max(places) < 460
    assert len([row for row in numbers if row["kind"] == "sample"]) == 10 * 100


def test_more_methods_go_to_a_second_chart() -> None:
    stages = (*STAGES, "GA", "SimNPO")
    material = material_of("text-similar", stages=stages)
    first, second = charts.changes(material, "with", "similar")
    assert [panel.heading for panel in second.panels] == ["GA", "SimNPO"]
    assert len(first.panels) == charts.PANELS
    assert "not carried out" in second.panels[0].why


def test_answers_stand_side_by_side(tmp_path: Path) -> None:
    (section,) = [one for one in summary_of(tmp_path).sections if one.name == "answers"]
    first = section.dialogues[0]
    assert len(section.dialogues) == 6
    assert [stage for stage, _, _ in first.own.rows] == list(STAGES)
    with_, without = next(replies for stage, _, replies in first.own.rows if stage == "GDR")
    assert (with_.recall, without.recall) == (pytest.approx(0.55), pytest.approx(0.35))
    assert with_.answer != without.answer
    assert next(replies for stage, _, replies in first.own.rows if stage == "R1")[1].why
    (similar, held_out) = first.parts
    assert similar[0] == "2 similar questions, trained on in the arm with similar samples"
    assert held_out[0] == "A held-out question, never trained on"
    assert len(similar[1]) == 2


def test_a_paraphrase_that_plays_two_parts_stands_once() -> None:
    material = material_of()
    doubled = [*material.answers]
    doubled += [{**one, "role": "held_out"} for one in material.answers
                if one["training"] == "without" and one["role"] == "similar"]  # fmt: skip
    config, rows, records = material.config, material.rows, material.records
    again = TextMaterial(config, rows, records, doubled, material.verdicts, material.missing, {})
    assert answers.dialogues(again) == answers.dialogues(material)


def test_what_there_is_no_room_for_is_said() -> None:
    material = material_of(data={"targets": 25, "similar": 5})
    assert len(answers.dialogues(material)) == answers.TARGETS_SHOWN
    assert answers.left_out(material) == 2 * 25 - answers.TARGETS_SHOWN
    part, shown = answers.dialogues(material)[0].parts[0]
    assert len(shown) == answers.PARAPHRASES_SHOWN
    assert "5 similar" in part
    assert "first 3" in part


def test_the_table_counts_over_unlearning_and_explains_gaps() -> None:
    table = tables.methods_table(material_of())
    assert table is not None
    cells = {(row.arm.split()[0], row.stage): dict(zip(table.columns, row.cells, strict=False)) for row in table.rows}
    assert cells["With", "GA_KLN"]["Over-unlearned"].text == "6 of 6", "0.12 of 0.30, 0.14 of 0.32, 0.16 of 0.34"
    assert cells["With", "GDR"]["Over-unlearned"].text == "0 of 6"
    assert cells["With", "GDR"]["KM target"].text == f"{WITH['GDR'] + 0.02:.2f}"
    mark = cells["With", "base"]["Residual target"].note
    assert dict(table.notes)[mark] == "not computed because base and before are the ends of its scale."
    mark = cells["With", "GDR"]["Residual similar"].note
    assert "there was nothing to forget" in dict(table.notes)[mark]


def test_every_target_is_listed() -> None:
    material = material_of()
    listing = answers.listing(material)
    assert listing is not None
    assert len(listing.rows) == 2 * 3 * (12 + 11)
    row = dict(zip(listing.heads, listing.rows[0], strict=True))
    assert (row["seed"], row["target"], row["similar samples"], row["stage"]) == ("0", "1", "with", "base")
    assert row["KM target"] == pytest.approx(0.3)


@pytest.mark.parametrize("study", ["text-similar", "text-target", "text-heldout", "quickstart"])
def test_everything_from_data_is_escaped(tmp_path: Path, study: str) -> None:
    config = config_of(study, data={"source": EVIL}, model={"source": EVIL})
    page = report.write_report(make_text_folder(tmp_path / "run", config, mark=EVIL)).read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "alert(1)" in page
    assert len(re.findall("<style>", page)) == 1
    assert 'style="' not in page
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))


def test_a_partial_run_says_what_is_missing(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, "text-similar", done=("base", "GDR"), failed=("GDR_KLN",))
    page = report.page(summary)
    assert "cannot say" in summary.headline
    assert "Not comparable" in summary.banners[0]
    assert "it broke" in summary.banners[1]
    drawn = {panel.heading: panel for panel in figure_of(summary, "similar-with").charts[0].panels}  # type: ignore[union-attr]
    assert drawn["GDR"].samples, "the difference to base is known"
    assert drawn["GDR_KLN"].why == "the run failed: it broke"
    assert drawn["TV"].why == "this run was not carried out"
    assert "the run failed: it broke" in page


def test_what_targets_of_a_seed_lack_is_said_once(tmp_path: Path) -> None:
    root = make_text_folder(tmp_path / "run", config_of())
    record = store.read_json(root / "result.json")
    again = [{**record["missing"][0], "seed": seed} for seed in (0, 0, 1)]
    store.write_json(root / "result.json", {**record, "missing": again})
    (one,) = report.summarise(root).missing
    assert one["seeds"] == "0, 1"


def test_nothing_finished(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, done=())
    assert "cannot say" in summary.headline
    assert all(not figure.charts and figure.why for figure in summary.figures)
    assert "Not computed because" in report.page(summary)


def test_the_headline_follows_the_numbers() -> None:
    similar = words.headline(material_of("text-similar"))
    assert "6 of 8 methods end between" in similar
    assert "GA_KLN falls to base or below" in similar
    assert "TV stays at before or above" in similar
    target = words.headline(material_of())
    assert "8 of 8 methods leave more of the target" in target
    assert "0.72 with them and 0.52 without" in target
    assert "cannot say" in words.headline(material_of("text-heldout", done=("base", "R0")))
    assert "end between" in words.headline(material_of(training=("with",)))


def test_a_model_that_learned_nothing_can_forget_nothing() -> None:
    material = material_of()
    flat = [{**record, "rougeL_recall": 0.3} for record in material.records]
    again = TextMaterial(material.config, material.rows, flat, (), material.verdicts, (), {})
    assert "cannot show forgetting" in words.headline(again)


def test_the_papers_figure_is_that_of_the_same_model() -> None:
    def said(kind: str, source: str) -> str:
        return words.counterpart(kind, config_of(model={"source": source}))

    assert said("similar", "meta-llama/Llama-3.2-3B-Instruct") == "Counterpart of the paper’s Fig.\u00a038."
    assert "there llama-3.2-1b" in said("similar", "smollm2-135m-instruct")


def test_figures_are_files_too(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "run", config_of())
    paths = report.write_figures(folder, tmp_path / "figures")
    assert [path.stem for path in paths] == ["arms", "target-with", "target-without", "target-stages"]
    for path in paths:
        ElementTree.parse(path)


def test_the_page_needs_no_torch(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "run", config_of())
    code = (
        "import sys, pathlib; from vestige.report import write_report; "
        f"write_report(pathlib.Path({str(folder)!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_terminal_fits_100_columns(capsys: pytest.CaptureFixture[str]) -> None:
    made = result(config_of(), STAGES)
    show_text_results(made["rows"])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    line = next(line for line in out.splitlines() if line.startswith("GDR_KLN"))
    assert line.split() == ["GDR_KLN", "0.62", "[0.52,", "0.72]", "0.72", "[0.62,", "0.82]", "0.67", "[0.57,", "0.77]",
                            "0.82", "[0.72,", "0.92]", "0.87", "[0.77,", "0.97]"]  # fmt: skip
    assert "Without similar samples" in out


def test_other_scripts_are_named_where_there_are_some() -> None:
    material = material_of("text-similar")
    plain, said = (words.limits(material, taken) for taken in ({"rouge": 9}, {"rouge": 3, "unicode": 2}))
    assert said[:-1] == plain
    assert said[-1].startswith("2 of 5 true answers were taken apart into words by the rules of their script")
