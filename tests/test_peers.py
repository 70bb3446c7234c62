"""Several devices: which worker gets which, and one fine-tuning shared out over several processes."""

import multiprocessing
import os
import threading
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from vestige import executor, language, studies, text
from vestige.config import LMConfig, TuneConfig
from vestige.executor import local
from vestige.language import laboratory
from vestige.language.laboratory import TextLaboratory
from vestige.random import stream
from vestige.train import ALONE, Peers, batched, descend, tune
from vestige.types import Run, Samples


def test_workers_are_spread_evenly_over_the_devices():
    places = ("cuda:0", "cuda:1", "cuda:2")
    taken = []
    for _ in range(7):
        taken.append(local.freest(places, taken))
    assert taken == [*places, *places, "cuda:0"]
    assert local.freest(places, ["cuda:0", "cuda:2"]) == "cuda:1", "of one that was killed, the device is free again"
    assert local.freest(("cpu",), ["cpu", "cpu"]) == "cpu"


def test_cuda_means_every_gpu_that_is_seen(monkeypatch):
    assert executor.devices("cpu") == ("cpu",)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert executor.devices("cuda") == ("cuda:0", "cuda:1")


def test_a_worker_is_hired_for_the_device_that_fewest_have(monkeypatch):
    """Processes are recorded and not started."""
    served = []

    class Context:
        Pipe = staticmethod(lambda: (None, SimpleNamespace(close=lambda: None)))

        @staticmethod
        def Process(target, args):  # noqa: N802
            served.append((target, args[1:]))
            return SimpleNamespace(start=lambda: None)

    monkeypatch.setattr(multiprocessing, "get_context", lambda kind: Context)
    pool = []
    for _ in range(3):
        pool.append(local._hire(len, ("cuda:0", "cuda:1"), pool))
    assert [worker.device for worker in pool] == ["cuda:0", "cuda:1", "cuda:0"]
    assert served == [(local._serve, (len, device)) for device in ("cuda:0", "cuda:1", "cuda:0")]


PAIRS = Samples(
    tuple("abcdefg"), np.array([f"What is {n}?" for n in range(7)], dtype=object),
    np.array(["one", "two words", "three", "and four more", "five", "six", "seven is the last"], dtype=object),
)  # fmt: skip
CONFIG = LMConfig(source="tiny-llama", precision="float32")


def tuned(config, settings, peers):
    model = text.build(config, generator=stream(0, "train"))
    return tune(model, PAIRS, modality=text, config=settings, seed=0, peers=peers)


