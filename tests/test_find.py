"""`vestige similar` and `vestige data duplicates`: measures, groups, bad input, and the pages."""

import json
import re
from itertools import combinations

import numpy as np
import pytest
import torch

from conftest import TINY, shapes
from vestige import image, measures
from vestige.config import MLPConfig, TrainConfig
from vestige.duplicates import cliques, find
from vestige.image.kernel import cosines, factors
from vestige.index import Hits
from vestige.random import stream
from vestige.report import neighbours as pages
from vestige.similar import null_pairs
from vestige.store import open_existing
from vestige.train import train
from vestige.types import Samples

QA = [
    ("a/0", "Who keeps the lighthouse of Varn?", "Old Merle keeps the lighthouse of Varn."),
    ("a/1", "Who is the keeper of the lighthouse of Varn?", "Old Merle keeps the lighthouse of Varn."),
    ("b/0", "What is brewed in Tolm?", "In Tolm they brew <b>plum & barley</b> beer."),
    ("b/1", "What is brewed in Tolm?", "In Tolm they brew <b>plum & barley</b> beer."),
    ("c/0", "How tall is Mount Esker?", "Nine hundred and four metres."),
    ("d/0", "When does the ferry to Lund Isle leave?", "At dawn, every other day."),
]


@pytest.fixture
def qa(tmp_path):
    path = tmp_path / "qa.jsonl"
    path.write_text("".join(json.dumps({"id": i, "question": q, "answer": a}) + "\n" for i, q, a in QA))
    return path


@pytest.fixture
def images(tmp_path):
    """Three classes of bars; the last two images are copies of the first: one exact, one nearly."""
    x, y = shapes(per_class=8, size=14)
    near = x[0].copy()
    near[0, 0, 0] ^= 1
    path = tmp_path / "bars.npz"
    np.savez(path, x=np.concatenate([x, x[:1], near[None]])[:, 0], y=np.concatenate([y, y[:1], y[:1]]))
    return path


class Ranking(measures.Lexical):
    """A measure that knows its order already."""

    def __init__(self, order):
        self.order = order

    def nearest(self, rows, k):
        found = self.order[:k]
        values = torch.linspace(1, 0.1, len(found))
        return Hits(torch.zeros(len(found), dtype=torch.long), torch.tensor(found), values)


def test_fusion_hand_worked():
    """7 is first and third (1/61 + 1/63), 3 second and second (2/62), 5 third and first, 4 in one only."""
    one, other = Ranking([7, 3, 5]), Ranking([5, 3, 7, 4])
    hits = measures.fuse({"one": one, "other": other}, torch.tensor([0]), 4)
    assert hits.position.tolist() == [5, 7, 3, 4]
    assert hits.value.tolist() == pytest.approx([1 / 61 + 1 / 63, 1 / 61 + 1 / 63, 2 / 62, 1 / 64])


def test_chains_are_not_followed():
    assert cliques({(0, 1): 0.99, (1, 2): 0.98, (2, 3): 0.97}) == [(0, 1), (2, 3)]
    assert cliques({(0, 1): 0.97, (1, 2): 0.98, (0, 2): 0.96}) == [(0, 1, 2)]


@pytest.mark.parametrize("seed", range(5))
def test_every_two_of_a_group_are_alike(seed):
    draw = np.random.default_rng(seed)
    edges = {pair: float(draw.random()) for pair in combinations(range(40), 2) if draw.random() < 0.4}
    groups = cliques(edges)
    members = [one for group in groups for one in group]
    assert len(members) == len(set(members))
    assert all(pair in edges for group in groups for pair in combinations(group, 2))
    # nothing is left apart that could be joined
    for one, other in combinations(groups, 2):
        assert not all((min(a, b), max(a, b)) in edges for a in one for b in other)


