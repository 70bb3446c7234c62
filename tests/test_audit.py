"""A deletion request: what is refused and where, the rule of verdicts, the gate, the folder, the report."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vestige.audit import folder, gate, own, request, verdict
from vestige.audit.check import check
from vestige.audit.verdict import Evidence, Reading, decide
from vestige.store import Store
from vestige.types import InputError

ROOT = Path(__file__).parents[1]
NUMBERS = {"records": 2, "forgotten": 2, "carried": 0, "in_model": 0, "over_unlearned": 0, "cannot_tell": 0,
           "still_known": 0, "left": 0.1, "utility_drop": 0.01, "utility": 0.02, "near_drop": None}  # fmt: skip
NONE = (-10.0, -11.0, -9.5, -10.5, -10.2, -9.8)
SOME = (2.0, 3.0, 2.5, 2.2, 2.8, 2.6)
DAMAGED = Reading("near", True, 1.0, 8.0, (8.0, 9.0, 8.5, 8.2))
NO_RISE = (0.0, -0.1, 0.1, 0.05, -0.05, 0.0)


def evidence(
    answer=-10.0, probe=-1.0, rebound=0.0, *, similar=False, known=True, hid=((1.0, 0.0), (-1.0, 2.0)), **fields
):  # fmt: skip
    """Evidence of one record; similar: models trained without it, but with its similar records, still know it.

    known: whether the model before shows it. hid: probe and rebound of the copies of the model before in which the
    audit hid it.
    """
    probed, risen = zip(*hid, strict=True)
    probes = tuple(value / 10 for value in NONE)
    some = tuple(value / 5 for value in SOME)
    shown, sure = (5.0, 1.0) if known else (-10.0, -1.0)
    readings = (
        Reading("answer", True, answer, shown, SOME if similar else NONE, NONE if similar else ()),
        Reading("probe", True, probe, sure, some if similar else probes, probes if similar else (), hid=probed),
        Reading("rebound", False, rebound, 0.0, NO_RISE, NO_RISE if similar else (), hid=risen),
    )
    return Evidence("r", "references", 4 if similar else 0, False, readings, **fields)


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (evidence(), "forgotten"),
        (evidence(answer=4.0), "in_model"),
        (evidence(probe=0.5), "in_model"),
        (evidence(rebound=2.0), "in_model"),
        (evidence(rebound=0.3), "forgotten"),
        (evidence(answer=-60.0), "over_unlearned"),
        (evidence(answer=-60.0, rebound=9.0), "over_unlearned"),
        (evidence(answer=-60.0, probe=0.5), "over_unlearned"),
        (evidence(probe=0.5, near=DAMAGED, near_accuracy=(1.0, 0.4)), "in_model"),
        (evidence(answer=2.4, probe=0.5, similar=True), "carried"),
        (evidence(answer=30.0, probe=0.5, similar=True), "in_model"),
        (evidence(similar=True), "forgotten"),
        (evidence(hid=((-1.0, 0.0), (-1.0, 2.0))), "cannot_tell"),
        (evidence(hid=((1.0, 0.0), (-1.0, 0.3))), "cannot_tell"),
        (evidence(hid=((1.0, 2.0), (None, None))), "cannot_tell"),
        (replace(evidence(hid=((-1.0, 0.0), (-1.0, 0.0))), retrained=True), "forgotten"),
        (evidence(answer=float("nan")), "cannot_tell"),
        (evidence(answer=None), "cannot_tell"),
        (replace(evidence(answer=4.0), null="controls", similar_kept=2), "cannot_tell"),
        (replace(evidence(answer=4.0), null="controls", similar_kept=None), "cannot_tell"),
        (replace(evidence(probe=0.5), null="controls", similar_kept=None), "in_model"),
        (replace(evidence(rebound=2.0), null="controls", similar_kept=None), "in_model"),
        (replace(evidence(), null="controls", similar_kept=None), "forgotten"),
        (replace(evidence(known=False), null="controls", similar_kept=None), "cannot_tell"),
        (evidence(near=DAMAGED, near_accuracy=(1.0, 0.4)), "over_unlearned"),
        (evidence(near=DAMAGED, near_accuracy=(1.0, 0.95)), "forgotten"),
    ],
)  # fmt: skip
def test_the_first_line_of_the_rule_that_applies_is_the_verdict(found, name):
    assert decide(found).name == name


def test_a_damaged_model_is_told_by_what_the_one_before_said_of_controls():
    """The controls of a damaged model are worse too, and would let the record pass."""
    damaged = tuple(5 * value for value in NONE)
    found = replace(evidence(answer=-60.0), null="controls")
    readings = (replace(found.readings[0], without=damaged), *found.readings[1:])
    assert decide(replace(found, readings=readings)).name == "forgotten"
    readings = (replace(readings[0], before_null=NONE), *found.readings[1:])
    told = decide(replace(found, readings=readings))
    assert told.name == "over_unlearned"
    assert "in the model before" in told.reason


def test_a_rise_that_models_without_similar_records_show_too_hides_nothing():
    """Models that still have the similar records have nothing left to regain."""
    plain = evidence(similar=True, rebound=2.0)
    answer, probe, rebound = plain.readings
    risen = replace(rebound, free=(2.0, 1.5, 2.5, 1.8, 2.2, 1.9))
    assert decide(plain).name == "in_model"
    assert decide(replace(plain, readings=(answer, probe, risen))).name != "in_model"


def test_what_is_left_is_a_share_of_what_the_record_had_added():
    found = decide(evidence(answer=-10.0 + 7.5))
    mean = sum(NONE) / len(NONE)
    assert found.left == pytest.approx((-2.5 - mean) / (5 - mean))
    assert found.low < found.left < found.high


def test_an_interval_by_hand():
    assert verdict.interval((1, 2, 3, 4)) == pytest.approx((2.5 - 8.4306, 2.5 + 8.4306), abs=1e-3)
    assert verdict.interval((1, 2, 3, 4), 2) == pytest.approx((2.5 - 10.7584, 2.5 + 10.7584), abs=1e-3)
    with pytest.raises(InputError, match="4 values"):
        verdict.interval((1, 2, 3))


def test_the_rule_stands_in_the_documentation_word_for_word():
    assert verdict.RULE in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


def test_evidence_survives_json():
    found = evidence(similar=True, near_accuracy=(1.0, 0.5))
    assert verdict.of_json(json.loads(json.dumps(verdict.to_json(found)))) == found


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("forgotten == records and utility_drop <= utility", 0),
        ("not forgotten == records", 100),
        ("left < .05 or (carried <= 0 and in_model == 0)", 0),
        ("near_drop <= 0.1", 4),
        ("near_drop <= 0.1 or forgotten == 2", 0),
        ("near_drop <= 0.1 and forgotten == 1", 100),
    ],
)
def test_a_gate_holds_does_not_hold_or_cannot_be_told(text, status):
    assert gate.judge(text, NUMBERS).status == status


def test_records_that_cannot_be_told_leave_the_gate_open_only_where_they_decide():
    open_ = NUMBERS | {"forgotten": 1, "cannot_tell": 1}
    assert gate.judge("forgotten == records", open_).status == 4
    assert gate.judge("forgotten == records", open_ | {"forgotten": 0, "carried": 1}).status == 100
    assert gate.judge("cannot_tell == 0", open_).status == 4


def test_a_record_that_is_still_known_is_not_forgotten_whoever_taught_it():
    known = decide(replace(evidence(answer=4.0), null="controls", similar_kept=None))
    told = verdict.numbers([known], {}, 0.02)
    assert (told["cannot_tell"], told["still_known"]) == (1, 1)
    assert "nobody could look for similar records" in known.reason
    assert gate.judge("forgotten == records", told).status == 100
    assert gate.judge("forgotten == records", told | {"still_known": 0}).status == 4


@pytest.mark.parametrize("text", ["forgotten = 2", "forgotten ==", "(left < 1", "__import__('os')", "left < 1 1", ""])
def test_a_gate_that_does_not_parse_is_refused(text):
    with pytest.raises(InputError, match="does not parse"):
        gate.parse(text)


REQUEST = """\
data:
  source: shapes.npz
  per_class: 8
