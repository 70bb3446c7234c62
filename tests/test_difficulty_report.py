"""The page of a difficulty study: its sentences follow from the numbers, nothing is left out without a reason."""

import copy
import re
import subprocess
import sys

import pytest

from difficulties import folder, predictor, record
from vestige.report import difficulty
from vestige.report.difficulty import forest, words
from vestige.report.difficulty.page import ENDS, LONGEST, figures, write_figures
from vestige.types import InputError

QUESTIONS = 5


@pytest.fixture(scope="module")
def result():
    return record()


def changed(result, **analyses):
    return result | {"analyses": result["analyses"] | analyses}


def value(value, low=None, high=None, n=39):
    return {"value": value, "low": low, "high": high, "n": n}


def test_the_page_has_every_section(result, tmp_path):
    html = difficulty.write_page(folder(tmp_path, result)).read_text(encoding="utf-8")
    for name in ("answers", "how", "which", "whose", "factors", "told", "alike", "models", "limits", "made"):
        assert f'id="{name}"' in html
    for figure in figures(result):
        assert f'<figure id="{figure.name}">' in html
        assert figure.svgs
        assert figure.numbers
    assert html.count('src="data:image/png') == 2 * ENDS
    assert "the loss is not finite" in html
    assert "1 of 420 runs is not there" in html
    assert "<script" not in html
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "nan" not in re.sub(r"base64,[^\"]*", "", html).lower().split()
    assert [path.name for path in write_figures(tmp_path, tmp_path / "figures")][:2] == ["spread.svg", "agreement.svg"]


def test_hardest_come_first(result, tmp_path):
    html = difficulty.write_page(folder(tmp_path, result)).read_text(encoding="utf-8")
    ranking = result["analyses"]["inequality"]["ranking"]
    shown = re.findall(r"<small>(toy/\d+), class \d</small>", html)
    assert shown[:ENDS] == [one["id"] for one in ranking[:ENDS]]
    assert shown[ENDS:] == [one["id"] for one in ranking[::-1][:ENDS]]


def test_texts_are_escaped_and_shortened(result, tmp_path):
    texts = ["<script>alert(1)</script> & more " + "words " * 60] * len(result["ids"])
    html = difficulty.write_page(folder(tmp_path, result, texts)).read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html
    assert "words " * 40 not in html
    assert len("words ") * 40 > LONGEST


def test_names_from_data_stay_inert(tmp_path):
    evil = '"><script>alert(1)</script>'
    html = difficulty.write_page(
        folder(tmp_path, record(ids=6, algorithms=("GA", "FT"), label=evil, name=evil, doses=()))
    ).read_text(encoding="utf-8")
    assert "<script" not in html


def test_what_was_not_computed_says_why(result, tmp_path):
    keys = ("inequality", "agreement", "holding", "symptoms", "natural", "constructed", "predictor")
    bare = changed(result, **{key: {"missing": f"of {key} & co"} for key in keys}) | {"pictures": {}}
    html = difficulty.page(bare, {})
    for key in keys:
        assert f"ot computed because of {key} &amp; co" in html
    assert "<svg" not in html
    assert [one.answer for one in words.verdicts(bare)] == ["not told"] * QUESTIONS
    without = changed(result) | {"analyses": {}}
    assert "this run did not ask for it" in difficulty.page(without, {})


def test_small_studies_have_a_page_too():
    """One seed, one algorithm, no doses, few samples: what cannot be told is said to be so."""
    few = record(ids=6, algorithms=("GA",), seeds=1, doses=())
    few["dosed"] = []
    answers = {one.question[:5]: one for one in words.verdicts(few)}
    assert answers["Is it"].answer == "not told"
    assert "no doses were asked for" in difficulty.page(few, {})


@pytest.mark.parametrize(
    ("cross", "clean", "answer"),
    [
        (value(0.5, 0.4, 0.6), value(0.98, 0.9, 1.1), "yes"),
        (value(0.5, 0.4, 0.6), value(0.6, 0.5, 0.7), "partly"),
        (value(0.3, 0.1, 0.5), value(0.7, 0.1, 1.6), "not told"),
        (value(0.1, -0.1, 0.3), value(0.2, -0.2, 0.5), "no"),
        (value(0.5, 0.4, 0.6), value(None), "not told"),
        (value(None), value(None), "not told"),
    ],
)
def test_independence(result, cross, clean, answer):
    agreement = result["analyses"]["agreement"] | {"cross": cross, "disattenuated": clean}
    assert words.verdicts(changed(result, agreement=agreement))[1].answer == answer


@pytest.mark.parametrize(
    ("aucs", "answer"), [((0.9, 0.95), "yes"), ((0.85, 0.83), "partly"), ((0.85, 0.7), "partly"), ((0.7, 0.6), "no")]
)
def test_prediction_is_judged_by_the_linear_one_everywhere(result, aucs, answer):
    told = predictor(39)
    told["by"] = {name: copy.deepcopy(told["by"]["sample"]) for name in ("sample", "algorithm")}
    for one, auc in zip(told["by"].values(), aucs, strict=True):
        one["linear"]["auc"] = value(auc, auc - 0.06, auc + 0.06)
        one["boosted"]["auc"] = value(0.99, 0.98, 1.0)
    verdict = words.verdicts(changed(result, predictor=told))[3]
    assert verdict.answer == answer
    assert "never seen" in verdict.sentence


@pytest.mark.parametrize(
    ("slope", "rho", "answer"),
    [
        (value(0.02, 0.01, 0.03), value(0.4, 0.2, 0.6), "yes"),
        (value(0.02, 0.01, 0.03), value(0.0, -0.2, 0.2), "partly"),
        (value(0.0, -0.01, 0.01), value(0.0, -0.2, 0.2), "no"),
        (value(-0.02, -0.03, -0.01), value(-0.4, -0.6, -0.2), "no"),
    ],
)
def test_similarity(result, slope, rho, answer):
    natural, constructed = (copy.deepcopy(result["analyses"][key]) for key in ("natural", "constructed"))
    natural["overall"]["spearman"], constructed["overall"]["slope"] = rho, slope
    verdict = words.verdicts(changed(result, natural=natural, constructed=constructed))[4]
    assert verdict.answer == answer
    assert ("falls" in verdict.sentence) == (rho["value"] < 0)


def test_predictors_and_symptoms_stand_apart(result):
    html = difficulty.page(result, {})
    before, after = html.split("Symptoms: what is seen only once")
    assert "margin" in before.split("Predictors: what is known")[1]
    assert "expansion" not in before.split("Predictors: what is known")[1]
    assert "expansion" in after.split("<figure")[0]
    assert "margin" not in after.split("<figure")[0]


def test_figures_return_what_they_drew():
    row = forest.Row("one & two", 0.5, 0.25, 0.75)
    drawn, numbers = forest.draw([row], (0, 0.5, 1), [], "x")
    assert numbers == [{"name": "one & two", "value": 0.5, "low": 0.25, "high": 0.75, "note": ""}]
    (centre,) = re.findall(r'<circle cx="([\d.]+)"', drawn)
    low, high = re.search(r'class="whisker" x1="([\d.]+)" x2="([\d.]+)"', drawn).groups()
    assert float(centre) == pytest.approx((float(low) + float(high)) / 2)
    assert "one &amp; two" in drawn


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no difficulty study"):
        difficulty.write_page(tmp_path)


def test_the_page_needs_no_torch(result, tmp_path):
    folder(tmp_path, result)
    code = (
        "import sys; from pathlib import Path; from vestige.report import difficulty; "
        f"difficulty.write_page(Path({str(tmp_path)!r})); sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