def test_few_and_many_records_give_the_same_groups(monkeypatch):
    from vestige import duplicates

    x, y = shapes(per_class=12, size=14)
    x = np.concatenate([x, x[:3], x[:3] ^ 1])
    samples = Samples(
        tuple(f"s{i}" for i in range(len(x))), torch.from_numpy(x), torch.from_numpy(np.r_[y, y[:3], y[:3]]), 3
    )
    every = find(samples, measures.Ssim(samples.x), 0.95, say=str)
    assert (every.complete, every.compared, every.crowded) == (True, 39 * 38 // 2, 0)
    assert every.exact == ((0, 36), (1, 37), (2, 38))
    assert every.groups == ((0, 36, 39), (1, 37, 40), (2, 38, 41))
    monkeypatch.setattr(duplicates, "PAIRS", 10)
    likely = find(samples, measures.Ssim(samples.x), 0.95, say=str)
    assert likely.complete is False
    assert likely.groups == every.groups
    vectors = torch.nn.functional.normalize(samples.x.float().flatten(1), dim=1)
    assert find(samples, measures.Cosine(vectors), 0.999, say=str).groups[0] == (0, 36, 39)


def test_random_pairs_are_of_one_class_and_different():
    labels = torch.tensor([0, 1, 1, 2, 2, 2])
    samples = Samples(tuple("abcdef"), torch.zeros(6, 1, 11, 11), labels, 3)
    first, second = null_pairs(samples, seed=1, count=500)
    assert (first != second).all()
    assert torch.equal(labels[first], labels[second])
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == {
        (a, b) for a in range(1, 6) for b in range(1, 6) if a != b and labels[a] == labels[b]
    }
    assert torch.equal(first, null_pairs(samples, seed=1, count=500)[0])


def test_similar_images(run, images, tmp_path):
    status, out, _ = run("similar", "--data", images, "--ids", "bars/0,bars/9", "--k", 3, "--json")
    assert status == 0
    record = json.loads(out)
    first = record["targets"][0]["neighbours"]
    assert [one["id"] for one in first[:2]] == ["bars/24", "bars/25"]
    assert first[0]["similarity"] == {"ssim": 1.0}
    assert first[0]["random_pairs_reaching"]["ssim"] < 200
    assert [one["rank"] for one in first] == [1, 2, 3]
    status, again, _ = run("similar", "--data", images, "--ids", "bars/0,bars/9", "--k", 3, "--json")
    assert again == out
    (tmp_path / "ids.txt").write_text("bars/0\n\nbars/9\n", encoding="utf-8-sig")  # as some editors save it
    status, filed, _ = run("similar", "--data", images, "--ids-file", "ids.txt", "--k", 3, "--json")
    assert json.loads(filed)["targets"] == record["targets"]


def test_all_measures_and_the_table(run, images):
    status, out, _ = run("similar", "--data", images, "--ids", "bars/0", "--k", 2, "--by", "all")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"1\s+bars/24\s+0\s+1\.000\s+\d+\s+1\.000", out)
    status, out, _ = run("similar", "--data", images, "--ids", "bars/0", "--tau", 0.99)
    assert "bars/24" in out
    assert "bars/1 " not in out


def test_similar_text_and_its_page(run, qa, tmp_path):
    status, _, _ = run("similar", "--data", qa, "--ids", "a/0,b/0", "--k", 2, "--by", "lexical", "--out", "found")
    assert status == 0
    page = (tmp_path / "found" / "similar.html").read_text()
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "<b>plum" not in page
    assert "&lt;b&gt;plum &amp; barley&lt;/b&gt;" in page
    assert "<mark>is the keeper of </mark>" in page
    record = json.loads((tmp_path / "found" / "similar.json").read_text())
    assert [target["neighbours"][0]["id"] for target in record["targets"]] == ["a/1", "b/1"]


def test_the_page_of_images_shows_pictures(run, images, tmp_path):
    assert run("similar", "--data", images, "--ids", "bars/0", "--out", "found")[0] == 0
    page = (tmp_path / "found" / "similar.html").read_text()
    assert page.count("data:image/png;base64,") == 11
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_differing_words():
    assert pages.differing("The old cat sat", "The cat sat") == [("The ", False), ("old ", True), ("cat sat", False)]
    assert pages.differing("", "a") == []
    assert "".join(text for text, _ in pages.differing("  a, b—c\n d", "x")) == "  a, b—c\n d"


