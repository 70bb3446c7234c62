"""What models and shadow models are asked, what follows from it, and the study of all methods."""

import ast
import copy
import itertools
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from conftest import TINY, shapes
from vestige import cli, collect, executor, experiment, image, outputs, shadow, store, studies, verify
from vestige.config import OutputsConfig, build
from vestige.modality import modality
from vestige.types import InputError, Run, ShadowRun
from vestige.unlearn import METHODS
from vestige.unlearn.methods import NEEDS_UNTRAINED

SETS = [
    *TINY,
    "data.never_seen=18",
    "stages=[before,R0,R1,relabel,SSD]",
    "measure=[outputs,membership]",
    "shadow.models=8",
    "outputs.relearn_steps=10",
    "outputs.draws=5",
]


def laboratory(npz, out, *more, **flags):
    settings = studies.configure("image-methods", data=str(npz), sets=[*SETS, *more], seeds=1, **flags)
    return studies.open_laboratory(settings, out)


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    x, y = shapes(per_class=24)
    path = tmp_path_factory.mktemp("data") / "shapes.npz"
    np.savez(path, x=x[:, 0], y=y)
    return path


def here(work, jobs, *, workers, on_done, device):
    """`executor.run_local` without processes, for speed and for errors of our own making."""
    executor.one_thread()
    failed = []
    for job in jobs:
        try:
            work(job)
        except RuntimeError as error:
            failed.append((job, str(error)))
    return failed


@pytest.fixture(scope="module")
def finished(npz, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "run_local", here)
        return out, studies.conduct(laboratory(npz, out), workers=1, say=lambda _: None)


def cells(record):
    return {(row["training"], row["stage"], row["group"], row["metric"]): row for row in record["rows"]}


def test_every_metric_is_there_or_says_why(finished):
    _, record = finished
    found = cells(record)
    gone = {(one["training"], one["stage"], one["group"], one["metric"]): one["why"] for one in record["missing"]}
    keys = [*outputs.ALONE, *outputs.RELEARNED, *shadow.ON_SHADOWS, *shadow.ON_UNLEARNED]
    for training, references in (("with", ("R0", "R1")), ("without", ("R0",))):
        beside = [(f"vs_{name}", metric) for name in references for metric in outputs.BESIDE]
        for stage in (
            ("before", "R0", "R1", "relabel", "SSD") if training == "with" else ("before", "R0", "relabel", "SSD")
        ):
            for group, metric in (*keys, *beside):
                key = (training, stage, group, metric)
                assert (key in found) != (key in gone), key
                assert metric in verify.METRICS
                if key in found:
                    low, high = verify.BOUNDS[metric]
                    assert low <= found[key]["mean"] <= high
    assert all(gone.values()), "no data is not silent"
    assert "rte" in verify.METRICS


def test_a_reference_is_at_no_distance_from_itself(finished):
    found = cells(finished[1])
    for stage in ("R0", "R1"):
        values = [found["with", stage, f"vs_{stage}", metric]["mean"] for metric in outputs.BESIDE]
        assert values == [0, 1, 0, 0, 1]
    gaps = {
        (gap["stage"], gap["reference"], gap["group"], gap["metric"]): gap
        for gap in finished[1]["gaps"]
        if gap["training"] == "with"
    }
    assert gaps["R0", "R0", "model", "TA"]["mean"] == 0
    assert (
        gaps["before", "R0", "model", "TA"]["mean"]
        == pytest.approx(found["with", "before", "model", "TA"]["mean"] - found["with", "R0", "model", "TA"]["mean"])
        or gaps["before", "R0", "model", "TA"]["seeds"] == 1
    )
    assert ("before", "R0", "vs_R0", "js") not in gaps, "a distance has no gap of its own"


def test_an_auc_below_the_reference_is_a_gap_like_one_above():
    """Over-unlearning: an AUC of 0.1 is further from R0's 0.5 than 0.6 is, and says so by its sign."""

    def measures(value):
        return [verify.Measure("target", "loss_auc", value, None, None, 3)]

    found = collect.gaps({
        Run(0, "with", "R0"): measures(0.5),
        Run(0, "with", "GA"): measures(0.1),
        Run(0, "with", "SCRUB"): measures(0.6),
    })  # fmt: skip
    assert {gap["stage"]: round(gap["mean"], 6) for gap in found} == {"R0": 0, "GA": -0.4, "SCRUB": 0.1}
    assert not [name for name, known in verify.METRICS.items() if name.endswith("_auc") and known["better"] == "lower"]


