"""What an audit expects: how hard each record will be to forget, where that is told, and what it is worth."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from test_audit import ROOT, write
from test_audit_input import pairs, refused, text_request
from vestige import image
from vestige.audit import conduct, foresee, request
from vestige.audit.check import check
from vestige.audit.images import Headed, last_layer
from vestige.difficulty import expect, predict
from vestige.store import Store

CHANCES, OTHERS = np.array([0.2, 0.6]), np.array([0.1, 0.3, 0.5, 0.7])


@pytest.fixture(scope="module")
def packaged():
    return predict.load(predict.PACKAGED)


def test_records_are_ordered_by_chance_beside_others(packaged):
    told = foresee.difficulty(("a", "b"), CHANCES, OTHERS, packaged, "NegGrad+")
    assert told["records"] == [
        {"id": "b", "chance": 0.6, "harder_than": 0.75},
        {"id": "a", "chance": 0.2, "harder_than": 0.25},
    ]
    assert "AUC was 0.62 [0.57, 0.68]; 0.5 is guessing. That is weak." in told["reads"]
    assert "Retraining" not in told["reads"]
    assert (
        "Retraining, which was chosen" in foresee.difficulty(("a", "b"), CHANCES, OTHERS, packaged, "retrain")["reads"]
    )
    unjudged = packaged.model_copy(update={"judged": {}})
    assert "was not judged" in foresee.difficulty(("a", "b"), CHANCES, OTHERS, unjudged, "GA")["reads"]


def test_similar_records_whose_owners_were_not_asked_are_not_said_to_be_kept_by_them():
    assert "(their owners keep them)" in foresee.outcome("similar", 3, 1)
    assert "(there are more than similar.k)" in foresee.outcome("similar", 3, 21, policy="remove")
    assert "(2 of them until their owners are asked)" in foresee.outcome("similar", 3, 1, 2)


def test_the_predictor_that_comes_with_vestige_is_that_of_the_reported_studies(packaged):
    reported = json.loads((ROOT / "docs/results/difficulty-joined.json").read_text(encoding="utf-8"))
    found = reported["analyses"]["predictor"]
    assert list(packaged.factors) == found["factors"]
    assert packaged.trained_on.data == tuple(one["name"] for one in reported["joined"])
    assert {way: one.model_dump() for way, one in packaged.judged.items()} == {
        way: one["linear"]["auc"] for way, one in found["by"].items()
    }


def test_a_network_of_ones_own_is_asked_as_one_that_is_known(npz, tmp_path, packaged):
    audit = conduct.prepare(request.read(write(tmp_path / "request.yaml")), Store(tmp_path / "audit"))
    trained = audit.material.trained
    model = audit.subject.learn(trained, 0)
    headed = Headed(model, last_layer(model, trained))
    assert torch.allclose(headed.features(trained.x).float(), model.features(trained.x))
    known = expect.beside(packaged, model, trained, audit.material.forget, room=image)
    found = audit.subject.expected(model, trained, (), audit.material.forget, packaged)
    assert all(np.allclose(*both, atol=1e-6) for both in zip(found, known, strict=True))


def test_the_plan_tells_it_once_a_model_is_there_and_the_report_in_any_case(run, npz, tmp_path):
    path = write(tmp_path / "request.yaml", "shapes/0, shapes/25")
    _, out, _ = run("audit", path, "--plan", "--out", "audit", "--json")
    assert "--until foresee" in json.loads(out)["difficulty"]["missing"]
    assert not Path("audit").exists()

    status, out, _ = run("audit", path, "--until", "foresee", "--out", "audit", "--json")
    told = json.loads(out)["difficulty"]
    assert status == 0
    assert {one["id"] for one in told["records"]} == {"shapes/0", "shapes/25"}
    assert all(0 < one["chance"] < 1 and 0 <= one["harder_than"] <= 1 for one in told["records"])
    assert told["others"] == 22
    assert "harder than" in run("audit", path, "--until", "foresee", "--out", "audit")[1]
    assert json.loads(run("audit", path, "--plan", "--out", "audit", "--json")[1])["difficulty"] == told
    assert "harder than" in run("audit", path, "--plan", "--out", "audit")[1]

    other = write(tmp_path / "other.yaml", "shapes/0")
    assert run("audit", other, "--out", "audit")[0] in (0, 100, 4)  # who has only looked gives way
    place = next(Path("audit").glob("002-*/result.json"))
    record = json.loads(place.read_text(encoding="utf-8"))
    assert [one["id"] for one in record["foreseen"]["difficulty"]["records"]] == ["shapes/0"]
    assert "What was expected" in (place.parent / "report.html").read_text(encoding="utf-8")
    assert check(place) == []
    step = next(path for path in place.parent.glob("data/*/result.json") if "harder_than" in path.read_text())
    step.write_text(step.read_text().replace('"chance": 0', '"chance": 1'), encoding="utf-8")
    assert any("SHA-256 differs" in one for one in check(place))


def test_a_network_without_a_last_linear_layer_is_audited_all_the_same(run, npz, tmp_path):
    code = """\
from torch import nn
def train(samples, seed):
    return nn.Sequential(nn.Conv2d(1, 3, 12), nn.Flatten())
"""
    (tmp_path / "layerless.py").write_text(code, encoding="utf-8")
    path = tmp_path / "request.yaml"
    path.write_text(
        "data: {source: shapes.npz, per_class: 8}\nmodel: {train: layerless:train}\nrecords: [shapes/0]\n"
        "policy: keep\nreferences: 4\n"
    )
    status, out, _ = run("audit", path, "--until", "foresee", "--out", "audit")
    sys.modules.pop("layerless", None)
    assert status == 0
    assert "is not told: this network does not end in a linear layer" in " ".join(out.split())


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_predictor_that_does_not_serve_is_named_by_its_line(run, npz, tmp_path, content):
    if content:
        (tmp_path / "mine.json").write_text(content)
    path = write(tmp_path / "request.yaml", more="predictor: mine.json")
    refused(run, path, 11, "predictor: there is no predictor" if content is None else "is no difficulty predictor")


def test_of_a_language_model_nothing_is_told(run, tmp_path):
    path = text_request(tmp_path, pairs())
    status, out, err = run("audit", path, "--plan", "--out", "audit")
    assert status == 0, err
    assert "is not told: no predictor was learned on language models" in " ".join(out.split())
    refused(run, text_request(tmp_path, pairs(), ("policy: keep", "predictor: mine.json")), 9, "language models")
