"""One contract for every method, and each method's meaning."""

import copy
import importlib
import math
from dataclasses import replace

import pytest
import torch

from vestige import image
from vestige.config import MLPConfig, Recipe, TrainConfig, UnlearnConfig
from vestige.random import stream
from vestige.sisa import learn
from vestige.stages import parse
from vestige.train import train
from vestige.types import InputError, Samples, Split, joined
from vestige.unlearn import METHODS, lighten, perform, widen
from vestige.unlearn.enhance import lightened
from vestige.unlearn.losses import divergence, wrong_labels
from vestige.unlearn.methods import WEIGHTLESS, Task, importance, salient, scrub_passes, scrubs_away

performing = importlib.import_module("vestige.unlearn.perform")  # the package's `perform` is the function

RECIPE = Recipe(
    model=MLPConfig(hidden=(16, 16), init_scale=0.1),
    train=TrainConfig(steps=200),
    unlearn=UnlearnConfig(
        relabel={"steps": 300, "lr": 0.1},
        ascent={"steps": 20, "lr": 0.05},
        neggrad={"steps": 30, "lr": 0.1, "alpha": 0.8},
        scrub={"steps": 20, "lr": 0.05},
        bad_teacher={"steps": 60},
        salun={"steps": 60, "lr": 0.1},
        eu_k={"steps": 100, "lr": 0.5},
        ssd={"alpha": 1.0},
    ),
)
NEED_NOT_RAISE_THE_LOSS = {"finetune", "L1-sparse", "CF-k"}


@pytest.fixture(scope="module")
def trained():
    """A model that knows 3 classes of toy images, what it must forget, and the rest."""
    from conftest import shapes

    x, y = shapes(per_class=6)
    everything = Samples(tuple(map(str, range(18))), torch.from_numpy(x).float() / 255, torch.from_numpy(y), 3)
    model = image.build(RECIPE.model, everything, generator=stream(0, "train"))
    model = train(model, everything, modality=image, config=RECIPE.train)
    return model, everything.take(["0", "7"]), everything.without(["0", "7"])


@pytest.fixture(scope="module")
def sharded(trained):
    """The same, trained in shards."""
    _, forget, retain = trained
    parts = RECIPE.model_copy(update={"train": TrainConfig(steps=200, sisa={"shards": 2, "slices": 2})})
    both = Samples(
        retain.ids + forget.ids, *(torch.cat([getattr(part, k) for part in (retain, forget)]) for k in "xy"), 3
    )
    return learn(both, modality=image, config=parts, seed=0), forget, retain


@pytest.fixture
def subject(name, trained, sharded):
    """What the method called `name` can serve."""
    return sharded if name == "SISA" else trained


def apply(method, trained, config=RECIPE, **options):
    model, forget, retain = trained
    return method(model, forget, retain, modality=image, config=config, seed=0, **options)


def setting(**unlearn):
    """The recipe with other settings for some methods; settings not named are the defaults."""
    return RECIPE.model_copy(update={"unlearn": UnlearnConfig(**unlearn)})


def weights(model):
    return copy.deepcopy(model.state_dict())


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", METHODS)
def test_contract(name, subject):
    """The input model is left as it was; same seed, same result; every step is reported; something changes."""
    model, forget, _ = subject
    kept, seen = weights(model), []
    after = apply(METHODS[name], subject, on_step=lambda step, value: seen.append(step))
    again = apply(METHODS[name], subject)
    assert same(weights(model), kept), f"{name} changed its input"
    assert same(weights(after), weights(again)), f"{name} does not repeat"
    assert seen == list(range(len(seen)))
    assert seen
    assert not same(weights(after), kept)
    assert not after.training
    if name not in NEED_NOT_RAISE_THE_LOSS:
        assert image.losses(after, forget).mean() > image.losses(model, forget).mean(), f"{name} forgot nothing"


def test_retraining_is_training_without(trained):
    _, _, retain = trained
    alone = image.build(RECIPE.model, retain, generator=stream(0, "train"))
    alone = train(alone, retain, modality=image, config=RECIPE.train)
    assert same(weights(apply(METHODS["retrain"], trained)), weights(alone))


SAME_STEPS = {"steps": 7, "lr": 0.05}


