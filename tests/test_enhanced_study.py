"""The studies of the enhanced schemes: their plans, their claims, their page."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from texts import ENHANCED_STAGES, SWEPT_STAGES, config_of, km, make_text_folder, residual_of, result
from vestige import language, report, studies
from vestige.language import collect
from vestige.language.claims import TextClaim, judge
from vestige.report import figures, pareto
from vestige.report.record import Point, Trade, TradeChart
from vestige.report.text import tradeoffs, words
from vestige.report.text.material import TextMaterial
from vestige.report.text.variants import adds, enhanced_methods, plain_and_enhanced, variant
from vestige.terminal import show_text_results
from vestige.types import Run
from vestige.verify import Measure

UTILITY: dict[str, Any] = {"training": ("with",), "measure": ("answers", "utility")}


def material_of(study: str = "text-enhanced", **settings: Any) -> TextMaterial:
    stages = settings.pop("stages", SWEPT_STAGES if study.endswith("sweep") else ENHANCED_STAGES)
    config = config_of(study, stages=stages, **UTILITY, **settings)
    made = result(config, tuple(config.stages))
    return TextMaterial(config, made["rows"], made["records"], made["answers"], made["verdicts"], made["missing"], {})


def found_of(*values: tuple[str, float | None], group: str = "similar", metric: str = "rougeL_recall") -> Any:
    """One value per stage, the same of two targets but for 0.1; None: undefined."""
    measures = {
        Run(0, "with", stage, target=str(place)): [
            Measure("target", "rougeL_recall", 0.5, None, None, 1),
            Measure(group, metric, None if value is None else value + 0.1 * place, None, None, 1, "nothing to forget"),
        ]
        for stage, value in values
        for place in (1, 2)
    }
    return collect.by_place(measures)


def claim_of(second: str | None, rule: Any, bar: float, metric: str = "rougeL_recall") -> TextClaim:
    other = ("with", second) if second else None
    return TextClaim("x", "similar", ("with", "A"), other, rule, bar, "yes", "no", metric)


def test_the_studies_hold_what_they_compare() -> None:
    made = language.configure("text-enhanced")
    assert enhanced_methods(made) == ("NPO_GDN", "GDR_GDN", "GDR")
    for method in enhanced_methods(made):
        assert {method, f"{method}~0.618", f"{method}-1+5", f"Enhanced {method}"} < set(made.stages)
    assert "Enhanced NPO_GDN-near" in made.stages
    assert {"base", "before", "R0", "R1"} < set(made.stages)
    assert "utility" in made.measure
    assert 1 + made.data.similar + made.data.held_out + made.data.spare == 12, "a family of the facts is used up"
    assert language.configure("text-enhanced-equal").unlearn.until == 0.3
    assert language.configure("text-enhanced", "paper").data.similar == 49, "the preset small only has less"


@pytest.mark.parametrize(
    "study", ["text-enhanced", "text-enhanced-equal", "text-enhanced-reach", "text-enhanced-sweep"]
)
@pytest.mark.parametrize("preset", ["small", "paper"])
def test_every_study_can_be_planned(study: str, preset: str) -> None:
    made = language.configure(study, preset)
    assert {run.training for run in language.plan(made)} == {"with"}


def test_the_claims_are_about_stages_of_their_study() -> None:
    for name in ("text-enhanced", "text-enhanced-equal", "text-enhanced-reach"):
        stages = language.configure(name).stages
        claims = language.STUDIES[name].claims
        assert len({claim.name for claim in claims}) == len(claims)
        for claim in claims:
            assert {place[1] for place in (claim.first, claim.second) if place} <= set(stages)
            assert "{" not in claim.yes + claim.no


@pytest.mark.slow
def test_a_tiny_model_goes_from_data_to_page(tmp_path: Path) -> None:
    sets = ["model.source=tiny-llama", "data.targets=1", "data.other=4", "data.never_seen=2", "train.epochs=1",
            "unlearn.steps=1", "ask.max_new_tokens=4", "ask.others=2", "utility.limit=4", "utility.remaining=2",
            "stages=[base, before, NPO_GDN, Enhanced NPO_GDN, Enhanced NPO_GDN-near]"]  # fmt: skip
    laboratory = language.open_laboratory(language.configure("text-enhanced", sets=sets, seeds=1), tmp_path / "run")
    for one in laboratory.plan():
        laboratory.measure(one, lambda message: None)
    record = studies.conduct(laboratory, workers=1, say=lambda message: None, sum_up=language.result)
    found = {(row["stage"], row["group"], row["metric"]) for row in record["rows"]}
    told = found | {(one["stage"], one["group"], one["metric"]) for one in record["missing"]}
    assert ("Enhanced NPO_GDN-near", "choices", "choice_accuracy") in found
    assert {("Enhanced NPO_GDN", group, "text_residual") for group in ("target", "similar", "held_out")} <= told
    judged = {verdict["name"]: verdict["holds"] for verdict in record["verdicts"]}
    assert judged["NPO_GDN-enhanced-keeps-choice"] is not None
    assert judged["GDR-enhanced-keeps-choice"] is None, "GDR was not run"
    page = report.write_report(tmp_path / "run").read_text()
    assert "Not computed because" in page, "an untrained model learns nothing that could be left"
    assert "Enhanced NPO_GDN-near" in page


def test_a_claim_may_be_about_one_place_and_any_measure() -> None:
    found = found_of(("A", 0.05), metric="text_residual")
    verdict = judge(claim_of(None, "at most", 0.2, "text_residual"), found)
    assert (verdict["holds"], verdict["mean"], verdict["n"]) == (True, pytest.approx(0.2), 2)
    assert verdict["clear"] is False, "0.2 ± 12.7 × 0.05"
    assert verdict["quantity"] == "residual of similar samples, A"
    gone = judge(claim_of(None, "at most", 0.2, "text_residual"), found_of(("A", None), metric="text_residual"))
    assert gone["holds"] is None
    assert gone["sentence"].endswith("there is none of any target: nothing to forget")
    assert "was not measured" in judge(claim_of(None, "at most", 0.2, "min_k"), found)["sentence"]
    assert "A with similar samples was not run" in judge(claim_of(None, "at most", 0.2), {})["sentence"]


@pytest.mark.parametrize(
    ("rule", "bar", "holds"),
    [("within", 0.3, True), ("within", 0.1, False), ("at least", -0.3, True), ("at most", -0.3, False)],
)
def test_a_difference_is_held_to_its_rule(rule: str, bar: float, holds: bool) -> None:
    verdict = judge(claim_of("B", rule, bar), found_of(("A", 0.2), ("B", 0.4)))
    assert verdict["mean"] == pytest.approx(-0.2)
    assert (verdict["holds"], verdict["clear"]) == (holds, holds), "both targets differ by as much: no spread"


def test_a_stage_says_what_it_adds() -> None:
    config = language.configure("text-enhanced")
    said = {stage: adds(variant(stage, config)) for stage in config.stages}
    assert said["NPO_GDN"] == ""
    assert said["NPO_GDN~0.618"] == "noise of 0.618 only"
    assert said["GDR-1+5"] == "5 paraphrases too"
    assert said["Enhanced NPO_GDN-near"] == "5 paraphrases too, noise of 0.618, near pairs held"
    assert plain_and_enhanced(config, "NPO_GDN") == ("NPO_GDN", "Enhanced NPO_GDN")
    assert words.describe("Enhanced GDR-apart", config) == (
        "5 paraphrases too, noise of 0.618, similar samples not retained"
    )
    assert words.describe("GDR-similar", config) == "similar samples too"
    assert words.describe("NPO_GDN-1+1~2", config) == "1 paraphrase too, noise of 2"


def trade(stage: str, keeps: float, leaves: float, family: str = "GDR") -> Trade:
    return Trade(
        stage, family, Point(stage, keeps, keeps - 0.1, keeps + 0.1, 4, 2), Point(stage, leaves, None, None, 3, 2)
    )


def test_none_beats_those_on_the_front() -> None:
    trades = (
        trade("best kept", 0.9, 0.8), trade("beaten", 0.5, 0.5), trade("none", 0.7, 0.0), trade("below", 0.7, -0.2),
        trade("R1", 1.0, 0.0, ""),
    )  # fmt: skip
    assert [one.stage for one in pareto.front(trades)] == ["below", "none", "best kept"], "less than none is no better"
    drawn, numbers = pareto.draw(TradeChart("kept", "left", trades, 0.2))
    ElementTree.fromstring(drawn)
    assert [row["not beaten"] for row in numbers] == [True, False, True, True, False]
    assert numbers[1] == {"kind": "beaten", "kept": 0.5, "left": 0.5, "n": 3, "n of x": 4, "not beaten": False}


def test_names_beside_a_trade_chart_do_not_touch() -> None:
    trades = tuple(trade(f"stage {place}", 0.98, 0.1) for place in range(25))
    drawn, _ = pareto.draw(TradeChart("kept", "left", trades))
    names = re.findall(r'<text x="[^"]*" y="([^"]*)" class="legend', drawn)
    places = sorted(float(y) for y in names)
    assert len(places) == 25
    assert min(b - a for a, b in pairwise(places)) >= pareto.CLOSEST - 0.11
    assert places[0] > 0
    assert places[-1] < float(re.search(r'height="([\d.]+)"', drawn)[1])  # type: ignore[index]


def test_the_page_holds_the_papers_figures_and_ours(tmp_path: Path) -> None:
    config = config_of("text-enhanced", stages=ENHANCED_STAGES, **UTILITY)
    summary = report.summarise(make_text_folder(tmp_path / "run", config, ENHANCED_STAGES))
    names = {figure.name: figure for figure in summary.figures}
    assert set(names) == {"ablation", "similar-targets", "held-out-targets", "performance", "near", "pareto-similar",
                          "pareto-held-out"}  # fmt: skip
    for name, paper in (("ablation", "14"), ("similar-targets", "17a"), ("performance", "18")):
        assert f"Fig.\u00a0{paper}" in names[name].paper
    for figure in summary.figures:
        for chart in figure.charts:
            ElementTree.fromstring(figures.draw(chart)[0])
    page = report.page(summary)
    assert "equal steps" in page
    assert "NPO_GDN 0.67 → 0.19" in summary.headline


def test_what_is_kept_is_drawn_as_it_is_and_enhanced() -> None:
    kept, choice = tradeoffs.performance(material_of())
    rows = {row.stage: {point.series: point.mean for point in row.points} for row in kept.rows}
    assert set(rows) == {"base", "before", "NPO_GDN", "GDR_GDN", "GDR"}
    assert set(rows["base"]) == {"plain"}
    assert rows["NPO_GDN"]["plain"] - rows["NPO_GDN"]["enhanced"] == pytest.approx(5 * 0.02 + 0.0618)
    assert choice.heading == "Multiple choice answered right"


def test_protection_stands_beside_none() -> None:
    chart = tradeoffs.protection(material_of())
    assert chart is not None
    rows = {row.stage: row.points[0].mean for row in chart.rows}
    assert next(iter(rows)) == "before"
    assert "GDR" not in rows, "nothing protects there"
    assert rows["Enhanced NPO_GDN-near"] > rows["Enhanced NPO_GDN"]
    assert tradeoffs.protection(material_of(stages=("base", "before", "GDR", "GDR~1"))) is None


def test_a_stage_without_a_residual_is_no_trade() -> None:
    material = material_of()
    left = [row for row in material.rows if (row["stage"], row["metric"]) != ("GDR", "text_residual")]
    again = TextMaterial(material.config, left, material.records, (), (), (), {})
    first = tradeoffs.pareto(again, "similar")[0]
    assert "GDR" not in {one.stage for one in first.trades}
    references = {one.stage for one in first.trades if not one.family}
    assert references == {"R0", "R1"}


def test_an_undefined_residual_says_why(tmp_path: Path) -> None:
    config = config_of("text-enhanced", stages=("base", "before"), **UTILITY)
    summary = report.summarise(make_text_folder(tmp_path / "run", config, ("base", "before")))
    figure = next(one for one in summary.figures if one.name == "pareto-similar")
    assert figure.why == (
        "the residual is undefined for every target: KM before is within 0.05 of the base model's: there was nothing "
        "to forget"
    )
    assert "cannot say" in summary.headline


def test_a_sweep_has_a_curve_per_dose(tmp_path: Path) -> None:
    material = material_of("text-enhanced-sweep")
    lines = (("similar samples", "similar", "rougeL_recall"),)
    alone, wide = tradeoffs.over_gamma(material, lines, "KM")
    assert [dose for dose, _ in alone.lines[0].dots] == [0, 0.1, 0.318, 0.618, 1]
    assert wide.lines[0].dots[0][1].mean == pytest.approx(km("NPO_GDN-1+5", "with", "similar", 1))
    (over_m,) = tradeoffs.over_m(material, lines, "KM")
    assert [dose for dose, _ in over_m.lines[0].dots] == [0, 1, 3, 5, 10]
    assert not tradeoffs.over_gamma(material_of(), lines, "KM"), "two doses are no curve"
    summary = report.summarise(make_text_folder(tmp_path / "run", material.config, SWEPT_STAGES))
    assert {"gamma", "gamma-cost", "paraphrases", "paraphrases-cost"} <= {figure.name for figure in summary.figures}
    assert (
        f"is left by NPO_GDN-1+10~0.618: {residual_of('NPO_GDN-1+10~0.618', 'similar'):.2f}"
        in summary.headline.replace("−", "-")
    )


def test_the_page_says_that_forgetting_is_equal(tmp_path: Path) -> None:
    config = config_of("text-enhanced-equal", stages=("base", "before", "NPO_GDN", "Enhanced NPO_GDN"), **UTILITY,
                       unlearn={"steps": 20, "until": 0.3})  # fmt: skip
    page = report.write_report(make_text_folder(tmp_path / "run", config, ("base", "before", "NPO_GDN"))).read_text()
    assert "equal forgetting" in page
    assert "20 steps at the latest" in page


def test_nothing_finished_is_said(tmp_path: Path) -> None:
    for study in ("text-enhanced", "text-enhanced-reach", "text-enhanced-sweep"):
        config = config_of(study, stages=ENHANCED_STAGES, **UTILITY)
        summary = report.summarise(make_text_folder(tmp_path / study, config, ()))
        assert "cannot say" in summary.headline
        assert all(not figure.charts and figure.why for figure in summary.figures)


def test_the_terminal_fits_100_columns(capsys: pytest.CaptureFixture[str]) -> None:
    material = material_of()
    show_text_results(list(material.rows))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    first, second = [line.split() for line in lines if line.startswith("Enhanced NPO_GDN-near")]
    assert first == ["Enhanced", "NPO_GDN-near", "0.35", "0.45", "0.40", "0.83", "0.88"]
    assert second[2] == "0.19"
