import importlib

import numpy as np
import pytest
import torch

from conftest import shapes
from vestige import image
from vestige.config import MLPConfig, RecoverConfig, TrainConfig
from vestige.image.recover import match, reconstruct
from vestige.random import stream
from vestige.train import train
from vestige.types import InputError, Samples
from vestige.verify import auc

recovery = importlib.import_module("vestige.image.recover")  # the package's `recover` is the function


def train_on(x, y):
    """A network trained on these toy images until it explains itself well."""
    samples = Samples(tuple(map(str, range(len(x)))), x, torch.from_numpy(y), 3)
    config = MLPConfig(hidden=(64, 64))
    model = image.build(config, samples, generator=stream(0, "train"))
    return train(model, samples, modality=image, config=TrainConfig(steps=1500)), samples


@pytest.fixture(scope="module")
def trained():
    """On 12 images without black."""
    x, y = shapes(per_class=4)
    return train_on(torch.from_numpy(x).float() / 255, y)


def recover(trained, **settings):
    """By stationarity alone unless rounds are asked for."""
    model, samples = trained
    settings = {"rounds": 0, **settings}
    return image.recover(model, samples, config=RecoverConfig(**settings), per_class=4, generator=stream(0, "recover"))


def test_members_come_back_and_strangers_do_not(trained):
    model, members = trained
    x, y = shapes(per_class=40, seed=9)
    strangers = Samples(tuple(f"n{i}" for i in range(120)), torch.from_numpy(x).float() / 255, torch.from_numpy(y), 3)
    both = Samples(
        members.ids + strangers.ids, torch.cat([members.x, strangers.x]), torch.cat([members.y, strangers.y]), 3
    )
    scores = recover((model, both), steps=800)
    assert auc(scores.of(members.ids, "ncc"), scores.of(strangers.ids, "ncc")) > 0.9
    assert scores.facts["unexplained"] < 0.2


def test_the_engines_take_the_same_steps(trained):
    """In fp64 the closed form and autograd give the same scores after many steps, not only one gradient."""
    fast = recover(trained, steps=60, dtype="float64")
    slow = recover(trained, steps=60, dtype="float64", engine="autograd")
    torch.testing.assert_close(torch.tensor(fast.value), torch.tensor(slow.value), atol=1e-5, rtol=0)
    assert fast.facts["unexplained"] == pytest.approx(slow.facts["unexplained"], rel=1e-9)


@pytest.mark.parametrize("settings", [{"direction": "runner_up"}, {"optimiser": "sgd", "lr_x": 0.5}])
def test_published_variants_lower_the_objective(trained, settings):
    model, _ = trained
    seen = []
    config = RecoverConfig(steps=150, rounds=0, **settings)
    reconstruct(model, config=config, per_class=4, generator=stream(0, "recover"), on_step=lambda _, v: seen.append(v))
    assert len(seen) == 150
    assert seen[-1] < seen[0]


def test_same_seed_same_scores_and_the_samples_are_never_looked_at(trained):
    model, samples = trained
    first = recover(trained, steps=30)
    few = recover((model, samples.take(samples.ids[3:5])), steps=30)
    torch.testing.assert_close(torch.tensor(first.value[3:5]), torch.tensor(few.value), rtol=0, atol=1e-6)
    assert recover(trained, steps=30).value.tolist() == first.value.tolist()
    assert (first.value >= 0).all()
    assert (first.value <= 1).all()
    assert first.evidence["image"].shape == (12, 1, 12, 12)


def test_images_with_black_come_out_exactly():
    """What is found is a training image to the pixel, and the number of candidates stays what it was."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(12, 1, 12, 12, generator=draw) * (torch.rand(12, 1, 12, 12, generator=draw) < 0.25)
    model, samples = train_on(x, np.arange(12) % 3)
    made = reconstruct(model, config=RecoverConfig(rounds=3), per_class=4, generator=stream(0, "recover"))
    assert made.candidates.shape == samples.x.shape
    assert made.found >= 6
    ncc, _ = match(samples.x - model.mean, made.candidates[: made.found])
    assert float(ncc.min()) > 0.99
    again = reconstruct(model, config=RecoverConfig(rounds=3), per_class=4, generator=stream(0, "recover"))
    assert torch.equal(made.candidates, again.candidates)


def test_a_model_of_the_same_start_and_public_images_give_more_away():
    """Of 30 images one model gives back some, more beside the other, more yet from other images like them."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(96, 1, 12, 12, generator=draw) * (torch.rand(96, 1, 12, 12, generator=draw) < 0.25)
    model, samples = train_on(x[:30], np.arange(30) % 3)
    other, _ = train_on(x[3:30], np.arange(3, 30) % 3)

    def found(**more):
        made = reconstruct(model, config=RecoverConfig(rounds=3), per_class=10, generator=stream(0, "recover"), **more)
        assert made.candidates.shape == samples.x.shape
        ncc, _ = match(samples.x - model.mean, made.candidates[: made.found])
        assert float(ncc.min()) > 0.99
        return made.found

    assert found() < found(beside=other) < found(beside=other, public=x[48:])
    shorter = image.build(MLPConfig(hidden=(64, 64)), samples, generator=stream(0, "train"))
    train(shorter, samples, modality=image, config=TrainConfig(steps=1000))
    for unlike in (shorter, image.build(MLPConfig(hidden=(64, 64)), samples, generator=stream(1, "train"))):
        with pytest.raises(InputError, match="Retrain with the same seed"):
            found(beside=unlike)