@pytest.mark.parametrize(
    ("name", "settings", "plain"),
    [
        ("NegGrad+", {"neggrad": {**SAME_STEPS, "alpha": 1.0}}, "finetune"),
        ("NegGrad+", {"neggrad": {**SAME_STEPS, "alpha": 0.0}}, "GA"),
        ("SCRUB", {"scrub": {**SAME_STEPS, "alpha": 0.0, "gamma": 1.0, "max_steps": 0}}, "finetune"),
        ("L1-sparse", {"sparse": {**SAME_STEPS, "weight": 0.0}}, "finetune"),
        ("CF-k", {"cf_k": {**SAME_STEPS, "k": 3}}, "finetune"),
    ],
)
def test_limits(name, settings, plain, trained):
    """Where a method's own part is switched off, what remains is the plain method."""
    same_steps = {"finetune": SAME_STEPS, "ascent": SAME_STEPS, "relabel": SAME_STEPS}
    config = setting(**settings, **same_steps)
    a, b = apply(METHODS[name], trained, config), apply(METHODS[plain], trained, config)
    for left, right in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def moved(trained, after):
    before = dict(trained[0].named_parameters())
    return {name: before[name] != weight for name, weight in after.named_parameters()}


def test_salun_leaves_masked_out_weights_bit_identical(trained):
    model, forget, _ = trained
    after = apply(METHODS["SalUn"], trained)
    gradients = torch.autograd.grad(image.losses(model, forget).mean(), list(model.parameters()))
    size = torch.cat([part.abs().flatten() for part in gradients])
    changed = torch.cat([part.flatten() for part in moved(trained, after).values()])
    assert size[changed].min() >= size.median(), "only weights with large gradients moved"
    assert changed.float().mean() <= 0.501
    assert changed.any()


def test_salun_moves_no_more_than_its_share_of_one_target(trained):
    """One target leaves most gradients of an MLP exactly 0: these never move, though they are beyond the share."""
    model, forget, retain = trained
    one = forget.take(forget.ids[:1])
    gradients = torch.autograd.grad(image.losses(model, one).mean(), list(model.parameters()))
    size = torch.cat([part.abs().flatten() for part in gradients])
    assert (size == 0).float().mean() > 0.5
    for share in (0.0, 0.5, 0.9):
        after = apply(METHODS["SalUn"], (model, one, retain), setting(salun={**SAME_STEPS, "share": share}))
        changed = torch.cat([part.flatten() for part in moved(trained, after).values()])
        assert int(changed.sum()) <= math.ceil((1 - share) * len(size))
        assert not changed[size == 0].any()
        assert changed[size.argsort(descending=True)[:20]].all()


def test_salun_chooses_by_rank_among_equal_gradients():
    """Gradients of w·x with x = (1, 2, 1, 0): half of the weights are the 2 and one of the two equal ones."""

    model = torch.nn.Linear(4, 1, bias=False)
    one = Samples(("f",), torch.tensor([[1.0, 2.0, 1.0, 0.0]]), torch.zeros(1), 0)
    for share, chosen in ((0.5, [1, 1, 0, 0]), (0.75, [0, 1, 0, 0]), (0.0, [1, 1, 1, 0])):
        task = Task(model, one, one, linear, setting(salun={"share": share}), 0)
        assert salient(task)["weight"].tolist() == [chosen]


def test_salun_without_a_share_is_relabelling(trained):
    """Where no gradient is 0, as in a linear network of pixels that are all above 0."""
    _, forget, retain = trained
    forget, retain = (replace(part, x=part.x.clamp_min(0.01)) for part in (forget, retain))
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 3))
    config = setting(salun={**SAME_STEPS, "share": 0.0}, relabel=SAME_STEPS)
    a, b = (apply(METHODS[name], (model, forget, retain), config) for name in ("SalUn", "relabel"))
    for left, right in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_cf_k_moves_the_last_layers_only(trained):
    changed = moved(trained, apply(METHODS["CF-k"], trained))
    assert {name for name, part in changed.items() if part.any()} == {"layers.2.weight"}


def test_eu_k_starts_again_inside_the_last_layers(trained):
    """Trained for one tiny step, the last layer is the untrained one and the others are the trained ones."""
    model, _, retain = trained
    after = apply(METHODS["EU-k"], trained, setting(eu_k={"steps": 1, "lr": 1e-9, "k": 2}))
    fresh = image.build(RECIPE.model, retain, generator=stream(0, "train"))
    for layer in (1, 2):
        torch.testing.assert_close(after.layers[layer].weight, fresh.layers[layer].weight, rtol=1e-6, atol=1e-8)
    assert torch.equal(after.layers[0].weight, model.layers[0].weight)