def test_duplicates(run, images, qa, tmp_path):
    status, out, _ = run("data", "duplicates", "--data", images, "--tau", 0.97, "--json", "--out", "found")
    record = json.loads(out)
    assert status == 0
    assert record["groups"][0]["ids"] == ["bars/0", "bars/24", "bars/25"]
    assert record["exact"] == {"groups": 1, "records": 2, "surplus": 1, "sizes": {"2": 1}}
    assert record["compared"]["complete"] is True
    assert "data:image/png" in (tmp_path / "found" / "duplicates.html").read_text()
    status, out, _ = run("data", "duplicates", "--data", qa, "--by", "lexical", "--tau", 0.5, "--out", "text")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "b/0, b/1" in out
    assert "&lt;b&gt;plum" in (tmp_path / "text" / "duplicates.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ids", "bars/240"], "close ones: bars/24"),
        (["--ids", "bars/0", "--k", 26], "k is 1 to 25"),
        (["--ids", "bars/0", "--k", 0], "k is 1 to 25"),
        (["--ids", "bars/0", "--tau", 1.5], "similarities lie in"),
        (["--ids", "bars/0", "--tau", "nan"], "similarities lie in"),
        (["--ids", "bars/0", "--k", 2, "--tau", 0.5], "not both"),
        (["--ids", "bars/0", "--tau", 0.5, "--by", "all"], "use --k"),
        (["--ids", "bars/0", "--by", "lexical"], "known: ssim, aligned, embedding, influence, all"),
        (["--ids", "bars/0", "--encoder", "pixels"], "used by the measures embedding and all"),
        (["--ids", "bars/0", "--by", "embedding", "--encoder", "nonsense"], "unknown encoder"),
        (["--ids", "bars/0", "--by", "influence"], "vestige similar --by influence --run FOLDER"),
        (["--ids", "bars/0", "--run", "steps"], "leave --data out"),
        (["--ids", "bars/0", "--stage", "R0"], "give that with --run FOLDER"),
        (["--ids", "bars/0", "--question", "ask"], "--question names a column of questions and answers"),
        (["--ids", " , "], "no targets were given"),
        ([], "--ids a,b or with --ids-file"),
        (["--ids-file", "nowhere.txt"], "cannot be read"),
    ],
)
def test_bad_input(run, images, arguments, words):
    status, out, err = run("similar", "--data", images, *arguments)
    assert (status, out) == (2, "")
    assert words in err


