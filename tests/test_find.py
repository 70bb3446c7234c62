"""`vestige similar` and `vestige data duplicates`: measures, groups, bad input, and the pages."""

import json
import re
from itertools import combinations

import numpy as np
import pytest
import torch

from conftest import shapes
from vestige import measures
from vestige.duplicates import cliques, find
from vestige.index import Hits
from vestige.report import neighbours as pages
from vestige.similar import null_pairs
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
    (tmp_path / "ids.txt").write_text("bars/0\n\nbars/9\n")
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
        (["--ids", "bars/0", "--by", "lexical"], "known: ssim, embedding, all"),
        (["--ids", "bars/0", "--encoder", "pixels"], "used by the measures embedding and all"),
        (["--ids", "bars/0", "--by", "embedding", "--encoder", "nonsense"], "unknown encoder"),
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
    status, _, err = run("similar", "--data", images, "--ids", "bars/0", "--out", "taken")
    assert status == 2
    assert "is a file" in err
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