@pytest.mark.parametrize("name", ["CF-k", "EU-k"])
def test_more_layers_than_there_are(name, trained):
    with pytest.raises(InputError, match="the last 4 layers were asked for, the model has 3"):
        apply(METHODS[name], trained, setting(cf_k={"k": 4}, eu_k={"k": 4}))


def test_bad_teacher_makes_the_forgotten_look_untrained(trained):
    model, forget, retain = trained
    after = apply(METHODS["BadTeacher"], trained)
    fresh = image.build(RECIPE.model, retain, generator=stream(0, "train"))
    bad = image.logits(fresh, forget)
    assert (
        divergence(bad, image.logits(after, forget)).mean() < 0.2 * divergence(bad, image.logits(model, forget)).mean()
    )
    assert (image.logits(after, retain).argmax(1) == retain.y).float().mean() > 0.9


def test_scrub_first_moves_away_then_back(trained):
    seen = []
    apply(METHODS["SCRUB"], trained, on_step=lambda step, value: seen.append(value))
    assert len(seen) == 20 + 3
    assert all(value <= 0 for value in seen[0:6:2]), "minus a divergence"
    assert all(value > 0 for value in (*seen[1:6:2], *seen[6:]))


@pytest.mark.parametrize(("steps", "most", "passes"), [(5, 2, "-+-++++"), (2, 3, "-+-+"), (3, 0, "+++"), (1, 1, "-+")])
def test_scrub_has_a_pass_over_the_retained_in_every_epoch(steps, most, passes):
    """-: away on the forgotten, in the first max_steps epochs; +: near on the retained, in all of them."""
    config = setting(scrub={"steps": steps, "max_steps": most})
    made = range(scrub_passes(config).steps)
    assert "".join("-" if scrubs_away(config, step) else "+" for step in made) == passes


def test_scrubs_first_step_in_full_batches_does_nothing(trained):
    """It moves away from the model before, which is where it stands: the divergence has no gradient there."""
    model, _, _ = trained
    taken = {}
    config = RECIPE.model_copy(update={"train": TrainConfig(weight_decay=0)})
    apply(METHODS["SCRUB"], trained, config, watch=lambda step, now: taken.setdefault(step, weights(now)))
    for name, before in model.state_dict().items():
        torch.testing.assert_close(taken[1][name], before, rtol=0, atol=1e-6)
    assert not all(torch.allclose(taken[2][name], before, atol=1e-4) for name, before in model.state_dict().items())


class linear:  # noqa: N801
    """A modality whose loss is w·x."""

    @staticmethod
    def losses(model, samples):
        return model(samples.x).flatten()


def test_sparse_steps_by_hand():
    """w = (2, −1), retained x = (1, 1), so ∇CE = (1, 1); g = ½, rate 0.1, 2 steps, no decay.

    Step 0: w ← w − 0.1·((1, 1) + ½·(1 − 0/2)·sign w) = (2 − 0.15, −1 − 0.05) = (1.85, −1.05).
    Step 1: half of the penalty is left: w ← (1.85 − 0.125, −1.05 − 0.075) = (1.725, −1.125).
    """
    model = torch.nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[2.0, -1.0]])
    one = Samples(("r",), torch.ones(1, 2), torch.zeros(1), 0)
    for steps, ends in ((2, [1.725, -1.125]), (1, [1.85, -1.05])):
        config = setting(sparse={"steps": steps, "lr": 0.1, "weight": 0.5})
        config = config.model_copy(update={"train": TrainConfig(weight_decay=0)})
        after = METHODS["L1-sparse"](model, one, one, modality=linear, config=config, seed=0)
        torch.testing.assert_close(after.weight, torch.tensor([ends]))


def test_sparse_makes_weights_smaller(trained):
    sizes = []
    for weight in (0.0, 1e-3, 1e-2):
        after = apply(METHODS["L1-sparse"], trained, setting(sparse={"steps": 20, "lr": 0.05, "weight": weight}))
        sizes.append(sum(float(part.detach().abs().sum()) for part in after.parameters()))
    assert sizes[0] > sizes[1] > sizes[2]


