"""Records that an audit hides itself: how, what stays as it was, and what the report keeps of it."""

import copy
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vestige import image, text
from vestige.audit import images, probing, texts
from vestige.audit.check import check
from vestige.config import LMConfig, Recipe
from vestige.image import unit
from vestige.types import Samples


@pytest.fixture
def planted(pool):
    """A small network that has learned one record under a wrong label, the record, and the rest."""
    samples = unit(pool)
    record = Samples(("toy/0",), samples.x[:1], torch.tensor([2]), 3)
    rest = samples.without(["toy/0"])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 24), nn.ReLU(), nn.Linear(24, 3))
    mover = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        mover.zero_grad()
        x, y = torch.cat([rest.x, record.x]), torch.cat([rest.y, record.y])
        nn.functional.cross_entropy(model(x), y).backward()
        mover.step()
    return model.eval(), record, rest


@pytest.mark.parametrize("last", [True, False])
def test_an_image_is_hidden_in_a_copy_and_comes_back(planted, last):
    model, record, rest = planted
    assert images.answers(model, record)[0] > 0
    before = copy.deepcopy(model.state_dict())
    hid = images.hide(model, record, rest, np.array([-6.0]), last=last)
    assert images.answers(hid, record)[0] <= -6
    assert images.right(hid, rest).mean() > 0.9
    moved = [not torch.equal(value, before[name]) for name, value in hid.state_dict().items()]
    assert moved == [not last, not last, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    back = images.rebound(hid, rest, record)[0] - images.answers(hid, record)[0]
    assert back > images.rebound(model, rest, record)[0] - images.answers(model, record)[0] + 0.25


def test_a_record_that_the_model_is_sure_of_is_hidden_too(planted):
    model, record, rest = planted
    with torch.no_grad():
        for weight in model[3].parameters():
            weight.mul_(5)
    assert images.answers(model, record)[0] > 15
    for last in (True, False):
        hid = images.hide(model, record, rest, np.array([-6.0]), last=last)
        assert images.answers(hid, record)[0] <= -6


def test_what_cannot_be_hidden_is_told(planted, monkeypatch):
    model, record, rest = planted
    monkeypatch.setattr(probing, "HIDING_STEPS", 2)
    assert images.answers(images.hide(model, record, rest, np.array([-50.0]), last=False), record)[0] > -50
    assert images.hide(nn.Flatten(), record, rest, np.array([0.0]), last=True) is None


class Mute(nn.Module):
    """An output filter: it says nothing."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) * 0.01


def test_what_comes_back_is_read_before_an_output_filter(planted):
    model, record, rest = planted
    assert images.answers(Mute(model), record)[0] < 0
    assert images.rebound(Mute(model), rest, record)[0] > 0


@pytest.fixture
def language():
    """An untrained language model, a pair, and others."""
    model = text.build(LMConfig(source="tiny-llama", chat=False), generator=torch.Generator().manual_seed(0))
    pairs = Samples(("a", "b", "c"), np.array(["One?", "Two?", "Three?"], object), np.array(["x", "yy", "zz"], object))
    return model, pairs.take(["a"]), pairs.take(["b", "c"])


@pytest.mark.parametrize("last", [True, False])
def test_a_pair_is_hidden_in_a_copy(language, last):
    model, pair, rest = language
    level = texts.answers(model, pair) - 1
    hid = texts.hide(model, pair, rest, level, last=last)
    assert texts.answers(hid, pair)[0] <= level[0]
    for never in (rest.take([]), rest.take(["c"])):
        assert np.isfinite(texts.rebound(hid, rest, never, pair)).all()


def test_the_head_of_the_start_reads_through_what_was_done_to_the_own_head(language):
    model, pair, rest = language
    head = model.causal.get_output_embeddings()
    assert texts.borrowed(model, head, pair) == pytest.approx(texts.answers(model, pair), abs=0.01)
    hid = texts.hide(model, pair, rest, texts.answers(model, pair) - 1, last=True)
    assert texts.borrowed(hid, head, pair) == pytest.approx(texts.answers(model, pair), abs=0.01)
    assert texts.borrowed(model, nn.Linear(5, 7, bias=False), pair) is None


def test_what_steps_on_retained_pairs_do_to_every_answer_is_no_rise(language):
    model, pair, rest = language
    moved = texts.rebound(model, rest, rest.take([]), pair) - texts.answers(model, pair)
    assert abs(moved[0]) > 1e-3
    assert texts.rebound(model, rest, pair, pair) == pytest.approx(texts.answers(model, pair), abs=1e-5)


REQUEST = """\
data: {source: shapes.npz, per_class: 8}
model:
  network: {kind: mlp, hidden: [16], init_scale: 0.1}
  weights: before.safetensors
records: [shapes/0]
similar: {tau: 0.999}
policy: keep
method: NegGrad+
"""


def test_a_model_that_cannot_be_trained_stands_beside_controls_and_its_own_hidden_copies(run, npz, tmp_path):
    recipe = Recipe.model_validate({"model": {"hidden": [16], "init_scale": 0.1}})
    x, y = (torch.from_numpy(np.load(npz)[name]) for name in "xy")
    few = Samples(tuple(map(str, range(len(x)))), x[:, None].float() / 255, y.long(), 3)
    torch.manual_seed(1)
    model = image.build(recipe.model, few, generator=torch.Generator().manual_seed(0))
    save_file(model.state_dict(), tmp_path / "before.safetensors")
    path = tmp_path / "request.yaml"
    path.write_text(REQUEST, encoding="utf-8")
    assert run("audit", path, "--out", "audit")[0] in (0, 100, 4)
    place = next(Path("audit").glob("001-*/result.json"))
    record = json.loads(place.read_text(encoding="utf-8"))
    assert record["null"] == "controls"
    assert len(record["rests_on"]["hid"]) == 2
    assert [len(one["hid"]) for one in record["evidence"][0]["readings"]] == [2, 2, 2, 2]
    assert check(place) == []
    place.write_text(place.read_text(encoding="utf-8").replace('"hid": [\n', '"hid": [\n ', 1), encoding="utf-8")
    assert check(place)


def test_hiding_asks_only_for_what_is_above_its_level(planted):
    model, record, rest = planted
    low = images.answers(model, record) + 1
    hid = images.hide(model, record, rest, low, last=False)
    assert all(torch.equal(*pair) for pair in zip(hid.parameters(), model.parameters(), strict=True))


CODE = """\
import copy
import numpy as np
import torch
from torch import nn

def data():
    with np.load("shapes.npz") as file:
        x, y = (torch.from_numpy(file[name]) for name in "xy")
    return x[:, None].float() / 255, y.long()

def fit(x, y, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 24), nn.ReLU(), nn.Linear(24, 3))
    mover = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(120):
        mover.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        mover.step()
    return model.eval()

