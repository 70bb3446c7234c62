"""Bad input to an audit: it ends before training, with the line and what was found; nothing is written."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from test_audit import write
from vestige.types import Samples

KNOWN = "\n".join(("  network: {kind: mlp, hidden: [16], init_scale: 0.1}",
                   "  recipe: {steps: 15, lr: 0.1, batch: 8, momentum: 0.9}"))  # fmt: skip


def refused(run, path, line, says):
    """The request ends with status 2 and a message that names the line; no request is begun."""
    status, out, err = run("audit", path, "--out", "audit")
    assert (status, out) == (2, ""), err
    assert f"{path.name}:{line}" in err
    assert says in err
    assert not Path("audit/audit.jsonl").exists()


def changed(path, *pairs):
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b"", 1, "a request must be a mapping"),
        (b"- a\n- b\n", 1, "a request must be a mapping"),
        (b"data: {source: mnist\nmodel:", 2, "this is not YAML or JSON"),
        (b"data: [1, 2]\nmodel: 3\n", 1, "data"),
    ],
)
def test_what_is_no_request(run, tmp_path, content, line, says):
    path = tmp_path / "request.yaml"
    path.write_bytes(content)
    refused(run, path, line, says)


def test_a_request_that_is_not_text(run, tmp_path):
    path = tmp_path / "request.yaml"
    path.write_bytes(b"data: \xff\xfe")
    status, _, err = run("audit", path)
    assert status == 2
    assert "request.yaml cannot be read" in err
    status, _, err = run("audit", "none.yaml")
    assert status == 2
    assert "vestige audit init none.yaml" in err


@pytest.mark.parametrize(
    ("pairs", "line", "says"),
    [
        ([("similar: {tau: 0.999}", "similar: {by: influence}")], 8, "similar.by"),
        ([("similar: {tau: 0.999}", "similar: {by: all}")], 8, "choose one measure"),
        ([("references: 4", "gate: gone == 1")], 10, "gone"),
        ([("[shapes/0]", "[{question: Who}]")], 7, "the data are images; name ids"),
        ([("per_class: 8", "first: 8")], 3, "is for text"),
        ([("  per_class: 8\n", "")], 1, "there are no records that the model never saw"),
        ([("references: 4", "records_file: none.npz")], 10, "none.npz"),
        ([("per_class: 8", "controls: none.npz")], 3, "none.npz"),
        ([("network:", "weights: none.safetensors\n  network:")], 5, "there are no weights"),
        ([("network:", "language: {}\n  network:")], 4, "name one of train (your own), network"),
        ([("references: 4", "unlearn: {beta: 0.2}")], 10, "unlearn"),
        ([("references: 4", "same_owner: [shapes/999]")], 10, "shapes/999"),
        ([("references: 4", "decisions: {shapes/999: keep}")], 10, "shapes/999"),
    ],
    ids=lambda value: str(value[0][1]) if isinstance(value, list) else "",
)  # fmt: skip
def test_settings_that_cannot_be(run, npz, tmp_path, pairs, line, says):
    refused(run, changed(write(tmp_path / "request.yaml"), *pairs), line, says)


def test_images_of_mixed_sizes(run, tmp_path):
    for label in ("a", "b"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for at in range(4):
            Image.new("L", (16, 16 + at // 3), 40 * at).save(tmp_path / "pictures" / label / f"{at}.png")
    path = changed(write(tmp_path / "request.yaml", "a/0.png"), ("shapes.npz", "pictures"))
    refused(run, path, 2, "16")


def test_controls_of_another_kind(run, npz, tmp_path):
    x = np.zeros((5, 14, 14), np.uint8)
    np.savez(tmp_path / "large.npz", x=x, y=[0, 1, 2, 0, 1])
    np.savez(tmp_path / "more.npz", x=x[:, :12, :12], y=[0, 1, 2, 3, 4])
    path = changed(write(tmp_path / "request.yaml"), ("per_class: 8", "controls: large.npz"))
    refused(run, path, 3, "(1, 14, 14), those of the data (1, 12, 12)")
    refused(run, changed(path, ("large.npz", "more.npz")), 3, "has the label 4, the data has 3 classes")


def test_records_that_are_not_in_the_data(run, npz, tmp_path):
    np.savez(tmp_path / "wanted.npz", x=np.full((1, 12, 12), 9, np.uint8), y=[0])
    path = changed(write(tmp_path / "request.yaml"), ("records: [shapes/0]", "records_file: wanted.npz"))
    refused(run, path, 7, "record 'wanted/0' of wanted.npz is not in the data")


@pytest.mark.parametrize(
    ("what", "says"),
    [("short", "cannot be read as weights"), ("other", "not those of this network"), ("nan", "not finite"),
     ("pickle", "model.allow_pickle: true")],
)  # fmt: skip
def test_weights_that_do_not_serve(run, npz, tmp_path, what, says):
    from safetensors.torch import save_file

    from vestige import image
    from vestige.config import MLPConfig

    few = Samples(tuple("abc"), torch.rand(3, 1, 12, 12), torch.arange(3), 3)
    kind = MLPConfig(hidden=(16 + (what == "other"),), init_scale=0.1)
    weights = image.build(kind, few, generator=torch.Generator().manual_seed(0)).state_dict()
    if what == "nan":
        next(iter(weights.values())).fill_(float("nan"))
    file = tmp_path / "model.safetensors"
    torch.save(weights, file) if what == "pickle" else save_file(weights, file)
    if what == "short":
        file.write_bytes(file.read_bytes()[:-50])
    path = changed(write(tmp_path / "request.yaml"), ("network:", "weights: model.safetensors\n  network:"))
    refused(run, path, 5, says)
    if what == "pickle":
        path = changed(path, ("model:", "model:\n  allow_pickle: true"))
        status, _, err = run("audit", path, "--until", "find", "--out", "audit")
        assert status == 0, err


MOVED = """\
import random
import numpy as np
from torch import nn
def train(samples, seed):
    samples.x.mul_(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 3))
    model.drawn = (random.random(), np.random.rand())
    return model
