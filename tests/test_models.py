"""Networks of every kind under every method, training in batches, and training in shards."""

import copy

import pytest
import torch
from torch import nn

from conftest import shapes
from vestige import classifier, experiment, image, sisa, studies, verify
from vestige.config import CNNConfig, MLPConfig, Recipe, RecoverConfig, ResNetConfig, Sisa, TrainConfig, UnlearnConfig
from vestige.modality import with_model
from vestige.random import stream
from vestige.sisa import Ensemble, learn
from vestige.train import Batch, batched, descend, train
from vestige.types import InputError, Samples
from vestige.unlearn import METHODS
from vestige.unlearn.methods import NEEDS_UNTRAINED

FEW = {
    name: {"steps": 2, "lr": 0.02}
    for name in ("finetune", "relabel", "ascent", "neggrad", "scrub", "bad_teacher", "salun", "sparse", "cf_k", "eu_k")
}
BATCHES = TrainConfig(steps=4, lr=0.05, batch=7, momentum=0.9, schedule="cosine", weight_decay=5e-4)
KINDS = {
    "mlp": MLPConfig(hidden=(16, 16), init_scale=0.1),
    "cnn": CNNConfig(channels=(4, 8)),
    "resnet18": ResNetConfig(width=8),
}
FORGET = ["0", "7"]


def toys(colours=1, per_class=6):
    x, y = shapes(per_class=per_class)
    pictures = torch.from_numpy(x).float().div(255).repeat(1, colours, 1, 1)
    return Samples(tuple(map(str, range(len(x)))), pictures, torch.from_numpy(y), 3)


def recipe(kind, **training):
    unlearn = UnlearnConfig(**FEW, ssd={"alpha": 1.0})
    return Recipe(model=KINDS[kind], train=BATCHES.model_copy(update=training), unlearn=unlearn)


SHARDED = recipe("mlp", sisa=Sisa(shards=2, slices=3))


@pytest.fixture(scope="module")
def known():
    """Kind → a model trained on toy images, in batches; SISA's → one trained in shards."""
    kinds = {kind: learn(toys(), modality=image, config=recipe(kind), seed=0) for kind in KINDS}
    return kinds | {"sharded": learn(toys(), modality=image, config=SHARDED, seed=0)}


def forget(name, model, config, **options):
    everything = toys()
    ask = {"modality": image, "config": config, "seed": 0, **options}
    return METHODS[name](model, everything.take(FORGET), everything.without(FORGET), **ask)


def weights(model):
    return copy.deepcopy(model.state_dict())


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in METHODS if name != "SISA"])
def test_every_method_on_every_network(kind, name, known):
    """In batches: the input is left as it was, the same seed gives the same bits, every pass is reported."""
    model, seen = known[kind], []
    kept = weights(model)
    after = forget(name, model, recipe(kind), on_step=lambda step, value: seen.append(step))
    assert same(weights(model), kept)
    assert seen == list(range(len(seen)))
    assert not same(weights(after), kept)
    assert all(value.isfinite().all() for value in after.state_dict().values())
    if kind != "resnet18":
        assert same(weights(after), weights(forget(name, model, recipe(kind))))


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_built_and_restored(kind, colours):
    samples = toys(colours)
    model = image.build(KINDS[kind], samples, generator=stream(0, "train")).eval()
    again = image.restore(KINDS[kind], weights(model))
    assert torch.equal(model(samples.x), again(samples.x))
    assert torch.equal(model.mean, samples.x.mean(0))
    assert image.losses(model, samples).shape == (18,)
    torch.testing.assert_close(model.eval()(samples.x[:5]), model(samples.x)[:5])
    width = {"mlp": 16, "cnn": 8 * 3 * 3, "resnet18": 64}[kind]
    assert image.embed(model, samples).shape == (18, width)


@pytest.mark.parametrize("kind", ["cnn", "resnet18"])
def test_no_sample_sees_its_batch(kind):
    """Training and evaluation give the same output, whatever else is in the batch: no statistics are kept."""
    samples = toys()
    model = image.build(KINDS[kind], samples, generator=stream(0, "train"))
    torch.testing.assert_close(model.train()(samples.x)[:1], model.eval()(samples.x[:1]))
    assert {name for name, _ in model.named_buffers()} == {"mean"}


