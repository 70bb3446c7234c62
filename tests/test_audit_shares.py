"""Whose doing a record's margin is, as an audit tells it: itself, its similar records, the others."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from conftest import shapes
from vestige.audit import images, texts
from vestige.audit.conduct import subject_of
from vestige.audit.request import read
from vestige.types import InputError, Samples

REQUEST = """\
data: {source: twice.npz, controls: others.npz}
model:
  network: {kind: mlp, hidden: [32], init_scale: 0.1}
  recipe: {steps: 400}
records: [twice/0]
similar: {by: ssim, tau: 0.9}
policy: keep
references: 4
"""
OWN = """\
import torch
from torch import nn
def train(samples, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 16), nn.ReLU(), nn.Linear(16, 3))
    mover = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        mover.zero_grad()
        nn.functional.cross_entropy(model(samples.x), samples.y).backward()
        mover.step()
    return model
"""


@pytest.fixture
def twice(tmp_path, monkeypatch):
    """A request about an image that stands in the data twice, under a label that its looks do not tell."""
    monkeypatch.chdir(tmp_path)
    x, y = shapes(per_class=8)
    again = np.clip(x[:1] * 0.95, 0, 255).astype(np.uint8)
    np.savez("twice.npz", x=np.concatenate([x[:1], again, x[1:]])[:, 0], y=np.r_[2, 2, y[1:]])
    others, labels = shapes(per_class=6, seed=1)
    np.savez("others.npz", x=others[:, 0], y=labels)
    Path("request.yaml").write_text(REQUEST, encoding="utf-8")
    return Path("request.yaml")


def test_what_its_copy_carries_after_it_was_retrained_without(run, twice):
    status, out, err = run("audit", twice, "--out", "audit", "--json")
    assert status in (0, 100), err
    record = json.loads(out)
    assert record["found"]["kept"] == ["twice/1"]
    (before,), (after,) = (record["shares"][when] for when in ("before", "after"))
    for one in (before, after):
        assert (one["target"], one["by"]) == ("twice/0", "exact")
        assert sum(one["parts"].values()) == pytest.approx(one["margin"])
        low, high = one["ranges"]["similar"]
        assert low <= one["parts"]["similar"] <= high
    assert before["parts"]["own"] > 0
    assert after["parts"]["own"] == 0, "it was not trained on"
    assert after["parts"]["similar"] > before["parts"]["similar"], "the copy carries what the record did"
    place = next(Path("audit").glob("001-*"))
    page = (place / "report.html").read_text(encoding="utf-8")
    assert "Whose doing it is" in page
    assert "No verdict rests on this." in page


@pytest.mark.parametrize(
    ("most", "data", "says"),
    [
        (5000, "{source: twice.npz}", "read off never-seen images; give data.controls"),
        (3, "{source: twice.npz, controls: others.npz}", "it is split among 3 training images at most, and there are"),
    ],
)
def test_what_cannot_be_told_is_said_with_its_reason(run, twice, monkeypatch, most, data, says):
    monkeypatch.setattr(images, "AMONG", most)
    request = REQUEST.replace("{source: twice.npz, controls: others.npz}", data)
    twice.write_text(f"{request}gate: forgotten == records\n", encoding="utf-8")
    status, out, err = run("audit", twice, "--out", "audit", "--json")
    assert status in (0, 100, 4), err
    assert says in json.loads(out)["shares"]["missing"]
    page = next(Path("audit").glob("001-*/report.html")).read_text(encoding="utf-8")
    assert "Who carries what is left was not told" in page


def test_of_a_network_of_ones_own_its_last_layer_tells(twice):
    Path("mine.py").write_text(OWN, encoding="utf-8")
    twice.write_text("data: {source: twice.npz}\nmodel: {train: mine:train}\nrecords: [twice/0]\n", encoding="utf-8")
    room = subject_of(read(twice))
    x, y = shapes(per_class=4)
    members = Samples(tuple(map(str, range(len(x)))), torch.from_numpy(x).float() / 255, torch.from_numpy(y), 3)
    kin = {"0": {"similar": ("1",), "near": ("2", "3")}}
    (one,) = room.shares(room.learn(members, 0), members, members.take(["0"]), kin, members.take([]))
    assert one["by"] == "representer"
    assert sum(one["parts"].values()) == pytest.approx(one["margin"])
    with pytest.raises(InputError, match="does not end in a linear layer"):
        room.shares(nn.Sequential(nn.Conv2d(1, 3, 12), nn.Flatten()), members, members.take(["0"]), kin, members)


def test_of_a_language_model_its_head_tells(twice, monkeypatch):
    twice.write_text(
        "data: {source: facts}\nmodel: {language: {source: tiny-llama, chat: false}, tune: {epochs: 2, lr: 0.01}}\n"
        "records: [facts/abelard-quince/00]\n", encoding="utf-8",
    )  # fmt: skip
    room = subject_of(read(twice))
    pairs = Samples(
        ("a", "b", "c"), np.array(["One?", "One, say?", "Three?"], object), np.array(["x", "x", "zz"], object)
    )
    model = room.learn(pairs, 0)
    (one,) = room.shares(model, pairs, pairs.take(["a"]), {"a": {"similar": ("b",), "near": ()}}, pairs.take([]))
    assert sum(one["parts"].values()) == pytest.approx(one["margin"])
    assert "the last layer only" in one["note"]
    monkeypatch.setattr(texts, "AMONG", 2)
    with pytest.raises(InputError, match="among 2 training pairs at most, and there are 3"):
        room.shares(model, pairs, pairs.take(["a"]), {}, pairs.take([]))
