"""Dose studies: variants of one study's data, and the duplicate equivalent worked by hand."""

import json
import math
import shlex

import numpy as np
import pytest

from conftest import TINY, shapes
from vestige import collect, dose, experiment, report, store, studies, terminal
from vestige.config import build, read_set
from vestige.executor import one_thread
from vestige.types import InputError, Run

VARIANTS = {
    "none": {"data": {"similar": 0, "held_out": 3}},
    "exact ×1": {"data": {"similar": 1, "held_out": 2, "fraction": 0.0}},
    "mask 0.3 ×1": {"data": {"similar": 1, "held_out": 2}},
    "mask 0.3 ×3": {"data": {"similar": 3, "held_out": 0}},
    "blur 2 ×3": {"data": {"similar": 3, "held_out": 0, "transform": "blur", "blur": 2.0}},
}
SETS = [*TINY[:-1], f"variants={json.dumps(VARIANTS)}"]


def test_the_grid_is_what_the_study_promises():
    """30 variants, 3 stages, 3 seeds: 270 runs; targets and training size the same in all."""
    settings = studies.configure("image-dose")
    assert len(experiment.plan(settings)) == 30 * 3 * 3
    assert len(experiment.plan(studies.configure("image-dose", "paper"))) == 30 * 3
    known = dose.doses(settings)
    masked = [d["copies"] for name, d in known.items() if name == "none" or name.startswith("mask 0.3")]
    assert masked == [0, 1, 2, 3, 5, 7, 10]
    assert {d["transform"] for d in known.values()} == {"mask", "noise", "shift", "crop", "jpeg", "brightness", "blur"}
    for claim in studies.STUDIES["image-dose"].claims:
        assert set(claim.variants) <= set(settings.variants)
    data = [settings.of(name).data for name in settings.variants]
    assert {(d.per_class, d.targets, d.never_seen, d.test, d.source) for d in data} == {(15, 3, 300, 1000, "mnist")}


def test_a_variant_is_the_settings_with_its_own_over_them():
    settings = build([{"data": {"similar": 4, "block": 3}, "variants": VARIANTS}])
    assert settings.of("") is settings
    assert settings.of("exact ×1") == build([{"data": {"similar": 1, "held_out": 2, "fraction": 0.0, "block": 3}}])
    with pytest.raises(InputError, match="no variant is called 'exact'; known: none, exact ×1"):
        settings.of("exact")
    assert list(build([{"variants": VARIANTS}, {"variants": {"one": VARIANTS["none"]}}]).variants) == ["one"]


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({"a": {"data": {"fractoin": 1}}}, r"variant 'a': .*\n.*did you mean 'data\.fraction'"),
        ({"a": {"data": {"similar": -1}}}, r"variant 'a': .*\n.*greater than or equal to 0"),
        ({"a": {"train": {"steps": 3}}}, r"must change data settings"),
        ({"a": {"data": {"source": "fmnist"}}}, r"not data\.source"),
        ({"a": {"data": 3}}, r"must change data settings"),
        ({"a · b": {"data": {"similar": 1}}}, r"a name without ' · '"),
        ({"": {"data": {"similar": 1}}}, r"a name without"),
        ({"a": {"data": {"similar": 1}}, "b": {"data": {"similar": 1}}}, r"'a' and 'b' have the same settings"),
        ({"a": 3}, r"variants\.a: "),
    ],
)
def test_variants_that_cannot_be(variants, message):
    with pytest.raises(InputError, match=message):
        build([{"variants": variants}])


def test_crossing_by_hand():
    assert dose.crossing([0, 1, 3], [0.2, 0.4, 0.8], 0.6) == pytest.approx(2.0)
    assert dose.crossing([0, 1, 3], [0.2, 0.4, 0.8], 0.4) == 1.0
    assert dose.crossing([0, 1, 3, 5], [0.2, 0.7, 0.3, 0.9], 0.6) == pytest.approx(0.8), "the first crossing counts"
    assert dose.crossing([0, 1, 3], [0.2, 0.4, 0.8], 0.1) == 0.0
    assert dose.crossing([0, 1, 3], [0.2, 0.4, 0.8], 0.9) == math.inf