model:
  network: {{kind: mlp, hidden: [16], init_scale: 0.1}}
  recipe: {{steps: 15, lr: 0.1, batch: 8, momentum: 0.9}}
records: [{records}]
similar: {{tau: 0.999}}
policy: keep
references: 4
{more}
"""


def write(path, records="shapes/0", more=""):
    path.write_text(REQUEST.format(records=records, more=more), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("per_class: 8", "per_clas: 8"), ":3: data.per_clas: there is no such setting"),
        (("lr: 0.1", "lr: -1"), ":6: model.recipe.lr: Input should be greater than 0; found -1"),
        (("policy: keep", "policy: kep"), ":9: policy: Input should be 'keep', 'ask' or 'remove'; found 'kep'"),
        (("policy: keep", "scope: exact\nscope: exact"), ":10: scope is given a second time"),
        (("references: 4", "gate: forgotten = 3"), ":10: the gate 'forgotten = 3' does not parse"),
        (("records: [shapes/0]", ""), ":1: the request: nothing is to be forgotten"),
        (("shapes.npz", "none.npz"), ":2: data.source: there is no data set called 'none.npz'"),
        (("shapes/0]", "shapes/0, shapes/999]"), ":7: records.1: no record is called 'shapes/999'"),
        (("shapes/0]", "shapes/0, shapes/0]"), ":7: records.1: 'shapes/0' is named a second time"),
        (("shapes/0]", "shapes/20]"), ":7: records.0: 'shapes/20' is among the records that the model never saw"),
        (("references: 4", "method: magic"), ":10: method: unknown method 'magic'"),
        (("references: 4", "method: given"), "method: given and model.after belong together"),
    ],
)
def test_what_is_wrong_is_named_by_its_line_before_anything_is_written(run, npz, tmp_path, change, says):
    path = write(tmp_path / "request.yaml")
    path.write_text(path.read_text().replace(*change))
    status, out, err = run("audit", path, "--out", "audit")
    assert status == 2
    assert says in err
    assert out == ""
    assert not list(Path("audit").glob("0*"))


def test_json_requests_have_lines_too(tmp_path):
    path = tmp_path / "request.json"
    path.write_text('{\n\t"data": {"source": "mnist"},\n\t"records": ["a"],\n\t"model": {"train": 3}\n}')
    with pytest.raises(InputError, match=r"request.json:4: model.train: .* found 3"):
        request.read(path)


@pytest.mark.parametrize(
    ("what", "says"),
    [("nan", "NaN"), ("label", "labels must lie in 0…C−1"), ("short", "cannot be read"), ("twice", "different labels")],
)
def test_bad_data_end_before_training(run, npz, tmp_path, what, says):
    x, y = (np.load(npz)[name] for name in "xy")
    x = x.astype(np.float32) / 255
    if what == "nan":
        x[3, 2, 2] = np.nan
    if what == "label":
        y = y.copy()
        y[0] = -1
    if what == "twice":
        x[24] = x[0]
    np.savez(npz, x=x, y=y)
    if what == "short":
        npz.write_bytes(npz.read_bytes()[:3000])
    status, _, err = run("audit", write(tmp_path / "request.yaml"), "--out", "audit")
    assert status == 2
    assert "request.yaml:" in err
    assert says in err


OWN = """\
import torch
from torch import nn
def train(samples, seed):
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 3))
    return model