def test_the_same_command_again_does_nothing_and_what_is_lost_is_made_again(npz, finished, tmp_path):
    """What worker processes make again is, to the byte, what this process made."""
    out, _ = finished
    copied = tmp_path / "copy"
    shutil.copytree(out, copied)
    said = []
    studies.conduct(laboratory(npz, copied), workers=1, say=said.append)
    assert said == ["9 of 9 runs are done already", "16 of 16 shadow models are done already"]
    for kind in ("outputs", "shadows"):
        for folder in sorted((copied / kind).iterdir())[::3]:
            shutil.rmtree(folder)
    studies.conduct(laboratory(npz, copied), workers=1, say=said.append)
    assert (copied / "result.json").read_bytes() == (out / "result.json").read_bytes()
    times = json.loads((copied / "run.json").read_text())["rte"]
    assert {(row["stage"], row["mean"]) for row in times} >= {("R0", 1.0)}


def test_rte_by_hand(tmp_path):
    """GA takes 1 of R0's 4 seconds at one seed and 1 of its 2 at the other: (¼ + ½)/2. Without R0 there is none."""
    spent = {
        Run(0, "with", "R0"): 4.0, Run(0, "with", "GA"): 1.0, Run(1, "with", "R0"): 2.0, Run(1, "with", "GA"): 1.0,
        Run(0, "without", "GA"): 1.0,
    }  # fmt: skip
    lab = SimpleNamespace(store=store.Store(tmp_path), model_name=lambda run: run.label.replace(" · ", "-"))
    for run, seconds in spent.items():
        lab.store.save("models", lab.model_name(run), {}, {}, {"method_seconds": seconds})
    found = {(row["training"], row["stage"]): (row["mean"], row["n"]) for row in collect.times(lab, spent)}
    assert found == {("with", "R0"): (1.0, 2), ("with", "GA"): (0.375, 2)}


def test_more_shadow_models_reuse_those_that_are_there(npz, finished):
    out, _ = finished
    lab = laboratory(npz, out)
    more = replace(
        lab, config=lab.config.model_copy(update={"shadow": lab.config.shadow.model_copy(update={"models": 12})})
    )
    todo = [run for run in more.shadow_runs(experiment.plan(lab.config)) if not more.is_shadow_done(run)]
    assert {run.index for run in todo} == {8, 9, 10, 11}