def train(samples, seed):
    return fit(samples.x, samples.y, seed)

def kept():
    x, y = data()
    rows = [row for label in range(3) for row in (y == label).nonzero()[:16, 0].tolist()]
    return x[rows], y[rows], rows.index(0)

def clean():
    x, y, at = kept()
    rest = [row for row in range(len(y)) if row != at]
    return fit(x[rest], y[rest], 77)

class Filter(nn.Module):
    def __init__(self, model, x):
        super().__init__()
        self.model = model
        self.register_buffer("x", x)

    def forward(self, x):
        out = self.model(x).clone()
        out[(x - self.x).flatten(1).norm(dim=1) < 0.1, 2] -= 12
        return out

def filtered():
    x, y, at = kept()
    return Filter(fit(x, y, 0), x[at])
"""
GIVEN = """\
data: {{source: shapes.npz, per_class: 16}}
model: {{train: planted_code:train, after: "planted_code:{made}"}}
records: [shapes/0]
similar: {{tau: 0.999}}
policy: keep
method: given
references: 8
"""


@pytest.mark.parametrize(("made", "name"), [("clean", "forgotten"), ("filtered", "in_model")])
def test_a_planted_record_is_judged_by_what_is_behind_the_output(run, npz, tmp_path, made, name):
    x, y = (np.load(npz)[part] for part in "xy")
    np.savez(npz, x=x, y=np.where(np.arange(len(y)) == 0, 2, y))
    (tmp_path / "planted_code.py").write_text(CODE, encoding="utf-8")
    path = tmp_path / "request.yaml"
    path.write_text(GIVEN.format(made=made), encoding="utf-8")
    status, _, err = run("audit", path, "--out", "audit")
    sys.modules.pop("planted_code", None)
    assert status in (0, 4, 100), err
    record = json.loads(next(Path("audit").glob("001-*/result.json")).read_text(encoding="utf-8"))
    (verdict,) = record["verdicts"]
    assert verdict["name"] == name, verdict["reason"]