def fails(samples, seed):
    raise RuntimeError("no")
def wrong(samples, seed):
    return 3
def narrow(samples, seed):
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 2))
"""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("own_code:fails", "fails: RuntimeError: no"),
        ("own_code:wrong", "should return a torch.nn.Module, it returns int"),
        ("own_code:narrow", r"logits (2, 3), it answers with (2, 2)"),
        ("own_code:none", "has no function none"),
        ("no_code:train", "No module named 'no_code'"),
        ("own_code", "should be module:function"),
    ],
)
def test_a_training_function_that_does_not_serve_is_refused(run, npz, tmp_path, name, says):
    (tmp_path / "own_code.py").write_text(OWN)
    path = write(tmp_path / "request.yaml")
    lines = [line for line in path.read_text().splitlines() if "network" not in line and "recipe" not in line]
    path.write_text("\n".join(lines).replace("model:", f"model:\n  train: {name}"))
    status, _, err = run("audit", path, "--out", "audit")
    sys.modules.pop("own_code", None)
    assert status == 2
    assert "request.yaml:5: model.train" in err
    assert says in err


def test_pickled_weights_are_refused_and_read_as_plain_tensors_where_named(tmp_path):
    import torch

    path = tmp_path / "model.pt"
    torch.save({"a": torch.ones(2)}, path)
    with pytest.raises(InputError, match="allow_pickle"):
        own.read_weights(path, allow_pickle=False)
    assert own.read_weights(path, allow_pickle=True)["a"].tolist() == [1, 1]
    torch.save({"a": own.classifier}, path)
    with pytest.raises(InputError, match="more than tensors"):
        own.read_weights(path, allow_pickle=True)


def test_an_example_is_written_once(run, tmp_path):
    for modality in ("image", "text"):
        assert run("audit", "init", f"{modality}.yaml", "--modality", modality)[0] == 0
        assert request.read(Path(f"{modality}.yaml")).request.gate
        before = Path(f"{modality}.yaml").read_text()
        status, _, err = run("audit", "init", f"{modality}.yaml")
        assert status == 2
        assert "not overwritten" in err
        assert Path(f"{modality}.yaml").read_text() == before


def test_no_more_similar_records_go_than_were_asked_to(run, npz, tmp_path):
    path = write(tmp_path / "request.yaml", more="scope: similar\nsame_owner: [shapes/7]")
    text = path.read_text().replace("policy: keep", "policy: remove")
    path.write_text(text.replace("{tau: 0.999}", "{tau: -1, by: ssim, k: 3}"))
    status, out, err = run("audit", path, "--plan", "--json")
    assert status == 0, err
    found = json.loads(out)["found"]
    lot = found["records"][0]["neighbours"]
    assert len(lot) == found["searched"] - 1, "all are similar, so all are looked at"
    gone = {one["id"] for one in lot if one["fate"] == "removed"}
    assert gone == {one["id"] for one in lot[:3] if one["fate"] != "unseen"} | {"shapes/7"} & {one["id"] for one in lot}
    more = [one for one in lot[3:] if one["id"] not in gone and one["fate"] != "unseen"]
    assert more
    assert {one["why"] for one in more} == {"similar too, but not among the nearest 3: raise similar.k"}
    assert set(found["kept"]) == {one["id"] for one in more}, "what stays is counted"


def test_pairs_among_a_records_own_neighbours_do_not_hide_them():
    from vestige.similar import beside_pairs

    first, second = np.triu_indices(12, 1)
    family = (first < 4) & (second < 4)  # 0 and its copies 1, 2, 3
    pairs = np.where(family, 0.9 - 0.1 * second, 0.3 - 0.01 * first)
    order, values = [0, 1, 2, 3, 4, 5], [0.8, 0.7, 0.6, 0.285, 0.275]
    lots = torch.from_numpy(first), torch.from_numpy(second), pairs
    counted, reaching, own = beside_pairs(order, values, *lots)
    assert (counted, reaching) == (3, [0, 0, 0, 14, 18])
    assert (own == family).all(), "their own pairs are the ones left out"
    twins = pairs.copy()
    twins[(first == 10) & (second == 11)] = 0.65  # two others as alike as that: 0.6 is no longer beyond all pairs
    assert beside_pairs(order, values, *lots[:2], twins)[0] == 2
    few = (first < 5) & (second < 5)  # hardly any other pair is left to compare with
    assert beside_pairs(order, values, *(one[few] for one in lots))[0] == 2


def test_from_a_request_to_a_report_and_on_to_the_next(run, npz, tmp_path):
    first, second = write(tmp_path / "first.yaml"), write(tmp_path / "second.yaml", "shapes/25")
    status, out, _ = run("audit", first, "--plan", "--out", "audit")
    assert status == 0
    assert "Nothing was changed" in out
    assert re.search(r"^nearest +aligned +random", out, re.M), "the measure where none is named"
    assert not Path("audit").exists()

    status, out, err = run("audit", first, "--out", "audit", "--json")
    assert status in (0, 100, 4), err
    record = json.loads(out)
    assert record["gate"]["status"] == status
    assert record["method"] == "retrain"
    place = next(Path("audit").glob("001-*"))
    page = (place / "report.html").read_text(encoding="utf-8")
    assert "What was asked" in page
    assert "certified" not in page.lower()
    assert check(place / "result.json") == []

    result, again = (place / "result.json").read_bytes(), run("audit", first, "--out", "audit", "--json")
    assert again[0] == status
    assert (place / "result.json").read_bytes() == result

    assert run("audit", second, "--out", "audit")[0] in (0, 100, 4)
    after = json.loads(next(Path("audit").glob("002-*/result.json")).read_text())
    assert after["already_removed"] == ["shapes/0"]
    assert after["trained_on"] == record["trained_on"] - 1
    assert (place / "result.json").read_bytes() == result

    assert "carried out" in run("audit", first, "--out", "audit")[2]
    third = write(tmp_path / "third.yaml", "shapes/0", "utility: 0.5")
    assert "removed by an earlier request" in run("audit", third, "--out", "audit")[2]
    assert json.loads(run("audit", "rollback", "audit", "--json")[1])["counting"] == [1]
    assert [one.number for one in folder.active(Path("audit"))] == [1]


def test_a_report_that_was_changed_is_found_out(run, npz, tmp_path):
    run("audit", write(tmp_path / "first.yaml"), "--out", "audit")
    path = next(Path("audit").glob("001-*/result.json"))
    record = json.loads(path.read_text())
    record["evidence"][0]["readings"][0]["value"] += 5
    path.write_text(json.dumps(record))
    status, out, _ = run("audit", "check", path)
    assert status == 100
    assert "SHA-256 differs from the log's" in out
    assert "the stored answers" in out


def test_a_line_that_was_cut_off_does_not_count(tmp_path):
    entry = folder.begin(tmp_path, "abc", "same", {"file": "f", "records": []})
    folder.finish(tmp_path, entry, {"model": "m", "removed": ["a"], "status": 0, "report_sha256": ""})
    with (tmp_path / folder.LOG).open("ab") as file:
        file.write(b'{"event": "beg')
    second = folder.begin(tmp_path, "def", "same", {"file": "g", "records": []})
    assert (second.number, second.parent) == (2, 1)
    assert folder.removed(tmp_path, second) == ("a",)
    Store(tmp_path / second.folder).save("models", "m", {}, {}, {})
    with pytest.raises(InputError, match="not finished"):
        folder.begin(tmp_path, "ghi", "same", {"file": "h", "records": []})
    with pytest.raises(InputError, match="another model"):
        folder.begin(tmp_path, "ghi", "other", {"file": "h", "records": []})


def test_a_request_that_was_only_searched_gives_way_to_its_answer(tmp_path):
    folder.begin(tmp_path, "asks", "same", {"file": "f", "records": []})
    second = folder.begin(tmp_path, "answered", "same", {"file": "g", "records": []})
    assert (second.number, second.parent) == (2, 0)
    assert [one.number for one in folder.active(tmp_path)] == [2]


def test_a_kill_at_any_moment_resumes_to_the_same_report(run, npz, tmp_path):
    path = write(tmp_path / "first.yaml")
    run("audit", path, "--out", "whole")
    whole = next(Path("whole").glob("001-*"))
    steps = [step for kind in ("data", "models", "outputs", "shadows") for step in (whole / kind).iterdir()]
    steps.sort(key=lambda step: (step / "run.json").stat().st_mtime_ns)
    rng = np.random.default_rng(0)
    for _ in range(3):
        # What a kill leaves: the first steps finished, one under way, no end in the log.
        shutil.copytree("whole", "killed")
        place = next(Path("killed").glob("001-*"))
        for step in steps[int(rng.integers(0, len(steps))) :]:
            shutil.rmtree(place / step.relative_to(whole))
        (place / "models" / ".half").mkdir()
        (place / "result.json").unlink()
        log = Path("killed", folder.LOG).read_text().splitlines(keepends=True)
        Path("killed", folder.LOG).write_text(log[0])
        run("audit", path, "--out", "killed")
        assert (place / "result.json").read_bytes() == (whole / "result.json").read_bytes()
        shutil.rmtree("killed")