def recalls(levels, seeds=2):
    """Two targets a seed; `levels`: variant → NCC under R0 of all of them, or a list with one per seed."""
    found = {}
    for name, level in levels.items():
        for seed in range(seeds):
            value = level[seed] if isinstance(level, list) else level
            found[Run(seed, "with", "R0", name)] = {"target": {"a": value - 0.01, "b": value + 0.01}}
    return found


def equivalent(levels, seeds=2):
    settings = build([{"seeds": seeds, "variants": {name: VARIANTS[name] for name in VARIANTS}}])
    (found,) = dose.equivalents(settings, recalls(levels, seeds))
    return found


HAND = {"none": 0.4, "exact ×1": 0.8, "mask 0.3 ×1": 0.6, "mask 0.3 ×3": 1.0, "blur 2 ×3": 0.5}


def test_duplicate_equivalent_by_hand():
    """0.4, 0.6 and 1.0 at 0, 1 and 3 copies reach the exact copy's 0.8 half-way between 1 and 3: 2 copies."""
    found = equivalent(HAND)
    assert found["copies"] == pytest.approx(2.0)
    assert (found["low"], found["high"]) == (pytest.approx(2.0), pytest.approx(2.0)), "all seeds agree"
    assert (found["level"], found["none"], found["reached"]) == (pytest.approx(0.8), pytest.approx(0.4), 1.0)
    assert (found["n"], found["seeds"], found["most"]) == (4, 2, 3)
    assert found["strength"] == {"block": 2, "fraction": 0.3}
    assert "as much as 2.0 [2.0, 2.0] copies" in found["sentence"]


def test_duplicate_equivalent_varies_with_the_seeds():
    found = equivalent({**HAND, "exact ×1": [0.7, 0.9]})
    assert found["copies"] == pytest.approx(2.0)
    assert (found["low"], found["high"]) == (pytest.approx(1.5), pytest.approx(2.5))


def test_duplicate_equivalent_that_is_not_reached_or_not_there():
    missed = equivalent({**HAND, "mask 0.3 ×3": 0.7})
    assert (missed["copies"], missed["reached"]) == (None, 0.0)
    assert missed["sentence"].startswith("3 copies")
    assert missed["sentence"].endswith("not reached")
    open_end = equivalent({**HAND, "exact ×1": [0.8, 1.05]}, seeds=2)
    assert open_end["copies"] is not None
    assert open_end["high"] is None
    assert "more than 3]" in open_end["sentence"]
    flat = equivalent({**HAND, "none": 0.79})
    assert flat["copies"] is None
    assert flat["sentence"].startswith("undefined")
    absent = equivalent({name: value for name, value in HAND.items() if name != "exact ×1"})
    assert (absent["copies"], absent["n"]) == (None, 0)
    assert "no seed finished" in absent["sentence"]
    assert dose.equivalents(build([]), {}) == []


def test_contrast_between_variants_is_paired_by_target():
    runs = recalls({"mask 0.3 ×3": 0.7, "mask 0.3 ×1": [0.5, 0.4]})
    found, seeds = collect.contrast(runs, "target", "with", "R0", "R0", ("mask 0.3 ×3", "mask 0.3 ×1"))
    assert (found.value, found.n, seeds) == (pytest.approx(0.25), 4, 2)
    assert collect.contrast(runs, "target", "with", "R0", "R0") is None


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny dose study: its first run by a worker, the rest in this process. Its folder, the part's and its record."""
    folder = tmp_path_factory.mktemp("dose")
    x, y = shapes(per_class=24)
    np.savez(folder / "shapes.npz", x=x[:, 0], y=y)
    settings = studies.configure("image-dose", data=str(folder / "shapes.npz"), sets=SETS, seeds=1)

    lab = studies.open_laboratory(settings, folder / "out")
    part = studies.conduct(lab, workers=1, limit=1, say=lambda _: None)
    one_thread()
    for run in experiment.plan(settings):
        lab.scores(run, lambda _: None)
    return folder, part, studies.conduct(lab, workers=1, say=lambda _: None)