def test_resnet18_is_resnet18():
    """Stem, 16 convolutions in 8 blocks, 3 shortcuts, head; 11.17 million weights for colour and 10 classes."""
    one = Samples(("a",), torch.zeros(1, 3, 32, 32), torch.zeros(1, dtype=torch.int64), 10)
    model = image.build(ResNetConfig(), one, generator=stream(0, "train"))
    assert sum(isinstance(part, nn.Conv2d) for part in model.modules()) == 1 + 16 + 3
    assert sum(weight.numel() for weight in model.parameters()) == 11_173_962


def test_images_too_small_for_the_convolutions():
    with pytest.raises(InputError, match=r"halve images of 12×12 to nothing; give fewer model\.channels"):
        image.build(CNNConfig(channels=(4,) * 4), toys(), generator=stream(0, "train"))


def test_chunks_do_not_matter(monkeypatch, known):
    with torch.no_grad():
        whole = image.logits(known["cnn"], toys())
        monkeypatch.setattr(classifier, "CHUNK", 5)
        torch.testing.assert_close(image.logits(known["cnn"], toys()), whole)


@pytest.mark.parametrize("config", [recipe("cnn"), recipe("mlp").model_copy(update={"train": TrainConfig(steps=4)})])
def test_salun_masks_in_batches_with_momentum_too(config):
    model = learn(toys(), modality=image, config=config, seed=0)
    everything = toys()
    after = forget("SalUn", model, config)
    losses = image.losses(model.requires_grad_(), everything.take(FORGET))
    gradients = torch.autograd.grad(losses.mean(), list(model.parameters()))
    size = torch.cat([part.abs().flatten() for part in gradients])
    pairs = zip(model.parameters(), after.parameters(), strict=True)
    moved = torch.cat([(old != new).flatten() for old, new in pairs])
    assert moved.any()
    assert size[moved].min() >= size.median() * (1 - 1e-5)
    assert moved.float().mean() <= 0.501


def test_the_gradient_in_pieces_is_the_gradient(known):
    """SalUn's mask must not depend on how many of the forgotten are looked at at once."""
    moved = []
    for config in (recipe("cnn", batch=1), recipe("cnn", batch=64)):
        after = forget("SalUn", known["cnn"], config)
        pairs = zip(known["cnn"].parameters(), after.parameters(), strict=True)
        moved.append(torch.cat([(old != new).flatten() for old, new in pairs]))
    assert (moved[0] != moved[1]).float().mean() < 0.01


