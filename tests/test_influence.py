"""Shares of a trained network's margins: they sum, they find who was trained on, and they say when they cannot tell."""

import copy

import numpy as np
import pytest
import torch

from vestige import image, influence
from vestige.config import CNNConfig, MLPConfig, TrainConfig
from vestige.random import stream
from vestige.train import train
from vestige.types import InputError, Samples

RECIPE = TrainConfig(steps=1500)


@pytest.fixture(scope="module")
def drawn():
    """Random images: 24 to train on in 3 classes, three near-copies of the first, 30 never seen."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(54, 1, 8, 8, generator=draw)
    y = torch.arange(54) % 3
    copies = (x[:1] * (torch.rand(3, 1, 8, 8, generator=draw) > 0.15)).clamp(0, 1)
    names = [f"a/{i}" for i in range(54)]
    everything = Samples((*names, "c/0", "c/1", "c/2"), torch.cat([x, copies]), torch.cat([y, y[:1].repeat(3)]), 3)
    return everything.take([*names[:24], "c/0", "c/1", "c/2"]), everything.take(names[24:])


def trained(members, recipe=RECIPE):
    began = image.build(MLPConfig(hidden=(40, 40)), members, generator=stream(0, "train"))
    start = influence.Start(copy.deepcopy(began), influence.left_of_start(recipe, len(members)))
    return train(began, members, modality=image, config=recipe), start


@pytest.fixture(scope="module")
def made(drawn):
    members, never = drawn
    model, start = trained(members)
    return model, start, members, never


KIN = {"a/0": {"similar": ("c/0", "c/1", "c/2"), "near": ("a/3", "a/6")}}


@pytest.mark.parametrize("known", [False, True])
def test_parts_sum_to_the_margin_and_members_leave_nothing(made, known):
    model, start, members, never = made
    found = influence.explain(model, members, start=start if known else None)
    split = influence.contributions(found, members)
    logits = model(members.x).detach().double()
    rest = logits.masked_fill(torch.nn.functional.one_hot(members.y, 3).bool(), -torch.inf)
    margin = logits.gather(1, members.y[:, None])[:, 0] - (rest.softmax(1) * logits).sum(1)
    np.testing.assert_allclose(split.margin, margin.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(split.unexplained[found.multipliers > 0], 0, atol=1e-5)
    assert found.violation < 1e-8
    parts = influence.divide(split, "a/0", KIN["a/0"])
    assert tuple(parts) == influence.PARTS
    assert sum(parts.values()) == pytest.approx(split.margin[members.ids.index("a/0")])
    assert (parts["start"] != 0) == known
    assert parts["own"] == pytest.approx(split.parts[0, 0])
    stranger = influence.contributions(found, never)
    np.testing.assert_allclose(
        stranger.parts.sum(1) + stranger.start + stranger.unexplained, stranger.margin, atol=1e-12
    )


def test_a_known_start_explains_more(made):
    model, start, members, _ = made
    without, with_start = (influence.explain(model, members, start=one).explained for one in (None, start))
    assert 0.5 < without < with_start < 1


def test_the_start_that_is_left_is_what_training_left_of_it():
    """One step of gradient descent: θ₁ = (1 − lr·wd)·θ₀ + lr/n·Σ p_wrong ∇m, exactly."""
    recipe = TrainConfig(steps=1, lr=0.1, weight_decay=0.5)
    assert influence.left_of_start(recipe, 7) == pytest.approx(0.95)
    assert influence.left_of_start(TrainConfig(steps=3, lr=0.1, weight_decay=0.5, batch=4), 7) == pytest.approx(0.95**6)
    assert influence.left_of_start(TrainConfig(steps=2, lr=0.1, weight_decay=0.5, schedule="cosine"), 7) == (
        pytest.approx(0.95 * 0.975)
    )
    assert influence.left_of_start(TrainConfig(momentum=0.9), 7) is None


def test_multipliers_tell_members_from_strangers(made):
    model, start, members, never = made
    both = Samples(members.ids + never.ids, torch.cat([members.x, never.x]), torch.cat([members.y, never.y]), 3)
    found = influence.explain(model, both, start=start).multipliers
    inside, outside = found[: len(members)], found[len(members) :]
    assert float((inside[:, None] > outside[None]).mean()) > 0.95


def test_without_the_target_its_copies_carry_it(drawn):
    members, never = drawn
    model, start = trained(members.without(["a/0"]))
    found = influence.explain(model, members.without(["a/0"]), start=start)
    share = influence.shares(found, members.take(["a/0"]), KIN, influence.tolerance(found, never))[0]
    assert share.parts["own"] == 0
    assert share.ranges["own"] == (0, 0)
    assert share.parts["similar"] > 0.5 * share.margin
    low, high = share.ranges["similar"]
    assert low <= share.parts["similar"] <= high
    top = influence.contributions(found, members.take(["a/0"])).top("a/0", 3)
    assert [part for _, part in top] == sorted((part for _, part in top), reverse=True)
    assert top[0][0] in KIN["a/0"]["similar"]


def test_ranges_hold_the_best_split_and_widen_with_the_slack(made):
    model, start, members, never = made
    found = influence.explain(model, members, start=start)
    widths = []
    for slack in (1e-6, 1e-5, 1e-4):
        share = influence.shares(found, members.take(["a/0"]), KIN, slack)[0]
        for part, (low, high) in share.ranges.items():
            assert low - 1e-9 <= share.parts[part] <= high + 1e-9
        widths.append(share.ranges["own"][1] - share.ranges["own"][0])
    assert widths == sorted(widths)
    assert 0 < influence.tolerance(found, never) < 0.01


def test_what_the_others_cannot_carry(made):
    """Nothing is lost with nobody; with everybody, all that training samples carry is."""
    model, start, members, _ = made
    found = influence.explain(model, members, start=start)
    asked = members.take(["a/0", "a/1"])
    np.testing.assert_allclose(influence.irreplaceable(found, [], asked), 0, atol=1e-6)
    carried = influence.contributions(found, asked).parts.sum(1)
    np.testing.assert_allclose(influence.irreplaceable(found, members.ids, asked), carried, rtol=1e-6)
    family = ["a/0", "c/0", "c/1", "c/2"]
    one, all_of_them = (influence.irreplaceable(found, gone, asked)[0] for gone in (["c/0"], family))
    assert 0 <= one < all_of_them < carried[0], "its relatives stand in for one copy, and the rest for part of all"


def test_the_copies_are_among_those_who_carry_most(made):
    model, _, members, _ = made
    found = influence.carriers(model, members, members.take(["a/0", "a/1"]), 4)
    assert set(found) == {"a/0", "a/1"}
    assert len(found["a/1"]) == 4
    assert not {"a/0", "a/1"} & {name for names in found.values() for name in names}
    assert set(found["a/0"]) & set(KIN["a/0"]["similar"])
    with pytest.raises(InputError, match="only 25 others"):
        influence.carriers(model, members, members.take(["a/0", "a/1"]), 26)
    young, _ = trained(members, TrainConfig(steps=2))
    with pytest.raises(InputError, match="widen by SSIM instead"):
        influence.carriers(young, members, members.take(["a/0"]), 2)


def test_as_few_as_leave_a_residual(made):
    """Foretold 1 − lost / lost with the reference, of the first k: the smallest k that is low enough."""
    model, start, members, _ = made
    found, asked = influence.explain(model, members, start=start), members.take(["a/0"])
    copies, order = KIN["a/0"]["similar"], {"a/0": ("c/1", "c/0", "c/2", "a/3")}

    def chosen(residual, order=order, reference=copies):
        return influence.choose_k(found, asked, order, {"a/0": reference}, residual)["a/0"]

    lost = [influence.irreplaceable(found, ["a/0", *order["a/0"][:k]], asked)[0] for k in range(4)]
    left = [1 - (one - lost[0]) / (lost[3] - lost[0]) for one in lost]
    assert left[0] == 1 > left[1] > left[2] > left[3] == 0, "each copy that goes leaves less"
    for k in range(4):
        assert chosen(min(left[k] + 1e-9, 1.0)) == influence.Choice(order["a/0"][:k], pytest.approx(left[k], abs=1e-9))
    assert len(chosen(left[1] - 1e-6).taken) == 2, "one is not enough"
    assert chosen(0.0, {"a/0": ("a/6", "c/1")}).taken == ("a/6", "c/1"), "not to be had: as near as may be"
    assert chosen(0.5, reference=()).residual <= 0.5, "no reference: all that are offered"
    assert chosen(0.5, {"a/0": ()}) == influence.Choice((), 1.0)
    with pytest.raises(InputError, match="a residual lies in"):
        chosen(1.5)


def test_a_model_far_from_stationarity_says_so(drawn):
    members, _ = drawn
    model, _ = trained(members, TrainConfig(steps=2))
    assert "too far from stationarity" in influence.explain(model, members).why_not
    assert influence.why_not(influence.ENOUGH) == ""


def test_other_networks_are_refused(made, drawn):
    model, _, members, _ = made
    other = image.build(CNNConfig(channels=(4,)), members, generator=stream(0, "train"))
    with pytest.raises(InputError, match="homogeneous MLP only, got CNN"):
        influence.explain(other, members)
    with pytest.raises(InputError, match=r"model\.kind is cnn"):
        influence.check(CNNConfig(), False)
    with pytest.raises(InputError, match=r"train\.sisa"):
        influence.check(MLPConfig(), True)
    wide = image.build(MLPConfig(hidden=(41, 40)), members, generator=stream(0, "train"))
    with pytest.raises(InputError, match="the start of training"):
        influence.explain(model, members, start=influence.Start(wide, 0.5))