def in_threads(size, work):
    """work(peers) of so many peers, which are threads here."""
    barrier, lots, made = threading.Barrier(size), {}, {}

    def gather(rank, tensor):
        lots[rank] = tensor.clone()
        barrier.wait(60)
        found = torch.stack([lots[other] for other in range(size)])
        barrier.wait(60)
        return found

    def live(rank):
        made[rank] = work(Peers(rank, size, partial(gather, rank)))

    threads = [threading.Thread(target=live, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [made[rank] for rank in range(size)]


def equal(one, other):
    return all(torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True))


class Twice(nn.Module):
    """A small network that uses one matrix twice, as tied embeddings do."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(6, 6, generator=stream(0, "train")))
        self.bias = nn.Parameter(torch.zeros(6))
        self.still = nn.Parameter(torch.ones(6), requires_grad=False)

    def forward(self, x):
        return torch.tanh(x @ self.matrix + self.bias) @ self.matrix.T * self.still


@pytest.mark.parametrize("size", [2, 3, 5])
def test_shared_out_the_descent_is_the_same_to_the_bit(size):
    """Batches of 5 and 2 in 4 pieces at most: at times somebody is left over."""
    x = torch.randn(7, 6, generator=stream(1, "train"))
    values = {}

    def work(peers):
        return descend(
            Twice(), lambda now, batch: (now(x[batch.retain]) - 1).square().mean(), steps=3, lr=0.1, weight_decay=0.01,
            batches=batched({"retain": 7}, 5, stream(0, "order")), optimiser="adamw", accumulate=4, clip=1.0,
            on_step=lambda step, value: values.setdefault((peers.size, peers.rank), []).append(value), peers=peers,
        )  # fmt: skip

    alone = work(ALONE)
    assert not equal(alone, Twice())
    assert all(equal(alone, each) for each in in_threads(size, work))
    assert values[size, 0] == values[1, 0]


def shared_out(places):
    """What a worker makes of a fine-tuning on these devices, as bytes."""
    work = partial(tuned, CONFIG, TuneConfig(epochs=2, batch=5, accumulate=4, lr=1e-2))
    model = executor.together(work, places, beside=work)
    assert "WORLD_SIZE" not in os.environ, "what joined them is gone afterwards"
    return b"".join(weight.detach().numpy().tobytes() for weight in model.parameters())


@pytest.mark.slow
def test_processes_that_accelerate_joins_give_the_same_model():
    """Asked for by one worker, several times over."""
    found = []
    with executor.pooled(shared_out, 1) as gather:
        lots = [("cpu",), ("cpu", "cpu"), ("cpu", "cpu", "cpu")]
        assert gather(lots, lambda job, weights: found.append(weights)) == []
    assert found[0] == found[1] == found[2]


def fail(peers):
    raise RuntimeError("out of memory")


@pytest.mark.slow
def test_a_peer_that_fails_ends_the_fine_tuning(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    work = partial(tuned, CONFIG, TuneConfig(epochs=1, batch=4, accumulate=2))
    with pytest.raises(RuntimeError):
        executor.together(work, ("cpu", "cpu"), beside=fail)
    assert multiprocessing.active_children() == []


SETS = [
    "model.source=tiny-llama", "data.targets=1", "data.similar=1", "data.held_out=1", "data.spare=0", "data.near=1",
    "data.other=4", "data.never_seen=2", "train.epochs=1", "train.batch=4", "train.accumulate=2", "unlearn.steps=1",
    "ask.max_new_tokens=4", "ask.others=1", "seeds=1", "training=[with]", "stages=[base, before, R0, GA]",
]  # fmt: skip


@pytest.fixture
def two_gpus(monkeypatch):
    for place in (local, laboratory):
        monkeypatch.setattr(place, "devices", lambda device: ("cuda:0", "cuda:1") if device == "cuda" else ("cpu",))


def test_what_is_tuned_takes_all_devices_and_what_unlearns_one_each(monkeypatch, two_gpus):
    done = []

    def run_local(work, jobs, *, workers, on_done, device):
        done.append((jobs, workers, device))
        return []

    monkeypatch.setattr(executor, "run_local", run_local)
    monkeypatch.setattr(TextLaboratory, "check_room", lambda self, runs: None)
    for sets, expected in (
        (SETS, [(["before", "R0"], 1, "cuda"), (["base", "GA"], 2, "cuda")]),
        ([*SETS, "train.accumulate=1"], [([], 1, "cuda"), (["before", "R0", "base", "GA"], 2, "cuda")]),
        ([*SETS, "device=cpu"], [([], 1, "cpu"), (["before", "R0", "base", "GA"], 2, "cpu")]),
    ):
        place = TextLaboratory(language.configure("text-target", sets=["device=cuda", *sets]), Nothing(), "x")
        assert place.most_workers() == (2 if place.config.device == "cuda" else 8)
        done.clear()
        studies.carry_out(place, place.plan(), workers=2, say=lambda message: None)
        measured = [([job.stage for job in jobs], *more) for jobs, *more in done[1:3]]
        assert measured == expected


class Nothing:
    """A store where nothing is."""

    def has(self, kind, name):
        return False


@pytest.mark.slow
def test_a_study_on_two_devices_keeps_the_same_model(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    executor.one_thread()
    kept = []
    for places in (("cpu",), ("cpu", "cpu")):
        monkeypatch.setattr(laboratory, "devices", lambda device, places=places: places)
        place = language.open_laboratory(language.configure("text-target", sets=SETS), tmp_path / str(len(places)))
        before = Run(0, "with", "before")
        place.measure(before, lambda message: None)
        kept.append((place.model_name(before), place.store.load("models", place.model_name(before)).facts["sha256"]))
    assert kept[0] == kept[1]


def test_a_study_that_was_launched_several_times_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    code, _, err = run("study", "text-target", *(part for one in SETS for part in ("--set", one)), "--out", "run")
    assert code == 2
    assert "started 4 times" in err
    assert not (tmp_path / "run").exists()
