"""Studies judged together: all their cells, a data set never seen; what belongs to one stays as it was told there."""

import json

import pytest

from difficulties import folder, record
from vestige.difficulty import predict
from vestige.difficulty.join import join
from vestige.report import difficulty
from vestige.types import InputError


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    root = tmp_path_factory.mktemp("studies")
    for name, algorithms in (("one", ("EU", "GA")), ("two", ("GA", "FT"))):
        result = record(algorithms=algorithms, name=f"{name} cnn", label=name)
        (root / name).mkdir()
        folder(root / name, result)
    return root


@pytest.fixture(scope="module")
def joined(studies):
    return join([studies / "one", studies / "two" / "result.json"], studies / "both")


def test_factors_are_judged_over_all_algorithms_and_data_sets(joined):
    cells = [["one cnn", "EU"], ["one cnn", "GA"], ["two cnn", "GA"], ["two cnn", "FT"]]
    assert joined["analyses"]["holding"]["cells"] == cells
    mass = next(one for one in joined["analyses"]["holding"]["factors"] if one["name"] == "similar_mass")
    assert len(mass["cells"]) == 4


def test_the_predictor_is_judged_on_a_data_set_never_seen(joined):
    by = joined["analyses"]["predictor"]["by"]
    assert by["data"]["linear"]["auc"]["value"] > 0.5
    assert {cell["data"] for cell in by["data"]["linear"]["cells"]} == {"one cnn", "two cnn"}


def test_the_predictor_is_kept_with_how_good_it_was(studies, joined):
    kept, by = predict.load(studies / "both" / "predictor.json"), joined["analyses"]["predictor"]["by"]
    assert kept.trained_on.data == ("one cnn", "two cnn")
    assert {way: one.model_dump() for way, one in kept.judged.items()} == {
        way: one["linear"]["auc"] for way, one in by.items() if "linear" in one
    }


def test_what_belongs_to_one_study_is_taken_over(studies, joined):
    for part in joined["joined"]:
        own = json.loads((studies / part["name"].split()[0] / "result.json").read_text(encoding="utf-8"))
        assert part["analyses"]["agreement"] == own["analyses"]["agreement"]
        assert part["runs"] == len(own["runs"])
    assert joined["missing"] == [{"data": "one cnn", "dose": 0, "seed": 0, "algorithm": "GA", "id": "one/0",
                                  "why": "the loss is not finite"},
                                 {"data": "two cnn", "dose": 0, "seed": 0, "algorithm": "GA", "id": "two/0",
                                  "why": "the loss is not finite"}]  # fmt: skip


def test_the_page_sets_them_side_by_side(studies, joined):
    html = difficulty.write_page(studies / "both").read_text(encoding="utf-8")
    assert "The studies side by side" in html
    assert "a data set never seen" in html
    assert 'id="spread"' not in html
    assert "of 4 pairs of algorithm and data set" in html or "mean Spearman with difficulty" in html
    told = difficulty.verdicts(joined)
    assert "one cnn: " in told[0].sentence
    assert "two cnn: " in told[0].sentence
    assert "one cnn: " not in told[3].sentence


@pytest.mark.parametrize(
    ("names", "out", "says"),
    [
        (("one",), "new", "at least two finished difficulty studies; got 1"),
        (("one", "one"), "new", "two of these studies are of one cnn"),
        (("one", "nowhere"), "new", "not the result of one finished difficulty study"),
        (("one", "both"), "new", "not the result of one finished difficulty study"),
        (("one", "two"), "one", "holds another result"),
    ],
)
def test_what_cannot_be_joined_is_refused_and_nothing_written(studies, joined, names, out, says):
    before = {path: path.read_bytes() for path in studies.rglob("result.json")}
    with pytest.raises(InputError, match=says):
        join([studies / name for name in names], studies / out)
    assert {path: path.read_bytes() for path in studies.rglob("result.json")} == before


def test_the_verb_prints_the_questions_of_all(run, studies, joined, tmp_path):
    status, out, err = run("difficulty", "join", str(studies / "one"), str(studies / "two"), "--out", "both")
    assert status == 0, err
    assert "one cnn" in out
    assert "Can difficulty be told before unlearning" in out
    assert (tmp_path / "both" / "difficulty.html").is_file()
    again = json.loads((tmp_path / "both" / "result.json").read_text(encoding="utf-8"))
    assert again["analyses"] == joined["analyses"], "the same again is the same"
    status, _, err = run("difficulty", "join", str(studies / "one"))
    assert status == 2
    assert "at least two" in err