@pytest.mark.parametrize("name", ["CF-k", "EU-k"])
def test_the_last_layers_lie_inside_blocks(name, known):
    """Head, norm2 and conv2 of the last block: k = 3 reaches into it, and touches nothing else."""
    config = recipe("resnet18")
    layers = {"steps": 1, "lr": 1e-9, "k": 3}
    config = config.model_copy(update={"unlearn": UnlearnConfig(cf_k=layers, eu_k=layers)})
    model = known["resnet18"]
    after = dict(forget(name, model, config).named_parameters())
    fresh = image.build(config.model, toys().without(FORGET), generator=stream(0, "train"))
    start = dict((fresh if name == "EU-k" else model).named_parameters())
    inside = {"blocks.7.conv2.weight", "blocks.7.norm2.weight", "blocks.7.norm2.bias", "head.weight", "head.bias"}
    for key, weight in model.named_parameters():
        if key in inside:
            torch.testing.assert_close(after[key], start[key], rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(after[key], weight), key
    if name == "EU-k":
        assert not torch.allclose(after["blocks.7.conv2.weight"], model.blocks[7].conv2.weight)


def test_ssd_on_convolutions_dampens_what_matters_to_the_forgotten(known):
    from vestige.unlearn.methods import importance

    model, everything = known["cnn"], toys()
    after = dict(forget("SSD", model, recipe("cnn")).named_parameters())
    copied = copy.deepcopy(model).requires_grad_()
    of_forget = importance(copied, everything.take(FORGET), image)
    whole = importance(copied, everything, image)
    for name, weight in model.named_parameters():
        dampened = of_forget[name] > whole[name] * (1 + 1e-4)
        spared = of_forget[name] < whole[name] * (1 - 1e-4)
        assert (after[name][dampened].abs() <= weight[dampened].abs()).all()
        assert torch.equal(after[name][spared], weight[spared])


def test_importance_is_the_mean_of_squares_and_not_the_square_of_means(known):
    from vestige.unlearn.methods import importance

    model, two = copy.deepcopy(known["cnn"]).requires_grad_(), toys().take(["0", "9"])
    apart = [importance(model, two.take([name]), image)["head.weight"] for name in two.ids]
    torch.testing.assert_close(importance(model, two, image)["head.weight"], (apart[0] + apart[1]) / 2)


# Training in batches


def test_a_pass_shows_everything_once_and_the_other_set_beside_it():
    batches = batched({"retain": 10, "forget": 4}, 3, stream(0, "order"))
    first, second = list(batches(0)), list(batches(1))
    for one in (first, second):
        assert sorted(row for batch in one for row in batch.retain.tolist()) == list(range(10))
        assert [len(batch.retain) for batch in one] == [3, 3, 3, 1]
        assert {row for batch in one for row in batch.forget.tolist()} == set(range(4))
    assert [batch.retain.tolist() for batch in first] != [batch.retain.tolist() for batch in second]
    led = batched({"retain": 10, "forget": 4}, 3, stream(0, "order"), lambda step: "forget")
    assert [len(batch.forget) for batch in led(0)] == [3, 1]


def test_one_batch_that_holds_all_is_the_full_batch():
    """In another order of summation only."""
    everything = toys()
    for kind in ("mlp", "cnn"):
        fresh = image.build(KINDS[kind], everything, generator=stream(0, "train"))
        plain, one = TrainConfig(steps=5), TrainConfig(steps=5, batch=18)
        a = train(copy.deepcopy(fresh), everything, modality=image, config=plain)
        b = train(copy.deepcopy(fresh), everything, modality=image, config=one)
        for left, right in zip(a.parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_momentum_and_cosine_by_hand():
    """
    w = 0, gradient 1, lr 1, two passes. Cosine: rates 1, ½. Momentum ½: buffers 1, 1.5.
    w = −1·1 − ½·1.5 = −1.75; constant without momentum −2.
    """

    def end(**options):
        model = nn.Linear(1, 1, bias=False)
        model.weight.data.zero_()
        descend(model, lambda now, _: now.weight.sum(), steps=2, lr=1.0, weight_decay=0.0, **options)
        return model.weight.item()

    assert end() == -2.0
    assert end(momentum=0.5, schedule="cosine") == -1.75


def test_the_seed_of_the_order_matters():
    everything = toys()
    fresh = image.build(KINDS["cnn"], everything, generator=stream(0, "train"))
    runs = [train(copy.deepcopy(fresh), everything, modality=image, config=BATCHES, seed=seed) for seed in (0, 0, 1)]
    assert same(weights(runs[0]), weights(runs[1]))
    assert not same(weights(runs[0]), weights(runs[2]))


def test_a_value_is_reported_once_a_pass():
    model, seen = nn.Linear(1, 1), []
    batches = lambda step: (Batch(step), Batch(step))  # noqa: E731
    values = iter([1.0, 3.0, 5.0, 7.0])
    descend(
        model, lambda now, _: 0 * now.weight.sum() + next(values), steps=2, lr=1.0, weight_decay=0.0,
        batches=batches, on_step=lambda step, value: seen.append((step, value)),
    )  # fmt: skip
    assert seen == [(0, 2.0), (1, 6.0)]


# SISA


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
@pytest.mark.parametrize("gone", [["0"], ["0", "7"], ["3", "11", "17"]])
def test_sisa_is_training_without_the_sample(kind, gone):
    """To the bit: members, checkpoints, mean images; and it takes fewer steps."""
    config = SHARDED.model_copy(update={"model": KINDS[kind]})
    everything, steps = toys(), {"forget": 0, "scratch": 0}

    def count(name):
        def on_step(step, value):
            steps[name] = step + 1

        return on_step

    model = learn(everything, modality=image, config=config, seed=0)
    ask = {"modality": image, "config": config}
    retain = everything.without(gone)
    after = METHODS["SISA"](model, everything.take(gone), retain, seed=5, on_step=count("forget"), **ask)
    scratch = learn(retain, seed=0, on_step=count("scratch"), **ask)
    assert same(weights(after), weights(scratch))
    assert 0 < steps["forget"] <= steps["scratch"]
    assert same(weights(forget_twice(model, everything, gone, ask)), weights(scratch)), "one after the other, too"


def forget_twice(model, everything, gone, ask):
    for position, name in enumerate(gone):
        retain = everything.without(gone[: position + 1])
        model = METHODS["SISA"](model, everything.take([name]), retain, seed=0, **ask)
    return model


def test_sisa_retrains_one_shard_from_the_slice_of_the_sample(known):
    model, everything = known["sharded"], toys()
    last = next(name for name in everything.ids if sisa.place(name, 0, model.parts)[1] == 2)
    home = sisa.place(last, 0, model.parts)[0]
    seen = []
    after = METHODS["SISA"](
        model, everything.take([last]), everything.without([last]), modality=image, config=SHARDED, seed=0,
        on_step=lambda step, value: seen.append(step),
    )  # fmt: skip
    assert same(weights(after.members[1 - home]), weights(model.members[1 - home]))
    assert not same(weights(after.members[home]), weights(model.members[home]))
    assert same(weights(after.checkpoints), weights(model.checkpoints)), "no earlier slice held it"
    assert len(seen) == round(2 * BATCHES.steps / 4), "the passes of one slice of six"


def test_sisa_votes_by_mean_probability(known):
    model, everything = known["sharded"], toys()
    by_hand = torch.stack([member(everything.x).softmax(1) for member in model.members]).mean(0)
    torch.testing.assert_close(model(everything.x).exp(), by_hand)
    assert not {name for name, _ in model.named_parameters() if name.startswith("checkpoints")}


def test_sisa_is_kept_and_restored(known):
    model = known["sharded"]
    again = sisa.restore(weights(model), modality=image, config=SHARDED)
    assert isinstance(again, Ensemble)
    assert same(weights(again), weights(model))
    assert same(weights(forget("SISA", again, SHARDED)), weights(forget("SISA", model, SHARDED)))


@pytest.mark.parametrize("name", [name for name in METHODS if name not in NEEDS_UNTRAINED])
def test_other_methods_take_an_ensemble_as_any_model(name, known):
    after = forget(name, known["sharded"], SHARDED)
    assert isinstance(after, Ensemble)


def test_sisa_on_a_model_not_trained_so(known):
    with pytest.raises(InputError, match=r"one shard of a model .* ordinary CNN, whose every weight .* train\.sisa"):
        forget("SISA", known["cnn"], recipe("cnn"))


def test_a_shard_without_samples():
    config = recipe("mlp", sisa=Sisa(shards=40, slices=2))
    with pytest.raises(InputError, match=r"has no samples in its first slice of 2; lower train\.sisa\.shards"):
        learn(toys(), modality=image, config=config, seed=0)


def test_places_are_even():
    places = [sisa.place(f"mnist/{i}", 0, Sisa()) for i in range(3000)]
    counts = [places.count((shard, part)) for shard in range(5) for part in range(3)]
    assert min(counts) > 150
    assert max(counts) < 250


def test_cf_k_moves_the_last_layers_of_each_member(known):
    """Not those of the last member alone, which is what stands last in the ensemble."""
    after = forget("CF-k", known["sharded"], SHARDED)
    kept = dict(known["sharded"].named_parameters())
    moved = {name for name, weight in after.named_parameters() if not torch.equal(weight, kept[name])}
    assert moved == {"members.0.layers.2.weight", "members.1.layers.2.weight"}


# A network of the user's own


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(144, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x):
        return self.body(x)


def own(samples, generator):
    model = Own()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return model


@pytest.mark.parametrize("name", [name for name in METHODS if name != "SISA"])
def test_methods_take_a_network_of_the_users_own(name):
    room, everything = with_model(image, own), toys()
    model = learn(everything, modality=room, config=recipe("mlp"), seed=0)
    after = forget(name, model, recipe("mlp"), modality=room)
    assert isinstance(after, Own)
    assert verify.accuracies(after, {"forget": everything.take(FORGET)}, room)["forget"]["n"] == 2


@pytest.mark.parametrize("name", ["retrain", "BadTeacher", "EU-k"])
def test_methods_that_need_the_untrained_network_say_so(name):
    with pytest.raises(InputError, match=r"model\.kind 'mlp'.* the Own that must forget; .*with_model"):
        forget(name, own(toys(), stream(0, "own")), recipe("mlp"))


def normed(samples, generator):
    """Convolutions and batch normalisation, whose running statistics move while it trains, and dropout."""
    with torch.random.fork_rng([]):
        torch.manual_seed(generator.initial_seed())
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(400, 8),
            nn.BatchNorm1d(8), nn.Linear(8, 3),
        )  # fmt: skip


@pytest.mark.parametrize("name", ["retrain", "finetune", "SalUn"])
def test_dropout_draws_from_the_seed_and_from_nothing_else(name):
    """Same seed, same weights, whatever was drawn before; and what is drawn next is as if nothing had been trained."""
    room, everything, config = with_model(image, normed), toys(), recipe("mlp")
    model = learn(everything, modality=room, config=config, seed=0)
    ends, kept = [], torch.random.get_rng_state()
    for seed in (0, 0, 1):
        torch.rand(3)
        before = torch.random.get_rng_state()
        ends.append(weights(forget(name, model, config, modality=room, seed=seed)))
        assert torch.equal(torch.random.get_rng_state(), before)
    torch.random.set_rng_state(kept)
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


@pytest.mark.parametrize("name", ["CF-k", "EU-k"])
def test_frozen_layers_keep_their_running_statistics(name):
    """Also those of a normalisation whose weights may not move; the last two layers are the other one and the head."""
    room, everything = with_model(image, normed), toys()
    config = recipe("mlp").model_copy(update={"unlearn": UnlearnConfig(cf_k={"k": 2}, eu_k={"k": 2, "steps": 3})})
    model = learn(everything, modality=room, config=config, seed=0)
    after = forget(name, model, config, modality=room)
    for place in range(6):
        assert same(weights(model[place]), weights(after[place]))
    assert not torch.equal(model[6].running_mean, after[6].running_mean)


# What does not apply says so before anything is trained


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model.kind=cnn"], r"homogeneous MLP only, and model\.kind is cnn: .*scaling all weights"),
        (["model.kind=resnet18"], r"model\.kind is resnet18"),
        (["train.sisa={}"], r"train\.sisa makes an ensemble"),
        (
            ["stages=[before,R0,EU-k]", "train.sisa={}", "measure=[outputs]"],
            r"EU-k needs the untrained .* trains 5 that",
        ),
        (["stages=[before,R0,SISA]"], r"an ordinary mlp, .* train with --set train\.sisa\.shards=5"),
    ],
)
def test_what_cannot_be_served_is_refused_before_training(changes, message, npz, tmp_path):
    settings = studies.configure("image-target", data=str(npz), sets=changes)
    for ask in (lambda: experiment.plan(settings), lambda: studies.open_laboratory(settings, tmp_path / "out")):
        with pytest.raises(InputError, match=message):
            ask()
    assert not (tmp_path / "out").exists()


def test_reconstruction_of_a_convolutional_network_is_refused(known):
    with pytest.raises(InputError, match="homogeneous MLP only, got CNN: "):
        image.recover(known["cnn"], toys(), config=RecoverConfig(), per_class=2, generator=stream(0, "recover"))