def test_what_does_not_fit_the_model_is_refused_at_once(trained):
    model, samples = trained
    other = image.build(MLPConfig(hidden=(32, 64)), samples, generator=stream(0, "train"))
    for more, says in (({"beside": other}, "like the model"), ({"public": torch.zeros(3, 1, 8, 8)}, "size")):
        with pytest.raises(InputError, match=says):
            reconstruct(model, config=RecoverConfig(), per_class=4, generator=stream(0, "recover"), **more)


def test_what_is_found_leaves_each_class_its_candidates(trained, monkeypatch):
    """One image found in the last round takes one slot of its own class and none of another's."""
    model, samples = trained
    rows = (samples.x - model.mean).flatten(1)
    seen = {}

    def explain(_, found, free, **settings):
        seen["free"] = free
        return torch.arange(1.0, len(free) + 1)[:, None].expand(-1, rows.shape[1]).clone(), 0.0

    monkeypatch.setattr(recovery, "explain", explain)
    monkeypatch.setattr(recovery, "snap", lambda *_: (rows[:1], torch.ones(1)))
    made = reconstruct(model, config=RecoverConfig(rounds=1), per_class=4, generator=stream(0, "recover"))
    assert made.found == 1
    left = made.candidates[1:].flatten(1)[:, 0].tolist()
    label = int(model(samples.x[:1]).argmax())
    counts = torch.bincount(seen["free"][[int(value) - 1 for value in left]], minlength=3).tolist()
    assert counts == [4 - (label == c) for c in range(3)]


def test_images_without_black_are_not_claimed(trained):
    assert recover(trained, rounds=2, round_steps=100).facts["found"] == 0


def test_where_nothing_is_singled_out_all_steps_are_taken(trained):
    """Images without black and white: a round that finds none costs its steps, no more: the result is that without."""
    model, _ = trained
    seen, made = [], []
    for rounds in (2, 0):
        made.append(
            reconstruct(
                model, config=RecoverConfig(rounds=rounds, round_steps=10, steps=40), per_class=4,
                generator=stream(0, "recover"), on_step=lambda step, value: seen.append(step),
            )
        )  # fmt: skip
    assert made[0].found == 0
    assert torch.equal(made[0].candidates, made[1].candidates)
    assert made[0].unexplained == made[1].unexplained
    assert seen == [*range(50), *range(40)]


def test_match_by_hand():
    """NCC ignores brightness and contrast; −x is no match for x."""
    x = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    ncc, best = match(torch.cat([-x, 3 * x + 1]), x)
    assert best.tolist() == [1]
    torch.testing.assert_close(ncc, torch.ones(1))


def test_colour_is_compared_at_half_resolution():
    """A checkerboard added at full resolution vanishes at half."""
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 1.0
    smooth = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(x, 2), scale_factor=2)
    ncc, _ = match(smooth + board - 0.5, x)
    torch.testing.assert_close(ncc, torch.ones(1))


def test_other_networks_are_refused():
    samples = Samples(("a",), torch.zeros(1, 1, 12, 12), torch.zeros(1, dtype=torch.long), 2)
    with pytest.raises(InputError, match="homogeneous MLP only, got Linear"):
        recover((torch.nn.Linear(2, 2), samples))


def test_the_network_is_homogeneous():
    """f(x; cθ) = c³ f(x; θ) for three layers, with the bias in the first one."""
    x, y = shapes(per_class=2)
    samples = Samples(tuple(map(str, range(6))), torch.from_numpy(x).float() / 255, torch.from_numpy(y), 3)
    model = image.build(MLPConfig(hidden=(9, 7), init_scale=0.5), samples, generator=stream(1, "train")).double()
    doubled = image.restore(MLPConfig(hidden=(9, 7)), {k: v.float() for k, v in model.state_dict().items()}).double()
    for weight in doubled.parameters():
        weight.data *= 2
    inputs = samples.x.double()
    torch.testing.assert_close(doubled(inputs), 8 * model(inputs), rtol=1e-5, atol=1e-8)