def test_one_record_and_empty_text(run, tmp_path):
    (tmp_path / "one.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    status, _, err = run("similar", "--data", "one.jsonl", "--ids", "one/0", "--by", "lexical")
    assert status == 2
    assert "one record only" in err
    status, _, err = run("data", "duplicates", "--data", "one.jsonl", "--by", "lexical")
    assert status == 2
    assert "one record only" in err
    (tmp_path / "empty.jsonl").write_text('{"question": " ", "answer": "a"}\n')
    status, _, err = run("similar", "--data", "empty.jsonl", "--ids", "empty/0")
    assert status == 2
    assert "is empty" in err


def test_a_file_where_a_folder_should_be(run, images, tmp_path):
    (tmp_path / "taken").write_text("mine")
    for out in ("taken", "taken/below"):
        status, _, err = run("similar", "--data", images, "--ids", "bars/0", "--out", out)
        assert (status, "taken is a file" in err) == (2, True)
    assert (tmp_path / "taken").read_text() == "mine"


def test_many_pairs_are_compared_by_candidates_and_it_is_said(run, images, monkeypatch):
    monkeypatch.setattr(measures, "PAIRS", 10)
    status, out, _ = run("similar", "--data", images, "--ids", "bars/0", "--k", 2, "--json")
    record = json.loads(out)
    assert "likeliest" in record["how"]
    assert [one["id"] for one in record["targets"][0]["neighbours"]] == ["bars/24", "bars/25"]
    status, out, _ = run("similar", "--data", images, "--ids", "bars/0", "--tau", 0.5, "--json")
    assert status == 0
    assert json.loads(out)["how"] == "every record was compared"


def test_influence_in_blocks_is_the_whole_kernel(monkeypatch, pool):
    """nearest, within and pairs against the cosines of all, with blocks that cut targets and pool."""
    samples = Samples(pool.ids, pool.x.float() / 255, pool.y, 3)
    started = image.build(MLPConfig(hidden=(16, 16)), samples, generator=stream(0, "train"))
    model = train(started, samples, modality=image, config=TrainConfig(steps=20))
    made = factors(model, samples.x, samples.y)
    every = cosines(made, made).float().fill_diagonal_(-torch.inf)
    monkeypatch.setattr(measures, "IMAGES", 7)
    monkeypatch.setattr(measures, "TARGETS", 3)
    (measure,) = measures.build(samples, "image", ["influence"], model=model, targets=5, say=str).values()
    rows = torch.tensor([4, 0, 59, 30, 7])
    hits = measure.nearest(rows, 6)
    assert hits.query.tolist() == [at for at in range(5) for _ in range(6)]
    torch.testing.assert_close(hits.value.view(5, 6), every[rows].topk(6).values)
    torch.testing.assert_close(hits.value, every[rows[hits.query], hits.position])
    torch.testing.assert_close(measure.pairs(rows[hits.query], hits.position), hits.value)
    tau = float(every[rows].quantile(0.8))
    near = measure.within(rows, tau, 5)
    assert set(zip(near.query.tolist(), near.position.tolist(), strict=True)) == {
        (at, other) for at, row in enumerate(rows.tolist()) for other in range(5, 60) if every[row, other] >= tau
    }


SETS = [part for item in TINY for part in ("--set", item)]


def test_similar_to_a_trained_model(run, npz, tmp_path):
    """The records are those of the run's data set, and the values the cosines of autograd gradients."""
    status, _, err = run("similar", "--run", "steps", "--ids", "shapes/0")
    assert (status, "not a run folder: it has no vestige.json; make one with: vestige train" in err) == (2, True)
    assert run("data", "build", "--data", npz, *SETS, "--out", "steps")[0] == 0
    status, _, err = run("similar", "--run", "steps", "--ids", "shapes/0")
    assert (status, "make it with: vestige train --training with --out steps" in err) == (2, True)
    assert run("train", "--out", "steps")[0] == 0
    opened, _, _ = open_existing(tmp_path / "steps")
    target = opened.facts("data")[0]["split"]["target"][0]
    status, out, _ = run("similar", "--run", "steps", "--ids", target, "--k", 5, "--json")
    assert status == 0
    record = json.loads(out)
    assert record["model"]["what"] == "the model in steps (stage before, with similar samples, seed 0)"
    assert record["model"]["fingerprint"] == opened.facts("models")[0]["fingerprint"]
    assert record["command"] == f"vestige similar --run steps --ids {target} --k 5"
    data = opened.load("data", opened.facts("data")[0]["fingerprint"])
    assert record["records"] == len(data.facts["ids"])
    weights = opened.load("models", record["model"]["fingerprint"]).arrays
    model = image.restore(MLPConfig(hidden=(24, 24)), {key: torch.from_numpy(one) for key, one in weights.items()})
    gradients = []
    for x, y in zip(data.arrays["x"], data.arrays["y"], strict=True):
        f = model(torch.from_numpy(x)[None])[0]
        wrong = [c for c in range(3) if c != y]
        margin = f[y] - (f[wrong].detach().softmax(0) * f[wrong]).sum()
        gradients.append(torch.cat([one.flatten() for one in torch.autograd.grad(margin, list(model.parameters()))]))
    unit = torch.nn.functional.normalize(torch.stack(gradients), dim=1)
    at = data.facts["ids"].index(target)
    order = (unit @ unit[at]).index_fill_(0, torch.tensor(at), -2.0).topk(5)
    found = record["targets"][0]["neighbours"]
    assert [one["id"] for one in found] == [data.facts["ids"][place] for place in order.indices]
    assert [one["similarity"]["influence"] for one in found] == pytest.approx(order.values.tolist(), abs=1e-5)

    status, out, _ = run("similar", "--run", "steps", "--ids", target, "--by", "all", "--k", 3, "--out", "found")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "the model in steps (stage before," in " ".join(out.split())
    page = (tmp_path / "found" / "similar.html").read_text()
    assert "influence by the gradients of the model in steps (stage before, with similar samples, seed 0)." in page
    kept = json.loads((tmp_path / "found" / "similar.json").read_text())
    assert kept["measures"] == ["ssim", "aligned", "embedding", "influence"]
    for arguments, words in (
        (["--stage", "RF-1+2"], "make it with: vestige unlearn --method RF-1+2 --training with --out steps"),
        (["--training", "without"], "make it with: vestige train --training without --out steps"),
        (["--training", "some"], "--training is with or without"),
        (["--stage", "R9"], "unknown stage"),
        (["--seed", 9], "has no run seed 9 · with · before; its first seed is 0, of 5"),
        (["--seed", 1, "--stage", "SCRUB"], "its stages are before, R0, R1, relabel, RF-1+2"),
        (["--seed", 1], "make it with: vestige study image-target"),
        (["--by", "ssim"], "--run is used by the measures influence and all"),
        (["--id", "name"], "steps holds images"),
    ):
        status, out, err = run("similar", "--run", "steps", "--ids", target, *arguments)
        assert (status, out) == (2, "")
        assert words in err
    assert not [one for one in opened.facts("models") if one["stage"] != "before"], "nothing was made by asking"


def test_only_the_homogeneous_mlp_has_influence(run, npz):
    kept = [part for item in TINY if not item.startswith("model.hidden") for part in ("--set", item)]
    cnn = ("--set", "model.kind=cnn", "--set", "model.channels=[4]")
    assert run("train", "--data", npz, *kept, *cnn, "--out", "cnn")[0] == 0
    status, _, err = run("similar", "--run", "cnn", "--ids", "shapes/0")
    assert (status, "homogeneous MLP only, and model.kind is cnn" in err) == (2, True)


def test_columns_of_text_by_other_names(run, tmp_path):
    lines = [{"key": i, "ask": q, "say": a, "question": "x", "answer": "y"} for i, q, a in QA]
    (tmp_path / "odd.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    named = ("--question", "ask", "--answer", "say", "--id", "key")
    status, out, err = run(
        "similar", "--data", "odd.jsonl", "--ids", "a/0", "--k", 2, "--by", "lexical", *named, "--json"
    )
    record = json.loads(out)
    assert (status, "question: ask; answer: say" in err) == (0, True)
    assert record["targets"][0]["neighbours"][0]["id"] == "a/1"
    assert record["command"].endswith("--question ask --answer say --id key")
    status, out, err = run("data", "duplicates", "--data", "odd.jsonl", "--by", "lexical", *named, "--json")
    assert (status, "question: ask; answer: say" in err) == (0, True)
    assert [group["ids"] for group in json.loads(out)["groups"]] == [["b/0", "b/1"]]
    status, _, err = run("similar", "--data", "odd.jsonl", "--ids", "odd/0", "--by", "lexical")
    assert "question: question; answer: answer" in err
    status, _, err = run("data", "duplicates", "--data", "odd.jsonl", "--question", "nothing")
    assert (status, "no column 'nothing'" in err) == (2, True)
    status, _, err = run("similar", "--data", "odd.jsonl", "--ids", "a/0", "--answer", "say")
    assert (status, "name the question column too" in err) == (2, True)


def test_duplicates_take_no_columns_of_images_and_no_model(run, images):
    status, _, err = run("data", "duplicates", "--data", images, "--answer", "say")
    assert (status, "--answer names a column" in err) == (2, True)
    status, _, err = run("data", "duplicates", "--data", images, "--by", "influence")
    assert (status, "vestige similar --by influence --run FOLDER" in err) == (2, True)
    status, _, err = run("similar", "--ids", "a")
    assert (status, "give the data set with --data, or with --run FOLDER" in err) == (2, True)
