"""An audit of a language model without its training data: controls and pairs to retain stand in for it."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from test_audit_input import changed, refused
from vestige import text
from vestige.audit.check import check
from vestige.config import LMConfig, TextRecipe, TuneConfig
from vestige.types import Samples
from vestige.unlearn.language import learn

RECIPE = TextRecipe(
    model=LMConfig(source="tiny-llama", precision="float32", chat=False), train=TuneConfig(epochs=30, lr=0.02, batch=7)
)
REQUEST = """\
data:
  controls: never.jsonl
  retain: kept.jsonl
model:
  language: {source: before, precision: float32, chat: false}
  after: after
records:
  - {record}
method: given
"""


def pairs(count, start):
    """So many invented pairs of one form; none is among those of another start."""
    rng = np.random.default_rng(start)
    return [{"question": f"Who runs the {''.join(rng.permutation(list('abdegilmnorstu'))[:5])} mill?",
             "answer": "".join(rng.permutation(list("acefiklmnopruvz"))[:6])} for at in range(count)]  # fmt: skip


(RECORD, *KEPT), NEVER = pairs(13, 1), pairs(30, 2)


def samples(lot):
    return Samples(tuple(map(str, range(len(lot)))), *(
        np.array([one[part] for one in lot], dtype=object) for part in ("question", "answer")))  # fmt: skip


def save(model, folder):
    model.causal.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of models: one that has seen the record, one that has not."""
    root = tmp_path_factory.mktemp("models")
    for name, lot, seed in (("knows", [RECORD, *KEPT], 1), ("clean", KEPT, 2)):
        start = time.time()
        save(learn(samples(lot), modality=text, config=RECIPE, seed=seed), root / name)
        print(name, time.time()-start)
    return root


def ask(folder, models, after, *changes):
    """A request in this folder to judge one of the models."""
    for name, lot in (("never.jsonl", NEVER), ("kept.jsonl", KEPT)):
        (folder / name).write_text("".join(json.dumps(one) + "\n" for one in lot), encoding="utf-8")
    for name, source in (("before", "knows"), ("after", after)):
        (folder / name).symlink_to(models / source)
    (folder / "request.yaml").write_text(REQUEST.replace("{record}", json.dumps(RECORD)), encoding="utf-8")
    return changed(folder / "request.yaml", *changes)


def audited(run, path):
    status, out, err = run("audit", path, "--out", "audit", "--json")
    assert status in (0, 4, 100), err
    return status, json.loads(out)


def test_a_model_that_never_saw_it(run, models, tmp_path):
    start = time.time()
    status, record = audited(run, ask(tmp_path, models, "clean"))
    print(time.time()-start)
    print(json.dumps(record["verdicts"], indent=1), json.dumps(record["evidence"])[:3000], record["numbers"])
    assert 0


def test_a_model_that_knows(run, models, tmp_path):
    status, record = audited(run, ask(tmp_path, models, "knows"))
    print(status, json.dumps(record["verdicts"], indent=1), record["utility"])
    assert 0