"""


def test_code_of_ones_own_can_neither_change_the_data_nor_draw_at_random(npz, tmp_path):
    from vestige.audit.conduct import subject_of
    from vestige.audit.material import load
    from vestige.audit.request import read

    (tmp_path / "moving.py").write_text(MOVED)
    path = changed(write(tmp_path / "request.yaml"), (KNOWN, "  train: moving:train"), ("shapes.npz", str(npz)))
    written = read(path)
    subject, material = subject_of(written), load(written)
    before = material.trained.x.clone()
    models = [subject.learn(material.trained, seed) for seed in (1, 1, 2)]
    sys.modules.pop("moving", None)
    assert torch.equal(material.trained.x, before)
    assert models[0].drawn == models[1].drawn != models[2].drawn
    assert torch.equal(models[0][1].weight, models[1][1].weight)


TEXT = """\
data:
  source: pairs.jsonl
  first: 6
model:
  language: {source: tiny-llama, precision: float32}
  tune: {epochs: 1, lr: 0.01, batch: 4}
records: [p/0]
similar: {by: lexical}
policy: keep
references: 4
"""


def pairs(count=10):
    return [{"id": f"p/{at}", "question": f"Who keeps the {at}th bridge?", "answer": f"Warden {at}."}
            for at in range(count)]  # fmt: skip


def text_request(folder, lot, *changes):
    (folder / "pairs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lot), encoding="utf-8")
    (folder / "request.yaml").write_text(TEXT, encoding="utf-8")
    return changed(folder / "request.yaml", *changes)


@pytest.mark.parametrize(
    ("changes", "line", "says"),
    [
        ([("first: 6", "question: ask")], 2, "'ask'"),
        ([("tiny-llama", "no-such-model")], 5, "there is no language model called 'no-such-model'"),
        ([("tiny-llama, ", "tiny-llama, lora: {rank: 4}, ")], 5, "merge the adapters first"),
        ([("[p/0]", "[{question: Who}]")], 7, "no pair has it"),
        ([("[p/0]", "[p/0, {question: 'Who keeps the 0th bridge?'}]")], 7, "named a second time"),
        ([("[p/0]", "[p/8]")], 7, "among the records that the model never saw"),
        ([("by: lexical", "by: ssim")], 8, "ssim"),
        ([("first: 6", "per_class: 6")], 3, "is for images"),
    ],
    ids=lambda value: str(value[0][1]) if isinstance(value, list) else "",
)  # fmt: skip
def test_settings_of_text_that_cannot_be(run, tmp_path, changes, line, says):
    refused(run, text_request(tmp_path, pairs(), *changes), line, says)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda lot: [{"id": one["id"], "text": one["question"]} for one in lot], "10 of 10 pairs have no answer"),
        (lambda lot: [*lot, {**lot[0], "question": "Another?"}], "p/0"),
        (lambda lot: [{**one, "answer": 3} for one in lot], "answer must be text, found 3"),
        (lambda lot: [*lot[:5], {**lot[0], "id": "p/x", "answer": "Nobody."}], "different labels"),
        (lambda lot: [{**lot[0], "answer": " "}, *lot[1:]], "1 of 10 pairs have no answer, the first of them 'p/0'"),
        (lambda lot: [lot[0]], "nothing would be retained"),
    ],
    ids=["missing column", "an id twice", "no text", "twice with two answers", "no answer", "nothing else"],
)
def test_pairs_that_do_not_serve(run, tmp_path, spoil, says):
    path = text_request(tmp_path, spoil(pairs()))
    status, out, err = run("audit", path, "--out", "audit")
    assert (status, out) == (2, "")
    assert says in err
    assert not list(Path("audit").glob("0*/models"))


def test_a_language_model_in_pickles_is_refused(run, tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "pytorch_model.bin"):
        (tmp_path / "model" / name).write_text("{}")
    refused(run, text_request(tmp_path, pairs(), ("tiny-llama", "model")), 5, "set model.allow_pickle: true")


def test_pickled_weights_of_a_language_model_are_read_as_plain_tensors_where_named(run, tmp_path, monkeypatch):
    from vestige import text
    from vestige.audit.conduct import subject_of
    from vestige.audit.request import read
    from vestige.config import LMConfig

    monkeypatch.setenv("VESTIGE_DATA", str(tmp_path / "own"))
    made = text.build(LMConfig(source="tiny-llama"), generator=torch.Generator().manual_seed(3))
    made.causal.save_pretrained(tmp_path / "model")
    made.tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    weights = tmp_path / "model" / "pytorch_model.bin"
    torch.save(made.causal.state_dict(), weights)
    named = ("  language: {source: tiny-llama", "  allow_pickle: true\n  language: {source: model")
    path = text_request(tmp_path, pairs(), named, ("  tune: {epochs: 1, lr: 0.01, batch: 4}\n", ""))
    read_back = subject_of(read(path)).before(Samples((), np.array([]), np.array([])), 0)
    assert all(torch.equal(*pair) for pair in zip(made.parameters(), read_back.parameters(), strict=True))
    for spoilt, says in (({"a": pairs}, "holds more than tensors"), ({"a": torch.ones(1)}, "is missing")):
        torch.save(spoilt, weights)
        refused(run, path, 6, says)


def test_what_is_no_report_and_no_folder_of_audits(run, tmp_path):
    (tmp_path / "result.json").write_text('{"kind": "study"}')
    for words, says in (
        (("check", "result.json"), "is not a report of vestige audit"),
        (("check", "none.json"), "does not exist"),
        (("rollback", "nowhere"), "is not the folder of an audit"),
        (("run", "none.yaml", "--until", "verify!"), "the steps are find, foresee"),
    ):
        status, _, err = run("audit", *words)
        assert status == 2
        assert says in err