def test_terminal_report_and_verify(finished, monkeypatch, capsys):
    out, record = finished
    from vestige.report import write_report
    from vestige.terminal import show_results

    assert write_report(out).is_file()
    show_results(record["rows"], store.read_json(out / "run.json")["rte"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert {"U-LiRA", "RTE", "SSD"} <= set(text.split())
    monkeypatch.setattr(sys, "argv", ["vestige", "verify", "--out", str(out), "--training", "with", "--json"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert {row["metric"] for row in json.loads(capsys.readouterr().out)["rows"]} >= {"UA", "lira_auc"}


def test_shadow_halves(npz, finished):
    """Targets in the first of each pair only; every other sample of the pool in one of the two; sizes of before, R0."""
    lab = laboratory(npz, finished[0])
    entry = lab.store.load("data", lab.data_name(0))
    labels = experiment.labels_of(entry)
    split = experiment.split_of(entry.facts["split"])
    assert not {*shadow.population(split, "with", labels)} & {*split.training("with"), *split.test}
    for pair in range(4):
        first, second = (shadow.trained_on(ShadowRun(0, "with", 2 * pair + half, ()), split, labels) for half in (0, 1))
        assert set(split.target) <= set(first)
        assert not set(first) & set(second)
        assert len(first) == len(split.training("with")) == len(second) + len(split.target)
        assert {*first, *second} == {*split.training("with"), *shadow.population(split, "with", labels)}
        for ids in (first, split.training("with")):
            assert sorted(labels[name] for name in ids) == sorted(labels[name] for name in first)
    halves = {frozenset(shadow.trained_on(ShadowRun(0, "with", index, ()), split, labels)) for index in range(8)}
    assert len(halves) == 8
    seeds = {shadow.seed_of(ShadowRun(seed, "with", index, ())) for seed in (0, 1, 100) for index in range(64)}
    assert len(seeds) == 3 * 64


def test_asking_leaves_the_model_bit_identical(npz, finished):
    """Relearning trains a copy; the other public bug is to train the evaluated model in place."""
    lab = laboratory(npz, finished[0])
    run = Run(0, "with", "relabel")
    model = lab.model(run, lambda _: None)
    before = copy.deepcopy(model.state_dict())
    samples, split = lab.data(0, lambda _: None)
    options = {"modality": image, "recipe": lab.config.recipe, "config": OutputsConfig(relearn_lr=0.5), "seed": 0}
    asked = outputs.ask(model, samples, split, "with", **options)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert asked["loss"][-1] < asked["loss"][0], "the copy did learn"
    again = outputs.ask(model, samples, split, "with", **options)
    assert all((asked[name] == again[name]).all() for name in asked)
    with torch.no_grad():
        right = (model(samples.take(split.target).x).argmax(1) == samples.take(split.target).y).double().mean()
    assert asked["accuracy"][0] == float(right)


def test_jitter_stays_in_its_ball(pool):
    samples = image.unit(pool)
    for near, x in zip(
        image.jitter(samples, 6, radius=0.05, generator=torch.Generator().manual_seed(0)), samples.x, strict=True
    ):
        assert near.x.shape == (6, *x.shape)
        assert (near.x - x).abs().max() <= 0.05 + 1e-6
        assert near.x.min() >= 0
        assert near.x.max() <= 1


def test_a_model_that_diverged_has_no_metrics_and_says_so(npz, finished):
    lab = laboratory(npz, finished[0])
    entry = lab.store.load("data", lab.data_name(0))
    labels, split = experiment.labels_of(entry), experiment.split_of(entry.facts["split"])
    own = collect._outputs(lab, Run(0, "with", "R0"), labels)
    broken = replace(own, answers=replace(own.answers, logits=np.full_like(own.answers.logits, np.nan)))
    found = outputs.measure(broken, {"R0": own, "R1": own}, split, "with")
    assert {one.value for one in found} == {None}
    assert all("diverged" in one.why for one in found)
    found = outputs.measure(own, {"before": own, "R0": broken}, split, "with")
    why = {(one.group, one.metric): one.why for one in found if one.value is None}
    assert why["vs_R0", "js"] == "R0 diverged"
    assert why["vs_R1", "js"] == "the stage R1 was not finished"
    assert store.to_json({"missing": collect.missing({Run(0, "with", "R0"): found})})


def test_residual_knowledge_without_a_denominator_is_said(npz, finished):
    lab = laboratory(npz, finished[0])
    entry = lab.store.load("data", lab.data_name(0))
    labels, split = experiment.labels_of(entry), experiment.split_of(entry.facts["split"])
    own = collect._outputs(lab, Run(0, "with", "R0"), labels)
    never = replace(own, right=np.zeros_like(own.right))
    found = {(one.group, one.metric): one for one in outputs.measure(own, {"R0": never}, split, "with")}
    assert found["vs_R0", "residual_knowledge"].value is None
    assert "never right" in found["vs_R0", "residual_knowledge"].why


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["vestige", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code, capsys.readouterr().err


def flags(*more):
    return [part for item in (*SETS, *more) for part in ("--set", item)]


def test_shadow_models_that_fail_are_retried_listed_and_exit_4(npz, tmp_path, monkeypatch, capsys):
    """In a real worker process: with such a rate every training diverges; runs go on, shadow models fail."""
    real = executor.run_local

    def mixed(work, jobs, **options):
        return (real if jobs and isinstance(jobs[0], ShadowRun) else here)(work, jobs, **options)

    monkeypatch.setattr(executor, "run_local", mixed)
    out = tmp_path / "failing"
    sets = flags("train.lr=1e30", "stages=[before,R0]", "training=[with]")
    arguments = ("--data", npz, "--seeds", 1, "--workers", 1, "--out", out, *sets)
    status, said = command(monkeypatch, capsys, "study", "image-methods", *arguments)
    assert status == 4
    assert said.count("failed and is tried once more: ArithmeticError: training diverged") == 8
    assert "vestige: failed: seed 0 · with · shadow 7: ArithmeticError" in said
    record = json.loads((out / "result.json").read_text())
    assert record["comparable"] is False
    why = {(one["stage"], one["metric"]): one["why"] for one in record["missing"]}
    assert why["R0", "lira_auc"] == "8 of 8 shadow models failed or are missing"
    assert "diverged" in why["R0", "UA"]
    assert {verdict["holds"] for verdict in record["verdicts"]} == {None}
    assert len(json.loads((out / "run.json").read_text())["failed"]) == 8


def test_a_shadow_model_that_fails_once_costs_nothing(npz, finished, tmp_path, monkeypatch):
    copied = tmp_path / "copy"
    shutil.copytree(finished[0], copied)
    shutil.rmtree(copied / "shadows")
    lab, calls = laboratory(npz, copied), []
    whole = experiment.Laboratory.shadow

    def flaky(self, run, say):
        calls.append(run.label)
        if run.index == 3 and calls.count(run.label) == 1:
            raise RuntimeError("no luck")
        whole(self, run, say)

    monkeypatch.setattr(experiment.Laboratory, "shadow", flaky)
    monkeypatch.setattr(executor, "run_local", here)
    record = studies.conduct(lab, workers=1, say=lambda _: None)
    assert calls.count("seed 0 · with · shadow 3") == 2
    assert record == finished[1]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["data.never_seen=15"], "shadow models need 6 never-seen samples of class"),
        (["data.per_class=1", "data.similar=0", "stages=[before,R0]"], "more of class"),
        (["measure=[membership]"], "membership is judged on outputs; add outputs"),
        (["measure=[]"], "measure needs at least one"),
        (["measure=[recal]"], "recall"),
        (["shadow.models=7"], "shadow.models"),
        (["shadow.models=6"], "greater than or equal to 8"),
        (["shadow.gamma=0.5"], "shadow.gamma"),
        (["outputs.radius=0"], "outputs.radius"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_trained(npz, tmp_path, monkeypatch, capsys, sets, message):
    monkeypatch.setattr(executor, "run_local", here)
    out = tmp_path / "bad"
    status, said = command(
        monkeypatch, capsys, "study", "image-methods", "--data", npz, "--out", out, "--workers", 1, *flags(*sets)
    )
    assert status == 2
    assert message in said
    assert not (out / "models").exists()


def test_recall_and_influence_are_the_default_and_need_no_outputs(npz, tmp_path):
    settings = studies.configure("image-target", data=str(npz), sets=TINY, seeds=1)
    assert settings.measure == ("recall", "influence")
    lab = studies.open_laboratory(settings, tmp_path / "out")
    assert lab.shadow_runs(experiment.plan(settings)) == ()
    with pytest.raises(InputError, match="measure"):
        build([{"measure": ["membership"]}])


def test_the_study_takes_every_method_and_claims_about_what_it_runs():
    """On every network, each with what can serve it: SISA where shards were trained, and none that cannot take them."""
    assert set(studies.METHOD_STAGES) == set(METHODS) - {"retrain", "SISA"}
    for preset, kind in itertools.product(("small", "paper", "sharded"), ("mlp", "cnn", "resnet18")):
        settings = studies.configure("image-methods", preset, sets=[f"model.kind={kind}"])
        planned = {(run.training, run.stage) for run in experiment.plan(settings)}
        if preset == "sharded":
            assert {stage for _, stage in planned} == {"before", "R0", "R1", *METHODS} - {"retrain", *NEEDS_UNTRAINED}
            continue
        for claim in studies.STUDIES["image-methods"].claims:
            assert {(claim.training, claim.first), (claim.training, claim.second)} <= planned
            assert claim.metric in verify.METRICS


@pytest.mark.parametrize(
    "changes",
    [["model.kind=cnn", "model.channels=[4,4]"], ["train.sisa={shards: 2, slices: 2}", "model.hidden=[8,8]"]],
)
def test_outputs_and_shadow_models_of_networks_that_cannot_be_reconstructed_from(npz, tmp_path, monkeypatch, changes):
    """In batches and in shards as well; shadow models are trained as the models are, and SISA equals R0 there too."""
    monkeypatch.setattr(executor, "run_local", here)
    stage = "SISA" if "sisa" in changes[0] else "SalUn"
    more = ("training=[with]", f"stages=[before,R0,{stage}]", "train.steps=4", "train.batch=5", "train.lr=0.1")
    kept = [item for item in SETS if not item.startswith("model.hidden")]
    settings = studies.configure("image-methods", data=str(npz), sets=[*kept, *more, *changes], seeds=1)
    lab = studies.open_laboratory(settings, tmp_path / "out")
    record = studies.conduct(lab, workers=1, say=lambda _: None)
    assert record["comparable"]
    found = {metric: row["mean"] for (_, name, _, metric), row in cells(record).items() if name == stage}
    assert {"UA", "js", "lira_auc", "u_lira_auc", "klom", "residual_knowledge"} <= set(found)
    if stage == "SISA":
        assert (found["js"], found["average_gap"]) == (0, 0)
        for run in lab.shadow_runs(experiment.plan(settings))[::2]:
            ours, theirs = (lab.store.load("shadows", lab.shadow_name(run, name)) for name in (stage, "R0"))
            assert (ours.arrays["logits"] == theirs.arrays["logits"]).all()


def test_recall_is_refused_where_it_is_measured_and_cannot_be(npz, tmp_path):
    for measure in ("[recall]", "[recall,outputs]"):
        sets = ["model.kind=cnn", f"measure={measure}"]
        settings = studies.configure("image-methods", data=str(npz), sets=sets)
        with pytest.raises(InputError, match=r"homogeneous MLP only, and model.kind is cnn.*measure=\[outputs\]"):
            studies.open_laboratory(settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_claim_about_a_metric_is_judged_over_seeds():
    claim = studies.Claim("c", "with", "before", "R0", "at least", 0.1, "yes", "no", group="target", metric="lira_auc")

    def judged(*drops, why=""):
        measures = {}
        for seed, drop in enumerate(drops):
            for stage, value in (("before", 0.9), ("R0", None if drop is None else 0.9 - drop)):
                one = verify.Measure("target", "lira_auc", value, None, None, 3, why)
                measures[Run(seed, "with", stage)] = [one]
        return studies.judge(claim, {}, measures)

    assert (judged(0.2, 0.21)["holds"], judged(0.2, 0.21)["clear"], judged(0.2, 0.21)["n"]) == (True, True, 6)
    assert (judged(0.05)["holds"], judged(0.05)["low"]) == (False, None)
    assert judged(None, why="shadow 3 failed")["sentence"] == "not computed because shadow 3 failed"
    assert "not both run" in judged()["sentence"]


@pytest.mark.parametrize("name", ["metrics", "membership", "outputs", "shadow", "collect"])
def test_no_metric_vanishes_in_an_except(name):
    """`try: … except: pass` around a metric hides that it failed; these rooms have no except at all."""
    tree = ast.parse((Path(outputs.__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]


def test_the_contract_has_what_outputs_ask():
    room = modality("image")
    assert all(callable(getattr(room, name)) for name in ("build", "logits", "losses", "jitter"))


def test_a_dose_study_may_ask_for_outputs_and_shadow_models(npz, tmp_path, monkeypatch):
    """Each variant has its own models, references and shadow models."""
    monkeypatch.setattr(executor, "run_local", here)
    variants = {"none": {"data": {"similar": 0, "held_out": 2}}, "one": {"data": {"similar": 1, "held_out": 1}}}
    more = (f"variants={json.dumps(variants)}", "training=[with]", "stages=[before,R0]")
    lab = laboratory(npz, tmp_path / "out", *more)
    record = studies.conduct(lab, workers=1, say=lambda _: None)
    wanted = {"lira_auc", "u_lira_auc", "js", "average_gap", "UA"}
    for variant in variants:
        rows = {row["metric"]: row for row in record["rows"] if (row["variant"], row["stage"]) == (variant, "R0")}
        assert wanted <= set(rows)
        assert rows["js"]["mean"] == 0, "R0 is its own reference"
    gaps = [(gap["variant"], gap["stage"], gap["metric"]) for gap in record["gaps"] if gap["metric"] == "UA"]
    assert sorted(gaps) == sorted((variant, stage, "UA") for variant in variants for stage in ("before", "R0"))
    assert {one["variant"] for one in record["missing"]} <= set(variants)
    assert record["equivalents"] == [], "there is no recall to count in"
    assert {row["variant"] for row in collect.times(lab, experiment.plan(lab.config))} == set(variants)
    trained = {run.variant: lab.shadow_name(run, "R0") for run in lab.shadow_runs(experiment.plan(lab.config))}
    assert len(set(trained.values())) == 2
