"""Models may live on another device: everything follows them there, and nothing is read back while it iterates.

The meta device has shapes and no numbers: it refuses to be read and refuses to be mixed with the CPU, so what runs
there makes no round trip. What the numbers are elsewhere is tested on a GPU where there is one, else on the CPU device
of XLA where torch_xla is installed: other kernels, and a memory of its own.
"""

import importlib.util
import os

import numpy as np
import pytest
import torch

from conftest import shapes
from vestige import executor, image, provenance
from vestige.config import CNNConfig, MLPConfig, Recipe, RecoverConfig, ResNetConfig, Sisa, TrainConfig
from vestige.difficulty.probes import adversarial_step
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


def another():
    """The name of a device other than the CPU; None where there is none."""
    if torch.cuda.is_available():
        return "cuda"
    if importlib.util.find_spec("torch_xla") is None:
        return None
    os.environ.setdefault("PJRT_DEVICE", "CPU")
    import torch_xla
    import torch_xla.experimental

    torch_xla.device()  # before the first gradient: autograd counts the devices then
    torch_xla.experimental.eager_mode(True)
    return "xla"


DEVICE = another()
elsewhere = pytest.mark.skipif(DEVICE is None, reason="there is no CUDA device here, and no torch_xla")


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
    assert not torch.backends.cudnn.allow_tf32  # 10 bits of precision


def test_a_gpu_is_waited_for_before_its_clock_is_read(monkeypatch):
    """Processor time does not see a GPU, and what was given to it may not be done yet."""
    seen = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: seen.append(f"wait for {device}"))
    monkeypatch.setattr(provenance.time, "perf_counter", lambda: seen.append("wall") or 2.5)
    monkeypatch.setattr(provenance.time, "process_time", lambda: seen.append("processor") or 1.5)
    assert (provenance.ticks("cuda"), provenance.ticks("cpu")) == (2.5, 1.5)
    assert seen == ["wait for cuda", "wall", "processor"]


@elsewhere
@pytest.mark.parametrize("candidates", [30, 500])
def test_objective_and_gradient_elsewhere(candidates):
    draw = torch.Generator().manual_seed(0)
    layers = tuple(torch.randn(b, a, generator=draw) / a**0.5 for a, b in ((784, 300), (300, 300), (300, 10)))
    x, labels = torch.randn(candidates, 784, generator=draw) / 4, torch.randint(10, (candidates,), generator=draw)
    multipliers, bias = torch.rand(candidates, generator=draw), torch.zeros(300)
    here = closed_form(Weights(layers, bias), x, multipliers, labels, 20.0)
    theta = Weights(tuple(layer.to(DEVICE) for layer in layers), bias.to(DEVICE))
    there = closed_form(theta, x.to(DEVICE), multipliers.to(DEVICE), labels.to(DEVICE), 20.0)
    for name in ("loss", "x", "multipliers"):
        ours, theirs = getattr(here, name), getattr(there, name).cpu()
        assert (ours - theirs).norm() <= 1e-4 * ours.norm()


@elsewhere
@pytest.mark.parametrize(("config", "steps"), [(MLP, 20), (CNN, 20), (RESNET, 5)])
def test_training_elsewhere_gives_the_same_model(config, steps):
    """The ResNet's few: ten steps make an error of 1e-6 one of 0.1, on the CPU too."""
    samples, ends = digits(), []
    for device in ("cpu", DEVICE):
        there = samples.to(device)
        model = image.build(config, there, generator=stream(0, "train"))
        train(model, there, modality=image, config=TrainConfig(steps=steps))
        ends.append(image.logits(model, there).detach().cpu())
    torch.testing.assert_close(*ends, atol=1e-3, rtol=1e-3)


@elsewhere
@pytest.mark.parametrize("name", sorted(set(METHODS) - {"SISA"}))
def test_methods_elsewhere_give_the_same_model(name):
    recipe, ends = Recipe(model=MLP, train=TrainConfig(steps=20)), []
    for device in ("cpu", DEVICE):
        there = digits().to(device)
        model = image.build(MLP, there, generator=stream(0, "train"))
        train(model, there, modality=image, config=recipe.train)
        forget, retain = there.take(there.ids[:2]), there.take(there.ids[2:])
        after = METHODS[name](model, forget, retain, modality=image, config=recipe, seed=0)
        ends.append(image.logits(after, there).detach().cpu())
    torch.testing.assert_close(*ends, atol=1e-3, rtol=1e-3)


@elsewhere
def test_the_smallest_step_across_a_boundary_elsewhere():
    samples, found = digits(), []
    for device in ("cpu", DEVICE):
        there = samples.to(device)
        model = image.build(CNN, there, generator=stream(0, "train"))
        train(model, there, modality=image, config=TrainConfig(steps=20))
        found.append(adversarial_step(model, there))
    np.testing.assert_allclose(*found, rtol=1e-2)


@elsewhere
def test_recall_elsewhere_is_that_of_the_cpu():
    samples, means = digits(), []
    for device in ("cpu", DEVICE):
        there = samples.to(device)
        model = image.build(MLP, there, generator=stream(0, "train"))
        train(model, there, modality=image, config=TrainConfig(steps=300))
        scores = image.recover(
            model, there, config=RecoverConfig(steps=300), per_class=4, generator=stream(0, "recover")
        )  # fmt: skip
        means.append(scores.value.mean())
    assert abs(means[0] - means[1]) < 0.1


@cuda
def test_reconstruction_on_a_gpu_never_waits_for_it():
    def watch(step, value):
        torch.cuda.set_sync_debug_mode("error")  # from the second step on

    samples = digits()
    model = image.build(MLP, samples, generator=stream(0, "train")).to("cuda")
    labels = torch.tensor([0, 0, 1, 1, 2, 2], device="cuda")
    nothing = Found(torch.empty(0, 144, device="cuda"), labels[:0])
    try:
        explain(
            model, nothing, labels, config=RecoverConfig(), steps=5, generator=stream(0, "recover"), on_step=watch
        )  # fmt: skip
    finally:
        torch.cuda.set_sync_debug_mode("default")


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
