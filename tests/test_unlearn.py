"""One contract for every method, and each method's meaning."""

import copy

import pytest
import torch

from vestige import image
from vestige.config import ModelConfig, Recipe, TrainConfig, UnlearnConfig
from vestige.random import stream
from vestige.train import train
from vestige.types import Samples
from vestige.unlearn import METHODS, widen
from vestige.unlearn.losses import wrong_labels

RECIPE = Recipe(
    model=ModelConfig(hidden=(16, 16), init_scale=0.1),
    train=TrainConfig(steps=200),
    unlearn=UnlearnConfig(steps=300, lr=0.1),
)


@pytest.fixture(scope="module")
def trained():
    """A model that knows 3 classes of toy images, what it must forget, and the rest."""
    from conftest import shapes

    x, y = shapes(per_class=6)
    everything = Samples(tuple(map(str, range(18))), torch.from_numpy(x).float() / 255, torch.from_numpy(y), 3)
    model = image.build(RECIPE.model, everything, generator=stream(0, "train"))
    model = train(model, everything, modality=image, config=RECIPE.train)
    return model, everything.take(["0", "7"]), everything.without(["0", "7"])


def apply(method, trained, **options):
    model, forget, retain = trained
    return method(model, forget, retain, modality=image, config=RECIPE, seed=0, **options)


def weights(model):
    return copy.deepcopy(model.state_dict())


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", METHODS)
def test_contract(name, trained):
    """The input model is left as it was; same seed, same result; every step is reported; something changes."""
    model, forget, _ = trained
    kept, seen = weights(model), []
    after = apply(METHODS[name], trained, on_step=lambda step, value: seen.append(step))
    again = apply(METHODS[name], trained)
    assert same(weights(model), kept), f"{name} changed its input"
    assert same(weights(after), weights(again)), f"{name} does not repeat"
    assert seen == list(range(len(seen)))
    assert len(seen) in (RECIPE.train.steps, RECIPE.unlearn.steps)
    assert not same(weights(after), kept)
    assert not after.training
    assert image.losses(after, forget).mean() > image.losses(model, forget).mean(), f"{name} forgot nothing"


def test_retraining_is_training_without(trained):
    _, _, retain = trained
    alone = image.build(RECIPE.model, retain, generator=stream(0, "train"))
    alone = train(alone, retain, modality=image, config=RECIPE.train)
    assert same(weights(apply(METHODS["retrain"], trained)), weights(alone))


def test_wrong_labels_are_wrong_and_evenly_drawn():
    y = torch.arange(4).repeat(3000)
    samples = Samples(tuple(map(str, range(len(y)))), torch.zeros(len(y), 1), y, 4)
    wrong = wrong_labels(samples, stream(0, "unlearn"))
    assert not (wrong.y == y).any()
    counts = torch.bincount(wrong.y[y == 2], minlength=4)
    assert counts[2] == 0
    assert (counts[[0, 1, 3]] > 900).all()


def test_relabelling_turns_the_answer(trained):
    _, forget, retain = trained
    after = apply(METHODS["relabel"], trained)
    assert not (image.logits(after, forget).argmax(1) == forget.y).any()
    assert (image.logits(after, retain).argmax(1) == retain.y).float().mean() > 0.9


@pytest.mark.parametrize("name", METHODS)
def test_widening_by_nothing_is_the_plain_method(name, trained):
    plain = apply(METHODS[name], trained)
    wide = apply(widen(METHODS[name], lambda forget, retain: ()), trained)
    assert same(weights(plain), weights(wide))


@pytest.mark.parametrize("name", METHODS)
def test_widening_moves_samples_from_retain_to_forget(name, trained):
    model, forget, retain = trained
    extra = retain.ids[:3]
    wide = apply(widen(METHODS[name], lambda *_: (*extra, extra[0])), trained)
    both = Samples(
        forget.ids + extra, *(torch.cat([getattr(forget, k), getattr(retain.take(extra), k)]) for k in "xy"), 3
    )
    by_hand = apply(METHODS[name], (model, both, retain.without(extra)))
    assert same(weights(wide), weights(by_hand))
