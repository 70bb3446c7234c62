"""Ways in which an audit could mislead without an error: each must be refused, counted or said."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from conftest import shapes
from test_audit import NUMBERS, write
from test_audit_input import refused
from vestige.audit import gate, own, probing
from vestige.audit.check import check
from vestige.audit.request import read
from vestige.types import InputError, Samples

TRAIN = """\
import torch
from torch import nn
from helper import WIDTH
def train(samples, seed):
    print("epoch 1")
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 3))
    mover = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for _ in range(20):
        mover.zero_grad()
        nn.functional.cross_entropy(model(samples.x), samples.y).backward()
        mover.step()
    return model
"""
OWN = """\
data: {source: shapes.npz, per_class: 8}
model: {train: talks:train}
records: [shapes/0]
policy: keep
references: 4
"""


@pytest.fixture
def talks(npz, tmp_path):
    """A request about the user's own network, whose code talks, beside its modules."""
    (tmp_path / "helper.py").write_text("WIDTH = 8\n", encoding="utf-8")
    (tmp_path / "talks.py").write_text(TRAIN, encoding="utf-8")
    (tmp_path / "request.yaml").write_text(OWN, encoding="utf-8")
    yield tmp_path / "request.yaml"
    for name in ("talks", "helper"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("where", ["    print", "def train"])
def test_a_script_that_ends_with_exit_does_not_pass_the_audit(run, talks, tmp_path, where):
    (tmp_path / "talks.py").write_text(
        TRAIN.replace(where, f"{where[: where.find(where.strip())]}raise SystemExit(0)\n{where}")
    )
    refused(run, talks, 2, "SystemExit: 0")


def test_what_the_users_code_prints_is_no_part_of_the_result(run, talks):
    status, out, err = run("audit", talks, "--out", "audit", "--json", "--workers", 2)
    assert status in (0, 100, 4), err
    assert json.loads(out)["kind"] == "audit"
    assert "epoch 1" in err
    assert err.index("foresee: ") < err.index("forget: ")


def test_the_code_is_what_a_module_imports_too(talks, tmp_path):
    before = own.code(read(talks))
    assert sorted(before) == ["helper.py", "talks.py"]
    (tmp_path / "helper.py").write_text("WIDTH = 9\n", encoding="utf-8")
    after = own.code(read(talks))
    assert before["talks.py"] == after["talks.py"]
    assert before["helper.py"] != after["helper.py"]


def test_more_near_copies_than_are_looked_at_first_are_all_counted(run, tmp_path):
    x, y = shapes(per_class=20)
    copies = np.repeat(x[:1], 45, 0)
    np.savez("many.npz", x=np.concatenate([x, copies])[:, 0], y=np.r_[y, np.zeros(45, int)])
    path = write(tmp_path / "request.yaml", "many/0")
    text = path.read_text().replace("shapes.npz\n  per_class: 8", "many.npz")
    path.write_text(text.replace("0.999}", "0.999, by: ssim}") + "gate: forgotten == records\n")
    status, out, err = run("audit", path, "--plan", "--json")
    assert status == 0, err
    record = json.loads(out)
    assert len(record["found"]["kept"]) == 45
    assert record["outcome"].startswith("45 similar records stay in training")


def test_controls_that_the_model_was_trained_on_are_refused(run, npz, tmp_path):
    path = write(tmp_path / "request.yaml")
    path.write_text(path.read_text().replace("  per_class: 8", "  controls: shapes.npz"))
    refused(run, path, 3, "72 of 72 stand in the training data too")


@pytest.mark.parametrize(
    ("text", "changes", "status"),
    [
        ("in_model == 0 and carried == 0", {"cannot_tell": 2}, 4),
        ("in_model == 0 and carried == 0", {"cannot_tell": 1, "still_known": 1}, 4),
        ("in_model + 0 == 0", {}, None),
        ("in_model + carried == 0", {}, None),
        ("in_model == 0 or carried == 0", {"cannot_tell": 1, "still_known": 1}, 0),
        ("utility_drop <= 0.02", {"cannot_tell": 2}, 0),
        ("left < 0.1", {"cannot_tell": 1, "left": None}, 4),
        ("still_known == 0", {"cannot_tell": 1, "still_known": 1}, 100),
    ],
)
def test_a_gate_does_not_hold_for_what_cannot_be_told(text, changes, status):
    told = {**NUMBERS, "forgotten": 0, "carried": 0, "in_model": 0, "utility_drop": 0.01, **changes}
    if status is None:
        with pytest.raises(InputError, match="does not parse"):
            gate.judge(text, told)
    else:
        assert gate.judge(text, told).status == status


def test_data_that_changed_between_two_requests_are_noticed(run, npz, tmp_path):
    assert run("audit", write(tmp_path / "first.yaml"), "--out", "audit")[0] in (0, 100, 4)
    assert json.loads(Path("audit/audit.jsonl").read_text().splitlines()[0])["records"] == ["shapes/0"]
    held = dict(np.load(npz))
    np.savez(npz, **{name: values[1:] for name, values in held.items()})
    second = write(tmp_path / "second.yaml", "shapes/5")
    status, _, err = run("audit", second, "--out", "audit")
    assert status == 2
    assert "the same ids may mean other records" in err
    np.savez(npz, **held)
    assert run("audit", second, "--out", "audit")[0] in (0, 100, 4)


def test_data_sorted_by_class_are_taken_from_evenly():
    lot = Samples(tuple(map(str, range(90))), torch.zeros(90, 1), torch.arange(90) // 30, 3)
    assert lot.evenly(10).y.bincount().tolist() == [4, 3, 3]
    assert lot.evenly(70).y.bincount().tolist() == [24, 23, 23]
    assert lot.evenly(90) is lot
    turns = [probing._turn(lot, 30, step) for step in range(3)]
    assert sorted(name for turn in turns for name in turn.ids) == sorted(lot.ids), "each once in three turns"
    assert all(len(turn.y.unique()) == 3 for turn in turns)


@pytest.mark.parametrize(
    ("label", "says"), [(0, ""), (1, "stands in the data under another answer: 1 here, 0 there"), (None, "is not in")]
)
def test_a_file_of_records_means_their_answers_too(run, npz, tmp_path, label, says):
    held = np.load(npz)
    shift = 1 if label is None else 0
    np.savez("asked.npz", x=held["x"][:1] + np.uint8(shift), y=np.array([label or 0, 2][:1]))
    path = write(tmp_path / "request.yaml")
    path.write_text(path.read_text().replace("records: [shapes/0]", "records_file: asked.npz"))
    if says:
        refused(run, path, 7, says)
    else:
        assert json.loads(run("audit", path, "--plan", "--json")[1])["asked"] == ["shapes/0"]


def test_weights_that_begin_like_a_pickle_are_not_taken_for_one(tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "plain.safetensors")
    content = (tmp_path / "plain.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    padded = content[8 : 8 + size].ljust(0x80)
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(padded).to_bytes(8, "little") + padded + content[8 + size :])
    assert path.read_bytes()[:1] == b"\x80"
    assert own.read_weights(path, allow_pickle=False)["weight"].tolist() == [1, 1]


def test_a_finished_request_stays_as_it_was_written(run, npz, tmp_path):
    run("audit", write(tmp_path / "first.yaml"), "--out", "audit")
    place = next(Path("audit").glob("001-*"))
    written = {name: (place / name).read_bytes() for name in ("result.json", "run.json", "report.html")}
    shutil.copy("first.yaml", "again.yaml")
    assert run("audit", "again.yaml", "--out", "audit")[0] in (0, 100, 4)
    assert {name: (place / name).read_bytes() for name in written} == written
    assert check(place / "result.json") == []
    (place / "result.json").unlink()
    run("audit", "again.yaml", "--out", "audit")
    assert check(place / "result.json") == [], "made again, and its new end is in the log"


def test_a_cost_that_was_changed_is_found_out(run, npz, tmp_path):
    run("audit", write(tmp_path / "first.yaml"), "--out", "audit")
    path = next(Path("audit").glob("001-*/result.json"))
    record = json.loads(path.read_text())
    record["utility"]["after"] += 0.5
    path.write_text(json.dumps(record))
    assert any("utility: after: the report says" in one for one in check(path))


def test_a_report_on_a_network_without_a_last_linear_layer_is_checked(run, npz, tmp_path):
    (tmp_path / "layerless2.py").write_text(
        "from torch import nn\ndef train(samples, seed):\n    return nn.Sequential(nn.Conv2d(1, 3, 12), nn.Flatten())\n"
    )
    path = tmp_path / "request.yaml"
    path.write_text(OWN.replace("talks:train", "layerless2:train"))
    status, _, err = run("audit", path, "--out", "audit")
    sys.modules.pop("layerless2", None)
    assert status in (0, 100, 4), err
    assert check(next(Path("audit").glob("001-*/result.json"))) == []


def test_a_method_that_diverged_cannot_be_told(run, npz, tmp_path):
    path = write(tmp_path / "request.yaml", more="method: GA\nutility: 1\nunlearn: {ascent: {steps: 20, lr: 1.0e+30}}")
    status, out, err = run("audit", path, "--out", "audit", "--json")
    assert status in (4, 100), err
    (verdict,) = json.loads(out)["verdicts"]
    assert (verdict["name"], "no number" in verdict["reason"]) == ("cannot_tell", True)
    assert check(next(Path("audit").glob("001-*/result.json"))) == []


def test_who_made_the_request_decides_on_records_that_do_not_look_alike(run, npz, tmp_path):
    path = write(tmp_path / "request.yaml", more="scope: similar\nsame_owner: [shapes/30]")
    status, out, err = run("audit", path, "--plan", "--json")
    assert status == 0, err
    assert json.loads(out)["found"]["removed"] == ["shapes/0", "shapes/30"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("same_owner: [shapes/1]", "the scope is exact, so nothing similar goes"),
        ("scope: similar\ndecisions: {shapes/1: remove}", "answers where the policy is to ask, and it is to keep"),
    ],
)
def test_settings_without_effect_are_refused(run, npz, tmp_path, more, says):
    status, _, err = run("audit", write(tmp_path / "request.yaml", more=more), "--plan")
    assert (status, says in err) == (2, True), err


def test_an_answer_about_no_similar_record_is_refused(run, npz, tmp_path):
    path = write(tmp_path / "request.yaml", more="scope: similar\ndecisions: {shapes/30: remove}")
    path.write_text(path.read_text().replace("policy: keep", "policy: ask"))
    status, _, err = run("audit", path, "--out", "audit")
    assert (status, "'shapes/30' is not similar to any record" in err) == (2, True), err


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("records: [shapes/0]", "method: given\nrecords: [shapes/0]\nx: 1", "there is no such setting"),
        ("data:", "data: &a [*a]\nxdata:", "an alias of itself"),
        ("records: [shapes/0]", "records: [shapes/0, none/1, none/2]", "(2 of 3 ids are unknown)"),
    ],
)
def test_requests_that_cannot_be_read(run, npz, tmp_path, old, new, says):
    path = write(tmp_path / "request.yaml")
    path.write_text(path.read_text().replace(old, new, 1))
    status, _, err = run("audit", path, "--plan")
    assert (status, says in err) == (2, True), err


def test_a_module_that_is_not_there_is_named(run, npz, tmp_path):
    path = write(tmp_path / "request.yaml", more="method: given")
    path.write_text(path.read_text().replace("model:\n", "model:\n  after: nopkg.mod:f\n"))
    refused(run, path, 5, "No module named 'nopkg'")


def test_a_method_that_no_step_keeps_within_its_budget_says_so(run, npz, tmp_path):
    path = write(tmp_path / "request.yaml", more="method: GA\nunlearn: {ascent: {steps: 5, lr: 1.0e+30}}")
    status, out, err = run("audit", path, "--out", "audit")
    assert status in (4, 100), err
    assert "either no step of GA kept within the budget (utility: 0.02)" in " ".join(out.split())
    place = next(Path("audit").glob("001-*"))
    assert "no step of GA kept within the budget" in (place / "report.html").read_text()
    assert check(place / "result.json") == []
    record = json.loads((place / "result.json").read_text())
    (place / "result.json").write_text(json.dumps({**record, "unmoved": False}))
    assert "unmoved: the report says False, the stored answers True" in check(place / "result.json")
