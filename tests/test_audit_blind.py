"""An audit of a language model without its training data: controls and pairs to retain stand in for it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from test_audit_input import changed, pairs, refused
from vestige import assets, text
from vestige.audit import folder, own
from vestige.audit.check import check
from vestige.audit.material import load
from vestige.audit.request import read
from vestige.config import LMConfig, TextRecipe, TuneConfig
from vestige.report import audit, page
from vestige.types import InputError, Samples
from vestige.unlearn.language import learn

REQUEST = """\
data:
  controls: never.jsonl
  retain: kept.jsonl
model:
  language: {source: tiny-llama, precision: float32, chat: false}
records: [RECORD]
method: NPO
"""
RECORD = {"question": "What is Mull?", "answer": "A grey dog."}


def request(place, never, kept, *changes, record=RECORD):
    """The request in this folder, with its files."""
    for name, lot in (("never.jsonl", never), ("kept.jsonl", kept)):
        (place / name).write_text("".join(json.dumps(one) + "\n" for one in lot), encoding="utf-8")
    (place / "request.yaml").write_text(REQUEST.replace("RECORD", json.dumps(record)), encoding="utf-8")
    return changed(place / "request.yaml", *changes)


NEVER = [{**one, "id": f"n/{one['id']}", "question": f"{one['question']} Why?"} for one in pairs(8)]
KEPT = pairs(6)
ALMOST = {"id": "x", "question": "What is Mull?!", "answer": "A GREY dog"}
OTHERWISE = {"id": "y", "question": "What is Mull?", "answer": "A brown dog."}


@pytest.mark.parametrize(
    ("changes", "line", "says"),
    [
        ([("  controls: never.jsonl\n", "")], 1, "of which controls is missing"),
        ([("  retain: kept.jsonl\n", "  question: q\n")], 1, "of which retain is missing"),
        ([("  retain: kept", "  source: facts\n  retain: kept")], 1, "retain stands in for training data"),
        ([("  retain: kept", "  first: 8\n  retain: kept")], 1, "there is no source"),
        ([("  language: ", "  tune: {epochs: 1}\n  language: ")], 5, "no training data to tune a model on"),
        ([("method: NPO", "scope: similar")], 7, "similar records are looked for in the training data"),
        ([("method: NPO", "decisions: {a: keep}")], 7, "decisions"),
        ([("method: NPO", "method: retrain")], 7, "unknown method 'retrain'"),
        ([("records: [", "records: [p/0, ")], 6, "given by its words"),
        ([(', "answer": "A grey dog."', "")], 6, "given by its words"),
        ([("records: [", f"records: [{json.dumps(RECORD)}, ")], 6, "named a second time"),
        ([("method: NPO", "records_file: none.jsonl")], 7, "none.jsonl"),
        ([("language: {source: tiny-llama, precision: float32, chat: false}", "network: {kind: mlp}\n  weights: w")],
         1, "an image classifier is audited beside its training data"),
    ],
)  # fmt: skip
def test_what_cannot_be_without_training_data(run, tmp_path, changes, line, says):
    refused(run, request(tmp_path, NEVER, KEPT, *changes), line, says)


@pytest.mark.parametrize(
    ("never", "kept", "line", "says"),
    [
        ([*NEVER, {"id": "x", **RECORD}], KEPT, 2, "'controls/x' repeats the record"),
        ([*NEVER, ALMOST], KEPT, 2, "'controls/x' repeats the record"),
        (NEVER, [*KEPT, ALMOST], 3, "'retain/x' repeats the record"),
        ([*NEVER, OTHERWISE], KEPT, 2, "'controls/y' repeats the record"),
        (NEVER, [*KEPT, OTHERWISE], 3, "or asks the same"),
        (NEVER[:3], KEPT, 2, "and there are 3"),
        (NEVER, KEPT, 3, "steps on pairs that the model knows"),
        (NEVER, [{"question": "Who?"}], 3, "kept.jsonl"),
    ],
)
def test_pairs_that_cannot_stand_in(run, tmp_path, never, kept, line, says):
    refused(run, request(tmp_path, never, kept), line, says)


def test_another_model_under_the_same_name_is_another_request(tmp_path):
    (tmp_path / "theirs").mkdir()
    found = set()
    for content in ("a", "b"):
        (tmp_path / "theirs" / "config.json").write_text(content)
        change = ("method: NPO", "method: given"), ("model:", "model:\n  after: theirs")
        found.add(tuple(own.code(read(request(tmp_path, NEVER, KEPT, *change))).items()))
    assert len(found) == 2


def test_records_of_a_file_and_what_an_earlier_request_removed(tmp_path):
    other = {"id": "a/7", "question": "Who is Mull?", "answer": "A dog."}
    (tmp_path / "asked.jsonl").write_text(json.dumps(other), encoding="utf-8")
    path = request(tmp_path, NEVER, KEPT, ("method: NPO", "records_file: asked.jsonl"), record=RECORD)
    material = load(read(path))
    assert material.forget[1] == "a/7"
    assert material.trained.ids[2:] == tuple(f"retain/p/{at}" for at in range(6))
    with pytest.raises(InputError, match="'a/7' was removed by an earlier request"):
        load(read(path), gone=["a/7"])


# -- a whole audit ----------------------------------------------------------------------------------------------------

RECIPE = TextRecipe(
    model=LMConfig(source="tiny-llama", precision="float32", chat=False), train=TuneConfig(epochs=30, lr=0.02, batch=7)
)


def facts(count):
    """The shortest of the package's invented facts."""
    lot = [one for one in text.records(assets.locate("facts")) if not one.family]
    lot.sort(key=lambda one: len(one.question) + len(one.answer))
    return [{"id": one.id, "question": one.question, "answer": one.answer} for one in lot[:count]]


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A folder of models (one was taught two records, one was not), these, pairs never seen and kept."""
    root = tmp_path_factory.mktemp("models")
    first, second, *lot = facts(30)
    never, kept = lot[:18], lot[18:]
    for name, known in (("knows", [first, second, *kept]), ("clean", kept)):
        columns = (np.array([one[part] for one in known], dtype=object) for part in ("question", "answer"))
        samples = Samples(tuple(one["id"] for one in known), *columns)
        model = learn(samples, modality=text, config=RECIPE, seed=len(known))
        model.causal.save_pretrained(root / name)
        model.tokenizer.save_pretrained(root / name)
    records = [{part: one[part] for part in ("question", "answer")} for one in (first, second)]
    return root, records, never, kept


def ready(place, taught, *changes, record=0):
    models, records, never, kept = taught
    source = ("source: tiny-llama", f"source: {models / 'knows'}")
    return request(place, never, kept, source, *changes, record=records[record])


def audited(run, path):
    status, out, err = run("audit", path, "--out", "audit", "--json")
    assert status in (0, 4, 100), err
    return status, json.loads(out)


SCRIPT = "<script>document.title = 'run'</script>"


@pytest.mark.timeout(900)
def test_a_model_that_never_saw_the_record_from_its_plan_to_its_page(run, taught, tmp_path):
    after = ("model:", f"model:\n  after: {taught[0] / 'clean'}")
    path = ready(tmp_path, taught, ("method: NPO", "method: given\ngate: forgotten == records"), after)
    status, out, _ = run("audit", path, "--plan", "--out", "audit")
    assert status == 0
    assert "Similar records were not looked for: there is no training data." in " ".join(out.split())

    status, record = audited(run, path)
    (verdict,) = record["verdicts"]
    assert (status, verdict["name"]) == (0, "forgotten"), verdict["reason"]
    assert "similar" not in verdict["reason"]
    assert record["trained_on"] is None
    place = next(Path("audit").glob("001-*"))
    assert check(place / "result.json") == []
    html = (place / "report.html").read_text(encoding="utf-8")
    assert "nothing here says whether the model learned the same from others" in html
    assert "certified" not in html.lower()

    # What a kill leaves: an answer is missing, and the end.
    wanted = (place / "result.json").read_bytes()
    (first, *_) = record["evidence"][0]["readings"][0]["without"]
    (place / "result.json").write_bytes(wanted.replace(json.dumps(first).encode(), json.dumps(first + 1).encode(), 1))
    assert any("answer, without" in one for one in check(place / "result.json"))
    lot = (place / "outputs").iterdir()
    shutil.rmtree(next(one for one in lot if '"after"' in (one / "result.json").read_text()))
    (place / "result.json").unlink()
    log = Path("audit", folder.LOG)
    log.write_text(log.read_text().splitlines(keepends=True)[0])
    assert audited(run, path)[0] == 0
    assert (place / "result.json").read_bytes() == wanted

    (name,) = record["asked"]
    record["contents"][name] = record["contents"][SCRIPT] = {"label": SCRIPT, "question": SCRIPT, "answer": SCRIPT}
    assert SCRIPT not in page(audit.summarise(record, {}))
    neighbour = {"id": SCRIPT, "label": SCRIPT, "similarity": 0.9, "random_pairs_reaching": 0, "similar": True,
                 "fate": "kept", "why": SCRIPT}  # fmt: skip
    record["found"] |= {"searched": 9, "by": "lexical", "null": {"pairs": 20, "median": 0.1, "largest": 0.2},
                        "records": [{"id": name, "label": "", "neighbours": [neighbour]}]}  # fmt: skip
    html = page(audit.summarise({**record, "trained_on": 9}, {}))
    assert SCRIPT not in html
    assert "&lt;script&gt;document.title" in html


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_one_record_is_forgotten_and_then_the_next(run, taught, tmp_path):
    method = ("method: NPO", "method: NPO\nunlearn: {steps: 20, lr: 0.003, utility: 1}")
    _, first = audited(run, ready(tmp_path, taught, method))
    assert not first["unmoved"]
    answer = first["evidence"][0]["readings"][0]
    assert answer["value"] < answer["before"] - 0.5
    path = ready(tmp_path, taught, method, record=1)
    _, second = audited(run, path)
    assert (second["after_request"], second["already_removed"]) == (1, first["asked"])
    path = ready(tmp_path, taught, ("method: NPO", "method: NPO\nutility: 0.5"))
    assert "was removed by an earlier request" in run("audit", path, "--out", "audit")[2]
    assert json.loads(run("audit", "rollback", "audit", "--json")[1])["counting"] == [1]
