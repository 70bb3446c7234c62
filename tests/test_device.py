"""Models may live on another device: everything follows them there, and nothing is read back while it iterates.

The meta device has shapes and no numbers: it refuses to be read and refuses to be mixed with the CPU, so what runs
there makes no round trip. What the numbers are on a GPU is tested where there is one.
"""

import os

import pytest
import torch

from conftest import shapes
from vestige import executor, image, provenance
from vestige.config import CNNConfig, MLPConfig, Recipe, RecoverConfig, ResNetConfig, Sisa, TrainConfig
from vestige.image.objective import Weights, closed_form
from vestige.image.recover import Found, explain
from vestige.image.ssim import ssim
from vestige.random import stream
from vestige.sisa import learn
from vestige.train import descend, train
from vestige.types import Samples
from vestige.unlearn import METHODS

MLP, CNN, RESNET = MLPConfig(hidden=(16, 16)), CNNConfig(channels=(4,)), ResNetConfig(width=8)
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


def digits(size=12):
    x, y = shapes(per_class=4, size=size)
    return Samples(tuple(f"s{i}" for i in range(len(x))), torch.from_numpy(x).float() / 255, torch.from_numpy(y), 3)


@pytest.mark.parametrize("config", [MLP, CNN, RESNET])
def test_training_reads_nothing_back(config):
    samples = digits().to("meta")
    model = image.build(config, samples, generator=stream(0, "train"))
    assert {weight.device.type for weight in model.state_dict().values()} == {"meta"}
    values = []
    descend(
        model, lambda now, batch: image.losses(now, samples.at(batch.retain)).mean(), steps=3, lr=0.1,
        weight_decay=0.01, momentum=0.9, on_step=lambda step, value: values.append(value),
    )  # fmt: skip
    assert [value.device.type for value in values] == ["meta"] * 3
    with pytest.raises(RuntimeError, match="meta"):
        float(values[0])


@pytest.mark.parametrize("products", ["fast", "exact"])
@pytest.mark.parametrize("known", [0, 2])
def test_reconstruction_reads_nothing_back(monkeypatch, products, known):
    samples = digits()
    model = image.build(MLP, samples, generator=stream(0, "train"))
    size = Weights.of(model, torch.float32).squared_norm()
    model = model.to("meta")
    monkeypatch.setattr(Weights, "squared_norm", lambda self: size)  # read once, before the first step
    labels = torch.tensor([0, 0, 1, 1, 2, 2], device="meta")
    found = Found(torch.empty(known, 144, device="meta"), labels[:known])
    config = RecoverConfig(products=products)
    x, left = explain(model, found, labels[known:], config=config, steps=3, generator=stream(0, "recover"))
    assert (x.device.type, tuple(x.shape), left.device.type) == ("meta", (6 - known, 144), "meta")


def test_wrong_labels_neighbours_and_ssim_follow_the_samples():
    samples = digits().to("meta")
    near = image.jitter(samples, 2, radius=0.03, generator=stream(0, "jitter"))
    assert {part.x.device.type for part in near} == {"meta"}
    assert ssim(samples.x, samples.x).device.type == "meta"


def test_a_device_that_is_not_there(run, npz):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    status, _, err = run("study", "image-target", "--data", npz, "--device", "cuda", "--out", "mine")
    assert status == 3
    assert "finds no such device" in err
    status, _, err = run("quickstart", "--device", "tpu")
    assert status == 2
    assert "cuda" in err