def test_importance_looks_no_id_up(trained, monkeypatch):
    """Looking one up reads all of them; the mean of squared gradients is that of the samples one by one."""
    model, forget, _ = trained
    ones = [torch.autograd.grad(image.losses(model, forget.take([n])).sum(), list(model.parameters()))
            for n in forget.ids]  # fmt: skip
    monkeypatch.setattr(Samples, "take", None)
    for found, *parts in zip(importance(model, forget, image).values(), *ones, strict=True):
        torch.testing.assert_close(found, torch.stack(parts).square().mean(0))


def test_ssd_dampens_by_hand():
    """
    One weight w = 2, one input each: forget x = 3, retain x = 1, loss w·x, gradients 3 and 1.
    I_f = 9, I_r = 1, I_D = ½·9 + ½·1 = 5. 9 > 1.5·5, so w ← 2·min(1·5/9, 1) = 10/9.
    """

    model = torch.nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(2.0)
    sample = lambda name, x: Samples((name,), torch.tensor([[x]]), torch.zeros(1), 0)  # noqa: E731
    ask = {"modality": linear, "seed": 0}
    after = METHODS["SSD"](model, sample("f", 3.0), sample("r", 1.0), config=setting(ssd={"alpha": 1.5}), **ask)
    torch.testing.assert_close(after.weight.item(), 10 / 9)
    kept = METHODS["SSD"](model, sample("f", 3.0), sample("r", 1.0), config=setting(ssd={"alpha": 2.0}), **ask)
    assert kept.weight.item() == 2.0, "9 is not above 2·5"


def test_divergence_by_hand():
    """KL((.5,.5) ‖ (.25,.75)) = .5 ln 2 + .5 ln(2/3) = 0.1438; 0 for equal logits."""
    even, odd = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3)]])
    torch.testing.assert_close(divergence(even, odd), torch.tensor([0.1438]), atol=1e-4, rtol=0)
    assert float(divergence(odd, odd)) == 0


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
def test_widening_by_nothing_is_the_plain_method(name, subject):
    plain = apply(METHODS[name], subject)
    wide = apply(widen(METHODS[name], lambda forget, retain: ()), subject)
    assert same(weights(plain), weights(wide))


@pytest.mark.parametrize("name", METHODS)
def test_widening_moves_samples_from_retain_to_forget(name, subject):
    model, forget, retain = subject
    extra = retain.ids[:3]
    wide = apply(widen(METHODS[name], lambda *_: (*extra, extra[0])), subject)
    both = Samples(
        forget.ids + extra, *(torch.cat([getattr(forget, k), getattr(retain.take(extra), k)]) for k in "xy"), 3
    )
    by_hand = apply(METHODS[name], (model, both, retain.without(extra)))
    assert same(weights(wide), weights(by_hand))


WEIGHED = sorted(set(METHODS) - WEIGHTLESS)


@pytest.mark.parametrize("name", WEIGHED)
def test_weight_one_is_the_plain_method(name, trained):
    extra = trained[2].ids[:3]
    light = apply(lighten(METHODS[name], lambda *_: extra, 1.0), trained)
    assert same(weights(light), weights(apply(METHODS[name], trained)))


@pytest.mark.parametrize("name", WEIGHED)
def test_a_weight_between_changes_the_model_and_repeats(name, trained):
    model, _, retain = trained
    kept, between = weights(model), lighten(METHODS[name], lambda *_: retain.ids[:3], 0.2)
    light = weights(apply(between, trained))
    assert same(weights(model), kept)
    assert same(light, weights(apply(between, trained)))
    for weight in (0.0, 1.0):
        assert not same(light, weights(apply(lighten(METHODS[name], lambda *_: retain.ids[:3], weight), trained)))


@pytest.mark.parametrize("batch", [None, 5])
def test_retraining_at_weight_zero_is_widening(batch, trained):
    config = RECIPE.model_copy(update={"train": TrainConfig(steps=20, batch=batch)})
    extra = trained[2].ids[2:5]
    light, wide = (
        apply(wrapped, trained, config)
        for wrapped in (lighten(METHODS["retrain"], lambda *_: extra, 0.0), widen(METHODS["retrain"], lambda *_: extra))
    )
    assert same(weights(light), weights(wide))


