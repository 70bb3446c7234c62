"""Plans, resuming, and the same result whatever happens on the way."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from conftest import TINY
from vestige import experiment, studies, verify
from vestige.collect import collect, contrast, take
from vestige.stages import Stage, parse
from vestige.types import InputError, Run


def config(npz, **flags):
    return studies.configure("image-target", data=str(npz), sets=TINY, seeds=2, **flags)


def conduct(npz, out, **options):
    lab = studies.open_laboratory(config(npz), out)
    return studies.conduct(lab, workers=2, say=lambda _: None, **options)


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("before", Stage()),
        ("R0", Stage("retrain")),
        ("R1", Stage("retrain", "similar")),
        ("relabel", Stage("relabel")),
        ("RF-1+3", Stage("retrain", k=3)),
        ("relabel-1+10", Stage("relabel", k=10)),
        ("RF-inf+3", Stage("retrain", k=3, by="influence")),
        ("RF-tau0.6", Stage("retrain", tau=0.6)),
        ("RF-auto0.1", Stage("retrain", residual=0.1)),
        ("RF-1+5@0.3", Stage("retrain", k=5, weight=0.3)),
        ("relabel-tau0.6@0", Stage("relabel", tau=0.6, weight=0.0)),
    ],
)
def test_names_of_stages(name, stage):
    assert parse(name) == experiment.check(name) == stage


@pytest.mark.parametrize("name", ["R2", "RF-1+", "RF-1+x", "SCRUBB", "", "before-1+3", "RF-inf3", "RF-tau7", "RF-auto2",
                                  "RF-auto", "R0@0.5", "RF@0.5", "RF-1+3@2", "RF-1+3@"])  # fmt: skip
def test_unknown_stages(name):
    with pytest.raises(InputError, match="unknown stage"):
        experiment.check(name)


@pytest.mark.parametrize("method", ["GA", "SSD", "SISA"])
def test_weights_serve_methods_with_a_mean_loss(method):
    with pytest.raises(InputError, match="weights serve retrain, finetune"):
        experiment.check(f"{method}-1+3@0.5")


@pytest.mark.parametrize(("stage", "why"), [("RF-1+3@0.5", "weights serve one model"), ("RF-auto0.1", "homogeneous")])
def test_stages_that_shards_cannot_serve(stage, why):
    sets = ["measure=[outputs]", f"stages=[before,{stage}]", "train.sisa={shards: 2, slices: 2}"]
    with pytest.raises(InputError, match=why):
        experiment.plan(studies.configure("image-methods", sets=sets))


def test_quickstart_is_nine_conditions():
    runs = experiment.plan(studies.configure("quickstart"))
    assert {(run.training, run.stage) for run in runs} == {
        ("without", "before"), ("without", "R0"), ("without", "relabel"), ("with", "before"), ("with", "R0"),
        ("with", "R1"), ("with", "relabel"), ("with", "RF-1+3"), ("with", "RF-1+5"),
    }  # fmt: skip
    assert len(runs) == 9


def test_contrast_is_paired_by_sample():
    runs = {
        Run(0, "with", "before"): {"target": {"a": 0.9, "b": 0.8}},
        Run(0, "with", "R0"): {"target": {"b": 0.7, "a": 0.6}},
        Run(1, "with", "before"): {"target": {"c": 0.5}},
    }
    one, seeds = contrast(runs, "target", "with", "before", "R0")
    assert (round(one.value, 6), one.n, seeds) == (0.2, 2, 1)
    runs[Run(1, "with", "R0")] = {"target": {"c": 0.5}}
    two, seeds = contrast(runs, "target", "with", "before", "R0")
    assert (round(two.value, 6), two.n, seeds) == (0.1, 3, 2), "seeds count alike: (0.2 + 0) / 2"
    assert contrast(runs, "target", "without", "before", "R0") is None
    assert contrast(runs, "similar", "with", "before", "R0") is None


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    import numpy as np

    from conftest import shapes

    folder = tmp_path_factory.mktemp("study")
    x, y = shapes(per_class=24)
    np.savez(folder / "shapes.npz", x=x[:, 0], y=y)
    return folder / "shapes.npz", folder / "out", conduct(folder / "shapes.npz", folder / "out")


def test_result_is_tidy(finished):
    _, out, record = finished
    assert json.loads((out / "result.json").read_text()) == record
    assert (record["schema_version"], record["study"], record["comparable"]) == (1, "image-target", True)
    keys = [(row["training"], row["stage"], row["group"], row["metric"]) for row in record["rows"]]
    assert len(keys) == len(set(keys))
    for row in record["rows"]:
        assert set(row) == {"variant", "training", "stage", "group", "metric", "mean", "low", "high", "n", "seeds"}
        assert row["seeds"] <= 2
        assert row["metric"] in record["metrics"]
    assert {"recall", "influence"} == set(config(finished[0]).measure)
    assert len(record["influence"]) == 16 * 2
    for one in record["influence"]:
        assert abs(sum(one["parts"].values()) - one["margin"]) < 1e-9
    cells = {(row["training"], row["stage"], row["metric"]): row for row in record["rows"]}
    assert cells["with", "before", "explained"]["mean"] > 0
    assert {verdict["holds"] for verdict in record["verdicts"]} >= {None}, "RF-1+5 was not run: not computed"


def test_the_same_command_again_does_nothing_and_says_the_same(finished):
    npz, out, _ = finished
    times = {path: path.stat().st_mtime_ns for kind in ("data", "models", "scores") for path in (out / kind).rglob("*")}
    before = (out / "result.json").read_bytes()
    said = []
    lab = studies.open_laboratory(config(npz), out)
    studies.conduct(lab, workers=1, say=said.append)
    assert (out / "result.json").read_bytes() == before
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert said == ["16 of 16 runs are done already"]


def test_one_worker_or_two_or_none_give_the_same_bits(finished, tmp_path):
    npz, out, _ = finished
    lab = studies.open_laboratory(config(npz), tmp_path / "again")
    from vestige.executor import one_thread

    one_thread()
    for run in experiment.plan(lab.config):
        lab.measure(run, lambda _: None)
    rows, _ = collect(lab, experiment.plan(lab.config))
    assert rows == json.loads((out / "result.json").read_text())["rows"]


def test_a_model_that_diverged_has_no_numbers_and_says_why(npz, tmp_path):
    """Every metric of a model that came out well is there with its reason, and nothing is reconstructed."""
    sets = [*TINY, "stages=[before,R0]", "measure=[recall,influence]"]
    found = {}
    for name, rate in (("well", 0.5), ("diverged", 1e30)):
        settings = studies.configure("image-target", data=str(npz), sets=[*sets, f"train.lr={rate}"])
        lab = studies.open_laboratory(settings, tmp_path / name)
        for run in lab.plan():
            lab.measure(run, lambda _: None)
            assert lab.is_done(run)
        found[name] = take(lab, lab.plan())[0]
    for run, measures in found["diverged"].items():
        told = {(one.group, one.metric) for one in measures if one.value is not None}
        assert told == {("model", "removed")}
        assert all(one.why == verify.DIVERGED for one in measures if one.value is None)
        keys = {(one.group, one.metric) for one in found["well"][run]} - {("target", "residual")}
        assert {(one.group, one.metric) for one in measures} == keys
    assert not (tmp_path / "diverged" / "scores").exists()
    with pytest.raises(InputError, match="diverged"):
        lab.look_into(lab.plan()[0], None, lambda _: None)


@pytest.mark.parametrize(("stage", "fits"), [("RF-1+15", True), ("RF-1+16", False), ("RF-1+16@0.5", True)])
def test_a_stage_must_leave_something(npz, stage, fits):
    """Of 18 in training 2 are targets, so there are 16 others: known before anything is trained."""
    sets = [*TINY, f"stages=[before,{stage}]", "training=[with]"]
    settings = studies.configure("image-target", data=str(npz), sets=sets)
    if fits:
        experiment.rehearse(settings)
    else:
        with pytest.raises(InputError, match="only 16 others are in training, of which one at least must be left"):
            experiment.rehearse(settings)


def test_limit_is_marked_and_completed_by_the_whole(finished, tmp_path):
    npz, out, _ = finished
    part = conduct(npz, tmp_path / "part", limit=3)
    assert part["comparable"] is False
    assert {(row["training"], row["stage"]) for row in part["rows"]} == {("without", "before"), ("with", "before")}
    conduct(npz, tmp_path / "part")
    assert (tmp_path / "part" / "result.json").read_bytes() == (out / "result.json").read_bytes()


def test_killed_at_any_point_it_ends_with_the_same_result(finished, tmp_path):
    """Started and killed (SIGKILL, the whole group) again and again until it ends by itself."""
    npz, out, _ = finished
    sets = [part for item in TINY for part in ("--set", item)]
    command = [sys.executable, "-m", "vestige", "study", "image-target", "--data", str(npz), "--seeds", "2"]
    command += ["--workers", "2", "--out", str(tmp_path / "killed"), *sets]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    kills = 0
    for patience in (2.0, 3.0, 3.5, 4.0):
        process = subprocess.Popen(command, **quiet)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    subprocess.run(command, check=True, **quiet)
    assert kills > 0
    assert (tmp_path / "killed" / "result.json").read_bytes() == (out / "result.json").read_bytes()


def test_workers_die_with_their_parent(finished, tmp_path):
    npz, _, _ = finished
    slow = [*TINY, "recover.steps=100000"]
    sets = [part for item in slow for part in ("--set", item)]
    command = [sys.executable, "-m", "vestige", "study", "image-target", "--data", str(npz), "--workers", "2"]
    process = subprocess.Popen([*command, "--out", str(tmp_path / "orphans"), *sets], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "reconstructing" in line or "is built" in line:
            break
    time.sleep(1)
    process.kill()
    process.wait()
    deadline = time.time() + 10
    while time.time() < deadline and spawned_by(process.pid):
        time.sleep(0.2)
    assert not spawned_by(process.pid)


def test_an_interrupt_is_status_130_and_says_how_to_go_on(finished, tmp_path):
    npz, _, _ = finished
    sets = [part for item in (*TINY, "recover.steps=100000") for part in ("--set", item)]
    command = [sys.executable, "-m", "vestige", "study", "image-target", "--data", str(npz), "--workers", "2", *sets]
    process = subprocess.Popen([*command, "--out", str(tmp_path / "out")], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "is built" in line:
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; the same command resumes" in said
    assert "Traceback" not in said


def spawned_by(parent):
    """Processes that the killed parent has spawned and that still run (their command names its pid)."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if f"parent_pid={parent}".encode() in file.read():
                        found.append(entry)
            except OSError:
                continue
    return found


