"""The engine of difficulty studies: its jobs, who carries them out, what it keeps."""

import contextlib
import json
import os
import signal
import sqlite3
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from vestige import executor, image
from vestige.config import CNNConfig, DifficultyConfig, Recipe
from vestige.difficulty import collect, conduct, configure, failures, jobs, laboratory, open_laboratory, plan
from vestige.difficulty import data as sets
from vestige.difficulty.journal import Journal, Part
from vestige.difficulty.plan import Plan, name_of
from vestige.image.networks import CNN
from vestige.modality import modality
from vestige.random import stream
from vestige.types import InputError, Samples, VestigeError
from vestige.unlearn import METHODS

TINY = [
    "data.train=30", "data.test=12", "samples=3", "seeds=1", "model.channels=[4]", "train.steps=2", "train.batch=10",
    "references.models=2", "references.folds=2", "sisa.shards=2", "sisa.slices=1", "budget=1", "doses=[2]", "dosed=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """48 images of 12×12 in three classes, each a stripe and noise."""
    draw = np.random.default_rng(0)
    y = np.arange(48) % 3
    x = draw.uniform(0, 0.5, (48, 12, 12)).astype(np.float32)
    x[np.arange(48), y] += 0.5
    path = tmp_path_factory.mktemp("source") / "tiny.npz"
    np.savez(path, x=x, y=y)
    return str(path)


@pytest.fixture
def here(monkeypatch):
    """`executor.pooled` without processes, for speed and for errors of our own making."""
    executor.one_thread()
    done = []

    @contextlib.contextmanager
    def pooled(work, workers, device):
        def gather(asked, on_result):
            failed = []
            for job in asked:
                try:
                    made = work(json.loads(json.dumps(job)))
                except VestigeError:
                    raise
                except Exception as error:
                    failed.append((job, executor.why(error)))
                else:
                    done.append(job)
                    on_result(job, made)
            return failed

        yield gather

    monkeypatch.setattr(executor, "pooled", pooled)
    return done


def study(source, out, sets=(), **kind):
    config = configure(data=source, sets=[*TINY, *sets])
    lab = open_laboratory(config, out)
    return lab, conduct(lab, say=lambda message: None, workers=1, **kind)


@pytest.fixture
def finished(source, here, tmp_path):
    return (*study(source, tmp_path / "finished"), here)


def test_a_study_is_complete_and_each_job_can_be_run_again_from_its_json(finished):
    lab, record, done = finished
    runs = 8 * (3 + 2)
    assert record["comparable"]
    assert (len(record["runs"]), len(record["missing"]), len(record["ids"])) == (runs, 0, 3)
    assert len(record["dosed"]) == 2
    assert set(record["dosed"]) <= set(record["ids"])
    assert all(0 <= row[key] <= 1 for row in record["runs"] for key in ("p_after", "E", "U", "H"))
    assert {row["learner"] for row in record["samples"]} == {"one", "shards"}
    assert {job["kind"] for job in done} == {"reference", "before", "factors", "unlearn"}
    chosen = [next(job for job in done if job.get("algorithm") == name) for name in ("FT", "SISA")]
    for job in [*chosen, next(job for job in done if job["kind"] == "factors")]:
        copy = json.loads(json.dumps(job))
        assert copy == job
        part = jobs.alone(copy)
        kept = lab.journal.get([name_of(job)])[name_of(job)]
        assert kept.facts == part.facts
        assert all(np.array_equal(kept.arrays[key], part.arrays[key], equal_nan=True) for key in part.arrays)
    json.loads((lab.store.root / "result.json").read_text(encoding="utf-8"))


def test_stopped_anywhere_it_ends_with_the_same_result(finished, source, tmp_path, monkeypatch):
    lab, _, done = finished
    real, count = laboratory._work, 0

    def stops(job, parts):
        nonlocal count
        count += 1
        if count in (2, 9, 30):
            raise KeyboardInterrupt
        return real(job, parts)

    monkeypatch.setattr(laboratory, "_work", stops)
    first = len(done)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            study(source, tmp_path / "again")
    _, _ = study(source, tmp_path / "again")
    assert len(done) == 2 * first  # nothing was done twice
    ours, theirs = ((root / "result.json").read_bytes() for root in (tmp_path / "again", lab.store.root))
    assert ours == theirs


def test_a_run_that_fails_is_tried_once_more_and_then_listed(source, here, tmp_path, monkeypatch):
    real, tries = jobs.carry_out, []

    def broken(job, parts):
        if job.get("algorithm") == "GA":
            tries.append(job["id"])
            raise ArithmeticError("the model diverged")
        return real(job, parts)

    monkeypatch.setattr(jobs, "carry_out", broken)
    lab, record = study(source, tmp_path / "out", ["algorithms=[FT,GA]", "doses=[]"])
    assert not record["comparable"]
    assert sorted(tries) == sorted(2 * record["ids"])
    assert [(row["algorithm"], row["why"]) for row in record["missing"]] == [
        ("GA", "ArithmeticError: the model diverged")
    ] * 3
    assert len(failures(lab)) == 3
    monkeypatch.setattr(jobs, "carry_out", real)
    assert conduct(lab, say=lambda message: None)["comparable"]


def test_limited_it_says_so(source, here, tmp_path):
    _, record = study(source, tmp_path / "out", ["algorithms=[GA,SSD]", "doses=[]"], limit=4)
    assert (len(record["runs"]), len(record["missing"]), record["comparable"]) == (4, 2, False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("samples=31", "31 samples to unlearn were asked for, and the models are trained on 30"),
        ("data.train=45", "class 0 has 16 samples, 19 are needed: 15 to train, 4 to test"),
        ("sisa.shards=20", "SISA does not apply"),
        ("algorithms=[FT,magic]", "algorithms"),
        ("unlearn.finetune.steps=3", "FT passes 3 times over the 30 training samples"),
        ("doses=[10]", "with 10 copies each do not fit"),
        ("references.folds=31", "31 folds of 30"),
        ("doses=[0]", "at least 1"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(source, tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        open_laboratory(configure(data=source, sets=[*TINY, change]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_class_with_one_sample_is_refused(tmp_path):
    x, y = np.random.default_rng(0).uniform(size=(31, 12, 12)).astype(np.float32), np.array([*[0, 1] * 15, 2])
    np.savez(tmp_path / "one.npz", x=x, y=y)
    with pytest.raises(InputError, match=r"class 2 has 1 sample, 14 are needed: 10 to train, 4 to test"):
        open_laboratory(configure(data=str(tmp_path / "one.npz"), sets=TINY), tmp_path / "out")


def test_samples_are_chosen_evenly_over_classes_and_bands_of_memorisation():
    labels = {f"{label}-{number}": label for label in range(2) for number in range(10)}
    memorised = {name: 0.9 if name.endswith(("1", "2")) else 0.0 for name in labels}
    chosen = plan.choose(labels, memorised, 6, seed=0)
    assert [name[0] for name in chosen] == ["0"] * 3 + ["1"] * 3
    assert sum(memorised[name] > 0.5 for name in chosen) == 4  # two bands take turns: high, low, high
    assert set(plan.choose(labels, memorised, 20, seed=0)) == set(labels)
    with pytest.raises(InputError, match="21 samples were asked for, there are 20"):
        plan.choose(labels, memorised, 21, seed=0)


def test_each_sample_is_left_out_by_as_many_references_and_by_itself_where_asked():
    ids = [f"s{number}" for number in range(11)]
    ours = Plan(DifficultyConfig(references={"models": 3, "folds": 4}), "0")
    references = ours.references(ours.data(), "one", ids)
    assert len(references) == 12
    assert len({job["seed"] for job in references}) == 12
    assert [sum(name in job["without"] for job in references) for name in ids] == [3] * 11
    assert [job["without"] for job in ours.references(ours.data(), "one", ids, ["s4"])] == [["s4"]] * 3
    dosed = ours.references(ours.data(2, ["s1", "s7"]), "one", ids)
    assert [len(job["without"]) for job in dosed] == [2] * 3, "a quarter of 11, with all that got similar samples"
    assert all({"s1", "s7"} <= set(job["without"]) for job in dosed)


def test_what_references_say_is_the_mean_over_those_without_the_sample():
    """Margins 0 and log 3 without it are p 0.5 and 0.75, so p_ref 0.625; log 9 with it is 0.9."""
    asked = [{"without": ["a"]}, {"without": ["a", "b"]}, {"without": ["b"]}]
    margins = np.log([[1, 1], [3, 1], [9, 1]])
    found = collect.known(asked, [Part({}, {"margins": row}) for row in margins], ["a", "b", "c"][:2])["a"]
    assert found.p_ref == pytest.approx(0.625)
    assert found.margin_ref == pytest.approx(np.log(3) / 2)
    assert found.p_in == pytest.approx(0.9)
    assert found.memorisation == pytest.approx(0.275)
    assert found.error == pytest.approx(0.125)


def test_doses_take_the_place_of_others_of_the_same_class(source):
    config = configure(data=source, sets=[*TINY, "doses=[1,3]"])
    everything = image.load(jobs_asset(source))
    base, train, test = sets.draw(config, everything, modality=modality("image"))
    dosed = train[0], train[-1]
    small, large = (
        sets.draw(config, everything, modality=modality("image"), dose=dose, dosed=dosed) for dose in (1, 3)
    )
    for dose, (samples, ids, tested) in ((1, small), (3, large)):
        assert tested == test
        assert len(ids) == len(train)
        assert len(set(ids) - set(train)) == 2 * dose
        assert set(dosed) <= set(ids)
        counts = [samples.take(ids).y.tolist().count(label) for label in range(3)]
        assert counts == [base.take(train).y.tolist().count(label) for label in range(3)]
    copies = set(small[1]) - set(train)
    assert copies < set(large[1])
    assert torch.equal(small[0].take(sorted(copies)).x, large[0].take(sorted(copies)).x)


def jobs_asset(source):
    from vestige import assets

    return assets.locate(source)


def test_runs_are_those_of_the_methods(finished):
    """Fast or plain, the same numbers but for rounding: SSD with importance that was computed once, FT, GA."""
    lab, record, _ = finished
    spec = lab.plan.before(lab.plan.data(), "one", 0)
    train, _ = sets.from_entry(*lab.read(lab.plan.data()))
    weights = {key[8:]: torch.tensor(value) for key, value in lab.read(spec).arrays.items() if key[:8] == "weights."}
    model = image.restore(lab.config.model, weights)
    for algorithm, method in (("SSD", "SSD"), ("FT", "finetune"), ("GA", "GA"), ("EU", "retrain")):
        row = next(row for row in record["runs"] if row["algorithm"] == algorithm and row["dose"] == 0)
        forget, retain = train.take([row["id"]]), train.without([row["id"]])
        after = METHODS[method](model, forget, retain, modality=modality("image"), config=lab.config.recipe, seed=0)
        p = torch.softmax(after(forget.x), 1)[0, forget.y[0]].item()
        assert row["p_after"] == pytest.approx(p, abs=2e-5)


def test_pooling_before_relu_gives_the_same_bits():
    draw = stream(0, "pool")
    x = torch.rand((5, 1, 12, 12), generator=draw)
    x[:, :, :6] = 0  # equal pixels, as in the margin of a digit
    y = torch.randint(3, (5,), generator=draw)

    class Plain(CNN):
        def features(self, x):
            a = x - self.mean
            for layer in self.convolutions:
                a = torch.nn.functional.max_pool2d(torch.relu(layer(a)), 2)
            return a.flatten(1)

    ours, theirs = (kind(torch.zeros(1, 12, 12), (4, 8), 3) for kind in (CNN, Plain))
    ours.start(stream(0, "start"))
    theirs.load_state_dict(ours.state_dict())
    for model in (ours, theirs):
        torch.nn.functional.cross_entropy(model(x), y).backward()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_a_method_is_watched_after_each_gradient_step():
    samples = Samples(tuple("abcdef"), torch.rand(6, 1, 8, 8), torch.tensor([0, 1] * 3), 2)
    recipe = Recipe.model_validate(
        {"model": CNNConfig(channels=(2,)), "train": {"batch": 2}, "unlearn": {"finetune": {"steps": 2}}}
    )
    model = image.build(recipe.model, samples, generator=stream(0, "train"))
    seen = []
    METHODS["finetune"](
        model, samples.take("a"), samples.without("a"), modality=modality("image"), config=recipe, seed=0,
        watch=lambda taken, now: seen.append((taken, [weight.detach().clone() for weight in now.parameters()])),
    )  # fmt: skip
    assert [taken for taken, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert all(not torch.equal(a[1][0], b[1][0]) for a, b in pairwise(seen))


def test_a_journal_that_is_not_what_was_written_is_refused(tmp_path):
    journal = Journal(tmp_path / "runs.sqlite")
    assert journal.names() == set()
    journal.put("a", Part({"n": 1}, {"x": np.arange(3.0)}), {"seconds": 1})
    journal.put("a", Part({"n": 2}, {}), {"seconds": 1})
    assert journal.get(["a", "b"])["a"].facts == {"n": 1}
    with sqlite3.connect(journal.path) as base:
        base.execute("UPDATE results SET facts = '{\"n\": 3}'")
    with pytest.raises(InputError, match="not what was written"):
        journal.get(["a"])
    journal.path.write_bytes(b"something else, and long enough to be no database at all")
    with pytest.raises(InputError, match="cannot be read"):
        journal.names()


def die_once(job):
    """Work that kills its own process where it is told to, the first time or every time."""
    number, marker, always = job
    if number == 1 and (always or not Path(marker).exists()):
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * 10


def test_a_killed_worker_costs_one_try_of_its_own_job(tmp_path, capsys):
    asked = [(number, str(tmp_path / "marker"), False) for number in range(4)]
    found = {}
    with executor.pooled(die_once, 2) as gather:
        assert gather(asked, lambda job, result: found.update({job[0]: result})) == []
        assert found == {0: 0, 1: 10, 2: 20, 3: 30}
        assert "tried once more" in capsys.readouterr().err
        again = [(1, str(tmp_path / "marker"), True)]
        with pytest.raises(VestigeError, match="a worker process was killed, perhaps for want of memory"):
            gather(again, lambda job, result: None)


def test_a_ray_address_where_nothing_is_is_told_in_seconds():
    pytest.importorskip("ray")
    start = time.time()
    with pytest.raises(InputError, match=r"no Ray cluster answers at 127.0.0.1:1"):
        executor.check_address("127.0.0.1:1")
    for wrong in ("somewhere", "127.0.0.1:port", "ray://127.0.0.1:10001"):
        with pytest.raises(InputError, match="HOST:PORT"):
            executor.check_address(wrong)
    assert time.time() - start < 10


def test_a_cluster_with_other_versions_is_refused_and_both_are_named():
    ours = {"python": "3.11.7", "ray": "2.60.0", "vestige": "0.1.0"}
    executor.check_versions(ours, dict(ours), "10.0.0.2")
    with pytest.raises(InputError, match=r"node 10.0.0.2.*vestige 0.0.9 there, 0.1.0 here") as found:
        executor.check_versions(ours, {**ours, "vestige": "0.0.9", "python": "3.12.1"}, "10.0.0.2")
    assert "python 3.12.1 there, 3.11.7 here" in str(found.value)


@pytest.mark.slow
def test_local_workers_and_ray_give_the_same_bits(source, tmp_path):
    pytest.importorskip("ray")
    small = ["doses=[]", "algorithms=[GA,SISA,SSD]"]
    _, first = study(source, tmp_path / "local", small)
    _, second = study(source, tmp_path / "ray", small, executor="ray")
    assert first["comparable"]
    assert (tmp_path / "local" / "result.json").read_bytes() == (tmp_path / "ray" / "result.json").read_bytes()
    assert first == second