def test_a_dose_study_end_to_end(finished):
    folder, part, record = finished
    assert (part["comparable"], record["comparable"]) == (False, True)
    assert {row["stage"] for row in part["rows"]} == {"before"}
    assert list(dict.fromkeys(row["variant"] for row in record["rows"])) == list(VARIANTS)
    assert {row["training"] for row in record["rows"]} == {"with"}
    assert {row["stage"] for row in record["rows"]} == {"before", "R0", "R1"}
    cells = {(row["variant"], row["stage"], row["group"], row["metric"]): row for row in record["rows"]}
    assert len(cells) == len(record["rows"])
    r0, r1 = (cells["none", stage, "target", "ncc"]["mean"] for stage in ("R0", "R1"))
    assert r0 == r1, "with no similar samples R1 is R0"
    assert record["doses"]["mask 0.3 ×3"]["copies"] == 3
    assert [found["transform"] for found in record["equivalents"]] == ["mask"]
    holds = {verdict["name"]: verdict["holds"] for verdict in record["verdicts"]}
    assert holds["one-copy-matters"] is not None
    assert holds["jpeg-hardly-matters"] is None, "was not run"
    made = record["provenance"]
    assert (made["data"], len(made["variants"]), len(made["models"])) == ({}, 5, 15)
    opened = store.Store(folder / "out")
    splits = [opened.load("data", name).facts["split"] for name in made["variants"].values()]
    for role in ("target", "never_seen", "test"):
        assert all(split[role] == splits[0][role] for split in splits)


def test_its_command_makes_it_again(finished):
    made = finished[2]["provenance"]
    sets = [part for part in shlex.split(made["command"]) if "=" in part]
    settings = studies.configure("image-dose", data=made["config"]["data"]["source"], sets=sets, seeds=1)
    assert settings.model_dump(mode="json") == made["config"]
    assert read_set([sets[-1]])["variants"] == VARIANTS


def test_its_table_has_a_line_per_variant_and_fits(finished, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    terminal.show_table(finished[2]["rows"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split("  ")[0] for line in lines[1:6]] == list(VARIANTS)


def test_its_page_shows_every_variant_and_what_comes_back(finished):
    page = report.write_report(finished[0] / "out").read_text(encoding="utf-8")
    summary = report.summarise(finished[0] / "out")
    assert summary.deck.startswith("2 images to forget, 1 seed.")
    assert [row.stage for section in summary.sections if section.table for row in section.table.rows] == list(VARIANTS)
    (sheet,) = next(figure.charts for figure in summary.figures if figure.name == "gallery")
    assert sheet.columns == (("Original", ""), ("none", ""), ("exact", "×1"), ("mask 0.3", "×1"), ("mask 0.3", "×3"))
    found = [one for _, _, cells in sheet.rows for _, one in cells[1:]]
    assert len(found) == 8
    assert all(one.ncc is not None and one.bar is not None for one in found)
    assert "R0 with exact ×1" in page
    assert "this run was not carried out" not in page
    assert "stages:\n- before" in page, "the configuration is the study's own"


def test_a_dose_too_large_for_the_class_is_refused_before_anything_is_kept(finished):
    many = {"none": VARIANTS["none"], "many": {"data": {"similar": 6}}}
    sets = [*TINY[:-1], f"variants={json.dumps(many)}"]
    settings = studies.configure("image-dose", data=str(finished[0] / "shapes.npz"), sets=sets, seeds=1)
    with pytest.raises(InputError, match="6 similar samples do not fit into 6 samples a class"):
        experiment.rehearse(settings)