@pytest.mark.parametrize(("study", "runs"), [("image-target", 9), ("image-similar", 3), ("image-enhanced", 7)])
@pytest.mark.parametrize("preset", ["small", "paper"])
def test_every_study_has_its_grid_and_claims_about_it(study, runs, preset):
    settings = studies.configure(study, preset, seeds=1)
    planned = {(run.training, run.stage) for run in experiment.plan(settings)}
    assert len(planned) == runs
    for claim in studies.STUDIES[study].claims:
        assert {(claim.training, claim.first), (claim.training, claim.second)} <= planned


def test_a_claim_is_judged_on_the_mean_and_on_the_whole_interval():
    claim = studies.Claim("c", "with", "before", "R0", "at most", 0.1, "yes", "no")

    def judged(*drops):
        runs = {}
        for seed, drop in enumerate(drops):
            runs[Run(seed, "with", "before")] = {"target": {"a": 0.8}}
            runs[Run(seed, "with", "R0")] = {"target": {"a": 0.8 - drop}}
        return studies.judge(claim, runs)

    assert (judged(0.0, 0.01)["holds"], judged(0.0, 0.01)["clear"]) == (True, True)
    assert (judged(0.0, 0.15)["holds"], judged(0.0, 0.15)["clear"]) == (True, False)
    assert judged(0.2, 0.3)["sentence"] == "no"
    assert judged()["holds"] is None
    assert "not both run" in judged()["sentence"]