def test_whoever_computes_as_a_worker_does_may_use_cuda_reproducibly(monkeypatch):
    """Not a pool's workers alone: the verbs that compute in their own process, and Ray's."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    executor.one_thread()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_gpu_is_waited_for_before_its_clock_is_read(monkeypatch):
    """Processor time does not see a GPU, and what was given to it may not be done yet."""
    seen = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: seen.append(f"wait for {device}"))
    monkeypatch.setattr(provenance.time, "perf_counter", lambda: seen.append("wall") or 2.5)
    monkeypatch.setattr(provenance.time, "process_time", lambda: seen.append("processor") or 1.5)
    assert (provenance.ticks("cuda"), provenance.ticks("cpu")) == (2.5, 1.5)
    assert seen == ["wait for cuda", "wall", "processor"]


@cuda
@pytest.mark.parametrize("candidates", [30, 500])
def test_objective_and_gradient_on_a_gpu(candidates):
    draw = torch.Generator().manual_seed(0)
    layers = tuple(torch.randn(b, a, generator=draw) / a**0.5 for a, b in ((784, 300), (300, 300), (300, 10)))
    x, labels = torch.randn(candidates, 784, generator=draw) / 4, torch.randint(10, (candidates,), generator=draw)
    multipliers, bias = torch.rand(candidates, generator=draw), torch.zeros(300)
    here = closed_form(Weights(layers, bias), x, multipliers, labels, 20.0)
    theta = Weights(tuple(layer.cuda() for layer in layers), bias.cuda())
    there = closed_form(theta, x.cuda(), multipliers.cuda(), labels.cuda(), 20.0)
    for name in ("loss", "x", "multipliers"):
        ours, theirs = getattr(here, name), getattr(there, name).cpu()
        assert (ours - theirs).norm() <= 1e-4 * ours.norm()


@cuda
@pytest.mark.parametrize("config", [MLP, CNN, RESNET])
def test_training_on_a_gpu_gives_the_same_model(config):
    samples, ends = digits(), []
    for device in ("cpu", "cuda"):
        there = samples.to(device)
        model = image.build(config, there, generator=stream(0, "train"))
        train(model, there, modality=image, config=TrainConfig(steps=20))
        ends.append(image.logits(model, there).detach().cpu())
    torch.testing.assert_close(*ends, atol=1e-3, rtol=1e-3)


@cuda
@pytest.mark.parametrize("name", sorted(set(METHODS) - {"SISA"}))
def test_methods_on_a_gpu(name):
    samples = digits().to("cuda")
    recipe = Recipe(model=MLP, train=TrainConfig(steps=20))
    model = train(
        image.build(MLP, samples, generator=stream(0, "train")), samples, modality=image, config=recipe.train
    )  # fmt: skip
    after = METHODS[name](
        model, samples.take(samples.ids[:2]), samples.take(samples.ids[2:]), modality=image, config=recipe, seed=0
    )  # fmt: skip
    assert image.losses(after, samples).isfinite().all()


@cuda
def test_recall_on_a_gpu_is_that_of_the_cpu():
    samples, means = digits(), []
    for device in ("cpu", "cuda"):
        there = samples.to(device)
        model = image.build(MLP, there, generator=stream(0, "train"))
        train(model, there, modality=image, config=TrainConfig(steps=300))
        scores = image.recover(
            model, there, config=RecoverConfig(steps=300), per_class=4, generator=stream(0, "recover")
        )  # fmt: skip
        means.append(scores.value.mean())
    assert abs(means[0] - means[1]) < 0.1


def forget_there(name):
    """What a worker on a GPU makes of a model: the logits of all samples, as bytes, after forgetting two of them."""
    samples = digits().to("cuda")
    sisa = Sisa(shards=2, slices=2) if name == "SISA" else None
    recipe = Recipe(model=MLP, train=TrainConfig(steps=20, batch=5, momentum=0.9, sisa=sisa))
    model = learn(samples, modality=image, config=recipe, seed=0)
    after = METHODS[name](
        model, samples.take(samples.ids[:2]), samples.take(samples.ids[2:]), modality=image, config=recipe, seed=0
    )  # fmt: skip
    with torch.no_grad():
        logits = image.logits(after, samples)
    assert logits.isfinite().all()
    return logits.cpu().numpy().tobytes()


@cuda
def test_workers_on_a_gpu_repeat_every_method_to_the_bit():
    """As studies go: worker processes in deterministic mode, which refuse what cannot be repeated; SISA too."""
    ends = []
    for _ in range(2):
        found = {}
        with executor.pooled(forget_there, 1, "cuda") as gather:
            failed = gather(sorted(METHODS), found.__setitem__)
        assert not failed
        ends.append(found)
    assert set(ends[0]) == set(METHODS)
    assert ends[0] == ends[1]
