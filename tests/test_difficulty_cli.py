"""The difficulty verbs: what is wrong is said at once and before any training; a tiny study from data to page."""

import json
import time

import pytest

TINY = [
    "data.train=60", "data.test=20", "references.models=2", "references.folds=2", "train.steps=10", "budget=1",
    "model.buckets=256", "model.width=8", "model.hidden=8",
]  # fmt: skip
"""Settings under which a study of reviews takes seconds."""
SETS = [part for item in TINY for part in ("--set", item)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--algorithms", "FT,magic"), "there is no 'magic'; known: EU, FT, SISA"),
        (("--executor", "slurm"), "local or ray"),
        (("--ray-address", "10.0.0.1:6379"), "belongs to --executor ray"),
        (("--data", "reviews", "--samples", "1000"), "1000 samples to unlearn were asked for"),
        (("--data", "reviews", "--model", "cnn"), "choose --model words"),
        (("--data", "reviews", "--set", "data.train=5000"), "class 0 has 252 samples"),
        (("--data", "nowhere"), "no data set called 'nowhere'"),
        (("--data", "reviews", "--set", "budgett=1"), "did you mean 'budget'"),
    ],
)
def test_bad_input_is_said_at_once(run, arguments, says):
    start = time.time()
    status, out, err = run("difficulty", *arguments, "--out", "runs")
    assert status == 2, err
    assert says in err
    assert out == ""
    assert time.time() - start < 30


def test_a_class_with_one_sample_is_refused(run, tmp_path):
    lines = [{"text": f"number {position}", "label": "rare" if position == 0 else "common"} for position in range(40)]
    (tmp_path / "lone.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    status, _, err = run("difficulty", "--data", "lone.jsonl", "--samples", "2", "--out", "runs")
    assert status == 2
    assert "the class 'rare' has one sample" in err


def test_an_unreachable_cluster_is_said_in_seconds(run):
    """Ray itself would try for minutes."""
    start = time.time()
    status, _, err = run(
        "difficulty", "--data", "reviews", "--executor", "ray", "--ray-address", "127.0.0.1:1", "--out", "runs"
    )
    assert status in (2, 3), "3 where Ray is not installed"
    assert "127.0.0.1:1" in err or "vestige[ray]" in err
    assert time.time() - start < 30


def test_dry_run_writes_nothing(run, tmp_path):
    status, out, _ = run("difficulty", "--data", "reviews", "--samples", "10", "--seeds", "2", "--dry-run")
    assert status == 0
    assert "kind: words" in out
    assert "160 runs" in out
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_tiny_study_of_texts_from_data_to_page(run, tmp_path):
    asked = ("difficulty", "--data", "reviews", "--samples", "40", "--seeds", "1", "--algorithms", "relabel,GA,SSD")
    asked = (*asked, "--workers", "1", *SETS, "--out", "runs")
    status, out, err = run(*asked)
    assert status == 0, err
    assert "Are some samples harder to unlearn than others?" in out
    assert max(map(len, out.splitlines())) <= 100
    page = (tmp_path / "runs" / "difficulty.html").read_text(encoding="utf-8")
    result = json.loads((tmp_path / "runs" / "result.json").read_text(encoding="utf-8"))
    assert result["modality"] == "labelled"
    assert len(result["runs"]) == 40 * 3
    assert 'class="told"' in page, "the texts are shown"
    first = (tmp_path / "runs" / "result.json").read_bytes()
    status, again, err = run(*asked, "--json")
    assert json.loads(again)["runs"] == result["runs"]
    assert (tmp_path / "runs" / "result.json").read_bytes() == first, "the same command again resumes"
    status, out, _ = run("report", "runs", "--figures", "figures")
    assert status == 0
    assert (tmp_path / "figures" / "spread.svg").is_file()
    ids = ",".join(result["ids"][:3])
    status, out, err = run("difficulty", "predict", "runs", "--ids", ids, "--json")
    assert status == 0, err
    told = json.loads(out)
    assert sorted(row["id"] for row in told["rows"]) == sorted(result["ids"][:3])
    assert all(0 <= row["chance"] <= 1 for row in told["rows"])
    assert [row["chance"] for row in told["rows"]] == sorted((row["chance"] for row in told["rows"]), reverse=True)
    assert "auc" in told["judged"] or "missing" in told["judged"]
    status, out, _ = run("difficulty", "predict", "runs", "--ids", ids)
    assert "AUC" in out or "not known" in out, "never a chance without how good it is"
    status, _, err = run("difficulty", "predict", "runs", "--ids", "nobody")
    assert status == 2
    assert "'nobody' is not among the 60 samples" in err


def test_predict_needs_a_finished_study(run, tmp_path):
    status, _, err = run("difficulty", "predict", "nowhere", "--ids", "a")
    assert status == 2
    assert "holds no finished difficulty study" in err
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "result.json").write_text('{"study": "image-target"}', encoding="utf-8")
    (tmp_path / "runs" / "vestige.json").write_text('{"config": {}, "source": ""}', encoding="utf-8")
    status, _, err = run("difficulty", "predict", "runs", "--ids", "a")
    assert status == 2
    assert "another kind of result" in err