def test_two_halves_of_a_sample_weigh_as_much_as_one(trained):
    """The loss and the mean image are weighted means: twice the same sample at ½ is that sample once."""
    model, forget, retain = trained
    one = retain.take(retain.ids[:1])
    twice = Samples(
        ("again", *retain.ids), *(torch.cat([getattr(one, k), getattr(retain, k)]) for k in "xy"), retain.classes
    )
    halves = lighten(METHODS["retrain"], lambda *_: ("again", one.ids[0]), 0.5)
    a, b = apply(halves, (model, forget, twice)), apply(METHODS["retrain"], trained)
    torch.testing.assert_close(a.mean, b.mean)
    for left, right in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


def test_weights_by_hand():
    """Weights 1, 1, ½ over their mean 5/6 are 1.2, 1.2, 0.6, and follow their samples."""
    three = Samples(("a", "b", "c"), torch.tensor([[1.0], [2.0], [6.0]]), torch.zeros(3))
    light = lightened(three, ["c"], 0.5)
    torch.testing.assert_close(light.weight, torch.tensor([1.2, 1.2, 0.6]))
    torch.testing.assert_close(light.mean(light.x), torch.tensor([(1 + 2 + 3) / 2.5]))
    for part in (light.take(["c", "a"]), light.at(torch.tensor([2, 0])), light.without(["b"]).take(["c", "a"])):
        torch.testing.assert_close(part.weight, torch.tensor([0.6, 1.2]))
    assert light.at(slice(1, 2)).weight.tolist() == pytest.approx([1.2])
    assert lightened(three, ["c"], 0.0).ids == ("a", "b")
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="a weight lies in"):
            lightened(three, ["c"], wrong)
    with pytest.raises(InputError, match="as many weights"):
        Samples(("a",), torch.zeros(1, 1), torch.zeros(1), weight=torch.ones(2))


def test_stages_that_weigh_instead_of_forgetting(trained):
    """RF-1+2@1 is R0 and RF-1+2@0 is RF-1+2, to the bit; between, they stay in training."""
    model, forget, retain = trained
    everything = Samples(
        forget.ids + retain.ids, *(torch.cat([getattr(part, k) for part in (forget, retain)]) for k in "xy"), 3
    )
    split = Split(forget.ids, dict.fromkeys(forget.ids, ()), retain.ids, {}, (), {}, (), ())
    made = {
        name: perform(parse(name), model, everything, split, modality=image, recipe=RECIPE, seed=0)
        for name in ("R0", "RF-1+2", "RF-1+2@0", "RF-1+2@0.5", "RF-1+2@1")
    }
    for light, plain in (("RF-1+2@0", "RF-1+2"), ("RF-1+2@1", "R0")):
        assert same(weights(made[light].model), weights(made[plain].model))
        assert made[light].trained_on == made[plain].trained_on
        assert made[light].removed == made[plain].removed
    assert made["RF-1+2@0.5"].removed == forget.ids
    assert made["RF-1+2@0.5"].widened == made["RF-1+2"].widened


def test_something_must_be_retained(trained, monkeypatch):
    """2 targets with 8 neighbours each out of 18 samples: refused where together they are all, before any step."""
    model, forget, retain = trained
    apart = {"0": retain.ids[:8], "7": retain.ids[8:]}
    everything, ask = joined(forget, retain), {"modality": image, "recipe": RECIPE, "seed": 0}
    split = Split(forget.ids, dict.fromkeys(forget.ids, ()), retain.ids, {}, (), {}, (), ())
    monkeypatch.setattr(performing.similar, "top_k", lambda *_: apart)
    with pytest.raises(InputError, match="forget 2 samples and 16 similar ones, and only 18 are in training"):
        perform(parse("GA-1+8"), model, everything, split, **ask)
    assert perform(parse("finetune-1+8@0.5"), model, everything, split, **ask).trained_on == retain.ids


def test_a_method_stops_where_it_would_lose_more_than_it_may(trained):
    model, _, retain = trained
    ascent = UnlearnConfig(ascent={"steps": 60, "lr": 0.5})

    def accuracy(made):
        return float((made(retain.x).argmax(1) == retain.y).float().mean())

    kept, free = (
        apply(
            METHODS["GA"], trained, RECIPE.model_copy(update={"unlearn": ascent.model_copy(update={"utility": most})})
        )
        for most in (0.2, None)
    )
    assert accuracy(free) < accuracy(model) - 0.2 <= accuracy(kept) + 1e-6
    assert not torch.equal(kept(retain.x), model(retain.x)), "what the budget allows is used"
